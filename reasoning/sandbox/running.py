"""One process in the sandbox from its start to its last trace: what it wrote, what it used, and why it ended."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reasoning.sandbox import bubblewrap, landlock, tiers
from reasoning.sandbox.launching import Program, Started
from reasoning.sandbox.records import Limits
from reasoning.sandbox.tiers import Tier

_MOST_THREADS = 128
_FIRST_PAUSE = 0.03
_LONGEST_PAUSE = 0.1
_SHORTEST_PAUSE = 0.01
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Outcome:
    """How a process ended. ``cause`` says why the supervisor ended it, "" where it ended by itself.

    ``code`` is its exit code, negative for a signal; ``fault`` says why it never started. ``streams`` are what it
    wrote, by descriptor.
    """

    code: int
    cause: str
    fault: str
    cpu_seconds: float
    streams: dict[int, bytes]


@dataclass(frozen=True)
class Slots:
    """The tier that processes run in, the numbers of those that run, and of the children that were here before."""

    tier: Tier
    leaders: set[int] = field(default_factory=set)
    others: frozenset[int] = field(default_factory=lambda: frozenset(_children()))


@dataclass
class _Watched:
    """What is known so far of a process that runs: ``inner`` is a descriptor of the one that bubblewrap watches."""

    started: Started
    limits: Limits
    pipes: dict[int, int]
    most: dict[int, int]
    streams: dict[int, bytearray]
    status: bytearray = field(default_factory=bytearray)
    cause: str = ""
    cpu_seconds: float = 0.0
    pid: int = 0
    inner: int = -1


async def run(
    program_of: Callable[[dict[int, int]], Program], outputs: dict[int, int], slots: Slots, close: Sequence[int]
) -> Outcome:
    """Starts a program and waits for its end, within its limits; leaves no process and no file.

    ``outputs`` are the descriptors that it writes and how many bytes of each are allowed; ``program_of`` makes the
    program from the pipes' other ends. Descriptors in ``close`` are closed once it has started. Raises OSError where
    no process can be started.
    """
    watched = _start(program_of, outputs, slots, close)
    loop = asyncio.get_running_loop()
    for number, place in watched.pipes.items():
        loop.add_reader(place, _read, watched, number)
    try:
        await _until_end(watched, slots.tier)
        return _outcome(watched, slots.tier)
    finally:
        await _leave_nothing(watched, slots)


def _start(
    program_of: Callable[[dict[int, int]], Program], outputs: dict[int, int], slots: Slots, close: Sequence[int]
) -> _Watched:
    pipes = {number: os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) for number in outputs}
    try:
        for _, end in pipes.values():
            os.set_blocking(end, True)
        program = program_of({number: ends[1] for number, ends in pipes.items()})
        started = tiers.start(program, slots.tier)
    except BaseException:
        for end, _ in pipes.values():
            os.close(end)
        raise
    finally:
        for place in [*(ends[1] for ends in pipes.values()), *close]:
            os.close(place)
    slots.leaders.add(started.pid)
    os.set_blocking(started.status, False)
    streams = {number: bytearray() for number in pipes}
    return _Watched(started, program.limits, {number: ends[0] for number, ends in pipes.items()}, outputs, streams)


def _read(watched: _Watched, number: int) -> bool:
    """Takes what a pipe holds; False where it holds nothing more. Too much ends the process."""
    place = watched.pipes[number]
    try:
        part = os.read(place, _CHUNK)
    except BlockingIOError:
        return False
    if not part:
        asyncio.get_running_loop().remove_reader(place)
        return False
    stream = watched.streams[number]
    if len(stream) + len(part) > watched.most[number]:
        _end(watched, "output")
        return False
    stream += part
    return True


async def _until_end(watched: _Watched, tier: Tier) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(watched.started.watch, ended.set)
    begun = loop.time()
    pause = _FIRST_PAUSE
    while not ended.is_set():
        timer = loop.call_later(pause, ended.set)
        await ended.wait()
        timer.cancel()
        if os.waitid(os.P_PIDFD, watched.started.watch, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            ended.clear()
            pause = _checked(watched, tier, loop.time() - begun)
    loop.remove_reader(watched.started.watch)


def _checked(watched: _Watched, tier: Tier, wall: float) -> float:
    """Ends a process that is over its limits; how long until it may next be."""
    if watched.cause:
        _end(watched, watched.cause)
        return _SHORTEST_PAUSE
    if not watched.pid:
        _find(watched, tier)
    limits = watched.limits
    if watched.pid:
        watched.cpu_seconds = _cpu_seconds(watched.pid) or watched.cpu_seconds
    if watched.cpu_seconds > limits.cpu_seconds:
        _end(watched, "cpu")
    elif wall > limits.wall_seconds:
        _end(watched, "wall")
    elif watched.pid and _threads(watched.pid) > _MOST_THREADS:
        _end(watched, "threads")
    elif _stores_too_much(watched, tier):
        _end(watched, "storage")
    left = min((limits.cpu_seconds - watched.cpu_seconds) / (os.cpu_count() or 1), limits.wall_seconds - wall)
    longest = _SHORTEST_PAUSE if watched.started.folder else _LONGEST_PAUSE  # a disk fills up faster than a small tmpfs
    return min(longest, max(_SHORTEST_PAUSE, left))


def _stores_too_much(watched: _Watched, tier: Tier) -> bool:
    """Whether a program has stored more than it may by now, the bookkeeping of empty files and folders among it."""
    most = watched.limits.storage_mib * 2**20
    if watched.started.folder:
        return landlock.stored(watched.started.folder) > most
    return tier.name == "bubblewrap" and watched.pid > 0 and bubblewrap.stored(watched.pid, most) > most


def _find(watched: _Watched, tier: Tier) -> None:
    """Learns the number of the program's process, which bubblewrap tells once there is one."""
    if tier.name != "bubblewrap":
        watched.pid = watched.started.pid
        return
    _read_status(watched)
    pid = bubblewrap.inner(watched.status.decode("utf-8", "replace"))
    if pid:
        try:
            watched.inner = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        watched.pid = pid


def _cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process so far, by its clock; 0.0 once it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _threads(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[17])
    except (OSError, IndexError):
        return 0


def _read_status(watched: _Watched) -> None:
    try:
        while part := os.read(watched.started.status, 4096):
            watched.status += part
    except BlockingIOError:
        return


def _end(watched: _Watched, cause: str) -> None:
    """Kills a process for a cause. Bubblewrap, where it watches, then ends by itself, and tells what was used."""
    watched.cause = watched.cause or cause
    try:
        signal.pidfd_send_signal(watched.inner if watched.inner >= 0 else watched.started.watch, signal.SIGKILL)
    except ProcessLookupError:
        return


def _outcome(watched: _Watched, tier: Tier) -> Outcome:
    _, status, used = os.wait4(watched.started.pid, 0)
    for number in watched.pipes:  # nobody writes any more: what is left is in the pipes
        while _read(watched, number):
            continue
    _read_status(watched)
    code = os.waitstatus_to_exitcode(status)
    if tier.name == "bubblewrap" and code > 128:
        code = 128 - code
    told = watched.status.decode("utf-8", "replace")
    fault = "" if watched.cause else tiers.fault(told, tier)
    if not watched.cause and watched.started.folder and _stores_too_much(watched, tier):
        watched.cause = "storage"  # written in the moments between two looks
    cpu = max(used.ru_utime + used.ru_stime, watched.cpu_seconds)
    return Outcome(code, watched.cause, fault, cpu, {number: bytes(part) for number, part in watched.streams.items()})


async def _leave_nothing(watched: _Watched, slots: Slots) -> None:
    """Closes what was open, and ends and reaps whatever outlived its parent: it became a child of this process."""
    slots.leaders.discard(watched.started.pid)
    loop = asyncio.get_running_loop()
    for place in (*watched.pipes.values(), watched.started.watch):
        loop.remove_reader(place)
        os.close(place)
    for place in (watched.started.status, watched.inner):
        if place >= 0:
            os.close(place)
    while strays := _children() - slots.leaders - slots.others:
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        await asyncio.sleep(_SHORTEST_PAUSE / 10)
    if watched.started.folder:
        shutil.rmtree(watched.started.folder, ignore_errors=True)


def _children() -> set[int]:
    with open("/proc/thread-self/children", "rb") as file:
        return {int(number) for number in file.read().split()}
