"""``reasoning report``: what a run has found so far, from its artifacts alone, on the terminal and as files."""

import argparse
import errno
from collections.abc import Sequence
from pathlib import Path

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.findings.facts import check_examined, gather
from reasoning.report.console import complain, put
from reasoning.report.content import PAGE, TEXT, write
from reasoning.report.terminal import show

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a folder that may only be read."""


def main(arguments: Sequence[str]) -> int:
    """Writes and prints the report and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="reasoning report",
        description="Shows what a run has found: a sentence a stage, its evaluations with 95 % intervals, and held-out "
        f"problems with the replies of several checkpoints side by side. Writes {PAGE} and {TEXT} into the run's "
        "folder, with everything else: the workflow as a graph, curves, differences, probe problems, settings. A run "
        "that hasn't finished is reported as far as it has come.",
    )
    parser.add_argument("folder", help="the --out of a run")
    parser.add_argument(
        "--compare",
        metavar="A,B",
        default="",
        help="whose replies are shown (default: the base, the first trained by rewards, and the last)",
    )
    chosen = parsed(parser.parse_args, arguments)
    try:
        report_run(Path(chosen.folder), split_names(chosen.compare))
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        complain(f"no page was written: {error.filename} can't be: {error.strerror}")
    return 0


def report_run(folder: Path, names: tuple[str, ...] = ()) -> None:
    """Prints a run's report, with the replies of the checkpoints ``names``, and then writes its files.

    Raises OSError that names the file where it can't be written.
    """
    console, facts = output(), gather(folder)
    check_examined(facts, names)
    show(console, facts, names)
    write(folder, facts, names)
    put(console, f"the whole report is in {folder / PAGE} (and {TEXT})")


def split_names(text: str) -> tuple[str, ...]:
    """The names in ``A, B``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
