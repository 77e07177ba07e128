"""From raw support logs to clean preference data to an aligned model, with an account of every row.

`prefdata.run("recipe.yaml")` does it whole; `prefdata.read_log(...)` gives the rows of one export as a polars frame,
`prefdata.read("pairs.jsonl")` those of a dataset; `prefdata.audit("data.jsonl")` says what is wrong with one;
`prefdata.score(frame, name)` scores a frame. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefdata.api import filter_rows, near_duplicates, read, read_log, score
    from prefdata.auditor import audit
    from prefdata.comparison import compare
    from prefdata.conversion import convert
    from prefdata.errors import PrefdataError
    from prefdata.preflighting import preflight
    from prefdata.recipe import load as load_recipe
    from prefdata.runner import dropped_rows, kept_rows, run, train
    from prefdata.schema import RecordType, check

_NAMES = {
    "run": "prefdata.runner",
    "train": "prefdata.runner",
    "kept_rows": "prefdata.runner",
    "dropped_rows": "prefdata.runner",
    "read": "prefdata.api",
    "read_log": "prefdata.api",
    "score": "prefdata.api",
    "filter_rows": "prefdata.api",
    "near_duplicates": "prefdata.api",
    "audit": "prefdata.auditor",
    "compare": "prefdata.comparison",
    "convert": "prefdata.conversion",
    "preflight": "prefdata.preflighting",
    "load_recipe": "prefdata.recipe:load",
    "RecordType": "prefdata.schema",
    "check": "prefdata.schema",
    "PrefdataError": "prefdata.errors",
}

__all__ = [
    "PrefdataError",
    "RecordType",
    "audit",
    "check",
    "compare",
    "convert",
    "dropped_rows",
    "filter_rows",
    "kept_rows",
    "load_recipe",
    "near_duplicates",
    "preflight",
    "read",
    "read_log",
    "run",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'prefdata' has no attribute {name!r}")
    module, _, attribute = _NAMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
