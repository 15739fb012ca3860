"""``reasoning report``: what a run has found so far, from its artifacts alone, on the terminal and as files."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from reasoning.cli.progress import output
from reasoning.report.facts import gather
from reasoning.report.terminal import check, show
from reasoning.report.write import PAGE, TEXT, write


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
    chosen = parser.parse_args(arguments)
    names = tuple(name.strip() for name in chosen.compare.split(",") if name.strip())
    folder, console = Path(chosen.folder), output()
    facts = gather(folder)
    check(facts, names)
    write(folder, facts, names)
    show(console, facts, names)
    console.print(f"the whole report is in {folder / PAGE} (and {TEXT})", soft_wrap=True, markup=False, highlight=False)
    return 0
