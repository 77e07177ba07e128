"""Unpaired-preference rows from mined turns, from pairs and from ratings; ids, content hashes."""

from __future__ import annotations

from typing import Literal

import polars as pl

from prefdata.build.built import Built, content_keys, finish, json_object, sift, with_json
from prefdata.build.pieces import answers_with_ratings
from prefdata.build.retype import sides_of_pairs
from prefdata.errors import InputError
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
    own = [name for name in ("prompt", "completion", "images", "time") if name in hashed.columns]
    built = hashed.select("id", "group", *own, meta.alias("meta"), pl.lit(source).alias("source"))
    return conform(built, RecordType.UNPAIRED)


def hash_or_null(rows: pl.DataFrame, column: str, source: str) -> pl.Series:
    """Hashes of a column of the user's ids (they are personal data); null stays null."""
    values = rows[column]
    hashed = stable_hash([pl.repeat(source, rows.height, eager=True, dtype=pl.String), values], purpose=column)
    return pl.select(pl.when(values.is_not_null()).then(hashed)).to_series()


def from_pairs(pairs: pl.DataFrame, *, conflicts: Literal["drop", "keep"] = "drop") -> Built:
    """UNPAIRED rows of PREFERENCE rows: chosen sides desirable, rejected sides undesirable, in one group.

    Candidates are the sides. An answer that occurs in several pairs of its prompt becomes one row (`repeated`: the
    others). In a ranking A > B > C the middle answer is chosen in one pair and rejected in another: it speaks for
    neither label and is unmade (`both_chosen_and_rejected`) unless `conflicts` is "keep".
    """
    sides = sides_of_pairs(pairs.sort("id"))
    rows = sides.rows.with_columns(
        _key=content_keys(sides.rows, ["prompt", "completion", "images", "tools"]),
        pair=pl.col("evidence").str.json_path_match("$.pair"),
        part=pl.col("evidence").str.json_path_match("$.side"),
    ).sort("id")
    rows = rows.with_columns(
        _conflict=(pl.col("label").n_unique() > 1).over("_key") & pl.lit(conflicts == "drop"),
        _repeated=pl.int_range(pl.len()).over("_key", "label") > 0,
    )
    rules = {"both_chosen_and_rejected": pl.col("_conflict"), "repeated": pl.col("_repeated")}
    made, unmade = sift(rows, rules)
    named = unmade.join(rows.select("id", "pair"), on="id", how="left").drop("id").rename({"pair": "id"})
    return finish(made, RecordType.UNPAIRED, [sides.unmade, named])


def from_ratings(
    rows: pl.DataFrame,
    *,
    threshold: Literal["prompt_mean", "prompt_median"] | float,
    band: float = 0.0,
) -> Built:
    """UNPAIRED rows of rated answers: desirable above `threshold`, undesirable below it.

    `rows`: see `pieces.answers_with_ratings`. `threshold` is a rating, or the mean or median of the ratings under one
    prompt key; a rating no further than `band` from it is neutral and makes no row. Under a threshold of its prompt a
    lone answer says nothing (`only_answer`).
    """
    if band < 0:
        raise InputError(f"band: {band}, expected at least 0")
    own = isinstance(threshold, str)
    if own and threshold not in ("prompt_mean", "prompt_median"):
        raise InputError(f"threshold: {threshold!r}, expected prompt_mean, prompt_median or a number")
    pieces = answers_with_ratings(rows)
    rating = pl.col("rating")
    line = {"prompt_mean": rating.mean(), "prompt_median": rating.median()}
    bound = line[str(threshold)].over("key") if own else pl.lit(float(threshold))
    known = pieces.sound.with_columns(_bound=bound.cast(pl.Float64), _alone=(pl.len() == 1).over("key"))
    # sums of ratings in another order differ in the last bits: what lies on the line is neutral in any order
    known = known.with_columns(_distance=(rating - pl.col("_bound")).round(9))
    neutral = pl.col("_distance").abs() <= band
    rules = {
        "neutral_rating": neutral & ~(pl.col("_alone") & pl.lit(own)),
        "only_answer": pl.col("_alone") & pl.lit(own),
    }
    made, unmade = sift(known, rules)
    evidence = json_object(
        by=pl.lit("rating"),
        rating=rating,
        threshold=pl.col("_bound").round(6),
        policy=pl.lit(threshold if own else "global"),
    )
    made = made.with_columns(
        pl.col("answer").alias("completion"),
        label=pl.col("_distance") > 0,
        label_sources=pl.lit(["rating"], dtype=pl.List(pl.String)),
        evidence=with_json(evidence, of=pl.col("evidence")),
    )
    return finish(made, RecordType.UNPAIRED, [pieces.unmade, unmade])
