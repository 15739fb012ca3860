"""The filter of system calls that answers run under, as a program for the kernel's packet filter machine.

A list of what is allowed, so that a system call of a later kernel is refused until somebody has looked at it.
"""

import errno
import platform
import struct
from collections.abc import Iterable, Sequence

from reasoning.core.errors import InputError

_COMMON = (
    "read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64 pwrite64 "
    "readv writev sched_yield mremap msync mincore madvise dup nanosleep getitimer setitimer getpid sendfile sendto "
    "recvfrom shutdown getsockname getpeername setsockopt getsockopt execve exit wait4 uname flock fsync fdatasync "
    "ftruncate getcwd chdir fchdir umask gettimeofday getrlimit getrusage sysinfo times getuid getgid geteuid getegid "
    "gettid getppid getgroups getresuid getresgid getpgid getsid rt_sigpending rt_sigtimedwait rt_sigsuspend "
    "sigaltstack statfs fstatfs getpriority sched_getparam sched_getscheduler sched_get_priority_max "
    "sched_get_priority_min sched_rr_get_interval setrlimit futex sched_getaffinity getdents64 set_tid_address "
    "fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_gettime clock_getres "
    "clock_nanosleep exit_group epoll_ctl openat mkdirat newfstatat unlinkat renameat linkat symlinkat readlinkat "
    "faccessat pselect6 ppoll set_robust_list get_robust_list splice epoll_pwait timerfd_create fallocate "
    "timerfd_settime timerfd_gettime eventfd2 epoll_create1 dup3 pipe2 preadv pwritev getcpu renameat2 getrandom "
    "execveat membarrier copy_file_range statx rseq close_range faccessat2 epoll_pwait2 futex_waitv"
).split()

_CHECKED = "clone kill tgkill prlimit64 socketpair fcntl ioctl prctl clone3".split()
_COMPILER = "fchmod fchmodat utimensat".split()

_X86 = (
    "read 0 write 1 open 2 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12 "
    "rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15 ioctl 16 pread64 17 pwrite64 18 readv 19 writev 20 access 21 "
    "pipe 22 select 23 sched_yield 24 mremap 25 msync 26 mincore 27 madvise 28 dup 32 dup2 33 pause 34 nanosleep 35 "
    "getitimer 36 alarm 37 setitimer 38 getpid 39 sendfile 40 sendto 44 recvfrom 45 shutdown 48 getsockname 51 "
    "getpeername 52 socketpair 53 setsockopt 54 getsockopt 55 clone 56 fork 57 vfork 58 execve 59 exit 60 wait4 61 "
    "kill 62 uname 63 fcntl 72 flock 73 fsync 74 fdatasync 75 ftruncate 77 getdents 78 getcwd 79 chdir 80 fchdir 81 "
    "rename 82 mkdir 83 rmdir 84 creat 85 link 86 unlink 87 symlink 88 readlink 89 chmod 90 fchmod 91 umask 95 "
    "gettimeofday 96 getrlimit 97 getrusage 98 sysinfo 99 times 100 getuid 102 getgid 104 geteuid 107 getegid 108 "
    "getppid 110 getpgrp 111 getgroups 115 getresuid 118 getresgid 120 getpgid 121 getsid 124 rt_sigpending 127 "
    "rt_sigtimedwait 128 rt_sigsuspend 130 sigaltstack 131 statfs 137 fstatfs 138 getpriority 140 sched_getparam 143 "
    "sched_getscheduler 145 sched_get_priority_max 146 sched_get_priority_min 147 sched_rr_get_interval 148 prctl 157 "
    "arch_prctl 158 setrlimit 160 gettid 186 time 201 futex 202 sched_getaffinity 204 getdents64 217 "
    "set_tid_address 218 fadvise64 221 timer_create 222 timer_settime 223 timer_gettime 224 timer_getoverrun 225 "
    "timer_delete 226 clock_gettime 228 clock_getres 229 clock_nanosleep 230 exit_group 231 epoll_wait 232 "
    "epoll_ctl 233 tgkill 234 openat 257 mkdirat 258 newfstatat 262 unlinkat 263 renameat 264 linkat 265 "
    "symlinkat 266 readlinkat 267 fchmodat 268 faccessat 269 pselect6 270 ppoll 271 set_robust_list 273 "
    "get_robust_list 274 splice 275 utimensat 280 epoll_pwait 281 timerfd_create 283 eventfd 284 fallocate 285 "
    "timerfd_settime 286 timerfd_gettime 287 eventfd2 290 epoll_create1 291 dup3 292 pipe2 293 preadv 295 pwritev 296 "
    "prlimit64 302 getcpu 309 renameat2 316 getrandom 318 execveat 322 membarrier 324 copy_file_range 326 statx 332 "
    "rseq 334 clone3 435 close_range 436 faccessat2 439 epoll_pwait2 441 futex_waitv 449"
)
_X86_ONLY = (
    "open stat lstat poll access pipe select dup2 pause alarm getdents rename mkdir rmdir creat link unlink symlink "
    "readlink getpgrp arch_prctl time epoll_wait eventfd"
).split()

_ARM = (
    "getcwd 17 eventfd2 19 epoll_create1 20 epoll_ctl 21 epoll_pwait 22 dup 23 dup3 24 fcntl 25 ioctl 29 flock 32 "
    "mkdirat 34 unlinkat 35 symlinkat 36 linkat 37 renameat 38 statfs 43 fstatfs 44 ftruncate 46 fallocate 47 "
    "faccessat 48 chdir 49 fchdir 50 fchmod 52 fchmodat 53 openat 56 close 57 pipe2 59 getdents64 61 lseek 62 read 63 "
    "write 64 readv 65 writev 66 pread64 67 pwrite64 68 preadv 69 pwritev 70 sendfile 71 pselect6 72 ppoll 73 "
    "splice 76 readlinkat 78 newfstatat 79 fstat 80 fsync 82 fdatasync 83 timerfd_create 85 timerfd_settime 86 "
    "timerfd_gettime 87 utimensat 88 exit 93 exit_group 94 set_tid_address 96 futex 98 set_robust_list 99 "
    "get_robust_list 100 nanosleep 101 getitimer 102 setitimer 103 timer_create 107 timer_gettime 108 "
    "timer_getoverrun 109 timer_settime 110 timer_delete 111 clock_gettime 113 clock_getres 114 clock_nanosleep 115 "
    "sched_getscheduler 120 sched_getparam 121 sched_getaffinity 123 sched_yield 124 sched_get_priority_max 125 "
    "sched_get_priority_min 126 sched_rr_get_interval 127 kill 129 tgkill 131 sigaltstack 132 rt_sigsuspend 133 "
    "rt_sigaction 134 rt_sigprocmask 135 rt_sigpending 136 rt_sigtimedwait 137 rt_sigreturn 139 getpriority 141 "
    "getresuid 148 getresgid 150 times 153 getpgid 155 getsid 156 getgroups 158 uname 160 getrlimit 163 setrlimit 164 "
    "getrusage 165 umask 166 prctl 167 getcpu 168 gettimeofday 169 getpid 172 getppid 173 getuid 174 geteuid 175 "
    "getgid 176 getegid 177 gettid 178 sysinfo 179 socketpair 199 getsockname 204 getpeername 205 sendto 206 "
    "recvfrom 207 setsockopt 208 getsockopt 209 shutdown 210 brk 214 munmap 215 mremap 216 clone 220 execve 221 "
    "mmap 222 fadvise64 223 mprotect 226 msync 227 mincore 232 madvise 233 wait4 260 prlimit64 261 renameat2 276 "
    "getrandom 278 execveat 281 membarrier 283 copy_file_range 285 statx 291 rseq 293 clone3 435 close_range 436 "
    "faccessat2 439 epoll_pwait2 441 futex_waitv 449"
)


def _numbers(table: str) -> dict[str, int]:
    words = table.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


_MACHINES = {
    "x86_64": (0xC000003E, _numbers(_X86), [*_COMMON, *_X86_ONLY], "fork vfork chmod".split()),
    "aarch64": (0xC00000B7, _numbers(_ARM), _COMMON, []),
}
"""By machine: the kernel's name of it, its numbers, what is allowed, what a compiler needs beside ``_COMPILER``."""

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERROR = 0x00050000
_FIRST_UNKNOWN = 450
"""System calls from here on are newer than this list. They are said not to exist, so that libraries fall back."""

_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_FCNTL_SIGNALS = (8, 10, 15, 1024, 1026)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY: signals sent to whoever is named."""
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_PRCTLS = (15, 16, 0x53564D41)
"""PR_SET_NAME, PR_GET_NAME, PR_SET_VMA: a process that could reset PR_SET_PDEATHSIG would outlive its supervisor."""

Instruction = tuple[int, int, int, int]


def program(pid: int, compiler: bool = False, machine: str = "") -> bytes:
    """The filter for a process whose own number is ``pid``: the only one that it may send signals to.

    No new process (threads are fine), no network, no tracing, no namespaces, no mounts, no change of other files'
    modes. A ``compiler``, which runs no code of a stranger, may start processes. Raises InputError for a machine that
    the numbers of system calls aren't known of.
    """
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        raise InputError(f"no system call filter for {machine}; there are ones for {', '.join(_MACHINES)}")
    architecture, numbers, allowed, for_compiler = _MACHINES[machine]
    names = [*allowed, *_COMPILER, *for_compiler] if compiler else allowed
    code: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    for name in names:
        code += _when(numbers[name], [_returns(_ALLOW)])
    for name in _CHECKED:
        code += _when(numbers[name], _check(name, pid, compiler))
    code += [(_ABOVE, 0, 1, _FIRST_UNKNOWN - 1), _fails(errno.ENOSYS), _fails(errno.EPERM)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _check(name: str, pid: int, compiler: bool) -> Sequence[Instruction]:
    forks = [_returns(_ALLOW)] if compiler else [*_low(0), (_ANY_BIT, 1, 0, _CLONE_THREAD), _fails(errno.EPERM)]
    checks: dict[str, Sequence[Instruction]] = {
        "clone": [*forks, _returns(_ALLOW)],
        "clone3": [_fails(errno.ENOSYS)],
        "kill": _only(0, [pid], errno.EPERM),
        "tgkill": _only(0, [pid], errno.EPERM),
        "prlimit64": _only(0, [0, pid], errno.EPERM),
        "socketpair": _only(0, [_AF_UNIX], errno.EPERM),
        "fcntl": _except(1, _FCNTL_SIGNALS, errno.EPERM),
        "ioctl": _only(1, _IOCTLS, errno.ENOTTY),
        "prctl": _only(0, _PRCTLS, errno.EPERM),
    }
    return checks[name]


def _when(number: int, block: Sequence[Instruction]) -> list[Instruction]:
    return [(_EQUAL, 0, len(block), number), *block]


def _returns(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _fails(code: int) -> Instruction:
    return _returns(_ERROR | code)


def _low(argument: int) -> list[Instruction]:
    return [(_LOAD, 0, 0, 16 + 8 * argument)]


def _only(argument: int, values: Iterable[int], code: int) -> list[Instruction]:
    """Allows the low half of an argument to be one of the values: the kernel reads these arguments as int."""
    block = _low(argument)
    for value in values:
        block += _when(value, [_returns(_ALLOW)])
    return [*block, _fails(code)]


def _except(argument: int, values: Iterable[int], code: int) -> list[Instruction]:
    block = _low(argument)
    for value in values:
        block += _when(value, [_fails(code)])
    return [*block, _returns(_ALLOW)]
