"""Unpaired-preference rows from mined turns: ids, content hashes, the canonical frame."""

from __future__ import annotations

import polars as pl

from prefdata.schema import RecordType, conform, stable_hash

EVIDENCE_COLUMNS = ("session", "turn")


def from_log(rows: pl.DataFrame, *, source: str) -> pl.DataFrame:
    """Canonical UNPAIRED rows, unlabelled, of the rows of one source, sorted by session and turn.

    `id` is a hash of (source, session, turn): given once, whatever happens to the text. `group` is the session until
    duplicates are known. `meta` keeps session, turn, customer, agent (hashed), file and line.
    """
    rows = rows.sort(["session", "turn"])
    hashed = rows.with_columns(
        id=stable_hash(
            [pl.repeat(source, rows.height, eager=True, dtype=pl.String), rows["session"], rows["turn"]], purpose="row"
        ),
        group=stable_hash([rows["session"]], purpose="session"),
    )
    meta = pl.struct(
        session=pl.col("group"),
        turn=pl.col("turn"),
        customer=hash_or_null(rows, "customer", source),
        agent=hash_or_null(rows, "agent", source),
        file=pl.col("file"),
        line=pl.col("line"),
        touched=pl.col("touched"),
    ).struct.json_encode()
    built = hashed.select(
        "id", "group", "prompt", "completion", "time", meta.alias("meta"), pl.lit(source).alias("source")
    )
    return conform(built, RecordType.UNPAIRED)


def hash_or_null(rows: pl.DataFrame, column: str, source: str) -> pl.Series:
    """Hashes of a column of the user's ids (they are personal data); null stays null."""
    values = rows[column]
    hashed = stable_hash([pl.repeat(source, rows.height, eager=True, dtype=pl.String), values], purpose=column)
    return pl.select(pl.when(values.is_not_null()).then(hashed)).to_series()


def revisions(records: pl.DataFrame) -> pl.Series:
    """A hash of each row's transformed content: what caches key on."""
    return stable_hash(
        [
            records.select(pl.struct("prompt").struct.json_encode()).to_series(),
            records.select(pl.struct("completion").struct.json_encode()).to_series(),
        ],
        purpose="rev",
        size=8,
    )
