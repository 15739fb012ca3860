"""``reasoning doctor``."""

import argparse
from collections.abc import Sequence

from reasoning.cli.doctor import doctor


def main(arguments: Sequence[str]) -> int:
    """Prints what this machine has and lacks, and returns the exit status: 0 where runs work here."""
    argparse.ArgumentParser(
        prog="reasoning doctor",
        description="Says what this machine has, what is missing and what for, and whether runs work here at all.",
    ).parse_args(arguments)
    return doctor()
