"""What models wrote, as tables: the same problems before and after training, and down the steps of one stage."""

from collections.abc import Mapping, Sequence

from reasoning.core.text import shortened
from reasoning.findings.best_replies import BestReplies
from reasoning.findings.curves import spaced
from reasoning.findings.evaluations import Answered, Evaluation, single
from reasoning.findings.facts import Facts
from reasoning.findings.numbers import plain
from reasoning.findings.replies import chosen_checkpoints, probes_by_problem
from reasoning.findings.rollouts import completion_line
from reasoning.findings.scores import grades
from reasoning.findings.stages import StageFacts, mapping, numeric
from reasoning.report.document import NOTHING, Cell, Grid, Tone

_SHOWN_PROBLEMS, _SHOWN_PROBES, _SHOWN_STEPS = 6, 8, 6
_SHOWN_CHARACTERS = 600
_QUESTION_CHARACTERS, _REPLY_CHARACTERS = 300, 500
_MARKS: Mapping[Tone, str] = {"right": "✓ right", "partly": "◐", "wrong": "✗ wrong"}


def comparison(evaluation: Evaluation, checkpoints: Sequence[str]) -> Grid | None:
    """The first problems in order that all of ``checkpoints`` answered, and each one's single reply."""
    answered = [evaluation.samples.get(name, {}) for name in checkpoints]
    common = sorted(set.intersection(*(set(each) for each in answered))) if answered else []
    if not common:
        return None
    method = single(answered[0][common[0]]).method
    known = grades(evaluation.results.columns())
    rows = []
    for number in common[:_SHOWN_PROBLEMS]:
        asked = single(answered[0][number])
        replies = (_reply(each[number], known) for each in answered)
        rows.append((Cell(asked.question, f"right answer: {asked.answer}", quoted=True), *replies))
    caption = f"{evaluation.stage}: the first {len(rows)} of {len(common):,} problems, {method} replies"
    return Grid(caption, ("problem", *checkpoints), tuple(rows), numeric=False)


def reply_grids(facts: Facts, checkpoints: Sequence[str] = ()) -> tuple[Grid, ...]:
    """One table an evaluation: of ``checkpoints`` if it examined all of them, of its usual ones if none are given."""
    grids = []
    for evaluation in facts.evaluations:
        chosen = tuple(checkpoints) or chosen_checkpoints(facts, evaluation)
        if set(chosen) <= set(evaluation.checkpoints):
            grids.append(comparison(evaluation, chosen))
    return tuple(grid for grid in grids if grid is not None)


def probe_grid(stage: StageFacts) -> Grid | None:
    """A stage's fixed problems, one a row, with what the model wrote at each probe."""
    by_problem = probes_by_problem(stage)
    steps = sorted({row["step"] for rows in by_problem.values() for row in rows})
    shown = [steps[k] for k in spaced(len(steps), _SHOWN_STEPS)]
    graded = mapping(stage.settings.get("probe")).get("scores")
    known = [str(score).rpartition(".")[2] for score in graded] if isinstance(graded, list) else []
    rows = []
    for replies in list(by_problem.values())[:_SHOWN_PROBES]:
        at = {row["step"]: row for row in replies}
        cells = (
            verdict(at[step]["text"], numeric(mapping(at[step].get("scores"))), known) if step in at else NOTHING
            for step in shown
        )
        first = replies[0]
        rows.append((Cell(first["question"], f"right answer: {first['answer']}", quoted=True), *cells))
    if not rows:
        return None
    left_out = "" if len(shown) == len(steps) else f", {len(shown)} of {len(steps)} probes"
    caption = f"{stage.name}: {len(rows)} of {len(by_problem)} probe problems{left_out}"
    return Grid(caption, ("problem", *(f"step {step}" for step in shown)), tuple(rows), numeric=False)


def best_grid(stage: str, best: BestReplies | None) -> Grid | None:
    """A row for each of the best replies, with all that was given for it; None where there are none."""
    if best is None:
        return None
    rows = []
    for reward, groups in best.rewards.items():
        for group in groups:
            [completion] = group.completions
            question = Cell(
                shortened(group.question, _QUESTION_CHARACTERS), f"right answer: {group.answer}", quoted=True
            )
            text = shortened(completion.text, _REPLY_CHARACTERS) or "(nothing)"
            given = Cell(reward, plain(completion.values[reward] or 0.0))
            rows.append((given, question, Cell(text, completion_line(completion), quoted=True)))
    if not rows:
        return None
    caption = f"{stage}, step {best.step}: the best-paid replies of each reward"
    return Grid(caption, ("reward", "problem", "reply"), tuple(rows), numeric=False)


def verdict(text: str, scores: Mapping[str, float], known: Sequence[str]) -> Cell:
    """A reply with a mark: right by every grade, by some of them, or by none."""
    graded = {name: scores[name] for name in known if name in scores} or dict(list(scores.items())[:1])
    right = [name for name, value in graded.items() if value >= 1]
    tone: Tone = "right" if graded and len(right) == len(graded) else "partly" if right else "wrong"
    mark = f"{_MARKS[tone]} {', '.join(right)} only" if tone == "partly" else _MARKS[tone]
    return Cell(shortened(text, _SHOWN_CHARACTERS) or "(nothing)", mark if graded else "", tone if graded else "", True)


def _reply(answered: Answered, known: Sequence[str]) -> Cell:
    reply = single(answered)
    first = {name: values[0] for name, values in reply.scores.items()}
    return verdict(reply.texts[0], {name: value for name, value in first.items() if value is not None}, known)
