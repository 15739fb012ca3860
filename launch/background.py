"""Processes of this machine that outlive the command that began them: a record of each, by which it is found again.

A process's number may be used again once it has ended, so a record also says when the process began, and of which boot.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_POLL_SECONDS = 0.1


def begin(record: Path, log: Path, command: Sequence[str]) -> None:
    """Starts a command that this terminal's end doesn't end; what it says is added to a log."""
    opened = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), opened, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # A session of its own: Ctrl-C and a closed terminal pass it by.
    pid = os.posix_spawnp(command[0], list(command), os.environ, file_actions=streams, setsid=True)
    remember(record, pid, log)


def remember(record: Path, pid: int, log: Path | None) -> None:
    """Records a process that is running; ``log`` is None where a terminal has what it says."""
    kept = {"pid": pid, "began": _began(pid), "log": None if log is None else str(log.resolve())}
    _write(record, kept)


def remember_end(record: Path, code: int) -> None:
    """Adds the exit status with which the recorded process is about to end."""
    _write(record, json.loads(record.read_text(encoding="utf-8")) | {"code": code})


def state(record: Path) -> str:
    """In a few words, whether the recorded process runs and how it ended."""
    kept = json.loads(record.read_text(encoding="utf-8"))
    if _runs(kept):
        return f"running as process {kept['pid']}"
    return f"ended with exit status {kept['code']}" if "code" in kept else "ended"


def log_of(record: Path) -> str | None:
    """Where the recorded process's words go."""
    return json.loads(record.read_text(encoding="utf-8"))["log"]


def end(record: Path, patience: float, group: bool) -> bool:
    """Asks the recorded process to end, where it still runs, and waits so many seconds; whether it is gone.

    With ``group`` all that it has started in its session is asked too; else it looks after its own.
    """
    if not record.is_file():
        return True
    kept = json.loads(record.read_text(encoding="utf-8"))
    if not _runs(kept):
        return True
    (os.killpg if group else os.kill)(kept["pid"], signal.SIGTERM)
    limit = time.monotonic() + patience
    while _runs(kept) and time.monotonic() < limit:
        time.sleep(_POLL_SECONDS)
    return not _runs(kept)


def _runs(kept: dict[str, object]) -> bool:
    began = _began(int(str(kept["pid"])))
    return bool(began) and began == kept["began"]


def _began(pid: int) -> str:
    """When a process began, in this machine's own measure; empty if there is none, or one that has ended."""
    if sys.platform != "linux":
        words = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(words, capture_output=True, encoding="utf-8").stdout.strip()
    try:
        # The name, in parentheses, may hold anything; behind it are the state and, 19 further, the start (proc(5)).
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return "" if words[0] in "ZX" else f"{boot} {words[19]}"


def _write(record: Path, kept: dict[str, object]) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_name(f".{record.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, record)
