import asyncio
import os
import time
from dataclasses import replace

import pytest

from reasoning.sandbox.bubblewrap import packaged as packaged_bubblewrap
from reasoning.sandbox.launching import Program, packaged, python_command, sealed
from reasoning.sandbox.records import Limits
from reasoning.sandbox.running import Outcome, Slots, run
from reasoning.sandbox.tiers import Tier, find

# The supervisor forks, and has no JAX; a test worker has, and its children start another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

LIMITS = Limits(cpu_seconds=0.5, wall_seconds=1.0, memory_mib=256, output_kib=64, storage_mib=2)
BUSY = replace(LIMITS, wall_seconds=60.0)
"""For programs that must end by something else, however busy the machine is."""


@pytest.fixture(params=["bubblewrap", "landlock"])
def slots(request) -> Slots:
    tier = find(request.param, packaged_bubblewrap())
    assert isinstance(tier, Tier)
    return Slots(tier)


def outcome(source: str, slots: Slots, limits: Limits = BUSY) -> Outcome:
    given, package = sealed(b""), packaged("program", source)

    def program(outputs):
        return Program(python_command(slots.tier.python), {0: given, 3: package, **outputs}, limits)

    return asyncio.run(run(program, {1: LIMITS.output_kib * 1024, 2: 1 << 16}, slots, [given, package]))


def children() -> list[str]:
    with open("/proc/thread-self/children") as file:
        return file.read().split()


@pytest.mark.parametrize(
    ("source", "cause", "code"),
    [
        ("print(1)", "", 0),
        ("raise SystemExit(3)", "", 3),
        ("import os; os.abort()", "", None),
        ("while True: pass", "cpu", None),
        ("import time; time.sleep(50)", "wall", None),
        (
            "import threading, time\nfor _ in range(9): threading.Thread(target=time.sleep, args=(50,)).start()",
            "wall",
            None,
        ),
        ("while True: print('x' * 999)", "output", None),
    ],
)
def test_a_program_ends_of_itself_or_by_its_limits_and_leaves_nothing(slots, source, cause, code):
    before, descriptors, begun = children(), len(os.listdir("/proc/self/fd")), time.monotonic()
    found = outcome(source, slots, LIMITS if cause == "wall" else BUSY)
    assert (found.cause, found.fault) == (cause, "")
    assert code is None or found.code == code
    assert code is not None or found.code != 0
    assert children() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
    if cause == "wall":
        assert time.monotonic() - begun >= LIMITS.wall_seconds


def test_cpu_time_of_threads_counts(slots):
    source = "import hashlib, threading\ndef spin():\n  while True: hashlib.sha256(bytes(1 << 20))\n"
    found = outcome(source + "for _ in range(3): threading.Thread(target=spin).start()", slots)
    assert found.cause == "cpu"
    assert found.cpu_seconds >= LIMITS.cpu_seconds


def test_a_program_that_can_not_be_started_is_no_fault_of_its_own(slots):
    given = sealed(b"")
    program = run(
        lambda outputs: Program(["/no/such"], {0: given, **outputs}, LIMITS), {1: 10, 2: 1 << 16}, slots, [given]
    )
    assert asyncio.run(program).fault


def test_a_descriptor_of_a_process_that_never_started_is_closed(slots, monkeypatch):
    def fails(*_):
        raise OSError("no more processes")

    monkeypatch.setattr("reasoning.sandbox.tiers.start", fails)
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no more processes"):
        outcome("print(1)", slots)
    assert len(os.listdir("/proc/self/fd")) == descriptors
