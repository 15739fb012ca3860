"""Which graders of code believe forged answers: ours, and those of other projects that an environment has.

    python benchmarks/forge_suite.py --python /path/to/an/environment/bin/python

No program of the suite computes what it is asked for; whoever gets a pass has forged it. A grader that can't run is
left out and named. The other graders run answers nearly unprotected, so they do so in bubblewrap here.
"""

import argparse
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

from attacks import Attack, asked, read_attacks
from other_graders import GRADERS, confined, is_forgery

from reasoning.sandbox.grading import Sandbox, grade
from reasoning.sandbox.records import Job, Limits

OURS = "reasoning"
LIMITS = Limits(cpu_seconds=1.0, wall_seconds=4.0, memory_mib=256)
LONGEST = 40
"""Seconds that one answer may take a grader, which allows its tests less."""


def forgeries() -> list[Attack]:
    """The programs of the suite that other graders have tests for."""
    return [attack for attack in read_attacks("forge_*") if is_forgery(attack)]


def ours(attacks: Sequence[Attack]) -> dict[str, bool]:
    """Who passes our grader."""
    jobs = [Job(attack.source, asked(attack, {}), attack.language, LIMITS) for attack in attacks]
    grades = grade(jobs, Sandbox())
    return {attack.name: one.verdict == "passed" for attack, one in zip(attacks, grades, strict=True)}


def theirs(name: str, python: str, attacks: Sequence[Attack]) -> dict[str, bool]:
    """Who passes another grader; an answer that ends the grader itself has not passed. Empty where it can't run."""
    word = secrets.token_hex(8)
    passed: dict[str, bool] = {}
    first = 0
    while first < len(attacks):
        command = confined(python, __file__, "--one", name, "--first", str(first), "--word", word)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        reached, started = first - 1, False
        told = done.stdout.decode("utf-8", "replace")
        for place, verdict in re.findall(rf"^{word}\[(-?\d+), (\w+)\]$", told, re.MULTILINE):
            reached, started = int(place), True
            if verdict != "null":
                passed[attacks[reached].name] = verdict == "true"
        if not started:
            return {}
        first = reached + 1 if done.returncode == 0 else reached + 2
    return passed


def one(name: str, first: int, word: str) -> None:
    """Prints a line for each answer from the ``first`` on: its place and whether it passes."""
    GRADERS[name]("def add(a, b): return a + b", "add-call")
    _tell(word, first - 1, None)
    for place, attack in list(enumerate(forgeries()))[first:]:
        signal.alarm(LONGEST)
        try:
            verdict = GRADERS[name](attack.source, attack.form)
        except Exception:
            verdict = False
        signal.alarm(0)
        _tell(word, place, verdict)


def _tell(word: str, place: int, verdict: bool | None) -> None:
    os.write(1, f"\n{word}{json.dumps([place, verdict])}\n".encode())


def lines(results: dict[str, dict[str, bool]]) -> Iterator[str]:
    """A line for each forgery that anybody believes, and the sums."""
    for attack in forgeries():
        believers = [name for name, passed in results.items() if passed.get(attack.name)]
        if believers:
            yield f"{attack.name:60} {', '.join(believers)}"
    yield ""
    for name, passed in results.items():
        told = f"{sum(passed.values())} of {len(passed)} forgeries pass" if passed else "can't run here"
        yield f"{name:16} {told}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of an environment with other graders")
    parser.add_argument("--one", choices=GRADERS, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--word", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return one(arguments.one, arguments.first, arguments.word)
    attacks = forgeries()
    results = {OURS: ours(attacks)}
    results |= {name: theirs(name, arguments.python, attacks) for name in GRADERS}
    print("\n".join(lines(results)))


if __name__ == "__main__":
    main()
