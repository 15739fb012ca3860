"""Processes that live and die together, whoever starts them: what every launcher needs on the machine it runs on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

_POLL_SECONDS = 0.05
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Process:
    """One process to start: ``label`` prefixes its output, ``environment`` is added to the launcher's own."""

    label: str
    command: tuple[str, ...]
    environment: dict[str, str]


def run_together(processes: Sequence[Process], grace: float) -> int:
    """Run all at once and return 0, or the exit code of the first that failed (128 + n for signal n).

    Each line of output, stdout and stderr alike, comes out as ``[label] line``. When one fails, the others get SIGTERM,
    and SIGKILL ``grace`` seconds later: peers of a dead process hang in their next collective. A SIGTERM or SIGINT
    to the launcher goes to every process and is waited for, as long as a checkpoint takes; a second one kills.
    """
    received: list[int] = []
    previous = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _SIGNALS}
    children: list[subprocess.Popen[bytes]] = []
    try:
        for process in processes:
            children.append(_start(process))
        readers = [_read(process.label, child) for process, child in zip(processes, children, strict=True)]
        code = _wait(children, received, grace)
        for reader in readers:
            reader.join(timeout=1)  # A grandchild may still hold the pipe.
        return code
    finally:
        _signal(children, signal.SIGKILL)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _start(process: Process) -> subprocess.Popen[bytes]:
    # A group of its own: a terminal's Ctrl-C then reaches the process once, through the launcher.
    return subprocess.Popen(
        process.command,
        env=os.environ | process.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )


def _read(label: str, child: subprocess.Popen[bytes]) -> threading.Thread:
    prefix = f"[{label}] ".encode()

    def copy() -> None:
        assert child.stdout is not None
        with child.stdout as lines:  # Closed where our own reader is gone, so that the process ends instead of hanging.
            for line in lines:
                sys.stdout.buffer.write(prefix + line.rstrip(b"\n") + b"\n")
                sys.stdout.buffer.flush()

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def _wait(children: Sequence[subprocess.Popen[bytes]], received: Sequence[int], grace: float) -> int:
    """Watch until all have ended; pass signals on, and end the others after a failure that nobody asked for."""
    first_failure = 0
    forwarded = 0
    kill_at: float | None = None
    while any([child.poll() is None for child in children]):
        failures = [child.returncode for child in children if child.returncode]
        if failures and not first_failure:
            first_failure = failures[0]
            if not received:
                _signal(children, signal.SIGTERM)
                kill_at = time.monotonic() + grace
        if forwarded < len(received):
            _signal(children, received[forwarded] if forwarded == 0 else signal.SIGKILL)
            forwarded += 1
        if kill_at is not None and time.monotonic() > kill_at:
            _signal(children, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    failures = [child.returncode for child in children if child.returncode]
    code = first_failure or (failures[0] if failures else 0)
    return 128 - code if code < 0 else code


def _signal(children: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            if number == signal.SIGKILL:
                os.killpg(child.pid, number)  # With what it started: workers must not outlive it.
            else:
                child.send_signal(number)
