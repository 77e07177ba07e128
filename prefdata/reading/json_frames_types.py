"""The polars dtype that a JSON value has, and the one dtype that two values share without either being changed.

Inside, Int32 stands for whole numbers of at most 15 digits: they fit a column of floats exactly, longer ones do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

_EXACT_IN_FLOAT = 10**15
_INT64 = 2**63

Types = Mapping[str, pl.DataType]
"""Keys of an object and their dtypes, in the order in which they were first seen."""


class NoDtype(Exception):
    """A value that no dtype holds; the first argument is the reason it is refused for."""


def types_of(record: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """The dtype of every value of a JSON object. Raises NoDtype."""
    return {key: dtype_of(value) for key, value in record.items()}


def dtype_of(value: Any) -> pl.DataType:
    """The dtype of one JSON value. Raises NoDtype for a list of several types and for numbers out of range."""
    kind = type(value)
    if value is None:
        return pl.Null()
    if kind is str:
        return pl.String()
    if kind is bool:
        return pl.Boolean()
    if kind is int:
        if -_EXACT_IN_FLOAT < value < _EXACT_IN_FLOAT:
            return pl.Int32()
        if -_INT64 <= value < _INT64:
            return pl.Int64()
        raise NoDtype("number_out_of_range")
    if kind is float:
        if not math.isfinite(value):
            raise NoDtype("number_out_of_range")
        return pl.Float64()
    if kind is dict:
        return pl.Struct([pl.Field(key, dtype_of(item)) for key, item in value.items()])
    inner: pl.DataType = pl.Null()
    for item in value:
        shared = merged(inner, dtype_of(item))
        if shared is None:
            raise NoDtype("mixed_list")
        inner = shared
    return pl.List(inner)


def merged(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The dtype that holds values of both as they are; None where there is none."""
    if one == other or other == pl.Null:
        return one
    if one == pl.Null:
        return other
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        inner = merged(_inner(one), _inner(other))
        return None if inner is None else pl.List(inner)
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        fields = merged_types(
            {field.name: _instance(field.dtype) for field in one.fields},
            {field.name: _instance(field.dtype) for field in other.fields},
        )
        return None if fields is None else pl.Struct([pl.Field(name, dtype) for name, dtype in fields.items()])
    numbers: list[pl.DataType] = [pl.Int32(), pl.Int64(), pl.Float64()]
    if one in numbers and other in numbers:
        small, large = sorted((numbers.index(one), numbers.index(other)))
        return None if small == 1 else numbers[large]
    return None


def merged_types(one: Types, other: Types) -> dict[str, pl.DataType] | None:
    """The columns of both; None where one of them shares no dtype."""
    found = dict(one)
    for name, dtype in other.items():
        shared = merged(found[name], dtype) if name in found else dtype
        if shared is None:
            return None
        found[name] = shared
    return found


def final(dtype: pl.DataType) -> pl.DataType:
    """`dtype` as a column has it: whole numbers are Int64."""
    if dtype == pl.Int32:
        return pl.Int64()
    if isinstance(dtype, pl.List):
        return pl.List(final(_inner(dtype)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, final(_instance(field.dtype))) for field in dtype.fields])
    return dtype


def fitted(value: pl.Expr, given: Any, wanted: Any) -> pl.Expr:
    """`value` of dtype `given` as `wanted`, which holds all that it holds: fields that it lacks are null."""
    if given == wanted:
        return value
    if isinstance(wanted, pl.List) and isinstance(given, pl.List):
        return value.list.eval(fitted(pl.element(), given.inner, wanted.inner))
    if isinstance(wanted, pl.Struct) and isinstance(given, pl.Struct):
        there = {field.name: field.dtype for field in given.fields}
        fields = [
            fitted(value.struct.field(field.name), there[field.name], field.dtype).alias(field.name)
            if field.name in there
            else pl.lit(None, dtype=field.dtype).alias(field.name)
            for field in wanted.fields
        ]
        return pl.when(value.is_not_null()).then(pl.struct(fields)) if fields else value
    return value.cast(wanted)


def _inner(dtype: pl.List) -> pl.DataType:
    return _instance(dtype.inner)


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
