"""What formats have in common that are read and never written: all of their own is `recognise` and `decode`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

import polars as pl

from prefdata.formats.core import Container, Feature, Outcome
from prefdata.schema import RecordType


class ReadOnly:
    """A format of pairs that is read only."""

    name: ClassVar[str]
    reads: ClassVar[frozenset[RecordType]] = frozenset({RecordType.PREFERENCE})
    writes: ClassVar[frozenset[RecordType]] = frozenset()
    container: ClassVar[Container] = "jsonl"
    holds: ClassVar[Mapping[RecordType, frozenset[Feature]]] = {}

    def encode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Not written: `writes` is empty."""
        raise ValueError(f"{self.name} is read only")

    def beside(
        self, files: Mapping[str, str], record_type: RecordType, *, columns: Collection[str] = ()
    ) -> Mapping[str, str]:
        """Nothing."""
        return {}
