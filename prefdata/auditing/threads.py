"""Work on two cores: polars and numpy let go of the interpreter, so threads are enough.

What comes out is the same, in the same order, whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

THREADS = 2
"""With more, copies of more chunks are in memory at a time."""


def in_order(
    work: Callable[[Given], Made], things: Iterable[Given], *, ahead: int = 1, threads: int = THREADS
) -> Iterator[Made]:
    """`work` of each thing, in the order of the things; `threads` at a time, and `ahead` results waiting at most.

    `things` are taken in the thread that takes the results.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="audit") as pool:
        going: deque[Future[Made]] = deque()
        try:
            for thing in things:
                going.append(pool.submit(work, thing))
                if len(going) >= threads + ahead:
                    yield going.popleft().result()
            while going:
                yield going.popleft().result()
        finally:
            for one in going:
                one.cancel()
