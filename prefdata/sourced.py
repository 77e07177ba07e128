"""A source of a recipe, log or dataset, as records of the type that the run makes. The first step of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from prefdata import building, importing, labelling
from prefdata import ingest as mining
from prefdata.gating import Looking
from prefdata.ingest import Mined
from prefdata.judging import RowFilter
from prefdata.recipe import Recipe, Source
from prefdata.schema import RecordType
from prefdata.sides import revisions


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
    found = importing.read_dataset(recipe, source, record_type, looking=looking, filters=filters)
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
