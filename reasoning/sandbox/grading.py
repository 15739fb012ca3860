"""Programs graded, from within a run: jobs go to a supervisor of this process's own, and grades come back."""

import json
import os
import select
import subprocess
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.sandbox import wire
from reasoning.sandbox.bubblewrap import packaged
from reasoning.sandbox.records import Grade, Job
from reasoning.sandbox.supervisor import command
from reasoning.sandbox.tiers import TierName, compiler

_SILENT_SECONDS = 60.0
_START_SECONDS = 120.0
_WAITING = 4
"""Jobs that wait in the supervisor for each worker: more stay here, so that no pipe and no memory fills up."""
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Sandbox:
    """Where programs run: how many at a time (0: one a core), and how they are confined.

    ``tier`` demands one isolation ("": the first of bubblewrap and landlock that holds here). ``unsafe`` runs programs
    under plain limits, with all rights of whoever runs this: only for programs that are trusted. ``remembered`` is
    how many grades are kept, by content, to be given again.
    """

    workers: int = 0
    unsafe: bool = False
    tier: str = ""
    remembered: int = 10_000

    def tiers(self) -> list[TierName]:
        """The tiers that these settings allow, the best first."""
        if self.unsafe:
            return ["unsafe"]
        both: dict[str, TierName] = {"bubblewrap": "bubblewrap", "landlock": "landlock"}
        if self.tier and self.tier not in both:
            raise InputError(f"no isolation is called {self.tier!r}; tier is one of {', '.join(both)}, or empty")
        return [both[self.tier]] if self.tier else [*both.values()]


@dataclass
class _Pool:
    """A supervisor, or none yet, and the grades that are remembered."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    process: subprocess.Popen[bytes] | None = None
    send: int = -1
    receive: int = -1
    tier: str = ""
    grades: OrderedDict[bytes, Grade] = field(default_factory=OrderedDict)
    unread: bytearray = field(default_factory=bytearray)


class _SupervisorEndedError(Exception):
    """The supervisor is gone or silent."""


def grade(jobs: Sequence[Job], sandbox: Sandbox) -> list[Grade]:
    """The grade of each job, in order. Equal jobs are run once, and remembered.

    A supervisor that dies is started anew, and what it had not graded is tried once more, then ``infrastructure``.
    Raises InputError where no isolation holds, and where C++ is to be graded and there is no compiler.
    """
    if any(job.language == "cpp" for job in jobs) and not compiler():
        raise InputError("programs in C++ are to be graded and g++ is missing; install it (apt-get install g++)")
    messages = [json.dumps(wire.job_message(job), sort_keys=True).encode() for job in jobs]
    pool = _pool(os.getpid(), sandbox)
    with pool.lock:
        todo = dict.fromkeys(message for message in messages if message not in pool.grades)
        done = {message: pool.grades[message] for message in messages if message in pool.grades}
        fresh = _graded(pool, sandbox, list(todo))
        for message, found in fresh.items():
            if found.verdict != "infrastructure" and not found.wall_kills:
                pool.grades[message] = found
        while len(pool.grades) > sandbox.remembered:
            pool.grades.popitem(last=False)
    done |= fresh
    return [done[message] for message in messages]


def isolation(sandbox: Sandbox) -> str:
    """The tier that programs run in here. Starts the supervisor; raises InputError where none holds."""
    pool = _pool(os.getpid(), sandbox)
    with pool.lock:
        _start(pool, sandbox)
        return pool.tier


@cache
def _pool(process: int, sandbox: Sandbox) -> _Pool:
    return _Pool()


def _graded(pool: _Pool, sandbox: Sandbox, messages: Sequence[bytes]) -> dict[bytes, Grade]:
    grades: dict[bytes, Grade] = {}
    for _ in range(2):
        left = [message for message in messages if message not in grades]
        if not left:
            return grades
        try:
            _exchange(pool, sandbox, left, grades)
        except (_SupervisorEndedError, BrokenPipeError):
            _stop(pool)
        except BaseException:  # an interrupt, say: grades that still come would be taken for later jobs'
            _stop(pool)
            raise
    lost = Grade("infrastructure", detail="the supervisor of the sandbox ended twice", tier=pool.tier)
    return {message: grades.get(message, lost) for message in messages}


def _exchange(pool: _Pool, sandbox: Sandbox, messages: Sequence[bytes], grades: dict[bytes, Grade]) -> None:
    """Sends messages as fast as grades come back, and files the grades."""
    _start(pool, sandbox)
    most = _WAITING * _workers(sandbox)
    sent = received = 0
    while received < len(messages):
        while sent < len(messages) and sent - received < most:
            _send(pool, {"number": sent, "job": json.loads(messages[sent])})
            sent += 1
        reply = _receive(pool, _SILENT_SECONDS)
        if "grade" in reply:
            grades[messages[reply["number"]]] = Grade(**reply["grade"])
            received += 1


def _workers(sandbox: Sandbox) -> int:
    return sandbox.workers or len(os.sched_getaffinity(0))


def _start(pool: _Pool, sandbox: Sandbox) -> None:
    """Starts a supervisor where none runs, and learns which tier holds."""
    if pool.process is not None and pool.process.poll() is None:
        return
    _stop(pool)
    folder = str(Path(__file__).resolve().parents[2])
    given, pool.send = os.pipe()
    pool.receive, told = os.pipe()
    pool.process = subprocess.Popen(command(folder), stdin=given, stdout=told, start_new_session=True, cwd="/")
    os.close(given)
    os.close(told)
    _send(pool, {"tiers": sandbox.tiers(), "workers": _workers(sandbox), "bwrap": packaged()})
    reply = _receive(pool, _START_SECONDS)
    pool.tier = reply["tier"]
    if not pool.tier:
        _stop(pool)
        raise InputError(
            f"no sandbox holds here, so programs can't be run: {'; '.join(reply['reasons'])}. Install bubblewrap where "
            "user namespaces are allowed, or use a kernel with Landlock; unsafe = True runs programs that you trust "
            "under plain limits"
        )


def _send(pool: _Pool, message: Any) -> None:
    data = memoryview(wire.packed(message))
    while data:
        data = data[os.write(pool.send, data) :]


def _receive(pool: _Pool, seconds: float) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while True:
        whole = wire.HEADER + int.from_bytes(pool.unread[: wire.HEADER], "big")
        if len(pool.unread) > wire.HEADER and len(pool.unread) >= whole:
            message = json.loads(bytes(pool.unread[wire.HEADER : whole]))
            del pool.unread[:whole]
            return message
        ready, _, _ = select.select([pool.receive], [], [], max(0.0, until - time.monotonic()))
        part = os.read(pool.receive, _CHUNK) if ready else b""
        if not part:
            raise _SupervisorEndedError
        pool.unread += part


def _stop(pool: _Pool) -> None:
    if pool.process is not None:
        pool.process.kill()
        pool.process.wait()
        os.close(pool.send)
        os.close(pool.receive)
    pool.process = None
    pool.unread.clear()
