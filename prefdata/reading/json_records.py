"""One JSON text to a checked record: what polars, pandas and `json` would each read differently is refused.

Values become text: numbers keep their literal (`00861391234` is no JSON number, `1.10` stays `1.10`), booleans are
`true` and `false`, objects and arrays become compact JSON text with their numbers untouched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any, cast

from prefdata.reading.account import RESERVED, ReadLimits

_SPACE = " \t\r\n"
_MARK = "\ue000"
_MARKED = re.compile('"\ue000([^"]*)"')
_MARK_INSIDE = re.compile(r"\ue000|\\u[eE]000")
_ESCAPED = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
"""Escapes behind which a lone surrogate or a NUL may stand."""


_FLAT = frozenset((str, bool, type(None)))

MAX_DEPTH = 200
"""Levels of nesting in a record; far below where Python's own recursion ends, so that it is the same everywhere."""


class Refused(Exception):
    """A record that is not taken; the first argument is the reason."""

    @property
    def reason(self) -> str:
        return str(self.args[0])


class _Number(str):
    """A number of JSON by its literal, told apart from a string."""

    __slots__ = ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise Refused("duplicate_key")
    return record


def _constant(literal: str) -> Any:
    raise Refused("non_finite_number")


Scan = Callable[[str, int], tuple[Any, int]]


def _scanner(parse_int: Callable[[str], Any], parse_float: Callable[[str], Any]) -> Scan:
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique, parse_int=parse_int, parse_float=parse_float, parse_constant=_constant
    )
    return cast(Scan, decoder.scan_once)  # type: ignore[attr-defined]


scan = _scanner(str, str)
"""The JSON value at a place of a text, numbers by their literal, and where it ends. Raises Refused for a key that
stands twice and for NaN; JSONDecodeError, StopIteration or RecursionError for what is no JSON."""

_scan_marked = _scanner(_MARK.__add__, _MARK.__add__)
_scan_exact = _scanner(_Number, _Number)


_scan_native = _scanner(int, float)


def parse(text: str, *, native: bool = False) -> Any:
    """The value of a JSON text that holds one, numbers by their literal, or as int and float; raises Refused."""
    start = 0 if text[:1] == "{" else len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = (_scan_native if native else scan)(text, start)
    except (ValueError, StopIteration):
        raise Refused("nul_character" if "\x00" in text else "malformed_json") from None
    except RecursionError:
        raise Refused("nested_too_deep") from None
    if end != len(text) and text[end:].strip(_SPACE):
        raise Refused("malformed_json")
    return value


def checked(text: str, value: Any, limits: ReadLimits, *, objects: bool, key: str | None = None) -> dict[str, Any]:
    """`value`, scanned from `text`, as a record: an object without lone surrogates and NULs, no deeper than MAX_DEPTH.

    Unless `objects`, its nested values are JSON text (booleans stay, see `Batches`). Raises Refused.
    """
    if type(value) is not dict:
        raise Refused("not_object")
    if len(value) > limits.max_columns:
        raise Refused("too_many_columns")
    nested = text.find("{", 1) >= 0 or "[" in text
    if nested and text.count("{") + text.count("[") > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise Refused("nested_too_deep")
    try:
        if "\\u" in text and _ESCAPED.search(text):
            _walk(value)
        if key is not None:
            _walk(key)
    except UnicodeEncodeError:
        raise Refused("lone_surrogate") from None
    if objects:
        return value
    if not RESERVED.isdisjoint(value):
        raise Refused("reserved_column")
    if nested and not _FLAT.issuperset(map(type, value.values())):
        _compact(text, value)
    return value


def _deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            for child in (item.values() if type(item) is dict else item)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _walk(value: Any) -> None:
    if type(value) is str:
        value.encode()
        if "\x00" in value:
            raise Refused("nul_character")
    elif type(value) is dict:
        for key, item in value.items():
            _walk(key)
            _walk(item)
    elif type(value) is list:
        for item in value:
            _walk(item)


def _compact(text: str, record: dict[str, Any]) -> None:
    """Replaces the nested values of `record`, scanned from `text`, by JSON text with the numbers as they stand there.

    Numbers are scanned as strings behind a mark, written, and unmarked; a text that holds the mark takes a slower way.
    """
    marked = _MARK_INSIDE.search(text) is None
    native = (_scan_marked if marked else _scan_exact)(text, text.index("{"))[0]
    for key, value in record.items():
        if type(value) is dict or type(value) is list:
            record[key] = _MARKED.sub(r"\1", _dumps(native[key])) if marked else _exact(native[key])


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def _exact(value: Any) -> str:
    kind = type(value)
    if kind is _Number:
        return str.__str__(value)
    if kind is dict:
        return "{" + ",".join(f"{encode_basestring(key)}:{_exact(item)}" for key, item in value.items()) + "}"
    if kind is list:
        return "[" + ",".join(map(_exact, value)) + "]"
    return _dumps(value)
