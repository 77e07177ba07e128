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

from prefdata.reading.account import RESERVED

_SPACE = " \t\r\n"
_MINUS_ZERO = re.compile(r"-0(?![0-9.eE])")
_ESCAPED = re.compile(r"\\u(?:[dD][89abAB]|0000)")
"""Escapes behind which a lone surrogate or a NUL may stand."""


class Refused(Exception):
    """A record that is not taken; the first argument is the reason."""

    @property
    def reason(self) -> str:
        return str(self.args[0])


class _Number(str):
    """A number of JSON by its literal, where int or float would not give it back."""

    __slots__ = ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise Refused("duplicate_key")
    return record


def _float(literal: str) -> float | _Number:
    value = float(literal)
    return value if float.__repr__(value) == literal else _Number(literal)


def _constant(literal: str) -> Any:
    raise Refused("non_finite_number")


Scan = Callable[[str, int], tuple[Any, int]]


def _scanner(parse_int: Callable[[str], Any] | None, parse_float: Callable[[str], Any]) -> Scan:
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique, parse_int=parse_int, parse_float=parse_float, parse_constant=_constant
    )
    return cast(Scan, decoder.scan_once)  # type: ignore[attr-defined]


_scan_fast = _scanner(None, _float)
_scan_exact = _scanner(_Number, _Number)
_scan_objects = _scanner(str, str)


def scan(text: str, start: int, *, objects: bool) -> tuple[Any, int]:
    """The JSON value at `start` and where it ends; raises Refused, ValueError (JSONDecodeError) or StopIteration."""
    if objects:
        return _scan_objects(text, start)
    try:
        value, end = _scan_fast(text, start)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an int of more digits than int() takes
        return _scan_exact(text, start)
    if text.find("-0", start, end) >= 0 and _MINUS_ZERO.search(text, start, end):
        return _scan_exact(text, start)
    return value, end


def parse(text: str, *, objects: bool) -> Any:
    """The value of a JSON text that holds one; raises Refused."""
    start = 0 if text[:1] == "{" else len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = scan(text, start, objects=objects)
    except (ValueError, StopIteration):
        raise Refused("nul_character" if "\x00" in text else "malformed_json") from None
    except RecursionError:
        raise Refused("nested_too_deep") from None
    if end != len(text) and text[end:].strip(_SPACE):
        raise Refused("malformed_json")
    return value


def checked(text: str, value: Any, *, objects: bool, key: str | None = None) -> dict[str, Any]:
    """`value`, parsed from `text`, as a record: an object, without lone surrogates and NULs, its values made text
    unless `objects`; raises Refused.
    """
    if type(value) is not dict:
        raise Refused("not_object")
    try:
        if "\\u" in text and _ESCAPED.search(text):
            _walk(key)
            _walk(value)
        if objects:
            return value
        if not RESERVED.isdisjoint(value):
            raise Refused("reserved_column")
        return _flatten(value)
    except UnicodeEncodeError:
        raise Refused("lone_surrogate") from None
    except RecursionError:
        raise Refused("nested_too_deep") from None


def _walk(value: Any) -> None:
    if isinstance(value, str):
        value.encode()
        if "\x00" in value:
            raise Refused("nul_character")
    elif isinstance(value, dict):
        for key, item in value.items():
            _walk(key)
            _walk(item)
    elif isinstance(value, list):
        for item in value:
            _walk(item)


def _flatten(record: dict[str, Any]) -> dict[str, Any]:
    for key, value in record.items():
        kind = type(value)
        if kind is str or value is None:
            continue
        if kind is bool:
            record[key] = "true" if value else "false"
        elif kind is int:
            record[key] = int.__repr__(value)
        elif kind is float:
            record[key] = float.__repr__(value)
        elif kind is _Number:
            record[key] = str.__str__(value)
        else:
            record[key] = _compact(value)
    return record


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def _compact(value: Any) -> str:
    return _exact(value) if _holds_literal(value) else _dumps(value)


def _holds_literal(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return any(map(_holds_literal, value.values()))
    if kind is list:
        return any(map(_holds_literal, value))
    return kind is _Number


def _exact(value: Any) -> str:
    kind = type(value)
    if kind is _Number:
        return str.__str__(value)
    if kind is dict:
        return "{" + ",".join(f"{encode_basestring(key)}:{_exact(item)}" for key, item in value.items()) + "}"
    if kind is list:
        return "[" + ",".join(map(_exact, value)) + "]"
    return _dumps(value)
