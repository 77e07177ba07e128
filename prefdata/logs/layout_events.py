"""The layout `events`: a table with a row a message, as help desks and chat platforms export it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefdata.errors import RecipeError
from prefdata.io import ReadLimits
from prefdata.logs.events import Role
from prefdata.logs.mapping import (
    LogRead,
    TableSettings,
    assemble,
    canonical_columns,
    columns_by_name,
    constant_role,
    shown_columns,
)


@dataclass(frozen=True, kw_only=True)
class Events(TableSettings):
    """A row a message. A row without text that carries a rating, thumb, survey or status is feedback."""

    every_role: Role | None = None
    """Role of every message, where the file has no role column (an export of one side)."""

    def read(
        self, path: str | Path | Sequence[str | Path], *, source: str, limits: ReadLimits | None = None
    ) -> LogRead:
        """The rows of `path` as EVENTS, in the order of the file."""
        table = self.read_rows(path, limits, source=source)
        by_name = columns_by_name(self, table.frame)
        columns = {**{name: name for name in by_name}, **self.mapped}
        mapped = canonical_columns(table.frame, columns, source=source, files=table.files)
        faults = []
        if "text" not in columns:
            faults.append("`text` is not mapped, so there are no messages")
        if "role" not in columns and self.every_role is None:
            faults.append("`role` is not mapped; map it, or give `every_role` for an export of one side")
        if "session" not in columns and "customer" not in columns:
            faults.append("neither `session` nor `customer` is mapped, so no message belongs to another")
        if faults:
            there = shown_columns(table.frame)
            raise RecipeError([f"source {source}: columns: {fault}; the file: {there}" for fault in faults])
        whole = assemble(constant_role(mapped, self.every_role), self, source=source, names=columns)
        return LogRead(whole.events, table.quarantine, table.files, whole.report, whole.unknown_roles, by_name)
