"""That a tier holds, shown by trying within it what it must forbid."""

import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from reasoning.sandbox.launching import Program, new_folder, packaged, python_command, sealed
from reasoning.sandbox.records import Limits
from reasoning.sandbox.running import Outcome, Slots, run
from reasoning.sandbox.tiers import Tier, TierName, find

_LIMITS = Limits(cpu_seconds=5.0, wall_seconds=30.0, memory_mib=256, output_kib=64, storage_mib=4)
_BRIEF = Limits(cpu_seconds=0.05, wall_seconds=30.0, memory_mib=256, output_kib=64, storage_mib=4)
_RESULT = 4
_SPIN = "while True: pass"
_FLOOD = "while True: print('flood' * 100)"
_STORE = """
try:
    with open("a", "wb") as file:
        for _ in range(8):
            file.write(bytes(1 << 20))
except OSError:
    raise SystemExit(7)
"""


async def holding(names: Sequence[TierName], bwrap: str) -> tuple[Tier | None, list[str]]:
    """The first of the tiers that is here and holds, and why each one before it does not."""
    reasons = []
    for name in names:
        tier = find(name, bwrap)
        if isinstance(tier, str):
            reasons.append(f"{name}: {tier}")
            continue
        faults = [] if name == "unsafe" else await faults_of(tier)
        if not faults:
            return tier, reasons
        reasons.append(f"{name} does not hold: {'; '.join(faults[:3])}")
    return None, reasons


async def faults_of(tier: Tier) -> list[str]:
    """What programs in a tier could do although it must forbid it; empty where the tier holds."""
    slots = Slots(tier)
    faults = await _attempted(slots)
    if faults:
        return faults
    limits = (
        ("CPU time", _SPIN, _BRIEF, lambda outcome: outcome.cause == "cpu"),
        ("output", _FLOOD, _LIMITS, lambda outcome: outcome.cause == "output"),
        ("storage", _STORE, _LIMITS, lambda outcome: outcome.cause == "storage" or outcome.code == 7),
    )
    for name, source, allowed, holds in limits:
        outcome = await _python(packaged("program", source), allowed, slots)
        if not holds(outcome):
            faults.append(f"the limit on {name} does not hold")
    return faults


async def _attempted(slots: Slots) -> list[str]:
    """Tries what ``inside.attempts`` lists."""
    folder = new_folder()
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            outcome = await _python(_package(folder, server.getsockname()[1]), _LIMITS, slots)
    finally:
        shutil.rmtree(folder)
    if outcome.fault:
        return [outcome.fault]
    *held, last = outcome.streams[_RESULT].decode("utf-8", "replace").splitlines() or [""]
    if last != "done":
        said = outcome.streams[2].decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        return [f"the attempts ended early: {said or outcome.cause or outcome.code}"]
    return [f"a program could {name}" for name in held]


def _package(folder: str, port: int) -> int:
    """The attempts, on a file and a folder that anybody may change and on those that nobody should."""
    own = Path(folder, "own")
    own.write_text("own", encoding="utf-8")
    own.chmod(0o666)
    os.chmod(folder, 0o777)
    source = str(Path(__file__).resolve())
    secrets = [source, "/etc/shadow", "/etc/passwd"]
    folders = [folder, os.path.dirname(source), "/", "/usr", "/etc", "/var/tmp", "/dev/shm", os.path.expanduser("~")]
    processes = [os.getpid(), os.getppid(), 1]
    return packaged("attempts", str(own), secrets, folders, processes, port, _LIMITS.memory_mib * 2**20)


async def _python(package: int, limits: Limits, slots: Slots) -> Outcome:
    given = sealed(b"")

    def program(outputs: Mapping[int, int]) -> Program:
        return Program(python_command(slots.tier.python), {0: given, 3: package, **outputs}, limits)

    outputs: dict[int, int] = dict.fromkeys((1, 2, _RESULT), limits.output_kib * 1024)
    return await run(program, outputs, slots, [given, package])
