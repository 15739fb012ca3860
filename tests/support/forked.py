"""Commands in processes of their own, forked from one that has imported everything and done nothing else.

Imports are most of what a small command costs. A fork has the words, folder, environment and streams that
``python -m WORDS`` would have, a process id to send signals to, and ends as Python ends (``faults.processes``). A test
worker, in which JAX is at work, can't be forked itself: it asks a server, started when it is first needed.
"""

import atexit
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

from faults.processes import Process, become, import_all, readers

ROOT = Path(__file__).resolve().parents[2]

_REQUEST = 1 << 17
"""Bytes that words and environment may take."""


class Forked(Process):
    """A command at work, or ended, that is no child of this process: the server tells its end."""

    def __init__(self, told: socket.socket, streams: tuple[int, int]) -> None:
        self._told = told
        super().__init__(int(told.recv(_REQUEST)), streams)

    def communicate(self, timeout: float = 3600) -> tuple[str, str]:
        """What it printed, on stdout and on stderr, once it has ended. Raises TimeoutExpired."""
        if not self.wait(timeout):
            raise subprocess.TimeoutExpired(f"the command of process {self.pid}", timeout)
        out, error = (bytes(printed).decode() for printed in self.printed)
        return out, error

    def terminate(self) -> None:
        """Sends SIGTERM, unless it has ended."""
        self.send_signal(signal.SIGTERM)

    def _watched(self) -> int:
        return self._told.fileno()

    def _end(self) -> None:
        self.returncode = int(self._told.recv(_REQUEST))
        self._told.close()


def start(words: Sequence[str], environment: Mapping[str, str], folder: Path = ROOT, largest: int = 0) -> Forked:
    """``python -m WORDS`` in a folder, with this environment; no file may grow beyond ``largest`` bytes (0: any).

    Words that begin with ``-c`` are a program and its arguments.
    """
    pipes = os.pipe(), os.pipe()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = json.dumps([list(words), str(folder), dict(environment), largest]).encode()
    socket.send_fds(_server(), [request], [pipes[0][1], pipes[1][1], theirs.fileno()])
    theirs.close()
    return Forked(ours, readers(pipes))


def run(
    words: Sequence[str], environment: Mapping[str, str], timeout: float, folder: Path = ROOT, largest: int = 0
) -> "subprocess.CompletedProcess[str]":
    """The same to its end. Raises TimeoutExpired, and kills it first."""
    process = start(words, environment, folder, largest)
    try:
        out, error = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(list(words), process.returncode or 0, out, error)


@cache
def _server() -> socket.socket:
    """Where this process's server of forks takes requests; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "REASONING_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "forked", str(theirs.fileno())],
        cwd=ROOT,
        env=kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])},
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# -- the server --------------------------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    """Forks for each request, until nobody can ask any longer."""
    import_all()
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, _REQUEST, 3)
        if not request:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 sees the threads of libraries, which hold nothing yet.
            if not os.fork():
                control.close()
                _keep(*json.loads(request), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _keep(
    words: list[str], folder: str, environment: dict[str, str], largest: int, out: int, error: int, told: int
) -> NoReturn:
    """Forks once more, into the command, and tells its id and how it ended."""
    pid = os.fork()
    if not pid:
        os.close(told)
        if largest:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        become(words, folder, environment, (out, error))
    for stream in (out, error):
        os.close(stream)
    os.write(told, str(pid).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):
        os.write(told, str(code).encode())
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
