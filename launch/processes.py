"""Processes that live and die together, whoever starts them: what every launcher needs on the machine it runs on."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

_POLL_SECONDS = 0.05
_LAST_LINES = 10
_FRAME = re.compile(r"\s*@ +0x")
"""Stack frames of a library that aborts; they would push out the reason, which comes before them."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl.h


@dataclass(frozen=True)
class Process:
    """One process to start: ``label`` prefixes its output, ``environment`` is added to the launcher's own.

    ``host`` is told of a process that fails or stands still, where a job has several.
    """

    label: str
    command: tuple[str, ...]
    environment: dict[str, str]
    host: str = ""

    @property
    def called(self) -> str:
        """The process in a sentence."""
        return f"process {self.label}" + (f" on {self.host}" if self.host else "")


def run_together(processes: Sequence[Process], grace: float) -> int:
    """Run all at once and return 0, or the exit code of the first that failed (128 + n for signal n).

    Each line of output, stdout and stderr alike, comes out as ``[label] line``. When one fails, the others get SIGTERM,
    and SIGKILL ``grace`` seconds later: peers of a dead process hang in their next collective. A SIGTERM or SIGINT
    to the launcher goes to every process and is waited for, as long as a checkpoint takes; a second one kills. On Linux
    processes die with the launcher, however it ends. Which process failed, and of what, or stands still, is said, with
    its own last lines.
    """
    received: list[int] = []
    previous = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _SIGNALS}
    children: list[subprocess.Popen[bytes]] = []
    try:
        for process in processes:
            children.append(_start(process))
        readers = [_read(process, child) for process, child in zip(processes, children, strict=True)]
        code = _wait(children, readers, received, grace)
        for reader in readers:
            reader.finish()
        return code
    finally:
        _signal(children, signal.SIGKILL)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _start(process: Process) -> subprocess.Popen[bytes]:
    # Loaded here: a process that has just forked should do as little as possible.
    control = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    # A group of its own: a terminal's Ctrl-C then reaches the process once, through the launcher.
    return subprocess.Popen(
        process.command,
        env=os.environ | process.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
        preexec_fn=control and partial(_die_with, os.getpid(), control),
    )


def _die_with(parent: int, control: Callable[[int, int], int]) -> None:
    """Asks the kernel to kill this process when its parent ends, also where that has just happened."""
    control(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class _Reader:
    """Who copies a process's output: its thread, and the last lines that it has seen."""

    process: Process
    thread: threading.Thread
    last: deque[str]

    def finish(self) -> None:
        """Waits for the rest of an ended process's output; a grandchild may still hold the pipe."""
        self.thread.join(timeout=1)


def _read(process: Process, child: subprocess.Popen[bytes]) -> _Reader:
    prefix = f"[{process.label}] ".encode()
    last: deque[str] = deque(maxlen=_LAST_LINES)

    def copy() -> None:
        assert child.stdout is not None
        with child.stdout as lines:  # Closed where our own reader is gone, so that the process ends instead of hanging.
            for line in lines:
                text = line.decode(errors="replace").rstrip("\n")
                if not _FRAME.match(text):
                    last.append(text)
                sys.stdout.buffer.write(prefix + line.rstrip(b"\n") + b"\n")
                sys.stdout.buffer.flush()

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return _Reader(process, thread, last)


def _wait(
    children: Sequence[subprocess.Popen[bytes]], readers: Sequence[_Reader], received: Sequence[int], grace: float
) -> int:
    """Watch until all have ended; pass signals on, and end the others after a failure that nobody asked for."""
    first_failure = 0
    forwarded = 0
    kill_at: float | None = None
    still: set[str] = set()
    while any([child.poll() is None for child in children]):
        failures = [child.returncode for child in children if child.returncode]
        still = _tell_stopped(children, readers, still)
        if failures and not first_failure:
            first_failure = failures[0]
            if not received:
                _tell_failure(children, readers, "the others are stopped")
                _signal(children, signal.SIGTERM)
                kill_at = time.monotonic() + grace
        if forwarded < len(received):
            _signal(children, received[forwarded] if forwarded == 0 else signal.SIGKILL)
            forwarded += 1
        if kill_at is not None and time.monotonic() > kill_at:
            _signal(children, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    failures = [child.returncode for child in children if child.returncode]
    if failures and not first_failure and not received:
        _tell_failure(children, readers, "none is left")
    code = first_failure or (failures[0] if failures else 0)
    return 128 - code if code < 0 else code


def _signal(children: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            if number == signal.SIGKILL:
                os.killpg(child.pid, number)  # With what it started: workers must not outlive it.
            else:
                child.send_signal(number)


def _tell_failure(children: Sequence[subprocess.Popen[bytes]], readers: Sequence[_Reader], rest: str) -> None:
    """Says which processes have failed, of what, and what they said last."""
    for child, reader in zip(children, readers, strict=True):
        code = child.returncode
        if code:
            what = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit status {code}"
            hint = " (as the kernel does where memory runs out)" if code == -signal.SIGKILL else ""
            reader.finish()
            _tell(f"{reader.process.called} {what}{hint}; {rest}{_last_lines(reader)}")


def _last_lines(reader: _Reader) -> str:
    last = list(reader.last)
    return "".join(["; its last lines:", *(f"\n  {line}" for line in last)]) if last else ""


def _tell_stopped(children: Sequence[subprocess.Popen[bytes]], readers: Sequence[_Reader], known: set[str]) -> set[str]:
    """Says which processes have come to stand still since the last look, and returns all that do."""
    now = {reader.process.label for child, reader in zip(children, readers, strict=True) if _is_stopped(child)}
    for child, reader in zip(children, readers, strict=True):
        if reader.process.label in now - known:
            goes = f"kill -CONT {child.pid} lets it go on"
            told = f"{reader.process.called} is stopped and the others wait for it; {goes}"
            _tell(told + _last_lines(reader))
    return now


def _is_stopped(child: subprocess.Popen[bytes]) -> bool:
    """Whether a process was stopped (SIGSTOP) and not told to go on; it stays waitable for others."""
    if child.returncode is not None:
        return False
    try:
        told = os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return told is not None and told.si_code in (os.CLD_STOPPED, os.CLD_TRAPPED)


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"


def _tell(news: str) -> None:
    sys.stderr.write(f"{news}\n")
    sys.stderr.flush()
