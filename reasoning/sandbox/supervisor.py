"""The process that starts, watches and ends all others: small, so that it may fork, and alone in knowing the answers.

Started by ``grading`` as ``python -c``; talks in messages of ``wire`` on its standard input and output. The first says
which tiers may be used and how many jobs at a time; the reply which tier holds. Jobs and grades then go by number. Its
end, or that of its input, ends everything that it has started.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from reasoning.sandbox import kernel, wire
from reasoning.sandbox.judging import judge
from reasoning.sandbox.launching import remove_stale_folders
from reasoning.sandbox.proof import holding
from reasoning.sandbox.records import Grade
from reasoning.sandbox.running import Slots

_BEAT_SECONDS = 1.0


def main() -> None:
    """Serves until the standard input ends, then leaves at once: the kernel ends what still runs."""
    kernel.adopt_orphans()
    remove_stale_folders()
    try:
        asyncio.run(_serve())
    finally:
        os._exit(0)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 30)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", closefd=False))
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(1, "wb", closefd=False))
    first = await _message(reader)
    if first is None:
        return
    tier, reasons = await holding(first["tiers"], first["bwrap"])
    writer.write(wire.packed({"tier": tier.name if tier else "", "reasons": reasons}))
    if tier is None:
        await asyncio.sleep(_BEAT_SECONDS)
        return
    beating = asyncio.create_task(_beat(writer))
    slots, free = Slots(tier), asyncio.Semaphore(first["workers"])
    tasks: set[asyncio.Task[None]] = set()
    while message := await _message(reader):
        task = asyncio.create_task(_work(message, slots, free, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    beating.cancel()


async def _message(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    try:
        size = int.from_bytes(await reader.readexactly(wire.HEADER), "big")
        return json.loads(await reader.readexactly(size))
    except asyncio.IncompleteReadError:
        return None


async def _work(message: Mapping[str, Any], slots: Slots, free: asyncio.Semaphore, writer: Any) -> None:
    async with free:
        try:
            grade = await judge(wire.read_job(message["job"]), slots)
        except Exception as error:  # no process, no descriptor left, a fault of this code: never the program's
            grade = Grade("infrastructure", detail=f"{type(error).__name__}: {error}", tier=slots.tier.name)
    writer.write(wire.packed({"number": message["number"], "grade": asdict(grade)}))


async def _beat(writer: Any) -> None:
    """Tells the run now and then that this process is alive."""
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        writer.write(wire.packed({"beat": True}))


def command(folder: str) -> Sequence[str]:
    """The command that starts a supervisor, given the folder that holds the package."""
    program = f"import sys; sys.path.insert(0, {folder!r}); from reasoning.sandbox.supervisor import main; main()"
    return [sys.executable, "-I", "-S", "-c", program]
