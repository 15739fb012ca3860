"""The second tier, where user namespaces are missing: a process that Landlock and a filter of system calls confine."""

import os
import platform
import stat
from collections.abc import Sequence

from reasoning.sandbox import kernel, seccomp
from reasoning.sandbox.launching import ENTRY_BYTES, Program, Started, forked, limits_of, new_folder

_NOBODY = 65534
_SEE_FILE = kernel.EXECUTE | kernel.READ_FILE
_SEE = _SEE_FILE | kernel.READ_FOLDER
_WORK = kernel.READ_FILE | kernel.READ_FOLDER | kernel.WRITE | kernel.REMOVE_FILE | kernel.MAKE_FILE | kernel.TRUNCATE
_COMPILE = _WORK | kernel.EXECUTE
_DEVICES = (
    ("/dev/null", kernel.READ_FILE | kernel.WRITE),
    ("/dev/zero", kernel.READ_FILE),
    ("/dev/urandom", kernel.READ_FILE),
)


def start(program: Program, version: int, readable: Sequence[str]) -> Started:
    """Starts a program that can open ``readable`` paths and files of its own working folder, and nothing else.

    ``version`` is Landlock's. The folder is flat and the caller's to remove; signals to others, the
    network and new processes are refused, and root becomes nobody, or root without rights where only root may read
    the interpreter.
    """
    folder = new_folder()
    user = _user(readable)
    if user:
        os.chown(folder, user, user)
    places = [(path, _SEE if os.path.isdir(path) else _SEE_FILE) for path in readable if not os.path.islink(path)]
    rules = kernel.landlock_rules(version, [*places, *_DEVICES, (folder, _COMPILE if program.compiler else _WORK)])
    limits = limits_of(program.limits)
    root = os.getuid() == 0

    def arrange() -> None:
        os.chdir(folder)
        kernel.set_limits(limits)
        if user:
            kernel.become(user)
        elif root:
            kernel.drop_capabilities(platform.machine())

    def confine() -> None:
        kernel.no_new_privileges()
        kernel.restrict_to(rules)
        kernel.filter_system_calls(seccomp.program(os.getpid(), program.compiler))

    command = (program.file, ["answer", *program.command]) if program.file >= 0 else program.command
    try:
        started = forked(command, program.descriptors, arrange, confine)
    finally:
        os.close(rules)
    return Started(started.pid, started.watch, started.status, folder)


def _user(readable: Sequence[str]) -> int:
    """Nobody, where this process may become nobody and nobody may read the paths; else 0: stay who one is."""
    return _NOBODY if os.getuid() == 0 and all(_open_to_all(path) for path in readable) else 0


def _open_to_all(path: str) -> bool:
    above = os.path.dirname(path)
    modes = os.stat(path).st_mode
    wanted = stat.S_IXOTH | stat.S_IROTH if stat.S_ISDIR(modes) else stat.S_IROTH
    return modes & wanted == wanted and (above == path or _traversable(above))


def _traversable(path: str) -> bool:
    above = os.path.dirname(path)
    return bool(os.stat(path).st_mode & stat.S_IXOTH) and (above == path or _traversable(above))


def stored(folder: str) -> int:
    """How many bytes the files of a working folder take, and each of them at least its place in a folder."""
    total = 0
    for entry in os.scandir(folder):
        try:
            total += entry.stat(follow_symlinks=False).st_blocks * 512 + ENTRY_BYTES
        except FileNotFoundError:
            continue
    return total
