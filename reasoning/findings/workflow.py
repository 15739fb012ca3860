"""A run's graph: which stage was made from which, each with the numbers that it ended with."""

from collections.abc import Mapping, Sequence

from reasoning.findings.curves import spaced, trend, trend_series
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.graph import Arrow, Box, Workflow
from reasoning.findings.numbers import large, plain, short
from reasoning.findings.scores import interval, main_score, spoken
from reasoning.findings.stages import StageFacts

_MOST_LINES = 4
_COURSE_POINTS = 24


def workflow(stages: Sequence[StageFacts], evaluations: Sequence[Evaluation]) -> Workflow:
    """The graph of a run."""
    exams = {evaluation.stage for evaluation in evaluations} | {stage.name for stage in stages if stage.examines}
    boxes = tuple(_box(stage, evaluations, stage.name in exams) for stage in stages)
    return Workflow(boxes, tuple(_arrows(stages, exams)))


def _arrows(stages: Sequence[StageFacts], exams: set[str]) -> list[Arrow]:
    known = {stage.name: stage for stage in stages}
    above: dict[str, set[str]] = {}
    arrows = []
    for stage in stages:
        parents = [name for name in stage.parent_names() if name in known]
        above[stage.name] = {*parents, *(name for parent in parents for name in above.get(parent, ()))}
        for name in () if stage.name in exams else parents:
            others = [other for other in parents if other != name]
            if _only_tokenizer(stage, name) and any(name in above[other] for other in others):
                continue
            arrows.append(Arrow(name, stage.name, "weights" if known[name].holds == "checkpoint" else "data"))
    return arrows


def _only_tokenizer(stage: StageFacts, parent: str) -> bool:
    """Whether a parent gives a stage no more than its tokenizer; such an arrow says little beside another path."""
    return all(field == "tokenizer" for field, names in stage.parents.items() if parent in names)


def _box(stage: StageFacts, evaluations: Sequence[Evaluation], exam: bool) -> Box:
    if stage.artifact is None:
        return Box(stage.name, stage.kind, "unfinished", ("not finished",))
    if exam:
        return Box(stage.name, stage.kind, "exam", _exam_lines(stage.name, evaluations))
    group = "model" if stage.artifact.kind == "checkpoint" else "data"
    scores, results = _score_lines(stage.name, evaluations), _result_lines(stage.results)
    lines = tuple(filter(None, (*scores, trend(stage.metrics), *results)))[:_MOST_LINES]
    series = trend_series(stage.metrics)
    smooth = () if series is None else series.smooth
    course = tuple(smooth[place][1] for place in spaced(len(smooth), _COURSE_POINTS)) if len(smooth) > 1 else ()
    ended = short(series.last) if series is not None else (results or ("",))[0].removeprefix("kept ").partition(" ")[0]
    main = scores[0].rpartition(" ")[2] if scores else ended
    return Box(stage.name, stage.kind, group, lines, main, course)


def _exam_lines(name: str, evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    for evaluation in evaluations:
        if evaluation.stage == name:
            problems = evaluation.problems()
            return (*(() if problems is None else (f"{problems:,} problems",)), *evaluation.checkpoints)
    return ()


def _score_lines(name: str, evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """The main score of the first evaluation that examined the stage, and its interval on a line of its own."""
    for evaluation in evaluations:
        score = main_score(evaluation)
        own = evaluation.checkpoints.get(name, {}).get(score or "")
        if score is not None and own is not None:
            return (f"{spoken(score)} {short(own.mean)}", interval(own))
    return ()


def _result_lines(results: Mapping[str, float]) -> tuple[str, ...]:
    lines = []
    if "kept" in results:
        asked = f" of {results['sampled']:,.0f}" if "sampled" in results else ""
        lines.append(f"kept {results['kept']:,.0f}{asked}")
    elif "documents" in results:
        lines.append(f"{results['documents']:,.0f} documents")
    if "tokens" in results:
        lines.append(f"{large(results['tokens'])} tokens")
    return tuple(lines or [f"{name} {plain(value)}" for name, value in list(results.items())[:2]])
