"""What the reasons mean for which a conversion leaves rows out."""

from __future__ import annotations

from collections.abc import Mapping

from prefdata.formats import rules


def sentence(reason: str) -> str:
    """What a reason means."""
    from prefdata.build.built import REASONS as BUILDING

    return (
        rules.REASONS.get(reason)
        or BUILDING.get(reason)
        or UNREADABLE.get(reason)
        or _OWN.get(reason)
        or reason.replace("_", " ")
    )


_OWN = {"control_tokens": "a text holds a model's own control token"}

UNREADABLE: Mapping[str, str] = {
    "bad_encoding": "the bytes are not in the encoding of the file",
    "duplicate_key": "a key stands twice in one object",
    "line_too_long": "longer than a record may be",
    "lone_surrogate": "half of a surrogate pair, which is no character",
    "malformed_json": "no JSON",
    "mixed_list": "the values of a list are of several types",
    "nested_too_deep": "nested deeper than 200 levels",
    "non_finite_number": "NaN and Infinity are no JSON",
    "not_object": "JSON, but no object",
    "nul_character": "a text holds the character NUL",
    "number_out_of_range": "a number that 64 bits do not hold",
    "reserved_column": "a column is called _file, _line, _offset or _key",
    "too_many_columns": "more columns than a file may have",
}
