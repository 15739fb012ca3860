"""What a report says, section by section, in the order in which it is read; ``report.md`` and ``report.html`` of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlencode

from reasoning.core.errors import InputError
from reasoning.core.files import write_atomic
from reasoning.findings.costs import counted, total_sentence
from reasoning.findings.curves import charts
from reasoning.findings.environments import environments, setting_lines
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.exam_charts import exam_charts
from reasoning.findings.facts import Facts
from reasoning.findings.frontier_charts import frontier_charts
from reasoning.findings.jumps import jump_words, jumps
from reasoning.findings.pairs import comparisons
from reasoning.findings.reading import amplification, words
from reasoning.findings.scaling import scaling_of
from reasoning.findings.sentences import listed, sentences
from reasoning.findings.stages import StageFacts
from reasoning.findings.verdict import ends_of
from reasoning.findings.warnings import other_warnings
from reasoning.report.document import Block, Bullets, Cell, Code, Curves, Grid, Panel, Paragraph, Report, Section
from reasoning.report.glance import SHOWN_EXAMS, glance, score_dots
from reasoning.report.grids import difference_grid, plan_blocks, scaling_grids, score_grids, style_grid, total_grid
from reasoning.report.markdown import markdown
from reasoning.report.page import page
from reasoning.report.replies import best_grid, probe_grid, reply_grids

_DIFFERENCES = (
    "Means over samples in percentage points, paired over the problems that both answered, with 95 % intervals: each "
    "checkpoint less those that it was made from, then the last one less its other ancestors. "
    "A difference is claimed, here and in sentences, only where it holds at 95 % together with all that are looked at "
    "in its exam (Holm's correction): "
)
_STYLES = (
    "One checkpoint asked in two ways: percentage points, paired over the problems, with 95 % intervals. What is "
    "claimed in one of these tables holds at 95 % together (Holm's correction)."
)
_CURVES = (
    "Light lines are single steps, dark ones the mean of the last fifteenth of the steps; numbers are the first and "
    "the last such mean."
)
_BEST = (
    "What each reward paid best at the last step whose rollouts were kept, one reply a problem, equals in the order of "
    "the file: chosen by that reward alone, so no picture of the model, but where a reward that can be fooled shows."
)
_PROBES = "The same held-out problems, asked again and again while a stage learns."
_REPLIES = "The first problems in order, not chosen by outcome, each with the first reply of the method that is named."
_COMPUTE = (
    "What each way of answering reached against what it took a problem; dots are joined where whatever costs less is "
    "less often right (* in the tables, behind FLOPs by these). Differences are to the reference, paired over the "
    "problems. FLOPs are two a parameter and token and attention's, of prompts, each read once, of all that was "
    "decoded and of what scorers read."
)
_FEW_METHODS = 3
"""Methods of an exam from which on a picture of what they take says more than the table of scores."""

_VIEW = "python -m reasoning view . --at"
_REPEAT = "python -m reasoning run resolved.gin --out ANOTHER_FOLDER"
PAGE, TEXT = "report.html", "report.md"


def write(folder: Path, facts: Facts, checkpoints: Sequence[str] = ()) -> None:
    """Writes both files, with the replies of ``checkpoints`` side by side, or of the usual ones.

    Equal runs give equal bytes: no clock, host or path enters. Raises OSError that names the file, as a disk does.
    """
    report = compose(facts, checkpoints)
    write_atomic(folder / TEXT, markdown(report))
    write_atomic(folder / PAGE, page(report))


def compose(facts: Facts, checkpoints: Sequence[str] = ()) -> Report:
    """The whole report of a run; ``checkpoints`` are those whose replies stand side by side, if not the usual ones."""
    ends = ends_of(facts)
    title = f"Report of a run: {' → '.join(ends)}" if ends else "Report of a run"
    evaluations, told = facts.evaluations, sentences(facts)
    sections = (
        Section("At a glance", tuple(_overview(facts))),
        Section("What happened", (Bullets(told),) if told else ()),
        Section("Stages", tuple(_panels(facts, dict(told)))),
        Section("Scores", tuple(_scores(evaluations))),
        Section("Accuracy against compute", _led(_COMPUTE, _compute(facts))),
        Section(
            "Differences",
            (
                *_led(_DIFFERENCES + _counted(facts), [difference_grid(facts, each) for each in evaluations]),
                *_led(_STYLES, [style_grid(each) for each in evaluations]),
            ),
        ),
        Section("How to read this", tuple(_reading(facts))),
        Section(
            "Replies side by side",
            _led(_REPLIES, (*reply_grids(facts, checkpoints), *_viewed(facts, *(each.stage for each in evaluations)))),
        ),
        Section("Totals", _led(total_sentence(facts), [total_grid(facts)])),
        Section("Beside the plan", plan_blocks(facts.beside_plan)),
        Section("How to repeat it", tuple(_repeating(facts))),
    )
    return Report(title, tuple(section for section in sections if section.blocks))


def _scores(evaluations: Sequence[Evaluation]) -> Iterator[Block]:
    """Each exam's tables, after its picture where the first screen has none of it."""
    for place, evaluation in enumerate(evaluations):
        dots = score_dots(evaluation) if place >= SHOWN_EXAMS else None
        yield from filter(None, [dots])
        if drawn := exam_charts(evaluation):
            names = listed([f"{chart.title[:1].lower()}{chart.title[1:]}" for chart in drawn])
            yield Curves(drawn, f"{evaluation.stage}: {names}", open=place == 0)
        yield from score_grids(evaluation)


def _compute(facts: Facts) -> Iterator[Block]:
    """Of each exam that was asked in several ways what they took, as pictures and tables."""
    for evaluation in facts.evaluations:
        stage = facts.stage(evaluation.stage)
        if stage is None or len(stage.settings.get("methods", ())) < _FEW_METHODS or not evaluation.samples:
            continue
        try:
            scaling = scaling_of(facts, evaluation.stage)
        except InputError as error:
            yield Paragraph(f"What the methods of {evaluation.stage} took is left out: {error}.")
            continue
        yield Curves(frontier_charts(scaling), f"{evaluation.stage}: {scaling.score} against what it took", open=True)
        yield from scaling_grids(scaling)


def _led(text: str, blocks: Iterable[Block | None]) -> tuple[Block, ...]:
    """The blocks that there are, led in by a paragraph; nothing where there are none."""
    shown = tuple(block for block in blocks if block is not None)
    return (Paragraph(text), *shown) if shown else ()


def _counted(facts: Facts) -> str:
    """How many differences are corrected together, and what that means for the intervals beside them."""
    counts = [(evaluation.stage, comparisons(facts, evaluation)) for evaluation in facts.evaluations]
    told = listed([f"{count} in {stage}" for stage, count in counts if count])
    return f"{told}. Each interval is that of one difference alone, so it may leave out 0 where nothing is claimed."


def _overview(facts: Facts) -> Iterator[Block]:
    yield glance(facts)
    if facts.missing:
        yield Bullets(tuple(("", text) for text in facts.missing), "What is missing", warning=True)


def _panels(facts: Facts, told: Mapping[str, str]) -> Iterator[Panel]:
    """All that there is of each stage, in the run's order, after what came of it."""
    for stage in facts.stages:
        sentence = told[stage.name]
        told_first = Paragraph(f"{sentence[:1].upper()}{sentence[1:]}")
        yield Panel(stage.name, stage.title, (told_first, *_of_stage(stage), *_viewed(facts, stage.name)))


def _viewed(facts: Facts, *stages: str) -> Iterator[Block]:
    """The commands that open what there is of stages in the browser, where there are curves or replies."""
    kept = {stage.name for stage in facts.stages if stage.metrics} | {
        each.stage for each in facts.evaluations if each.samples
    }
    commands = [f"{_VIEW} {quote(urlencode({'stage': stage}))}" for stage in stages if stage in kept]
    if commands:
        yield Paragraph("To look from here to the tokens, in this folder:")
        yield Code("\n".join(commands))


def _of_stage(stage: StageFacts) -> Iterator[Block]:
    """A stage's curves, what it cost, rewards that jumped alone, what was paid best, its probe, its settings."""
    drawn = charts(stage.metrics)
    if drawn:
        yield Curves(drawn)
        yield Paragraph(_CURVES)
    if told := counted(stage):
        yield Paragraph(f"Cost: {told}.")
    alone = tuple(("", jump_words(jump)) for jump in jumps(stage))
    if alone:
        yield Bullets(alone, "Rewards that jumped alone", warning=True)
    if told := other_warnings(stage):
        yield Bullets(told, "Warnings while it trained", warning=True)
    yield from _led(_BEST, [best_grid(stage.name, stage.best)])
    yield from _led(_PROBES, [probe_grid(stage)])
    if stage.settings:
        folder = "" if stage.artifact is None else f", artifacts/{stage.artifact.path.name}"
        yield settings_listing(stage.settings, f"Settings of {stage.title.removesuffix(')')}{folder})")


def _repeating(facts: Facts) -> Iterator[Block]:
    if not facts.stages:
        return
    if facts.repeatable:
        yield Paragraph("In this folder (resolved.gin holds every setting, the seed among them):")
        yield Code(_REPEAT)
    else:
        yield Paragraph("The run was built in Python; its settings stand with its stages.")
    yield version_grid((name, ", ".join(each)) for name, each in environments(facts).items())


def version_grid(values: Iterable[tuple[str, str]]) -> Grid:
    """What ``environment`` tells as a table."""
    rows = tuple((Cell(name), Cell(value)) for name, value in values)
    return Grid("Seed and versions", ("what", "value"), rows, numeric=False, folded=True)


def _reading(facts: Facts) -> Iterator[Block]:
    if not facts.evaluations:
        return
    yield Bullets(words())
    told = [item for evaluation in facts.evaluations for item in amplification(facts, evaluation)]
    if told:
        yield Bullets(tuple(told), "What was there before, and what is new (by this run's numbers, intervals 95 %)")


def settings_listing(settings: Mapping[str, Any], title: str) -> Code:
    """Settings as a listing that opens on demand."""
    return Code("\n".join(setting_lines(settings)), title)
