"""The processes of the rounds: real ones, most of them forked from the runner, where everything is imported already.

A fork is what ``python -m`` becomes after its imports, which are most of what a small command costs: it has the same
words, environment, folder and streams, a process id of its own to be killed by, and ends as Python ends.
"""

import atexit
import fcntl
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import jax
from jax._src import xla_bridge

import launch
import reasoning

_SETTINGS = {
    "jax_platforms": str,
    "jax_num_cpu_devices": int,
    "jax_enable_x64": lambda told: bool(int(told)),
    "jax_compilation_cache_dir": str,
    "jax_persistent_cache_min_compile_time_secs": float,
    "jax_persistent_cache_enable_xla_caches": str,
}
"""What JAX reads from the environment when it is imported, and a fork must be told."""

_PIPE = 1 << 20
"""So much may be printed while nobody reads."""

_SOON = 30.0
"""Seconds within which the processes of a command that was killed are gone."""


@dataclass
class Process:
    """A command at work, or ended: ``returncode`` as ``subprocess`` has it, ``seconds`` of CPU time at the end."""

    pid: int
    streams: tuple[int, int]
    returncode: int | None = None
    seconds: float = 0.0
    printed: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()), repr=False)

    def __post_init__(self) -> None:
        self._descriptor = self._watched()
        self._open = dict(zip(self.streams, self.printed, strict=True))

    def wait(self, timeout: float) -> bool:
        """Waits so many seconds for the end, and reads what is printed; whether it has come."""
        give_up = time.monotonic() + timeout
        while self.returncode is None:
            left = max(0.0, give_up - time.monotonic())
            ready = select.select([self._descriptor, *self._open], [], [], left)[0]
            if self._descriptor in ready:
                self._end()
            self._read()
            if not ready:
                break
        if self.returncode is not None:
            for stream in list(self._open):  # Whoever outlives it may hold the other end.
                self._close(stream)
        return self.returncode is not None

    def _watched(self) -> int:
        return os.pidfd_open(self.pid)

    def _end(self) -> None:
        _, status, used = os.wait4(self.pid, 0)
        self.returncode, self.seconds = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        os.close(self._descriptor)

    def _read(self) -> None:
        for stream, printed in list(self._open.items()):
            with suppress(BlockingIOError):
                while piece := os.read(stream, _PIPE):
                    printed += piece
                self._close(stream)

    def _close(self, stream: int) -> None:
        del self._open[stream]
        os.close(stream)

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Sends SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def outliving(numbers: Iterable[int]) -> list[int]:
    """Which of some processes still live half a minute after the one that they belong to; they are killed."""
    give_up = time.monotonic() + _SOON
    while left := [number for number in numbers if _lives(number)]:
        if time.monotonic() > give_up:
            for number in left:
                os.kill(number, signal.SIGKILL)
            return left
        time.sleep(0.05)
    return []


def _lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def import_all() -> None:
    """Imports all that commands may import, without starting JAX."""
    for package in (reasoning, launch):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    gc.freeze()  # Else every fork looks through all of it for garbage, and copies it by that.


def can_fork() -> bool:
    """Whether this process can become a command: JAX, once started, doesn't survive a fork, and keeps its settings."""
    return jax.config.values["jax_num_cpu_devices"] < 0 and not xla_bridge.backends_are_initialized()


def start(words: Sequence[str], folder: str, environment: Mapping[str, str], anew: bool) -> Process:
    """``python -m WORDS`` in a folder, with this environment; ``anew`` where Python itself is to start too."""
    sys.stdout.flush()
    sys.stderr.flush()
    pipes = os.pipe(), os.pipe()
    writers = pipes[0][1], pipes[1][1]
    pid = _started_anew(words, folder, environment, writers) if anew else os.fork()
    if not pid:
        become(words, folder, environment, writers)
    return Process(pid, readers(pipes))


def readers(pipes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[int, int]:
    """This process's ends of the pipes to a process, which has the others."""
    for reader, writer in pipes:
        os.close(writer)
        os.set_blocking(reader, False)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _PIPE)
    return pipes[0][0], pipes[1][0]


def _started_anew(words: Sequence[str], folder: str, environment: Mapping[str, str], streams: tuple[int, int]) -> int:
    """The process id of Python itself. JAX, where it has started, objects to a fork that runs Python."""
    # A runner in the background may have been told to ignore SIGINT.
    command = ["env", "--default-signal=INT,TERM", sys.executable, "-m", *words]
    out, error = streams
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=error
    )
    process.returncode = 0  # It is waited for by its id.
    return process.pid


def become(words: Sequence[str], folder: str, environment: Mapping[str, str], streams: tuple[int, int]) -> NoReturn:
    """What a new process does, from the fork to its end: ``python -m WORDS`` in a folder, printing to ``streams``.

    The words may also be ``-c``, a program, and its arguments.
    """
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        sys.path[0] = folder
        # A runner in the background may have been told to ignore SIGINT.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(environment)
        for name, read in _SETTINGS.items():
            if told := environment.get(name.upper()):
                jax.config.update(name, read(told))
        code = _run(words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(words: Sequence[str]) -> int:
    """A module's main program, and all that Python does behind it; the exit status."""
    sys.argv = list(words)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    sys.modules.pop(words[0], None)  # Python warns of a main program that is imported already.
    code = 0
    try:
        if words[0] == "-c":
            sys.argv[:2] = ["-c"]
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(words[1], vars(main))
        else:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    vars(threading)["_shutdown"]()
    atexit._run_exitfuncs()
    return code
