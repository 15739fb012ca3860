"""What Python's library has no call for: system call filters, Landlock, and giving up of privileges, by ctypes.

These run between fork and exec in a process with one thread, the supervisor's child, and raise OSError.
"""

import ctypes
import os
import resource
import struct
from collections.abc import Iterable

_LIBC = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_NO_ROOT_LOCKED = 0b1111
_LAST_CAPABILITY = 63
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_SYS_CLOSE_RANGE = 436
_CAPABILITY_VERSION = 0x20080522

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
_PATH_BENEATH = 1

EXECUTE, WRITE, READ_FILE, READ_FOLDER, REMOVE_FILE, MAKE_FILE, TRUNCATE = (1 << bit for bit in (0, 1, 2, 3, 5, 8, 14))
"""Landlock's rights that rules here grant."""


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _prctl(option: int, *arguments: int | ctypes.c_void_p) -> None:
    padded = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    padded += [ctypes.c_ulong(0)] * (4 - len(padded))
    _checked(_LIBC.prctl(ctypes.c_int(option), *padded))


def die_with_parent(signal_number: int, parent: int) -> None:
    """The kernel sends this process a signal when its parent ends. Exits at once where it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Children of children that end become this process's own, to be reaped."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def no_new_privileges() -> None:
    """No later exec gains rights: set-uid programs run as whoever starts them."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def filter_system_calls(program: bytes) -> None:
    """Loads a filter (sandbox.seccomp.program) for this process, for good."""
    code = ctypes.create_string_buffer(program, len(program))
    record = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(record)))


def drop_capabilities(machine: str) -> None:
    """Root without root's rights: no capability now, none by any later exec."""
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:  # past the last one that this kernel has
            break
    _prctl(_PR_SET_SECUREBITS, _NO_ROOT_LOCKED)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    none = ctypes.create_string_buffer(24)
    _checked(_LIBC.syscall(ctypes.c_long(_SYS_CAPSET[machine]), header, none))


def close_all_at_exec() -> None:
    """No descriptor from 3 on outlives an exec, whoever left it open. Linux before 5.11 has no call for this."""
    _LIBC.syscall(ctypes.c_long(_SYS_CLOSE_RANGE), ctypes.c_uint(3), ctypes.c_uint(2**32 - 1), ctypes.c_uint(4))


def become(user: int) -> None:
    """Another user and group, for good."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def set_limits(limits: Iterable[tuple[int, int]]) -> None:
    """Hard limits of this process: pairs of a ``resource.RLIMIT_*`` and a value."""
    for kind, value in limits:
        _, highest = resource.getrlimit(kind)
        value = value if highest == resource.RLIM_INFINITY else min(value, highest)
        resource.setrlimit(kind, (value, value))


def landlock_version() -> int:
    """Which version of Landlock the kernel offers, 0 for none."""
    version = _LIBC.syscall(
        ctypes.c_long(_LANDLOCK_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION)
    )
    return max(version, 0)


def landlock_rules(version: int, grants: Iterable[tuple[str, int]]) -> int:
    """A descriptor of rules that allow nothing but ``grants``, pairs of a path and rights; no network, no signals.

    Whatever this version of Landlock can forbid is forbidden.
    """
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    parts = [files] + ([0b11] if version >= 4 else []) + ([0b11] if version >= 6 else [])
    attributes = ctypes.create_string_buffer(struct.pack(f"={len(parts)}Q", *parts))
    rules = _checked(
        _LIBC.syscall(ctypes.c_long(_LANDLOCK_CREATE), attributes, ctypes.c_size_t(8 * len(parts)), ctypes.c_uint32(0))
    )
    os.set_inheritable(rules, False)
    for path, rights in grants:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights & files, place))
        _checked(
            _LIBC.syscall(
                ctypes.c_long(_LANDLOCK_ADD),
                ctypes.c_int(rules),
                ctypes.c_int(_PATH_BENEATH),
                rule,
                ctypes.c_uint32(0),
            )
        )
        os.close(place)
    return rules


def restrict_to(rules: int) -> None:
    """Applies Landlock rules to this process, for good."""
    _checked(_LIBC.syscall(ctypes.c_long(_LANDLOCK_RESTRICT), ctypes.c_int(rules), ctypes.c_uint32(0)))
