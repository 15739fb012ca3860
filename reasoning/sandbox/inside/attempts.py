"""Tries everything that a sandbox must forbid, and tells what it could do all the same: harmlessly, for it might."""

import ctypes
import mmap
import os
import resource
import socket
from collections.abc import Callable, Sequence

_RESULT = 4
_KNOWN = 5
"""Descriptors from here on are nobody's."""
_MOST_DESCRIPTORS = 64
_NOBODY = 0x7FFFFFFF
"""A number that no process has: where the kernel looks for it, the call was not refused."""

_CALLS = {
    "trace another process": (101, 117, (16, _NOBODY, 0, 0)),
    "read another process's memory": (310, 270, (_NOBODY, 0, 0, 0, 0, 0)),
    "make a user namespace": (272, 97, (0x10000000,)),
    "enter a namespace": (308, 268, (0, 0)),
    "mount": (165, 40, (0, 0, 0, 0, 0)),
    "change the root": (161, 51, (0,)),
    "load a kernel program": (321, 280, (0, 0, 0)),
    "watch the processor": (298, 241, (0, 0, -1, -1, 0)),
    "handle page faults": (323, 282, (0,)),
    "set up an io_uring": (425, 425, (1, 0)),
    "use the kernel's keys": (250, 219, (0, -3, 0, 0, 0)),
    "make memory that no limit counts": (319, 279, (0, 0)),
    "share memory by number": (29, 194, (0x7EA50, 4096, 0)),
    "name a process by a descriptor": (434, 434, (_NOBODY, 0)),
    "change the personality": (135, 92, (0xFFFFFFFF,)),
    "become root": (105, 146, (0,)),
    "start a process by clone": (56, 220, (17, 0, 0, 0, 0)),
    "start a process by clone3": (435, 435, (0, 0)),
}
"""System calls by what they are for: numbers on x86_64 and aarch64, and arguments with which they change nothing."""

_NOT_THERE = 38
_REFUSED = (1, 13, _NOT_THERE)


def run(
    own: str, secrets: Sequence[str], folders: Sequence[str], processes: Sequence[int], port: int, most: int
) -> None:
    """Writes the names of all attempts that succeeded to descriptor 4, a line each, then ``done``.

    ``own`` is a file made for this, the only one that is changed; ``secrets`` are others to be opened, ``folders``
    some to write in, ``processes`` some to be signalled, ``port`` one to connect to, ``most`` the bytes of memory that
    may not be had. Whatever succeeds does no harm: what is written is removed, signals are the empty one.
    """
    attempts: dict[str, Callable[[], object]] = {
        "start a process by fork": _fork,
        "start a program": lambda: os.posix_spawn("/usr/bin/true", ["true"], {}),
        "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", port)),
        "open a local socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "list processes": lambda: os.listdir("/proc"),
        "signal everybody": lambda: os.kill(-1, 0),
        "change a file's mode": lambda: os.chmod(own, 0o600),
        "change a file's owner": lambda: os.chown(own, -1, -1),
        "raise a limit": lambda: resource.setrlimit(
            resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        ),
        "use more memory than the limit": lambda: mmap.mmap(-1, most),
        "write in the interpreter": lambda: _write(os.path.dirname(os.__file__)),
    }
    attempts |= {f"read {path}": lambda path=path: _open(path, os.O_RDONLY) for path in [own, *secrets]}
    attempts |= {f"change {path}": lambda path=path: _open(path, os.O_WRONLY) for path in [own, *secrets]}
    attempts |= {f"write in {path}": lambda path=path: _write(path) for path in folders}
    attempts |= {f"signal process {pid}": lambda pid=pid: os.kill(pid, 0) for pid in processes if pid != os.getpid()}
    attempts |= {f"inherit descriptor {number}": lambda number=number: os.fstat(number) for number in _others()}
    held = [name for name, attempt in attempts.items() if _succeeds(attempt)]
    held += [name for name, (x86, arm, arguments) in _CALLS.items() if _called(x86, arm, arguments)]
    os.write(_RESULT, "".join(f"{name}\n" for name in [*held, "done"]).encode())


def _open(path: str, mode: int) -> None:
    os.close(os.open(path, mode))


def _write(folder: str) -> None:
    """Makes a file that was not there, and removes it."""
    path = os.path.join(folder, f"reasoning-proof-{os.getpid()}-{os.urandom(8).hex()}")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _others() -> range:
    return range(_KNOWN, _MOST_DESCRIPTORS)


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, ValueError, MemoryError):
        return False
    return True


def _called(x86: int, arm: int, arguments: Sequence[int]) -> bool:
    """Whether a system call gets past the filter: any answer but a refusal means that the kernel looked at it."""
    library = ctypes.CDLL(None, use_errno=True)
    number = arm if os.uname().machine == "aarch64" else x86
    result = library.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result == 0 and number in (56, 220):
        os._exit(0)
    return result >= 0 or ctypes.get_errno() not in _REFUSED
