"""Which fault comes in which round: drawn from a seed, so that a round can be told by two numbers and had again."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

SHARES = {
    "kill at a change": 26,
    "kill by the clock": 12,
    "SIGTERM": 5,
    "SIGINT": 3,
    "disk full": 7,
    "disk full inside a library": 5,
    "folder becomes read-only": 5,
    "clock jumps": 3,
    "stopped for a while": 2,
    "two runs in one folder": 2,
    "rot in a checkpoint": 7,
    "rot in what a stage starts from": 8,
    "rot in what a stage has done": 6,
    "rot in the run's own files": 3,
    "rot in the compilation cache": 3,
    "machine lost, with a copy in a store": 4,
    "kill in a sweep": 4,
    "SIGTERM while data is packed": 2,
    "two runs started at once": 2,
    "kill in a conversion": 3,
    "kill in an export": 3,
    "SIGTERM in a conversion": 2,
    "SIGTERM in an export": 2,
    "two conversions at once": 2,
    "worker killed": 2,
    "both workers killed": 2,
    "worker stopped": 2,
    "launcher killed": 2,
    "SIGTERM to the launcher": 2,
    "SIGTERM to a worker": 2,
    "kill of a command with jobs": 3,
    "kill of one of its processes": 3,
    "SIGTERM to a command with jobs": 2,
}
"""Every kind of fault, and how many of a hundred and more rounds it gets."""

_HASH = re.compile(r"(?<=-)[0-9a-f]{12}|[0-9a-f]{16,}|(?<=\.)[0-9a-f]{8}(?=\.partial)")
"""In the names of artifacts, of the storage library's files, and of folders in the making."""

WAYS = ("flip", "flip", "truncate", "delete", "zero")
"""What becomes of a file: one bit is another, its end is gone, it is gone, a page of it is zeros."""


@dataclass(frozen=True)
class Case:
    """One round: the fault, the stage that it meets, and two numbers in 0..1 that say where and when."""

    number: int
    kind: str
    stage: str
    place: float
    moment: float
    way: str


def draw(number: int, seed: int, stages: Sequence[str]) -> Case:
    """The case of a round. Each fault has its share of any hundred rounds in a row or so, and each stage of its rounds.

    Both are dealt from decks that are shuffled anew when they are used up.
    """
    deck = [kind for kind, share in SHARES.items() for _ in range(share)]
    kind = _dealt(deck, number, f"{seed}")
    earlier = sum(_dealt(deck, other, f"{seed}") == kind for other in range(number))
    stage = _dealt(list(stages), earlier, f"{seed}/{kind}")
    chance = random.Random(f"{seed}/{number}")
    return Case(number, kind, stage, chance.random(), chance.random(), chance.choice(WAYS))


def _dealt(deck: list[str], number: int, seed: str) -> str:
    return _shuffled(tuple(deck), f"{seed}/{number // len(deck)}")[number % len(deck)]


@cache
def _shuffled(deck: tuple[str, ...], seed: str) -> list[str]:
    return random.Random(seed).sample(deck, len(deck))


def chosen_event(case: Case, events: Sequence[str]) -> int:
    """The number (from 1) of the change at which a case's fault comes.

    What is changed is drawn first, then which of the changes of this sort, so that rare ones are met too.
    """
    sorts: Mapping[str, list[int]] = {}
    for number, event in enumerate(events, start=1):
        sorts.setdefault(sort_of(event), []).append(number)
    if not sorts:
        return 0
    names = sorted(sorts)
    numbers = sorts[names[int(case.place * len(names))]]
    return numbers[int(case.moment * len(numbers))]


def sort_of(event: str) -> str:
    """An event without numbers and names that change from one time to the next: ``fsync artifacts/…/manifest.json``."""
    what, _, path = event.partition(" ")
    parts = path.split("/")
    inner = parts[2:] if parts[0] == "artifacts" and len(parts) > 2 else parts[-1:]
    return f"{what} {'/'.join(re.sub(r'[0-9]+', '#', _HASH.sub('#', part)) for part in inner)}"
