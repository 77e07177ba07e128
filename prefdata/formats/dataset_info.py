"""What Hugging Face's card says of columns: `dataset_info`, the features in the words that `datasets` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import yaml

from prefdata.formats.picture_export import EMBEDDED

WORDS: Mapping[type[pl.DataType], str] = {
    pl.Boolean: "bool",
    pl.Binary: "large_binary",
    pl.Float32: "float32",
    pl.Float64: "float64",
    pl.Int8: "int8",
    pl.Int16: "int16",
    pl.Int32: "int32",
    pl.Int64: "int64",
    pl.UInt8: "uint8",
    pl.UInt16: "uint16",
    pl.UInt32: "uint32",
    pl.UInt64: "uint64",
    pl.String: "large_string",
}
"""Dtypes as they stand in a Parquet file of ours, and `datasets`' word for them."""


def dataset_info(columns: Mapping[str, pl.DataType]) -> list[str]:
    """Lines of YAML; none where a dtype has no word."""
    try:
        features = [{"name": name, **_feature(dtype)} for name, dtype in columns.items()]
    except KeyError:
        return []
    text = yaml.safe_dump({"dataset_info": {"features": features}}, sort_keys=False, allow_unicode=True)
    return str(text).splitlines()


def _feature(dtype: pl.DataType) -> dict[str, Any]:
    if dtype == EMBEDDED:
        return {"list": "image"}
    if isinstance(dtype, pl.List):
        inner = _feature(_instance(dtype.inner))
        return {"large_list": next(iter(inner.values())) if set(inner) & {"dtype", "struct"} else inner}
    if isinstance(dtype, pl.Struct):
        return {"struct": [{"name": field.name, **_feature(_instance(field.dtype))} for field in dtype.fields]}
    if isinstance(dtype, pl.Datetime):
        zone = f", tz={dtype.time_zone}" if dtype.time_zone else ""
        return {"dtype": f"timestamp[{dtype.time_unit}{zone}]"}
    return {"dtype": WORDS[dtype.base_type()]}


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
