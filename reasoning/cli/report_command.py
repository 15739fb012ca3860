"""``reasoning report``: what a run has found so far, from its artifacts alone."""

import argparse
from collections.abc import Sequence

from reasoning.cli.progress import output
from reasoning.pipeline.folder import open_run
from reasoning.report.terminal import show


def main(arguments: Sequence[str]) -> int:
    """Prints the report and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="reasoning report",
        description="Shows a run's stages, its evaluations with 95 % intervals, and three held-out problems with the "
        "replies of several checkpoints side by side.",
    )
    parser.add_argument("folder", help="the --out of a run")
    parser.add_argument(
        "--compare", metavar="A,B", default="", help="whose replies are shown (default: the first two and the last)"
    )
    chosen = parser.parse_args(arguments)
    names = tuple(name.strip() for name in chosen.compare.split(",") if name.strip())
    show(output(), open_run(chosen.folder).artifacts(), names)
    return 0
