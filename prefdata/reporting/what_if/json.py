"""The part `what_if` of report.json: every figure of a trial, no text of any row.

docs/audit-report.schema.json describes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from prefdata.auditing.what_if.effects import Effect, WhatIf
from prefdata.auditing.what_if.slices import Slice
from prefdata.errors import InputError

TEXTS = ("texts", "beside_texts")


def to_json(what_if: WhatIf) -> dict[str, Any]:
    """The trial as JSON data; equal trials give equal data."""
    found: dict[str, Any] = _plain(what_if)
    return found


def from_json(data: Mapping[str, Any]) -> WhatIf:
    """The trial of a report.json, without the texts of borderline rows. Raises InputError for anything else."""
    import pydantic

    try:
        return pydantic.TypeAdapter(WhatIf).validate_python(data)
    except pydantic.ValidationError as error:
        raise InputError(f"what_if: not as prefdata audit writes it, in {error.error_count()} places") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {
            one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value) if one.name not in TEXTS
        }
        return found | ({"share": round(value.share, 6)} if isinstance(value, (Effect, Slice)) else {})
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value
