"""What several checks ask for is made once, whichever thread asks first."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from prefdata.auditing.once import Once, once


class Owner:
    """Something that values hang on."""


def test_threads_that_ask_at_once_get_one_value() -> None:
    made: list[int] = []
    gate = threading.Barrier(4)
    values = Once()

    def ask(_: int) -> object:
        gate.wait(timeout=10)
        return values.get("words", lambda: made.append(1) or object())

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert len(made) == 1
    assert all(one is found[0] for one in found)


def test_an_error_is_raised_for_everyone_who_asks() -> None:
    values = Once()

    def fail() -> int:
        raise ValueError("no words")

    for _ in range(2):
        with pytest.raises(ValueError, match="no words"):
            values.get("words", fail)
    assert values.get("other", lambda: 1) == 1


def test_values_hang_on_their_owner() -> None:
    one, other = Owner(), Owner()
    assert once(one).get("rows", lambda: 1) == once(one).get("rows", lambda: 2) == 1
    assert once(other).get("rows", lambda: 3) == 3
    held = once(one)
    del one
    gc.collect()
    assert once(Owner()) is not held
