"""What happened, one plain sentence a stage, made from the graph and the numbers alone."""

from collections.abc import Sequence

from reasoning.findings.curves import trend
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts
from reasoning.findings.numbers import CANT_TELL, fixed, large, plain, points, short
from reasoning.findings.pairs import Changes, CheckpointPair, main_differences
from reasoning.findings.prose import lines
from reasoning.findings.scores import asked, main_score, spoken, with_interval
from reasoning.findings.stages import StageFacts
from reasoning.training.explosion import explosion_words


def sentences(facts: Facts) -> tuple[tuple[str, str], ...]:
    """(stage, what came of it) for every stage, in the run's order."""
    changes = {evaluation.stage: main_differences(facts, evaluation) for evaluation in facts.evaluations}
    return tuple((stage.name, f"{_sentence(facts, stage, changes)}{_warning(stage)}") for stage in facts.stages)


def _warning(stage: StageFacts) -> str:
    told = explosion_words(stage.results)
    return f" WARNING: {told}." if told else ""


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _sentence(facts: Facts, stage: StageFacts, changes: Changes) -> str:
    if stage.artifact is None:
        return "has not finished."
    evaluation = next((item for item in facts.evaluations if item.stage == stage.name), None)
    if evaluation is not None:
        return _exam(evaluation)
    if stage.holds == "checkpoint":
        return _trained(facts, stage, changes)
    helpers = {"fixed": fixed, "large": large, "listed": listed}
    collected = lines("collected.txt", stage=stage, **helpers)[0] if stage.holds == "records" else ""
    return collected or f"{_numbers(stage) or 'finished'}."


def _exam(evaluation: Evaluation) -> str:
    names = tuple(evaluation.checkpoints)
    text = f"asked {listed(names)} the same {asked(evaluation)}" if names else "examined nothing"
    score = main_score(evaluation) or ""
    means = {name: scores[score].mean for name, scores in evaluation.checkpoints.items() if score in scores}
    if len(means) < 2:
        return f"{text}."
    best = max(means.values())
    if len(means) > 2 and set(means.values()) == {best}:
        return f"{text}; {spoken(score)} is {short(best)} for all of them."
    leaders = listed([name for name, mean in means.items() if mean == best])
    return f"{text}; the highest {spoken(score)} is {short(best)} ({leaders})."


def _trained(facts: Facts, stage: StageFacts, changes: Changes) -> str:
    known = _lesson(facts, stage)
    lesson = known or stage.kind or "this stage"
    examined = [evaluation for evaluation in facts.evaluations if stage.name in evaluation.checkpoints]
    # An exam that also asked the start says more than one that set the stage beside others.
    beside = [evaluation for evaluation in examined if set(stage.starts) & set(evaluation.checkpoints)]
    told = [text for evaluation in beside or examined if (text := _scored(facts, stage, evaluation, changes))]
    course = trend(stage.metrics)
    if not told:
        numbers = course or _numbers(stage)
        return f"{lesson}: {numbers}." if numbers else f"{known or f'{lesson} finished'}."
    if stage.learns_from == "text" and course:
        told.insert(0, course)
    joint = " " if told[0].startswith(("lifted", "lowered")) else ": "
    return f"{lesson}{joint}{'; '.join(told)}."


def _lesson(facts: Facts, stage: StageFacts) -> str:
    """What the stage did to its start, as the subject of a sentence; empty where it doesn't say what it learns from."""
    data = listed(_examples(facts, stage)) or "its data"
    if stage.learns_from == "rewards":
        before = facts.lineage(stage.name)
        alone = bool(before) and not any(facts.taught(name) for name in before)
        return f"reinforcement learning{' alone' if alone else ''}"
    if stage.learns_from == "teacher":
        return f"learning from the teacher {listed(stage.parents.get('teacher', ()))}".rstrip()
    if stage.learns_from in ("text", "examples"):
        return f"learnt to predict the text of {data}" if stage.learns_from == "text" else f"training on {data}"
    layers, path = stage.settings.get("layers"), stage.settings.get("path")
    if stage.starts and isinstance(layers, list):
        return f"layers {listed([str(layer) for layer in layers])} of {listed(stage.starts)}"
    if isinstance(path, str) and facts.is_root(stage.name):
        return f"brought in from {path}"
    return ""


def _examples(facts: Facts, stage: StageFacts) -> tuple[str, ...]:
    """The stages whose records a stage learns from; packed rows are named by what was packed."""
    parents = [parent for name in stage.parent_names() if (parent := facts.stage(name)) is not None]
    records = [parent for parent in parents if parent.holds == "records"]
    return tuple(dict.fromkeys(name for each in records for name in each.parents.get("conversations", (each.name,))))


def _scored(facts: Facts, stage: StageFacts, evaluation: Evaluation, changes: Changes) -> str:
    """How the stage's main score moved in one evaluation; empty where it wasn't examined there."""
    score = main_score(evaluation)
    now = evaluation.checkpoints.get(stage.name, {}).get(score or "")
    if score is None or now is None:
        return ""
    where = f" in {evaluation.stage}" if len(facts.evaluations) > 1 else ""
    starts = [name for name in stage.starts if score in evaluation.checkpoints.get(name, {})]
    if not starts:
        return f"{spoken(score)}{where} {with_interval(now)}"
    before = evaluation.checkpoints[starts[0]][score]
    difference = changes[evaluation.stage][CheckpointPair(stage.name, starts[0])]
    fromto = f"{spoken(score)}{where} from {short(before.mean)} to {short(now.mean)}"
    if difference is None:
        return f"{fromto} (no paired interval)"
    gain, ends = points(difference)
    if not difference.clear:
        return (
            f"{CANT_TELL} whether {spoken(score)}{where} changed ({short(before.mean)} before, "
            f"{short(now.mean)} after; {gain} points, 95 % interval {ends})"
        )
    return f"{'lifted' if difference.mean > 0 else 'lowered'} {fromto} ({gain} points, 95 % interval {ends})"


def _numbers(stage: StageFacts) -> str:
    """The recorded numbers as they are, for stages that this report doesn't know."""
    return ", ".join(f"{name} {plain(value)}" for name, value in list(stage.results.items())[:6])
