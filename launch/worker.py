"""``python -m launch.worker``: one process of a job on the machine that it runs on, and what its end means.

0: done. 75: it has saved and wants to go on (it was asked to stop, or came back so). 2: bad input, which no repetition
mends. Any other failure is tried again here ``--retries`` times; the process finds its own checkpoints.
"""

import argparse
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from launch.processes import Process, run_together
from reasoning.cli.distributed import PROCESS_ID, PROCESSES
from reasoning.report.console import say

GO_ON = 75
"""The exit status (sysexits' EX_TEMPFAIL) of a job that has saved and wants to go on."""

_SAVED = (128 + signal.SIGTERM, 128 + signal.SIGINT, GO_ON)
_BAD_INPUT = 2
_GRACE = 15.0


def main(arguments: list[str] | None = None) -> int:
    """Runs a command until it is done, wants to go on elsewhere, or has failed for good; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m launch.worker", description="Runs one process of a job.")
    parser.add_argument("--retries", type=int, default=0, help="how often a failure is tried again here (default 0)")
    parser.add_argument("--take", action="append", default=[], help="results whose finished stages may be taken over")
    parser.add_argument("--out", required=True, help="the folder of the results")
    parser.add_argument("command", nargs="+", metavar="-- COMMAND", help="what to run")
    options = parser.parse_args(arguments)
    label = os.environ.get(PROCESS_ID, "0")
    if label == "0":
        for folder in options.take:
            take_finished(Path(folder), Path(options.out))
    if (total := os.environ.get(PROCESSES, "1")) != "1":
        say(f"process {label} of {total} is on {socket.gethostname()}")  # Peers that lose it know its number only.
    code = 1
    for _ in range(options.retries + 1):
        process = Process(label, tuple(options.command), {"PYTHONUNBUFFERED": "1"}, socket.gethostname())
        code = run_together([process], _GRACE)
        if code in _SAVED:
            return GO_ON
        if code in (0, _BAD_INPUT):
            break
    return code


def take_finished(earlier: Path, out: Path) -> list[str]:
    """Takes over finished artifacts of other results; the names of those that are new here.

    An artifact's name holds the hash of all that it was made of and exists only once it is whole, so taking one is safe
    while others write: a run uses it where it would have made the same. It appears here whole or not at all.
    """
    taken = []
    for found in sorted(earlier.glob("artifacts/*/artifact.json")):
        source, target = found.parent, out / "artifacts" / found.parent.name
        if target.exists() or source.name.startswith("."):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.parent / f".{target.name}.{os.getpid()}.partial"
        shutil.copytree(source, partial)
        os.rename(partial, target)
        taken.append(target.name)
    return taken


if __name__ == "__main__":
    sys.exit(main())
