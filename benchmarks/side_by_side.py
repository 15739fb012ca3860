"""What the benchmarks share: contestants run in turn, each in its own process, and ratios are taken within a round.

Machines drift, and what one contestant leaves in memory or caches must not help or hinder the next.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

Measured = dict
"""What a contestant's process prints as its last line: numbers (and whatever else) by name, as JSON."""


def rounds_of(script: str, contestants: Sequence[str], rounds: int, *arguments: str) -> list[dict[str, Measured]]:
    """Each round's results by contestant; ``script --one CONTESTANT ARGUMENTS`` measures one of them."""
    return rounds_in(dict.fromkeys(contestants, sys.executable), script, rounds, *arguments)


def rounds_in(pythons: Mapping[str, str], script: str, rounds: int, *arguments: str) -> list[dict[str, Measured]]:
    """As ``rounds_of``, each contestant by an interpreter of its own."""
    return [{name: _measured(pythons[name], script, name, arguments) for name in pythons} for _ in range(rounds)]


def interpreters(needs: Mapping[str, str], pythons: Sequence[str]) -> dict[str, str]:
    """For each contestant the first of ``pythons`` that has the module that it needs; those that none has are left out.

    An empty need is this project's own, which runs by this interpreter.
    """
    found = {name: sys.executable for name, module in needs.items() if not module}
    for python in pythons:
        asked = (
            f"import importlib.util as u; print(*[m for m in {sorted(set(needs.values()) - {''})} if u.find_spec(m)])"
        )
        there = subprocess.run([python, "-c", asked], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        for name, module in needs.items():
            if module in there:
                found.setdefault(name, python)
    return {name: found[name] for name in needs if name in found}


def _measured(python: str, script: str, contestant: str, arguments: Sequence[str]) -> Measured:
    command = [python, str(Path(script).resolve()), *arguments, "--one", contestant]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def median(rounds: list[dict[str, Measured]], contestant: str, key: str) -> float:
    """The middle of all rounds' values."""
    return statistics.median(one[contestant][key] for one in rounds)


def ratio(rounds: list[dict[str, Measured]], over: str, under: str, key: str) -> str:
    """One contestant's number by another's, round by round: the middle, and the range; nothing where one is missing."""
    found = [one[over][key] / one[under][key] for one in rounds if over in one and under in one]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})" if found else ""
