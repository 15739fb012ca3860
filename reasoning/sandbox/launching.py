"""One process in a sandbox: what it is given, and how it starts, whichever tier confines it."""

import fcntl
import marshal
import math
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from reasoning.sandbox import kernel
from reasoning.sandbox.records import Limits

_MIB = 2**20
_STACK = 64 * _MIB
_OPEN_FILES = 64
_FOLDERS = "reasoning-sandbox-"
_STALE = 3600.0
ENTRY_BYTES = 4096
"""What a file or a folder counts for, beside its contents."""

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",
    "TMPDIR": ".",  # the working folder, wherever a tier puts it
    "MALLOC_ARENA_MAX": "1",  # an arena a thread would reserve 64 MiB of address space, which is limited
    "PYTHONHASHSEED": "0",  # the order of a set must not decide a verdict
}
_PYTHON = ("-P", "-s", "-S", "-B", "-X", "utf8", "-c")
# What the site module, which is left out, would have defined; and threads with the usual stack, of which the address
# space holds many more than of a main thread's.
_BOOTSTRAP = """\
import _sitebuiltins, _thread, builtins, marshal, sys
builtins.exit = builtins.quit = _sitebuiltins.Quitter("exit", "the end of input")
_thread.stack_size(8 << 20)
def start():
    with open(3, "rb") as package:
        modules, arguments = marshal.load(package)
    for name, code in modules:
        module = type(sys)(name)
        sys.modules[name] = module
        exec(code, module.__dict__)
    return module.run, arguments
run, arguments = start()
run(*arguments)
"""


@dataclass(frozen=True)
class Program:
    """What a process is: its command, its descriptors (number within: number here), its limits.

    ``file`` is a descriptor of an executable that ``command`` begins with, -1 for none. A ``compiler`` may start
    processes.
    """

    command: Sequence[str]
    descriptors: Mapping[int, int]
    limits: Limits
    file: int = -1
    compiler: bool = False


@dataclass(frozen=True)
class Started:
    """A process that has started: its number, a descriptor of it, one of how its start went, and its own folder."""

    pid: int
    watch: int
    status: int
    folder: str = ""


def packaged(module: str, *arguments: Any) -> int:
    """A descriptor of a module of ``inside`` with its arguments, for ``python_command``; sealed against changes."""
    return sealed(marshal.dumps((_modules(module), arguments)))


@cache
def _modules(module: str) -> list[tuple[str, Any]]:
    names = ["encoding", module] if module in ("call", "server") else [module]
    folder = resources.files("reasoning.sandbox.inside")
    texts = [(name, folder.joinpath(f"{name}.py").read_text(encoding="utf-8")) for name in names]
    return [(f"reasoning.sandbox.inside.{name}", compile(text, f"{name}.py", "exec")) for name, text in texts]


def python_command(python: str) -> list[str]:
    """The command that runs what ``packaged`` made, given to it as descriptor 3."""
    return [python, *_PYTHON, _BOOTSTRAP]


def sealed(content: bytes) -> int:
    """A descriptor of bytes in memory, at their beginning, that nobody can change."""
    place = os.memfd_create("given", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(place, view) :]
    os.lseek(place, 0, os.SEEK_SET)
    _seal(place)
    return place


def _seal(place: int) -> None:
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(place, fcntl.F_ADD_SEALS, seals)


def new_folder() -> str:
    """A working folder on this machine's disk, for tiers that have no file system of their own."""
    return tempfile.mkdtemp(prefix=f"{_FOLDERS}{os.getpid()}-")


def remove_stale_folders() -> None:
    """Removes working folders that supervisors left behind which were killed more than an hour ago."""
    for entry in os.scandir(tempfile.gettempdir()):
        if not entry.name.startswith(_FOLDERS):
            continue
        owner = entry.name.removeprefix(_FOLDERS).partition("-")[0]
        if not os.path.exists(f"/proc/{owner}") and time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE:
            shutil.rmtree(entry.path, ignore_errors=True)


def limits_of(limits: Limits) -> list[tuple[int, int]]:
    """Hard limits of the kernel for a process; the supervisor's own watch ends it before most of them."""
    return [
        (resource.RLIMIT_AS, limits.memory_mib * _MIB),
        (resource.RLIMIT_CPU, math.ceil(limits.cpu_seconds) + 1),
        (resource.RLIMIT_FSIZE, limits.storage_mib * _MIB),
        (resource.RLIMIT_STACK, min(_STACK, limits.memory_mib * _MIB // 4)),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ]


def forked(
    command: Sequence[str] | tuple[int, Sequence[str]],
    descriptors: Mapping[int, int],
    arrange: Callable[[], None],
    confine: Callable[[], None],
) -> Started:
    """Starts a command in a child with exactly these descriptors; a pair's first part is a descriptor to execute.

    The child arranges itself, has itself killed with its parent, and confines itself, in this order: giving up rights
    cancels the second, and the filter of system calls forbids it. What goes wrong before the command runs is written
    to ``status``. Nothing is waited for. Only for a process with one thread.
    """
    parent = os.getpid()
    status, told = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(command, descriptors, arrange, confine, parent, told)
    os.close(told)
    return Started(pid, os.pidfd_open(pid), status)


def _become(
    command: Any,
    descriptors: Mapping[int, int],
    arrange: Callable[[], None],
    confine: Callable[[], None],
    parent: int,
    told: int,
) -> None:
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would hand that on
            signal.signal(number, signal.SIG_DFL)
        kernel.close_all_at_exec()
        _placed(descriptors)
        arrange()
        kernel.die_with_parent(signal.SIGKILL, parent)
        confine()
        file, words = command if isinstance(command[0], int) else (command[0], command)
        os.execve(file, words, ENVIRONMENT)
    except BaseException as error:
        os.write(told, f"sandbox: {error!r}".encode())
    finally:
        os._exit(127)


def _placed(descriptors: Mapping[int, int]) -> None:
    """Gives this process's descriptors the numbers that a command expects; all others close at exec."""
    aside = {number: fcntl.fcntl(place, fcntl.F_DUPFD_CLOEXEC, 64) for number, place in descriptors.items()}
    for number, place in aside.items():
        os.dup2(place, number)
