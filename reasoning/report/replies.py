"""What models wrote, as tables: the same problems before and after training, and down the steps of one stage."""

from collections.abc import Mapping, Sequence

from reasoning.report.document import Cell, Grid, Tone
from reasoning.report.facts import Facts
from reasoning.report.samples import Answered, Samples
from reasoning.report.scores import grades
from reasoning.report.stages import Row, StageFacts, numbers
from reasoning.report.table import Evaluation
from reasoning.report.text import shortened

SHOWN_PROBLEMS, SHOWN_PROBES, SHOWN_STEPS = 6, 8, 6
SHOWN_CHARACTERS = 600
NOTHING = Cell("–")
MARKS: Mapping[Tone, str] = {"right": "✓ right", "partly": "◐", "wrong": "✗ wrong"}


def comparison(evaluation: Evaluation, samples: Samples, checkpoints: Sequence[str]) -> Grid | None:
    """The first problems in order that all of ``checkpoints`` answered, and each one's greedy reply."""
    answered = [samples.get(name, {}) for name in checkpoints]
    common = sorted(set.intersection(*(set(each) for each in answered))) if answered else []
    known = grades(evaluation.scores())
    rows = []
    for number in common[:SHOWN_PROBLEMS]:
        asked = answered[0][number]
        replies = (_reply(each[number], known) for each in answered)
        rows.append((Cell(asked.question, f"right answer: {asked.answer}", quoted=True), *replies))
    if not rows:
        return None
    caption = f"{evaluation.stage}: the first {len(rows)} of {len(common):,} problems, greedy replies"
    return Grid(caption, ("problem", *checkpoints), tuple(rows), numeric=False)


def reply_grids(facts: Facts, checkpoints: Sequence[str] = ()) -> tuple[Grid, ...]:
    """One table an evaluation: of ``checkpoints`` if it examined all of them, of its usual ones if none are given."""
    found = []
    for evaluation in facts.evaluations:
        chosen = tuple(checkpoints) or chosen_checkpoints(facts, evaluation)
        if set(chosen) <= set(evaluation.checkpoints):
            found.append(comparison(evaluation, facts.samples.get(evaluation.stage, {}), chosen))
    return tuple(grid for grid in found if grid is not None)


def chosen_checkpoints(facts: Facts, evaluation: Evaluation) -> tuple[str, ...]:
    """Three at most to show side by side: the base, the first that rewards trained, and the last."""
    names = tuple(evaluation.checkpoints)
    if len(names) <= 3:
        return names
    rewarded = [name for name in names[1:-1] if (stage := facts.stage(name)) is not None and stage.kind == "GRPO"]
    return (names[0], (rewarded or names[1:])[0], names[-1])


def probe_grid(stage: StageFacts) -> Grid | None:
    """A stage's fixed problems, one a row, with what the model wrote at each probe."""
    by_problem: dict[object, list[Row]] = {}
    for row in stage.probes:
        if all(isinstance(row.get(name), str) for name in ("question", "answer", "text")) and "step" in row:
            by_problem.setdefault(row.get("problem"), []).append(row)
    steps = sorted({row["step"] for rows in by_problem.values() for row in rows})
    shown = [steps[k] for k in spaced(len(steps), SHOWN_STEPS)]
    known = _probe_grades(stage)
    rows = []
    for replies in list(by_problem.values())[:SHOWN_PROBES]:
        at = {row["step"]: row for row in replies}
        cells = (
            verdict(at[step]["text"], numbers(at[step].get("scores") or {}), known) if step in at else NOTHING
            for step in shown
        )
        first = replies[0]
        rows.append((Cell(first["question"], f"right answer: {first['answer']}", quoted=True), *cells))
    if not rows:
        return None
    left_out = "" if len(shown) == len(steps) else f", {len(shown)} of {len(steps)} probes"
    caption = f"{stage.name}: {len(rows)} of {len(by_problem)} probe problems{left_out}"
    return Grid(caption, ("problem", *(f"step {step}" for step in shown)), tuple(rows), numeric=False)


def spaced(count: int, most: int) -> list[int]:
    """Places of at most ``most`` of ``count`` things, evenly spaced, first and last among them."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def verdict(text: str, scores: Mapping[str, float], known: Sequence[str]) -> Cell:
    """A reply with a mark: right by every grade, by some of them, or by none."""
    graded = {name: scores[name] for name in known if name in scores} or dict(list(scores.items())[:1])
    right = [name for name, value in graded.items() if value >= 1]
    tone: Tone = "right" if graded and len(right) == len(graded) else "partly" if right else "wrong"
    mark = f"{MARKS[tone]} {', '.join(right)} only" if tone == "partly" else MARKS[tone]
    return Cell(shortened(text, SHOWN_CHARACTERS) or "(nothing)", mark if graded else "", tone if graded else "", True)


def _reply(answered: Answered, known: Sequence[str]) -> Cell:
    return verdict(answered.greedy, answered.scores, known)


def _probe_grades(stage: StageFacts) -> tuple[str, ...]:
    """The scores of the stage's probe that tell right from wrong, by its settings."""
    settings = stage.record.get("settings")
    probe = settings.get("probe") if isinstance(settings, dict) else None
    scores = probe.get("scores") if isinstance(probe, dict) else None
    names = [score if isinstance(score, str) else "" for score in scores] if isinstance(scores, list) else []
    return tuple(name.rpartition(".")[2] for name in names)
