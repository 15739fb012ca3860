"""What happened, one plain sentence a stage, made from the graph and the numbers alone."""

from collections.abc import Iterator, Sequence

from reasoning.report.curves import series_of
from reasoning.report.facts import Facts
from reasoning.report.pairs import Pair, main_difference
from reasoning.report.scores import CANT_TELL, asked, large, main_score, plain, points, short, spoken, with_interval
from reasoning.report.stages import StageFacts
from reasoning.report.table import Evaluation


def sentences(facts: Facts) -> tuple[tuple[str, str], ...]:
    """(stage, what came of it) for every stage, in the run's order."""
    return tuple((stage.name, _sentence(facts, stage)) for stage in facts.stages)


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _sentence(facts: Facts, stage: StageFacts) -> str:
    if stage.artifact is None:
        return "has not finished."
    evaluation = next((item for item in facts.evaluations if item.stage == stage.name), None)
    if evaluation is not None:
        return _exam(evaluation)
    if stage.artifact.kind == "checkpoint":
        return _trained(facts, stage)
    if stage.artifact.kind == "records":
        return _collected(facts, stage)
    return _others(stage)


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


def _trained(facts: Facts, stage: StageFacts) -> str:
    lesson = _lesson(facts, stage)
    starts = stage.parents.get("start", ())
    examined = [evaluation for evaluation in facts.evaluations if stage.name in evaluation.checkpoints]
    # An exam that also asked the start says more than one that set the stage beside others.
    beside = [evaluation for evaluation in examined if set(starts) & set(evaluation.checkpoints)]
    found = [text for evaluation in beside or examined if (text := _scored(facts, stage, evaluation))]
    if not found:
        told = _trend(stage) or ", ".join(_numbers(stage))
        return f"{lesson}: {told}." if told else f"{lesson}."
    if stage.kind == "Pretrain" and (trend := _trend(stage)):
        found.insert(0, trend)
    joint = " " if found[0].startswith(("lifted", "lowered")) else ": "
    return f"{lesson}{joint}{'; '.join(found)}."


def _lesson(facts: Facts, stage: StageFacts) -> str:
    """What the stage did to its start, as the subject of a sentence."""
    data = listed(_examples(facts, stage)) or "its data"
    if stage.kind == "GRPO":
        before = facts.lineage(stage.name)
        alone = bool(before) and not any(facts.taught(name) for name in before)
        return f"reinforcement learning{' alone' if alone else ''}"
    if stage.kind == "Pretrain":
        return f"learnt to predict the text of {data}"
    if teachers := stage.parents.get("teacher", ()):
        return f"learning from the teacher {listed(teachers)}"
    if stage.kind == "SFT":
        return f"training on {data}"
    if stage.kind == "Pretrained":
        return f"brought in from {_setting(stage, 'path')}"
    if stage.kind == "Cut":
        return f"layers {_setting(stage, 'layers')} of {listed(stage.parents.get('start', ())) or 'a model'}"
    return f"{stage.kind or 'this stage'} finished"


def _setting(stage: StageFacts, name: str) -> str:
    """A setting as the stage recorded it, numbers of a list in a row."""
    settings = stage.record.get("settings")
    value = settings.get(name) if isinstance(settings, dict) else None
    if isinstance(value, list):
        return listed([str(item) for item in value])
    return value if isinstance(value, str) else "elsewhere"


def _examples(facts: Facts, stage: StageFacts) -> tuple[str, ...]:
    """The stages whose records a stage learns from; packed rows are named by what was packed."""
    found: dict[str, None] = {}
    for name in stage.parent_names():
        parent = facts.stage(name)
        if parent is None or parent.artifact is None or parent.artifact.kind != "records":
            continue
        packed = parent.parents.get("conversations", ())
        found.update(dict.fromkeys(packed or (name,)))
    return tuple(found)


def _scored(facts: Facts, stage: StageFacts, evaluation: Evaluation) -> str:
    """How the stage's main score moved in one evaluation; empty where it wasn't examined there."""
    score = main_score(evaluation)
    now = evaluation.checkpoints.get(stage.name, {}).get(score or "")
    if score is None or now is None:
        return ""
    where = f" in {evaluation.stage}" if len(facts.evaluations) > 1 else ""
    starts = [name for name in stage.parents.get("start", ()) if score in evaluation.checkpoints.get(name, {})]
    if not starts:
        return f"{spoken(score)}{where} {with_interval(now)}"
    before = evaluation.checkpoints[starts[0]][score]
    difference = main_difference(facts, evaluation, Pair(stage.name, starts[0]))
    fromto = f"{spoken(score)}{where} from {short(before.mean)} to {short(now.mean)}"
    if difference is None:
        return f"{fromto} (no paired interval)"
    gain, ends = points(difference)
    if not difference.excludes(0):
        return (
            f"{CANT_TELL} whether {spoken(score)}{where} changed ({short(before.mean)} before, "
            f"{short(now.mean)} after; {gain} points, 95 % interval {ends})"
        )
    return f"{'lifted' if difference.mean > 0 else 'lowered'} {fromto} ({gain} points, 95 % interval {ends})"


def _trend(stage: StageFacts) -> str:
    for metric in ("reward", "kl", "jsd", "loss"):
        series = series_of(stage.metrics, metric)
        if series is not None:
            return f"{metric} {short(series.first)} → {short(series.last)}"
    return ""


def _collected(facts: Facts, stage: StageFacts) -> str:
    results = stage.results
    if "kept" in results and "sampled" in results:
        share = results["kept"] / results["sampled"] if results["sampled"] else 0.0
        start = listed(stage.parents.get("start", ())) or "a model"
        return f"kept {results['kept']:,.0f} of {results['sampled']:,.0f} replies of {start} ({100 * share:.1f} %)."
    if "kept" in results:
        return f"wrote {results['kept']:,.0f} examples."
    if "documents" in results and "rows" in results:
        source = listed(stage.parents.get("conversations", ()))
        tokens = f" ({large(results['tokens'])} tokens)" if "tokens" in results else ""
        what = f"{results['documents']:,.0f} {f'conversations of {source}' if source else 'documents'}"
        return f"packed {what} into {results['rows']:,.0f} rows{tokens}."
    return _others(stage)


def _others(stage: StageFacts) -> str:
    """The recorded numbers as they are, for stages that this report doesn't know."""
    return f"{', '.join(_numbers(stage))}." if stage.results else "finished."


def _numbers(stage: StageFacts) -> Iterator[str]:
    yield from (f"{name} {plain(value)}" for name, value in list(stage.results.items())[:6])
