"""What the benchmarks share: contestants run in turn, each in its own process, and ratios are taken within a round.

Machines drift, and what one contestant leaves in memory or caches must not help or hinder the next.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

Measured = dict
"""What a contestant's process prints as its last line: numbers (and whatever else) by name, as JSON."""


def rounds_of(script: str, contestants: Sequence[str], rounds: int, *arguments: str) -> list[dict[str, Measured]]:
    """Each round's results by contestant; ``script --one CONTESTANT ARGUMENTS`` measures one of them."""
    return [{name: _measured(script, name, arguments) for name in contestants} for _ in range(rounds)]


def _measured(script: str, contestant: str, arguments: Sequence[str]) -> Measured:
    command = [sys.executable, str(Path(script).resolve()), *arguments, "--one", contestant]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def median(rounds: list[dict[str, Measured]], contestant: str, key: str) -> float:
    """The middle of all rounds' values."""
    return statistics.median(one[contestant][key] for one in rounds)


def ratio(rounds: list[dict[str, Measured]], over: str, under: str, key: str) -> str:
    """One contestant's number by another's, round by round: the middle, and the range; nothing where one is missing."""
    found = [one[over][key] / one[under][key] for one in rounds if over in one and under in one]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})" if found else ""
