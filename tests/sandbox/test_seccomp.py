import ctypes
import errno
import os
import platform
import struct

import pytest

from reasoning.core.errors import InputError
from reasoning.sandbox import kernel, seccomp

# The supervisor forks, and has no JAX; a test worker has, and its children start another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X86 = {"read": 0, "fork": 57, "vfork": 58, "clone": 56, "kill": 62, "ptrace": 101, "socket": 41, "socketpair": 53}
X86 |= {"prctl": 157, "fcntl": 72, "ioctl": 16, "mount": 165, "chmod": 90, "clone3": 435, "prlimit64": 302}
ARM = {"read": 63, "clone": 220, "kill": 129, "ptrace": 117, "socket": 198, "socketpair": 199, "prctl": 167}
ARM |= {"fcntl": 25, "ioctl": 29, "mount": 40, "fchmodat": 53, "clone3": 435, "prlimit64": 261}
NUMBERS = {"x86_64": X86, "aarch64": ARM}


def ruled(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel's machine for packet filters returns: an interpreter of the instructions that filters use."""
    padded = [value & (2**64 - 1) for value in arguments] + [0] * (6 - len(arguments))
    data = struct.pack("<IIQ6Q", number & (2**32 - 1), architecture, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", program))
    held = place = 0
    while True:
        operation, yes, no, value = code[place]
        place += 1
        if operation == 0x06:
            return value
        if operation == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        else:
            true = {0x15: held == value, 0x25: held > value, 0x45: bool(held & value)}[operation]
            place += yes if true else no


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("read", (), ALLOW),
        ("ptrace", (16, 1), errno.EPERM),
        ("mount", (), errno.EPERM),
        ("socket", (2, 1), errno.EPERM),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (16, 3), errno.EPERM),
        ("clone", (0x00010F00,), ALLOW),
        ("clone", (17,), errno.EPERM),
        ("clone", (0x10000000 | 17,), errno.EPERM),
        ("clone3", (), errno.ENOSYS),
        ("kill", (77, 9), ALLOW),
        ("kill", (78, 9), errno.EPERM),
        ("kill", (-1, 9), errno.EPERM),
        ("kill", (0, 9), errno.EPERM),
        ("prlimit64", (0,), ALLOW),
        ("prlimit64", (1,), errno.EPERM),
        ("fcntl", (0, 3), ALLOW),
        ("fcntl", (0, 8, 1), errno.EPERM),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), errno.ENOTTY),
        ("prctl", (15,), ALLOW),
        ("prctl", (1, 0), errno.EPERM),
    ],
)
def test_a_system_call_is_allowed_or_refused(machine, call, arguments, answer):
    program = seccomp.program(77, machine=machine)
    expected = answer if answer == ALLOW else ERROR | answer
    assert ruled(program, MACHINES[machine], NUMBERS[machine][call], *arguments) == expected


def test_a_later_kernels_calls_do_not_exist_and_another_machines_end_the_process():
    program = seccomp.program(77, machine="x86_64")
    assert ruled(program, MACHINES["x86_64"], 463) == ERROR | errno.ENOSYS
    assert ruled(program, MACHINES["x86_64"], 0x40000000 | 57) == ERROR | errno.ENOSYS  # the x32 way of calling
    assert ruled(program, 0x40000003, 2) == KILL  # that of 32-bit programs, where 2 is fork


@pytest.mark.parametrize("call", ["fork", "vfork", "chmod"])
def test_compilers_alone_start_processes_and_change_modes(call):
    arguments = (seccomp.program(1, False, "x86_64"), seccomp.program(1, True, "x86_64"))
    assert [ruled(each, MACHINES["x86_64"], X86[call]) for each in arguments] == [ERROR | errno.EPERM, ALLOW]


def test_an_unknown_machine_is_refused():
    with pytest.raises(InputError, match="no system call filter for riscv64"):
        seccomp.program(1, machine="riscv64")


def test_the_kernel_takes_the_filter():
    assert platform.machine() in MACHINES
    pid = os.fork()
    if pid == 0:
        try:
            kernel.no_new_privileges()
            kernel.filter_system_calls(seccomp.program(os.getpid()))
            refused = ctypes.CDLL(None, use_errno=True).getuid() == os.getuid()
            try:
                os.fork()
            except PermissionError:
                os._exit(0 if refused else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
