"""What the benchmarks share: contestants run in turn, each in its own process, and ratios are taken within a round.

Machines drift, and what one contestant leaves in memory or caches must not help or hinder the next.
"""

import json
import statistics
import subprocess
import sys
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

Measured = dict
"""What a contestant's process prints as its last line: numbers (and whatever else) by name, as JSON."""


def arguments_of(doc: str | None, repeat: str, cases: Collection[str], needs: Mapping[str, str]) -> ArgumentParser:
    """What benchmarks beside peers are asked with; ``repeat`` is what the numbers of a case are the median of."""
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python", nargs="+", action="extend", default=[], help="interpreters that may have peers", metavar="PYTHON"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=cases, default=list(cases))
    parser.add_argument("--contestants", nargs="+", choices=needs, default=list(needs))
    parser.add_argument("--quick", action="store_true", help=f"one round of one {repeat}: does it run at all")
    parser.add_argument("--folder", type=Path, help=SUPPRESS)
    parser.add_argument("--one", choices=needs, help=SUPPRESS)
    return parser


def found(needs: Mapping[str, str], contestants: Sequence[str], pythons: Sequence[str]) -> dict[str, str]:
    """The interpreters of those ``contestants`` that can run; of the others it is told that they can't."""
    there = interpreters({name: needs[name] for name in contestants}, pythons)
    for name in set(contestants) - there.keys():
        print(f"{name}: no environment given has it")
    return there


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


def peak_mebibytes() -> float:
    """The most memory that this process had in use; ``ru_maxrss`` would also count its parent's when it was made."""
    [found] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(found.split()[1]) / 1024


def median(rounds: list[dict[str, Measured]], contestant: str, key: str) -> float:
    """The middle of all rounds' values."""
    return statistics.median(one[contestant][key] for one in rounds)


def ratio(rounds: list[dict[str, Measured]], over: str, under: str, key: str) -> str:
    """One contestant's number by another's, round by round: the middle, and the range; nothing where one is missing."""
    found = [one[over][key] / one[under][key] for one in rounds if over in one and under in one]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})" if found else ""
