"""Rounds of runs with a copy in an object store, whose machine is gone for good.

The store, ``python -m faults.stores N SCHEME``, is a real server of ``s3`` or ``gs`` on loopback that answers every Nth
request with 503.
"""

import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from object_server import serving

from faults.cases import Case
from faults.round import Result, Round
from faults.world import PATIENCE, World, ended
from reasoning.report.console import say

_EVERY = 9
_COPYING = 3.0
"""Seconds that the copying takes at the end, about."""


@contextmanager
def _store(world: World, every: int, scheme: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A store in a process of its own: an empty bucket's address, and the variables by which clients find it."""
    server = world.start(["faults.stores", str(every), scheme], anew=False)
    give_up = time.monotonic() + PATIENCE
    while b"\n" not in server.printed[0]:
        if server.wait(0.1) or time.monotonic() > give_up:
            raise RuntimeError(f"no store: {bytes(server.printed[1])[-1000:]}")
    try:
        yield json.loads(server.printed[0])
    finally:
        server.kill()
        server.wait(PATIENCE)


def lost_machine(world: World, case: Case, folder: Path) -> Result:
    """A run with ``--store`` is killed, its folder is gone, and the same command goes on elsewhere; so does a third."""
    round = Round(world, case, folder, case.stage, Result(""), world.cache)
    round.out = world.fresh(folder, round.stage)
    with _store(world, _EVERY * (case.number % 2), ("s3", "gs")[case.number // 2 % 2]) as (bucket, variables):
        round.more, round.variables = ("--store", f"{bucket}/run"), variables
        process = round.begin(None)
        time.sleep(case.moment * (world.seconds.get(round.stage, 1.0) + _COPYING))
        process.kill()
        end = ended(process)
        round.note(end)
        round.result.met = end.code == -signal.SIGKILL
        round.result.where = f"{bucket} at {case.moment:.0%}{', a store that fails' if case.number % 2 else ''}"
        shutil.rmtree(round.out)
        round.out = world.fresh(folder, round.stage)
        round.complete()
        shutil.rmtree(round.out)  # All that is needed now lies in the store.
        end = ended(round.begin(None))
        round.note(end)
        copied = re.search(rf"{round.stage}-\w+: finished, from {bucket}/run", end.out + end.error)
        if end.code != 0 or not copied:
            round.result.broken.append(f"a third machine found no copy ({end.code}): {(end.out + end.error)[-300:]}")
        round.result.broken += [f"differs elsewhere: {name}" for name in world.differences(round.out, round.stages)[:5]]
    return round.result


def main(words: Sequence[str]) -> int:
    """Serves until it is killed, and says where."""
    every, scheme = words
    with serving(scheme) as server:
        say(json.dumps([server.make_bucket("faults"), dict(server.variables)]))
        sys.stdout.flush()
        server.every = int(every)
        while True:
            time.sleep(60)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
