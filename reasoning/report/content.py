"""What a report says, section by section, in the order in which it is read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reasoning.report.curves import charts
from reasoning.report.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Curves,
    Grid,
    Heading,
    Paragraph,
    Report,
    Section,
    filled,
)
from reasoning.report.facts import Facts
from reasoning.report.graph import workflow
from reasoning.report.grids import difference_grid, score_grids, total_grid, totals
from reasoning.report.reading import WORDS, amplification
from reasoning.report.replies import probe_grid, reply_grids
from reasoning.report.scores import asked, large, main_score, spoken, with_interval
from reasoning.report.sentences import listed, sentences
from reasoning.report.stages import StageFacts

REPEAT = "python -m reasoning run resolved.gin --out ANOTHER_FOLDER"


def compose(facts: Facts, checkpoints: Sequence[str] = ()) -> Report:
    """The whole report of a run; ``checkpoints`` are those whose replies stand side by side, if not the usual ones."""
    ends = _ends(facts)
    title = f"Report of a run: {' → '.join(ends)}" if ends else "Report of a run"
    sections = (
        Section("What this is", tuple(_overview(facts))),
        Section("The workflow", (workflow(facts.stages, facts.evaluations),) if facts.stages else ()),
        Section("Scores", tuple(_scores(facts))),
        Section("Differences", tuple(_differences(facts))),
        Section("How to read this", tuple(_reading(facts))),
        Section("Curves", tuple(_curves(facts))),
        Section("Probe problems", tuple(_probes(facts))),
        Section("Replies side by side", tuple(_replies(facts, checkpoints))),
        Section("Totals", tuple(_totals(facts))),
        Section("Settings", tuple(_settings(facts))),
    )
    return Report(title, filled(sections))


def _ends(facts: Facts) -> tuple[str, ...]:
    """The first and the last checkpoint of the first exam, or of the run where there was none."""
    examined = (tuple(evaluation.checkpoints) for evaluation in facts.evaluations if evaluation.checkpoints)
    names = next(examined, tuple(_models(facts)))
    return names if len(names) < 2 else (names[0], names[-1])


def _models(facts: Facts) -> list[str]:
    return [stage.name for stage in facts.stages if stage.artifact is not None and stage.artifact.kind == "checkpoint"]


def _overview(facts: Facts) -> Iterator[Block]:
    yield Paragraph(f"{_made(facts)} {_reached(facts)}".strip())
    if facts.missing:
        yield Heading("What is missing")
        yield Bullets(tuple(("", text) for text in facts.missing), warning=True)
    yield Heading("What happened")
    yield Bullets(sentences(facts))
    yield Heading("How to repeat it")
    if facts.repeatable:
        yield Paragraph("In this folder (resolved.gin holds every setting, the seed among them):")
        yield Code(REPEAT)
    else:
        yield Paragraph("The run was built in Python; its settings are under “Settings”.")
    yield _versions(facts)


def _made(facts: Facts) -> str:
    models, finished = _models(facts), [stage for stage in facts.stages if stage.artifact is not None]
    examined = dict.fromkeys(name for evaluation in facts.evaluations for name in evaluation.checkpoints)
    text = f"A run of {len(facts.stages)} stages, {len(finished)} of them finished"
    if len(finished) == len(facts.stages):
        text = f"A run of {len(facts.stages)} stages" if len(finished) != 1 else "A run of one stage"
    if models:
        text += f" that trained {listed(models)}"
    if examined:
        text += f" and examined {len(examined)} of them" if models else f", which examined {listed(tuple(examined))}"
        text += f" on {asked(facts.evaluations[0])}" if len(facts.evaluations) == 1 else ""
    return f"{text}."


def _reached(facts: Facts) -> str:
    """The first and the last checkpoint of the first evaluation, by its main score."""
    for evaluation in facts.evaluations:
        score, names = main_score(evaluation), tuple(evaluation.checkpoints)
        found = [evaluation.checkpoints[name].get(score or "") for name in (*names[:1], *names[-1:])]
        if score is not None and len(names) > 1 and found[0] is not None and found[1] is not None:
            first, last = (with_interval(item) for item in found if item is not None)
            return f"{spoken(score).capitalize()} is {first} for {names[0]} and {last} for {names[-1]}."
    return ""


def _versions(facts: Facts) -> Grid:
    """Seed, code, libraries and devices, as the stages recorded them; several values where stages differ."""
    found: dict[str, dict[str, None]] = {}
    for stage in facts.stages:
        for name, value in environment(stage):
            found.setdefault(name, {})[value] = None
    rows = tuple((Cell(name), Cell(", ".join(values))) for name, values in found.items())
    return Grid("Seed and versions", ("what", "value"), rows, numeric=False, folded=True)


def environment(stage: StageFacts) -> Iterator[tuple[str, str]]:
    """What a stage recorded of where it ran: seed, code, devices, libraries."""
    record = stage.record
    if "seed" in record:
        yield "seed", str(record["seed"])
    environments = record.get("environments")
    last = environments[-1] if isinstance(environments, list) and environments else {}
    if not isinstance(last, dict):
        return
    code, device = _mapping(last.get("code")), _mapping(last.get("device"))
    if code:
        changed = " with changes" if code.get("changed") else ""
        commit = f" (commit {str(code['commit'])[:12]}{changed})" if code.get("commit") else ""
        yield "reasoning", f"{code.get('version') or 'not installed'}{commit}"
    if device:
        yield "devices", f"{device.get('count')} × {device.get('kind')}"
    if "python" in last:
        yield "python", str(last["python"])
    yield from ((name, str(value)) for name, value in _mapping(last.get("libraries")).items())
    yield from ((name, str(value)) for name, value in _mapping(last.get("flags")).items())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _scores(facts: Facts) -> Iterator[Block]:
    for evaluation in facts.evaluations:
        yield from score_grids(evaluation)


def _differences(facts: Facts) -> Iterator[Block]:
    grids = [grid for evaluation in facts.evaluations if (grid := difference_grid(facts, evaluation)) is not None]
    if grids:
        yield Paragraph(
            "Means over samples in percentage points, paired over the problems that both answered, with 95 % "
            "intervals: each checkpoint less those that it was made from, then the last one less its other ancestors."
        )
    yield from grids


def _reading(facts: Facts) -> Iterator[Block]:
    if not facts.evaluations:
        return
    yield Bullets(WORDS)
    found = [item for evaluation in facts.evaluations for item in amplification(facts, evaluation)]
    if found:
        yield Heading("What was there before, and what is new")
        yield Paragraph("Made from the numbers of this run; intervals are 95 %.")
        yield Bullets(tuple(found))


def _curves(facts: Facts) -> Iterator[Block]:
    drawn = [Curves(stage.name, found) for stage in facts.stages if (found := charts(stage.metrics))]
    if drawn:
        yield Paragraph(
            "Light lines are single steps, dark ones the mean of the last fifteenth of the steps; numbers are the "
            "first and the last such mean."
        )
    yield from drawn


def _probes(facts: Facts) -> Iterator[Block]:
    grids = [grid for stage in facts.stages if (grid := probe_grid(stage)) is not None]
    if grids:
        yield Paragraph("The same held-out problems, asked again and again while a stage learns.")
    yield from grids


def _replies(facts: Facts, checkpoints: Sequence[str]) -> Iterator[Block]:
    grids = reply_grids(facts, checkpoints)
    if grids:
        yield Paragraph("The first problems in order, not chosen by outcome; replies without randomness.")
    yield from grids


def _totals(facts: Facts) -> Iterator[Block]:
    grid = total_grid(facts)
    if grid is not None:
        yield Paragraph(total_sentence(facts))
        yield grid


def total_sentence(facts: Facts) -> str:
    """Tokens and FLOPs in all, in words; empty where no stage counted any."""
    found = totals(facts)
    parts = [f"{large(found['tokens'])} tokens"] if "tokens" in found else []
    parts += [f"{large(found['flops'])} FLOPs"] if "flops" in found else []
    return f"In all {' and '.join(parts)}, as far as stages counted them." if parts else ""


def _settings(facts: Facts) -> Iterator[Block]:
    for stage in facts.stages:
        settings = stage.record.get("settings")
        lines = list(setting_lines(settings, "")) if isinstance(settings, dict) else []
        if lines:
            place = "" if stage.artifact is None else f", artifacts/{stage.artifact.path.name}"
            yield Code("\n".join(lines), f"{stage.name} ({stage.kind or 'stage'}{place})")


def setting_lines(value: Any, name: str) -> Iterator[str]:
    """Nested settings as ``optimizer.learning_rate = 0.001``; what a part is comes first, as ``optimizer = @…``."""
    if isinstance(value, dict):
        if "@" in value and name:
            yield f"{name} = @{value['@']}"
        for key, inner in value.items():
            if key != "@":
                yield from setting_lines(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            yield from setting_lines(item, f"{name}[{place}]")
    else:
        yield f"{name} = {json.dumps(value, ensure_ascii=False)}"
