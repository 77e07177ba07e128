"""A source of a recipe, log or dataset, as records of the type that the run makes. The first step of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from prefdata import building, importing, labelling, picture_rows
from prefdata import ingest as mining
from prefdata.gating import Looking
from prefdata.importing import Imported, Opened
from prefdata.ingest import Mined
from prefdata.judging import RowFilter
from prefdata.picture_rows import PictureRows, Told
from prefdata.recipe import Recipe, Source
from prefdata.schema import RecordType
from prefdata.sides import revisions


class Reading:
    """The sources of a recipe, each read once.

    Where texts about pictures are built, all are read before the first is: what one says of a picture is true of it in
    the others, whatever their order. Else what stays in memory is one source at a time.
    """

    def __init__(
        self,
        recipe: Recipe,
        transforms: list[Callable[[pl.DataFrame], pl.DataFrame]],
        *,
        filters: list[RowFilter],
        looking: Looking,
    ) -> None:
        self._recipe, self._transforms, self._filters, self._looking = recipe, transforms, filters, looking
        self._opened: dict[str, Opened | Mined] = {}
        self._shown: dict[str, PictureRows] | None = None

    def of(self, source: Source) -> Mined:
        """A source as records, what stands beside them, and the account. To be asked once for each source."""
        if self._recipe.image_text is None or all(one.layout is not None for one in self._recipe.sources):
            return self._read(source)
        if self._shown is None:
            self._shown = self._open()
        found = self._opened.pop(source.name)
        if isinstance(found, Mined):
            return found
        assert self._recipe.type is not None
        record_type, shown = self._recipe.type, self._shown[source.name]
        return _mined(importing.made_of(found, self._recipe, record_type, shown), record_type)

    def _read(self, source: Source) -> Mined:
        return read(self._recipe, source, self._transforms, filters=self._filters, looking=self._looking)

    def _open(self) -> dict[str, PictureRows]:
        """Reads all sources; what builders of each are given."""
        recipe = self._recipe
        assert recipe.type is not None
        told: dict[str, Told] = {}
        for source in recipe.sources:
            if source.layout is None:
                found = importing.opened(recipe, source, recipe.type, looking=self._looking)
                self._opened[source.name], told[source.name] = found, found.told()
            else:
                mined = self._read(source)
                self._opened[source.name], told[source.name] = mined, Told(recipe.type, mined.records, built=False)
        return picture_rows.of(recipe, self._filters, self._looking.pictures(), told)


def read(
    recipe: Recipe,
    source: Source,
    transforms: list[Callable[[pl.DataFrame], pl.DataFrame]],
    *,
    filters: list[RowFilter],
    looking: Looking,
) -> Mined:
    """One source, read: records, what stands beside them, and the account. `transforms` are for logs."""
    assert recipe.type is not None
    if source.layout is None:
        return _dataset(recipe, source, recipe.type, looking, filters)
    mined = mining.ingest(recipe, source, transforms, looking=looking)
    if recipe.of_logs():
        return mined
    account = _account(source, mined)
    if recipe.type is RecordType.UNPAIRED:
        own = {"candidates": mined.records.height, "rows": mined.records.height, "unmade": 0, "unmade_because": {}}
        return mined._replace(account={**account, **own})
    rows, card = labelling.labelled(recipe, mined.records, mined.signals, filters)
    made = building.made(rows, RecordType.UNPAIRED, recipe, recipe.type, source=source.name)
    account["labels"] = {
        "method": card["method"],
        **{name: int((rows["label"] == value).sum()) for name, value in (("desirable", True), ("undesirable", False))},
        "abstained": rows["label"].null_count(),
    }
    return mined._replace(
        records=made.rows,
        signals=_beside(made.rows, recipe.type),
        unmade=pl.concat([mined.unmade, made.unmade]),
        account={**account, **building.told(made)},
    )


def _dataset(
    recipe: Recipe, source: Source, record_type: RecordType, looking: Looking, filters: list[RowFilter]
) -> Mined:
    return _mined(importing.read_dataset(recipe, source, record_type, looking=looking, filters=filters), record_type)


def _mined(found: Imported, record_type: RecordType) -> Mined:
    return Mined(
        records=found.records,
        signals=_beside(found.records, record_type),
        quarantine=found.quarantine,
        files=found.files,
        fates=found.fates,
        set_aside={},
        touched=found.touched,
        sessions={},
        reading={},
        unmade=found.unmade,
        account=found.account,
    )


def _beside(records: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """What stands beside records that bring no signals."""
    return records.select("id").with_columns(rev=revisions(records, record_type))


def _account(source: Source, mined: Mined) -> dict[str, Any]:
    """How a log was read, in the words of a dataset's account."""
    assert source.layout is not None
    return {
        "source": source.name,
        "read_as": source.layout.name,
        "type": str(RecordType.UNPAIRED),
        "because": ["as asked for"],
        "same_as": [],
        "read": sum(fate["units"] for fate in mined.fates),
        "refused": mined.unmade.height,
        "refused_because": building.counts(mined.unmade),
        "quarantined": sum(fate["quarantined"] for fate in mined.fates),
        "decoded": mined.records.height,
        "left_out": {},
        "flagged": {},
    }
