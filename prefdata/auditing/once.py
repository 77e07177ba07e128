"""What several checks ask for, made once: checks may run in several threads."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar, cast

Value = TypeVar("Value")


class Once:
    """Values by name, each made by whoever asks first; who asks meanwhile waits for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: dict[str, Future[Any]] = {}

    def get(self, name: str, make: Callable[[], Value]) -> Value:
        """The value called `name`, made by `make` if it is not there; an error of `make` is raised for everyone."""
        with self._lock:
            value = self._values.get(name)
            mine = value is None
            if value is None:
                value = self._values[name] = Future()
        if mine:
            try:
                value.set_result(make())
            except BaseException as error:
                value.set_exception(error)
        return cast(Value, value.result())


_lock = Lock()
_of: dict[int, Once] = {}


def once(owner: object) -> Once:
    """The values that hang on `owner`, kept for as long as it is."""
    key = id(owner)
    with _lock:
        if key not in _of:
            _of[key] = Once()
            weakref.finalize(owner, _of.pop, key, None)
        return _of[key]
