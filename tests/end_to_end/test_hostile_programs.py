"""Hostile programs on every tier: none passes, none gets out, none outlives its limits, and nothing is left of any.

``tests/sandbox/hostile`` holds them. ``REASONING_REQUIRE_SANDBOX=1`` makes a tier that is missing here a failure.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from outside import Outside, left, needed, outside, traces

from benchmarks.attacks import Attack, asked, filled, read_attacks
from reasoning.sandbox.grading import Sandbox, grade
from reasoning.sandbox.records import Grade, Job, Limits, Stdio

LIMITS = Limits(cpu_seconds=2.0, wall_seconds=4.0, memory_mib=256, output_kib=256, storage_mib=8)
HANGING = replace(LIMITS, cpu_seconds=0.3, wall_seconds=0.6)
SLACK = 0.5
COMPILING = 60.0
REAPING = 2.0
NOT_PASSED = {"wrong", "crashed", "timed_out", "out_of_memory", "too_much_output", "compile_error", "refused"}
ATTACKS = read_attacks()
TIERS = ("bubblewrap", "landlock")
QUICK_HANGS = ("sleep", "spin", "stop_itself", "sleep_at_exit")
QUICK_CPP = ("include_a_file_outside", "fork_by_the_processors_own_call", "print_and_leave_before_main")
CONFINED = ("escape", "forks", "network", "processes", "signals")
"""Families that the second tier holds by means of its own; the rest is judged outside of both."""
FORGING = ("forge_calls", "forge_output")
EVERY = 8
"""What only forges verdicts is tried on the first tier, and on the second, with the same judges, one in so many."""


def is_slow(attack: Attack, tier: str) -> bool:
    """What waits for limits or for the compiler, but for a few; what the first tier or the other form shows as well."""
    if attack.hangs or attack.language == "cpp":
        return attack.name not in QUICK_HANGS + QUICK_CPP or tier != TIERS[0]
    return attack.form == "add-call" or (tier != TIERS[0] and attack.family not in CONFINED)


CASES = [
    pytest.param(
        tier,
        attack,
        id=f"{tier}-{attack.family}-{attack.name}",
        marks=[pytest.mark.slow] if is_slow(attack, tier) else [],
    )
    for tier in TIERS
    for number, attack in enumerate(ATTACKS)
    if tier == TIERS[0] or attack.family not in FORGING or number % EVERY == 0
]


@pytest.fixture(scope="session")
def place() -> Iterator[Outside]:
    with outside() as made:
        yield made


def graded(attack: Attack, sandbox: Sandbox, place: Outside) -> tuple[Grade, float]:
    """The grade of an attack, and how many seconds longer than its runs' limits it took."""
    limits = HANGING if attack.hangs else LIMITS
    job = Job(filled(attack.source, place.places), asked(attack, place.places), attack.language, limits)
    begun = time.monotonic()
    [found] = grade([job], sandbox)
    took = time.monotonic() - begun
    runs = max(1, found.wall_kills) + found.passed
    return found, took - runs * limits.wall_seconds - (COMPILING if attack.language == "cpp" else 0.0)


@pytest.mark.parametrize(("tier", "attack"), CASES)
def test_a_hostile_program_neither_passes_nor_gets_out_nor_stays(place: Outside, tier: str, attack: Attack):
    sandbox = needed(Sandbox(workers=1, tier=tier, remembered=0))
    before = left(0)
    found, late = graded(attack, sandbox, place)
    for _ in range(3):
        if late > SLACK:  # a machine that is busy may be late
            found, late = graded(attack, sandbox, place)
    assert found.verdict in NOT_PASSED, found
    assert attack.verdict in (None, found.verdict), found
    assert traces(place) == []
    assert left(REAPING, before) == {}
    assert late <= SLACK
    assert place.places["TOKEN"].strip('"') not in found.detail


def test_there_are_enough_hostile_programs_of_every_kind():
    """At least 120, and each has a name of its own."""
    names = {attack.name for attack in ATTACKS}
    assert len(names) == len(ATTACKS) >= 120
    assert sum(attack.language == "cpp" for attack in ATTACKS) >= 20


@pytest.mark.parametrize("tier", TIERS)
def test_a_program_finds_nothing_of_the_one_before_it(place: Outside, tier: str):
    """Whatever one leaves behind, in the folders that it may write to, is gone for the next."""
    sandbox = needed(Sandbox(workers=1, tier=tier, remembered=0))
    leaves = next(attack for attack in ATTACKS if attack.name == "poison_the_next_run")
    looks = "import os\nprint(sorted(os.listdir(os.getcwd())), os.path.exists('/tmp/json.py'))"
    finds = Job(looks, [Stdio("", "[] False")], limits=LIMITS)
    first, second = grade([Job(leaves.source, asked(leaves, place.places), limits=LIMITS), finds], sandbox)
    assert first.verdict in NOT_PASSED
    assert second.verdict == "passed", second
