"""``reasoning show``: read what a stage sampled, completion by completion."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.core.artifact import damage_of
from reasoning.core.errors import InputError
from reasoning.pipeline.folder import RUN, Entry, read_run, unfinished_folder
from reasoning.report.console import complain
from reasoning.report.rollouts import Selection, choose, has_samples, read, show

_SHOWN = 16
"""Completions shown where nobody says how many; a group that is asked for is shown whole."""

_EPILOG = """\
examples:
  reasoning show runs/r1_tiny/zero                      the last step's first group
  reasoning show runs/r1_tiny/zero --step 1 --group 3   one question at the first step, replies in full
  reasoning show runs/r1_tiny/zero --worst --limit 5    what went wrong
  reasoning show runs/r1_tiny/cold_data --kind chains   what was collected, kept or not
  reasoning show runs/r1_tiny/exam --group 0            what every checkpoint answered to a held-out problem
"""


def main(arguments: Sequence[str]) -> int:
    """Prints the completions and returns the exit status."""
    chosen = parsed(_parser().parse_args, arguments)
    stage, folder = _find_stage(chosen.stage)
    order = "worst" if chosen.worst else "best" if chosen.best else ""
    limit = chosen.limit
    if limit is None and (order or chosen.group is None):
        limit = _SHOWN
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit} shows nothing; give at least 1")
    if damage := damage_of(folder):
        complain(f"warning: stage {stage} is damaged: {damage}; this is what is left")
    collection = read(folder, stage, chosen.step)
    groups = choose(collection, Selection(order, chosen.group, chosen.kind, limit))
    show(output(), collection, groups, whole=chosen.group is not None)
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
    folders = {entry.stage: _folder(run, entry) for entry in read_run(run)}
    if path.name not in folders:
        raise InputError(f"{run} has no stage {path.name!r}; {_offer(run)}")
    folder = folders[path.name]
    if not has_samples(folder):
        raise InputError(f"stage {path.name} has sampled nothing{'' if folder.exists() else ' yet'}; {_offer(run)}")
    return path.name, folder


def _folder(run: Path, entry: Entry) -> Path:
    finished = run / entry.folder
    return finished if entry.finished else unfinished_folder(finished.parent, entry.stage, entry.hash)


def _offer(run: Path) -> str:
    names = [entry.stage for entry in read_run(run) if has_samples(_folder(run, entry))]
    return f"stages with samples are {', '.join(names)}" if names else "no stage of it has sampled anything so far"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning show",
        description="Shows completions that a stage sampled: question, right answer, each reply with its total reward, "
        "every reward, advantage, length and log-probability. Works for stages that learn from their own samples, for "
        "collecting and for evaluating ones, also while they are at work.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", metavar="RUN/STAGE", help="the --out of a run and the name of a stage")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--worst", action="store_true", help="the completions with the lowest rewards")
    order.add_argument("--best", action="store_true", help="the completions with the highest rewards")
    parser.add_argument("--group", type=int, metavar="N", help="one group (one question), its replies in full")
    parser.add_argument("--step", type=int, metavar="N", help="a step (default: the last)")
    parser.add_argument("--kind", metavar="K", default="", help="problems of this kind only")
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many completions (default: 16)")
    return parser
