"""What a worker may ask of the kernel: to read and write what is open, memory, the clock, and to end. Linux only.

A filter of system calls (seccomp): whatever else is asked for is answered with "not permitted", for good.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2

LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
NUMBER, MACHINE = 0, 4

CALLS: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "lseek": 8, "mmap": 9,
            "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
            "sched_yield": 24, "mremap": 25, "madvise": 28, "setitimer": 38, "getpid": 39, "exit": 60,
            "gettimeofday": 96, "getrusage": 98, "sysinfo": 99, "sigaltstack": 131, "gettid": 186, "futex": 202,
            "sched_getaffinity": 204, "restart_syscall": 219, "clock_gettime": 228, "exit_group": 231,
            "newfstatat": 262, "getrandom": 318, "membarrier": 324, "statx": 332,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "close": 57, "lseek": 62, "read": 63, "write": 64, "newfstatat": 79, "fstat": 80, "exit": 93,
            "exit_group": 94, "futex": 98, "setitimer": 103, "clock_gettime": 113, "sched_getaffinity": 123,
            "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134,
            "rt_sigprocmask": 135, "rt_sigreturn": 139, "getrusage": 165, "gettimeofday": 169, "getpid": 172,
            "gettid": 178, "sysinfo": 179, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226,
            "madvise": 233, "getrandom": 278, "membarrier": 283, "statx": 291,
        },
    ),
}  # fmt: skip
"""Machine -> the kernel's number of it, and the numbers of the calls that are let through."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def known() -> bool:
    """Whether the calls of this machine are known here."""
    return sys.platform == "linux" and platform.machine() in CALLS


def confine() -> bool:
    """Bounds this process for good to CALLS; False where the machine is not known, or the kernel will not."""
    if not known():
        return False
    machine, calls = CALLS[platform.machine()]
    numbers = sorted(calls.values())
    code = [_step(LOAD, MACHINE), _step(EQUALS, machine, otherwise=len(numbers) + 1), _step(LOAD, NUMBER)]
    # each comparison jumps to the last instruction where it holds
    code += [_step(EQUALS, number, then=len(numbers) - at) for at, number in enumerate(numbers)]
    code += [_step(RETURN, REFUSE), _step(RETURN, ALLOW)]
    program = _Program(len(code), b"".join(code))
    kernel = ctypes.CDLL(None, use_errno=True)
    nothing = ctypes.c_ulong(0)
    if kernel.prctl(NO_NEW_PRIVILEGES, ctypes.c_ulong(1), nothing, nothing, nothing):
        return False
    return not kernel.prctl(SET_SECCOMP, ctypes.c_ulong(FILTER), ctypes.byref(program), nothing, nothing)


def _step(what: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", what, then, otherwise, value)
