"""What a worker may use: memory, processor time, and nothing outside itself. Set once, and never to be lifted."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys

from prefdata.picturing import syscalls


def confine(memory: int) -> None:
    """Bounds this process for good: `memory` bytes beyond what it has now, no file, no network, no child, no core.

    No further file descriptor can be had, so neither a file nor a socket can be opened; what is needed must be
    imported before. A bound that the system does not know is left out. On Linux a filter of system calls comes on top.
    """
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_FSIZE, 0)
    _bound(resource.RLIMIT_NPROC, 0)
    if sys.platform == "linux":
        _bound(resource.RLIMIT_AS, _address_space() + memory)
    _bound(resource.RLIMIT_NOFILE, _lowest_free_descriptor())
    syscalls.confine()


def start_clock(seconds: float) -> None:
    """Ends this process by a signal once it has used `seconds` more of processor time, in a decoder's loop too."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def stop_clock() -> None:
    """Time is no longer counted."""
    signal.setitimer(signal.ITIMER_PROF, 0)


def _bound(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (most, most))


def _lowest_free_descriptor() -> int:
    """No descriptor below this one is free; where it is the bound, none can be had."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.close(null)
    return null


def _address_space() -> int:
    with open("/proc/self/statm", "rb") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()
