"""Commands as users type them, what they told, and one that is killed at a change; for rounds of more than one run."""

import json
import signal
from collections.abc import Sequence
from pathlib import Path

from faults.cases import Case, chosen_event, sort_of
from faults.inside import Plan
from faults.round import Result
from faults.world import Ended, World, ended


def note(result: Result, end: Ended) -> None:
    """Keeps what a command told, and complains of what nobody should be shown."""
    result.told += [line[:300] for line in end.told()][:6]
    if "Traceback" in end.error:
        result.broken.append(f"a traceback: {end.error[-300:]}")
    if end.code is None:
        result.broken.append("hung")


def command(world: World, plan: Plan, *words: str) -> Ended:
    """A command, and what becomes of it under a plan."""
    return ended(world.start(["faults.inside", plan.words(), *words]))


def place_of(case: Case, events: Sequence[str]) -> tuple[str, int]:
    """Where a case's fault comes: the sort of change, and the how-manieth of it."""
    number = chosen_event(case, events)
    sort = sort_of(events[number - 1])
    return sort, sum(sort_of(event) == sort for event in events[:number])


def attacked(
    result: Result, world: World, case: Case, events: Sequence[str], watched: Path, words: Sequence[str], fault: str
) -> Ended:
    """A command that sends itself a signal at the case's place in what it changes."""
    sort, nth = place_of(case, events)
    end = command(world, Plan(str(watched), sort=sort, at=nth, fault=fault), *words)
    number = signal.Signals[fault]
    result.where, result.met = f"{sort} ({nth})", end.code in (-number, 128 + number)
    note(result, end)
    if not result.met and end.code != 0:
        result.broken.append(f"ended with {end.code}: {end.error[-300:]}")
    return end


def left_over(out: Path) -> list[str]:
    """What is broken where anything unfinished lies in a folder of which all work has ended."""
    return [f"left over: {path.relative_to(out)}" for path in out.rglob("*.partial*")]


def records(out: Path) -> dict[str, object]:
    """By artifact: its results and the hashes of its arrays and files."""
    found = {path.parent.name: json.loads(path.read_text()) for path in out.glob("artifacts/*/artifact.json")}
    return {name: (record["results"], record["array_hash"], record["files"]) for name, record in found.items()}
