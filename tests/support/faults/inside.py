"""``python -m faults.inside PLAN COMMAND …``: the real command, which meets its fault at one place in its own work.

Every change that it makes to the watched folder is one event: files opened for writing, renames, removals, new folders
and fsyncs, as Python tells of them (PEP 578). Nothing of the package is replaced but ``os.fsync``, of which Python
doesn't tell, and the clock, where it is to jump.
"""

import json
import os
import random
import resource
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults.cases import sort_of

_TOLD = {"os.rename": 1, "os.remove": 0, "os.rmdir": 0, "os.mkdir": 0, "os.truncate": 0}
"""Which argument of an event is the path that it is about."""

_JUMP_SECONDS = 10 * 24 * 3600


@dataclass(frozen=True)
class Plan:
    """What happens to a process that changes ``folder``.

    At event number ``at`` (from 1; 0: never) of the sort ``sort`` (``cases.sort_of``) comes ``fault``: the name of a
    signal to itself, or of an error, which all writing then meets. No file may grow beyond ``largest`` bytes (0: any
    size). With ``clock``, a seed, time jumps. ``log``: the file to which events are written, one a line.
    """

    folder: str
    sort: str = ""
    at: int = 0
    fault: str = ""
    largest: int = 0
    clock: int = 0
    log: str = ""

    def words(self) -> str:
        """As an argument."""
        return json.dumps(asdict(self))


class _Watch:
    """Counts events, and brings the fault at its place."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.count, self.met = plan, 0, False
        self.lock = threading.RLock()
        self.log = os.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if plan.log else None

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) if isinstance(flags, int) else "r" not in str(mode)
            if writes and isinstance(path, str | bytes | os.PathLike):
                self.event("write", os.fspath(path))
        elif event in _TOLD:
            path = arguments[_TOLD[event]]
            if isinstance(path, str | bytes | os.PathLike):
                self.event(event.removeprefix("os."), os.fspath(path))

    def event(self, what: str, path: str | bytes) -> None:
        path = os.path.abspath(os.fsdecode(path))
        if not path.startswith(self.plan.folder):
            return
        with self.lock:
            told = f"{what} {path.removeprefix(self.plan.folder).lstrip('/')}"
            self.count += sort_of(told) == self.plan.sort
            if self.log is not None:
                os.write(self.log, f"{told}\n".encode())
            if not self.plan.at or self.count < self.plan.at:
                return
            first, self.met = not self.met, True
        if self.plan.fault.startswith("SIG"):
            if first:
                os.kill(os.getpid(), signal.Signals[self.plan.fault])
        elif what in ("write", "mkdir", "fsync") or self.plan.fault == "EROFS":
            import errno

            number = getattr(errno, self.plan.fault)
            raise OSError(number, os.strerror(number), path)


def _watch_fsync(watch: _Watch) -> None:
    usual = os.fsync

    def fsync(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        watch.event("fsync", os.readlink(f"/proc/self/fd/{number}"))
        usual(descriptor)

    os.fsync = fsync


def _let_time_jump(seed: int) -> None:
    """Lets each thousandth look at the clock find another day, past or future."""
    chance, offset, usual, usual_ns = random.Random(seed), [0.0], time.time, time.time_ns

    def jump() -> float:
        if chance.random() < 0.001:
            offset[0] = chance.uniform(-_JUMP_SECONDS, _JUMP_SECONDS)
        return offset[0]

    offset[0] = chance.uniform(-_JUMP_SECONDS, _JUMP_SECONDS)
    time.time = lambda: usual() + jump()
    time.time_ns = lambda: usual_ns() + int(jump() * 1e9)


def main(words: list[str]) -> int:
    """Sets the fault up and becomes the command."""
    plan = Plan(**json.loads(words[0]))
    watch = _Watch(plan)
    _watch_fsync(watch)
    sys.addaudithook(watch.audit)
    if plan.largest:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan.largest, resource.RLIM_INFINITY))
    if plan.clock:
        _let_time_jump(plan.clock)
    # What reads the command line finds its own program there.
    sys.argv = [str(Path(sys.argv[0]).with_name("reasoning")), *words[1:]]
    from reasoning.cli.main import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
