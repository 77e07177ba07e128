"""Rows of one source as the type that a run makes, by the builders, with an account of what became no row."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from prefdata import picture_rows as pictured
from prefdata.build.built import Built, account, is_empty, sameness, sift, with_json
from prefdata.build.picture_keys import has_picture
from prefdata.picture_rows import PictureRows
from prefdata.recipe import Recipe
from prefdata.schema import RecordType, conform

UNMADE_ROWS = pl.Schema(
    {
        "source": pl.String(),
        "step": pl.String(),  # reading, pictures or building
        "id": pl.String(),
        "other": pl.String(),
        "part": pl.String(),
        "file": pl.String(),
        "line": pl.Int64(),
        "reasons": pl.List(pl.String()),
    }
)
"""Records and candidates that became no row: by place or id, with all reasons, never their text."""


class Made(NamedTuple):
    """Rows of the run's type sorted by id, UNMADE_ROWS of the others, and how many candidates there were."""

    rows: pl.DataFrame
    unmade: pl.DataFrame
    candidates: int
    card: dict[str, Any] | None = None
    """Of rows with pictures that the section `image_text` speaks of: bounds as numbers, what was judged and made."""


def made(
    rows: pl.DataFrame,
    source_type: RecordType,
    recipe: Recipe,
    record_type: RecordType,
    *,
    source: str,
    picture_rows: PictureRows | None = None,
) -> Made:
    """`rows` of one source as `record_type`; of rows that have the type already, those that are no rows are left out.

    `meta` of the rows names `file` and `line`; so does that of the rows made of them. With `picture_rows` those that
    have a picture become what the section `image_text` asks for.
    """
    card = None
    if picture_rows is not None and source_type in (RecordType.SFT, RecordType.UNPAIRED):
        seen = rows.filter(has_picture())
        shown, card = pictured.built(seen, source_type, record_type, picture_rows)
        _require_all(seen, shown, source)
        plain = _plain(rows.filter(~has_picture()), source_type, record_type, recipe, source)
        built = Built(pl.concat([shown.rows, plain.rows]).sort("id"), account(shown.unmade, plain.unmade))
    else:
        built = _plain(rows, source_type, record_type, recipe, source)
    places = rows.select(
        "id",
        file=pl.col("meta").str.json_path_match("$.file"),
        line=pl.col("meta").str.json_path_match("$.line").cast(pl.Int64, strict=False),
    )
    unmade = built.unmade.join(places, on="id", how="left", maintain_order="left").select(
        source=pl.lit(source), step=pl.lit("building"), **{name: pl.col(name) for name in list(UNMADE_ROWS)[2:]}
    )
    paired = record_type is RecordType.PREFERENCE and source_type is not RecordType.PREFERENCE
    made_rows = _lifted(built.rows) if paired else built.rows
    return Made(made_rows, unmade.cast(UNMADE_ROWS), built.rows.height + built.unmade.height, card)


def _plain(rows: pl.DataFrame, source_type: RecordType, record_type: RecordType, recipe: Recipe, source: str) -> Built:
    """The rows as `record_type` by their texts, every candidate accounted for."""
    same = source_type is record_type
    built = _sound(rows, record_type) if same else _built(rows, source_type, record_type, recipe)
    candidates = built.rows.height + built.unmade.height
    sides = 2 if (source_type, record_type) == (RecordType.PREFERENCE, RecordType.UNPAIRED) else 1
    matched = (source_type, record_type) == (RecordType.UNPAIRED, RecordType.PREFERENCE)
    if not matched and candidates != sides * rows.height:
        raise RuntimeError(f"{source}: {candidates} candidates of {rows.height} rows are accounted for")
    return built


def _require_all(rows: pl.DataFrame, built: Built, source: str) -> None:
    """Raises where a row is in nothing that was made, and has no reason."""
    paths = ("pair", "caption", "chosen", "rejected")
    named = [built.rows.select(pl.col("evidence").str.json_path_match(f"$.{path}")).to_series() for path in paths]
    told = [built.rows["id"], built.unmade["id"], built.unmade["other"], *named]
    missing = rows.select("id").join(pl.DataFrame({"id": pl.concat(told).drop_nulls()}), on="id", how="anti")
    if missing.height:
        raise RuntimeError(f"{source}: {missing.height} of {rows.height} rows with pictures are not accounted for")


def _sound(rows: pl.DataFrame, record_type: RecordType) -> Built:
    """The rows that say something: an answer is not empty, a pair has two different ones, a prompt asks."""
    found, unmade = sift(
        rows.with_columns(_same=sameness("chosen") == sameness("rejected"))
        if record_type is RecordType.PREFERENCE
        else rows,
        {
            RecordType.SFT: {"empty_completion": is_empty("completion", images="images")},
            RecordType.UNPAIRED: {"empty_completion": is_empty("completion", images="images")},
            RecordType.PROMPT: {"no_prompt": is_empty("prompt", images="images")},
            RecordType.PREFERENCE: {
                "equal_sides": pl.col("_same"),
                "empty_completion": is_empty("chosen", images="images") | is_empty("rejected", images="images"),
            },
        }[record_type],
    )
    return Built(conform(found.drop("_same", strict=False), record_type).sort("id"), account(unmade))


def _built(rows: pl.DataFrame, source_type: RecordType, record_type: RecordType, recipe: Recipe) -> Built:
    from prefdata.build import image_text, matched, prompts, sft, unpaired

    if not rows.height:
        return Built(conform(pl.DataFrame(schema={"id": pl.String}), record_type), account())
    if record_type is RecordType.PROMPT:
        return prompts.from_rows(rows)
    if record_type is RecordType.UNPAIRED and source_type is RecordType.PREFERENCE:
        return unpaired.from_pairs(rows)
    if record_type is RecordType.PREFERENCE and source_type is RecordType.UNPAIRED:
        from prefdata.dedup.near import NearDuplicates

        # the same question about two pictures is not the same question
        shown = image_text.pairs_by_feedback(rows.filter(has_picture()), max_uses=recipe.match.max_uses)
        asked = rows.filter(~has_picture())
        told = matched.from_unpaired(asked, grouping=NearDuplicates().build(), settings=recipe.match)
        return Built(pl.concat([told.rows, shown.rows]).sort("id"), account(told.unmade, shown.unmade))
    if record_type is RecordType.PREFERENCE or (source_type, record_type) == (RecordType.SFT, RecordType.UNPAIRED):
        return _without_picture(rows, record_type)
    return sft.from_pairs(rows) if source_type is RecordType.PREFERENCE else sft.from_desirable(rows)


def _without_picture(rows: pl.DataFrame, record_type: RecordType) -> Built:
    """Nothing, of examples that only a picture could make labelled rows or pairs of."""
    nothing = conform(pl.DataFrame(schema={"id": pl.String}), record_type)
    return Built(nothing, account(rows.select("id", reasons=pl.lit(["no_picture"]))))


def _lifted(pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of two rows, whose `meta` has that of both: file, line and customer of the chosen one stand at its top."""
    meta = pl.col("meta")
    top = pl.struct(
        customer=meta.str.json_path_match("$.chosen.customer"),
        file=meta.str.json_path_match("$.chosen.file"),
        line=meta.str.json_path_match("$.chosen.line").cast(pl.Int64, strict=False),
    ).struct.json_encode()
    own = {name: meta.str.json_path_match(f"$.{name}") for name in ("chosen", "rejected")}
    touched = meta.str.json_path_match("$.chosen.touched").fill_null("[]")
    both = meta.str.json_path_match("$.chosen").is_not_null()
    return pairs.with_columns(meta=pl.when(both).then(with_json(top, touched=touched, **own)).otherwise(meta))


def counts(unmade: pl.DataFrame) -> dict[str, int]:
    """Reason -> candidates, sorted by reason; one with two reasons counts under both."""
    found = unmade.explode("reasons").drop_nulls("reasons").group_by("reasons").len().sort("reasons")
    return dict(zip(found["reasons"].to_list(), found["len"].to_list(), strict=True))


def told(made: Made) -> dict[str, Any]:
    """The part of a source's account that is about building."""
    return {
        "candidates": made.candidates,
        "rows": made.rows.height,
        "unmade": made.unmade.height,
        "unmade_because": counts(made.unmade),
        **({} if made.card is None else {"image_text": made.card}),
    }
