"""Which isolation this machine offers: namespaces by bubblewrap, else Landlock, else, only where asked for, limits."""

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reasoning.sandbox import bubblewrap, kernel, landlock
from reasoning.sandbox.launching import Program, Started, forked, limits_of, new_folder

TierName = Literal["bubblewrap", "landlock", "unsafe"]

_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache")


@dataclass(frozen=True)
class Tier:
    """An isolation and what it needs: the interpreter, the paths that programs may read, the tool, its version."""

    name: TierName
    python: str
    readable: Sequence[str] = ()
    bwrap: str = ""
    landlock_version: int = 0


def find(name: TierName, bwrap: str) -> Tier | str:
    """The tier of this name as this machine has it, or why it has not. That it holds is for ``proof`` to say.

    ``bwrap`` is a bubblewrap beside the system's, the newer of which counts.
    """
    python = os.path.realpath(sys.executable)
    if platform.system() != "Linux":
        return f"{name} needs Linux, and this is {platform.system()}"
    if name == "unsafe":
        return Tier(name, python)
    readable = _readable(python)
    if name == "bubblewrap":
        newest = bubblewrap.newest(bwrap)
        return Tier(name, python, readable, newest) if newest else "bubblewrap 0.8 or newer is not installed"
    version = kernel.landlock_version()
    if not version:
        return "the kernel has no Landlock (Linux 5.13 or newer, with landlock among its security modules)"
    return Tier(name, python, readable, landlock_version=version)


def _readable(python: str) -> list[str]:
    """The system's programs and libraries and the interpreter's own, neither the project nor anybody's home."""
    paths = [path for path in _SYSTEM if os.path.lexists(path)]
    for path in (os.path.realpath(sys.base_prefix), python):
        if not any(path == known or path.startswith(f"{known}/") for known in paths):
            paths.append(path)
    return paths


def start(program: Program, tier: Tier) -> Started:
    """Starts a program in a tier."""
    if tier.name == "bubblewrap":
        return bubblewrap.start(program, tier.bwrap, tier.readable)
    if tier.name == "landlock":
        return landlock.start(program, tier.landlock_version, tier.readable)
    return _start_unsafe(program)


def fault(status: str, tier: Tier) -> str:
    """Why a process that has ended never ran its program, "" where it did, from what its start reported."""
    return bubblewrap.fault(status) if tier.name == "bubblewrap" else status


def compiler() -> str:
    """The path of the C++ compiler, "" where there is none."""
    return shutil.which("g++", path="/usr/bin:/bin:/usr/local/bin") or ""


def _start_unsafe(program: Program) -> Started:
    """Limits alone: whoever asks for this trusts the answers."""
    limits = limits_of(program.limits)
    folder = new_folder()

    def arrange() -> None:
        os.chdir(folder)
        kernel.set_limits(limits)

    command = (program.file, ["answer", *program.command]) if program.file >= 0 else program.command
    started = forked(command, program.descriptors, arrange, lambda: None)
    return Started(started.pid, started.watch, started.status, folder)
