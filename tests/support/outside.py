"""What lies outside a sandbox, for hostile programs to find, and whether they did: files, sockets and a process."""

import ctypes
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.attacks import PROGRAMS
from reasoning.core.errors import InputError
from reasoning.sandbox.grading import Sandbox, isolation

NOBODY = 65534
SUBREAPER = 36
SEGMENT = 0x5EED
QUEUE = b"/sandbox_canary"
_SUPERVISOR = "sandbox.supervisor"
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Outside:
    """Where everything lies (``places``: what the programs' words between ``@`` stand for), and what it was like."""

    places: Mapping[str, str]
    folders: tuple[Path, ...]
    listeners: tuple[socket.socket, ...]
    process: subprocess.Popen
    before: tuple[object, ...]


@contextmanager
def outside() -> Iterator[Outside]:
    """Lays everything out, readable and writable by anybody, and makes this process the parent of all orphans."""
    assert LIBC.prctl(SUBREAPER, 1, 0, 0, 0) == 0
    token = os.urandom(16).hex()
    with ExitStack() as stack:
        folders = tuple(Path(stack.enter_context(_shared_folder(place))) for place in (None, "/var/tmp"))
        for folder in folders:
            secret = folder / "secret.txt"
            secret.write_text(f'"{token}"\n')
            secret.chmod(0o666)
        abstract = f"sandbox-{token}"
        listeners = tuple(stack.enter_context(made) for made in _listeners(folders[0], abstract))
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.getuid() == 0 else {}
        process = stack.enter_context(subprocess.Popen(["sleep", "3600"], **user))
        stack.callback(process.kill)
        places = {
            "TOKEN": f'"{token}"',
            "SECRET": str(folders[0] / "secret.txt"),
            "OTHER": str(folders[1] / "secret.txt"),
            "FOLDER": str(folders[0]),
            "TESTS": str(PROGRAMS),
            "PROCESS": str(process.pid),
            "PORT": str(listeners[0].getsockname()[1]),
            "ABSTRACT": abstract,
        }
        os.environ["SANDBOX_CANARY"] = places["TOKEN"]
        stack.callback(os.environ.pop, "SANDBOX_CANARY", None)
        yield Outside(places, folders, listeners, process, _state(folders, process.pid))


@contextmanager
def _shared_folder(place: str | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="outside", dir=place) as folder:
        os.chmod(folder, 0o777)
        yield folder


def _listeners(folder: Path, abstract: str) -> Iterator[socket.socket]:
    first = socket.create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    yield first
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", port))
    yield datagrams
    for name in (str(folder / "socket"), f"\0{abstract}"):
        made = socket.socket(socket.AF_UNIX)
        made.bind(name)
        made.listen()
        yield made
    os.chmod(folder / "socket", 0o777)


def _state(folders: tuple[Path, ...], process: int) -> tuple[object, ...]:
    files = [
        (path, path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_text() if path.is_file() else "")
        for folder in folders
        for path in sorted(folder.rglob("*"))
    ]
    return (files, os.sched_getaffinity(process), os.getpriority(os.PRIO_PROCESS, process), _process(process)[1])


def traces(place: Outside) -> list[str]:
    """What has been done to anything outside; nothing, where the sandbox held."""
    found = []
    for listener in place.listeners:
        listener.setblocking(False)
        try:
            came = listener.accept() if listener.type == socket.SOCK_STREAM else listener.recv(100)
            found.append(f"{listener.getsockname()!r} heard {came!r}")
        except BlockingIOError:
            pass
    if place.process.poll() is not None:
        return [*found, "the process outside is gone"]
    state = _state(place.folders, place.process.pid)
    found += [f"{was} became {now}" for was, now in zip(place.before, state, strict=True) if was != now]
    if any(line.split()[0] == str(SEGMENT) for line in Path("/proc/sysvipc/shm").read_text().splitlines()):
        found.append("a segment of shared memory stays")
    if LIBC.syscall(241, QUEUE) == 0:
        found.append("a queue of messages stays")
    return found


def _process(number: int) -> tuple[int, str]:
    """A process's parent, and ``stopped`` where it is."""
    state, parent = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[:2]
    return int(parent), "stopped" if state in "Tt" else "at work"


def descendants(of: int) -> dict[int, str]:
    """The commands of all processes below one, by number."""
    found: dict[int, str] = {}
    for children in Path(f"/proc/{of}/task").glob("*/children"):
        try:
            numbers = [int(number) for number in children.read_text().split()]
        except OSError:
            continue
        for number in numbers:
            found |= {number: _command(number)} | descendants(number)
    return found


def _command(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def supervisors() -> list[int]:
    """This process's supervisors of sandboxes."""
    below = descendants(os.getpid())
    return [number for number, command in below.items() if _SUPERVISOR in command]


def left(seconds: float, before: Collection[int] = ()) -> dict[int, str]:
    """Processes below this one that are no supervisors, once those have had some seconds to reap; not those ``before``.

    Orphans are among them: this process is the parent of whatever has lost its own.
    """
    until = time.monotonic() + seconds
    while True:
        below = descendants(os.getpid())
        found = {one: name for one, name in below.items() if one not in before and _SUPERVISOR not in name}
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.02)


def needed(sandbox: Sandbox) -> Sandbox:
    """The sandbox, where its tier holds here; where not, a skip, or with ``REASONING_REQUIRE_SANDBOX=1`` a failure."""
    try:
        isolation(sandbox)
    except InputError as error:
        if os.environ.get("REASONING_REQUIRE_SANDBOX") == "1":
            pytest.fail(f"REASONING_REQUIRE_SANDBOX=1 says that every isolation is here: {error}")
        pytest.skip(str(error))
    return sandbox
