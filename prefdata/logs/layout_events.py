"""The layout `events`: a table with a row a message, as help desks and chat platforms export it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from prefdata.errors import RecipeError
from prefdata.io import ReadLimits
from prefdata.logs.events import Role
from prefdata.logs.mapping import CANONICAL, LogRead, TableSettings, assemble, canonical_columns, constant_role


@dataclass(frozen=True, kw_only=True)
class Events(TableSettings):
    """A row a message. A row without text that carries a rating, thumb, survey or status is feedback."""

    every_role: Role | None = None
    """Role of every message, where the file has no role column (an export of one side)."""

    def read(
        self, path: str | Path | Sequence[str | Path], *, source: str, limits: ReadLimits | None = None
    ) -> LogRead:
        """The rows of `path` as EVENTS, in the order of the file."""
        table = self.read_rows(path, limits)
        mapped = canonical_columns(table.frame, columns_of(self.columns, table.frame))
        if "c:text" not in mapped.columns:
            raise RecipeError("columns: `text` is not mapped, so there are no messages")
        if "c:role" not in mapped.columns and self.every_role is None:
            raise RecipeError("columns: `role` is not mapped; map it, or give `every_role` for an export of one side")
        if "c:session" not in mapped.columns and "c:customer" not in mapped.columns:
            raise RecipeError("columns: neither `session` nor `customer` is mapped, so no message belongs to another")
        events, report = assemble(constant_role(mapped, self.every_role), self, source=source)
        return LogRead(events, table.quarantine, table.files, report)


def columns_of(columns: dict[str, str], frame: pl.DataFrame) -> dict[str, str]:
    """The mapping as given; canonical names that the file itself uses need no mapping."""
    taken = set(columns.values())
    own = {name: name for name in CANONICAL if name in frame.columns and name not in columns and name not in taken}
    return {**own, **columns}
