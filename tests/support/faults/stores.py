"""Rounds of runs with a copy in an object store, whose machine is gone for good.

The store, ``python -m faults.stores N``, is a real S3 server on loopback that answers every Nth request with 503.
"""

import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from object_server import serving

from faults.cases import Case
from faults.round import Result, Round
from faults.world import PATIENCE, World, ended
from reasoning.report.console import say

_EVERY = 9
_COPYING = 3.0
"""Seconds that the copying takes at the end, about."""


@contextmanager
def _store(world: World, every: int) -> Iterator[dict[str, str]]:
    """A store with an empty bucket ``faults``, in a process of its own, and the variables by which clients find it."""
    server = world.start(["faults.stores", str(every)], anew=False)
    give_up = time.monotonic() + PATIENCE
    while b"\n" not in server.printed[0]:
        if server.wait(0.1) or time.monotonic() > give_up:
            raise RuntimeError(f"no store: {bytes(server.printed[1])[-1000:]}")
    address = server.printed[0].decode().strip()
    try:
        for _ in range(2):  # One of two may be the so-manieth.
            if urlopen(Request(f"{address}/faults", method="PUT")).status == 200:
                break
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        yield keys | {"AWS_ENDPOINT_URL": address}
    finally:
        server.kill()
        server.wait(PATIENCE)


def lost_machine(world: World, case: Case, folder: Path) -> Result:
    """A run with ``--store`` is killed, its folder is gone, and the same command goes on elsewhere; so does a third."""
    round = Round(world, case, folder, case.stage, Result(""), world.cache)
    round.out = world.fresh(folder, round.stage)
    with _store(world, _EVERY * (case.number % 2)) as variables:
        round.more, round.variables = ("--store", "s3://faults/run"), variables
        process = round.begin(None)
        time.sleep(case.moment * (world.seconds.get(round.stage, 1.0) + _COPYING))
        process.kill()
        end = ended(process)
        round.note(end)
        round.result.met = end.code == -signal.SIGKILL
        round.result.where = f"at {case.moment:.0%}{', a store that fails' if case.number % 2 else ''}"
        shutil.rmtree(round.out)
        round.out = world.fresh(folder, round.stage)
        round.complete()
        shutil.rmtree(round.out)  # All that is needed now lies in the store.
        end = ended(round.begin(None))
        round.note(end)
        copied = re.search(rf"{round.stage}-\w+: finished, from s3://faults/run", end.out + end.error)
        if end.code != 0 or not copied:
            round.result.broken.append(f"a third machine found no copy ({end.code}): {(end.out + end.error)[-300:]}")
        round.result.broken += [f"differs elsewhere: {name}" for name in world.differences(round.out, round.stages)[:5]]
    return round.result


def main(words: Sequence[str]) -> int:
    """Serves until it is killed, and says where."""
    with serving() as server:
        server.every = 0
        say(server.url)
        sys.stdout.flush()
        server.every = int(words[0])
        while True:
            time.sleep(60)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
