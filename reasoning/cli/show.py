"""``reasoning show``: read what a stage sampled, completion by completion, or what it learns from, row by row."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.cli.removed import show_removed
from reasoning.core.artifact import damage_of
from reasoning.core.errors import InputError
from reasoning.data.packing import COLUMNS, PackedRow
from reasoning.data.records import read_records
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.findings.rollouts import Selection, choose, has_samples, read
from reasoning.findings.rows import read_row
from reasoning.pipeline.folder import RUN, present_folder, read_run
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.run import Run
from reasoning.report.console import complain
from reasoning.report.texts import show_completions, show_rows
from reasoning.stages.checkpoint import RECORDS
from reasoning.stages.stage import Peeking, is_stage

_SHOWN = 16
"""Completions shown where nobody says how many; a group that is asked for is shown whole."""

_SHOWN_ROWS = 4

_EPILOG = """\
examples:
  reasoning show runs/r1_tiny/zero                      the last step's first group
  reasoning show runs/r1_tiny/zero --step 1 --group 3   one question at the first step, replies in full
  reasoning show runs/r1_tiny/zero --worst --limit 5    what went wrong
  reasoning show runs/r1_tiny/cold_data --kind chains   what was collected, kept or not
  reasoning show runs/r1_tiny/exam --group 0            what every checkpoint answered to a held-out problem
  reasoning show runs/r1_tiny/sft2_rows                 packed rows, with what is learnt of them marked
  reasoning show experiments/r1_tiny.gin corpus         the same before anything has run
"""


def main(arguments: Sequence[str]) -> int:
    """Prints the completions and returns the exit status."""
    chosen = parsed(_parser().parse_intermixed_args, arguments)
    if chosen.limit is not None and chosen.limit < 1:
        raise InputError(f"--limit {chosen.limit} shows nothing; give at least 1")
    if chosen.part:
        return _show_rows(f"{chosen.stage}, {chosen.part}", *_peek(chosen))
    stage, folder = _find_stage(chosen.stage)
    if _has_rows(folder):
        rows = read_records(folder / RECORDS)
        first = [rows[number] for number in range(min(len(rows), chosen.limit or _SHOWN_ROWS))]
        _show_rows(f"{stage}: the first {len(first)} of {len(rows)} rows", load_tokenizer(folder), first)
        show_removed(output(), folder)
        return 0
    order = "worst" if chosen.worst else "best" if chosen.best else ""
    limit = chosen.limit
    if limit is None and (order or chosen.group is None):
        limit = _SHOWN
    if damage := damage_of(folder):
        complain(f"warning: stage {stage} is damaged: {damage}; this is what is left")
    collection = read(folder, stage, chosen.step)
    groups = choose(collection, Selection(order, chosen.group, chosen.kind, limit))
    show_completions(output(), collection, groups, whole=chosen.group is not None)
    return 0


def _peek(chosen: argparse.Namespace) -> tuple[Tokenizer, Sequence[PackedRow]]:
    """The first rows that a stage of an experiment file would write. Raises InputError for a stage that packs none."""
    experiment = read_experiment(chosen.stage, chosen.overrides)
    part = _with_exams(experiment, experiment.part(chosen.part))
    if not isinstance(part, Peeking):
        offer = ", ".join(name for name, other in experiment.parts.items() if isinstance(other, Peeking)) or "none"
        raise InputError(
            f"{experiment.source(chosen.part)}: {chosen.part} packs no rows; those that do are {offer}. What a stage "
            "samples is shown once it has begun, as RUN/STAGE"
        )
    return part.peek(chosen.limit or _SHOWN_ROWS)


def _with_exams(experiment: Experiment, part: Any) -> Any:
    """A stage as the experiment's run would run it, which knows its exams; as it is where that doesn't run it."""
    if not (is_stage(part) and isinstance(experiment.parts.get("run"), Run)):
        return part
    graph = build_graph(experiment.parts["run"].stages)
    return graph[part.name].stage if part.name in graph else part


def _has_rows(folder: Path) -> bool:
    """Whether a finished stage left packed rows; damaged ones are none."""
    try:
        return (folder / RECORDS).exists() and set(read_records(folder / RECORDS)[0]) == set(COLUMNS)
    except InputError:
        return False


def _shown(folder: Path) -> bool:
    return has_samples(folder) or _has_rows(folder)


def _show_rows(title: str, tokenizer: Tokenizer, rows: Sequence[PackedRow]) -> int:
    show_rows(output(), title, [read_row(row, tokenizer) for row in rows])
    return 0


def _find_stage(text: str) -> tuple[str, Path]:
    """The stage that ``RUN/STAGE`` names and its folder, finished or not: a stage at work can be read too.

    Raises InputError where there is no such run or stage, or where it has nothing to show, and says what there is.
    """
    path = Path(text)
    if (path / RUN).exists():
        raise InputError(f"{path} is a run; name one of its stages too: {_offer(path)}")
    run = path.parent
    if not (run / RUN).exists():
        raise InputError(f"{run} is not a run's folder (it has no {RUN}); write RUN/STAGE, as in runs/r1_tiny/zero")
    folders = {entry.stage: present_folder(run, entry) for entry in read_run(run)}
    if path.name not in folders:
        raise InputError(f"{run} has no stage {path.name!r}; {_offer(run)}")
    folder = folders[path.name]
    if not _shown(folder):
        raise InputError(f"stage {path.name} has nothing to show{'' if folder.exists() else ' yet'}; {_offer(run)}")
    return path.name, folder


def _offer(run: Path) -> str:
    names = [entry.stage for entry in read_run(run) if _shown(present_folder(run, entry))]
    return f"stages with something to show are {', '.join(names)}" if names else "none of its stages has so far"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning show",
        description="Shows completions that a stage sampled: question, right answer, each reply with its total reward, "
        "every reward, advantage, length and log-probability. Works for stages that learn from their own samples, for "
        "collecting and for evaluating ones, also while they are at work. Of a stage that packs rows it shows the "
        "rows, and what of them is learnt; of an experiment file too, before anything has run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", metavar="RUN/STAGE", help="the --out of a run and the name of a stage, or FILE.gin")
    parser.add_argument("part", nargs="?", default="", metavar="STAGE", help="the stage of FILE.gin whose rows to show")
    parser.add_argument("overrides", nargs="*", metavar="PART.FIELD=VALUE", help="settings that replace FILE.gin's")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--worst", action="store_true", help="the completions with the lowest rewards")
    order.add_argument("--best", action="store_true", help="the completions with the highest rewards")
    parser.add_argument("--group", type=int, metavar="N", help="one group (one question), its replies in full")
    parser.add_argument("--step", type=int, metavar="N", help="a step (default: the last)")
    parser.add_argument("--kind", metavar="K", default="", help="problems of this kind only")
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many completions, or rows (default: 16, 4)")
    return parser
