"""The pieces from Python, on polars frames: read a log or a dataset, score a frame, filter it, find its duplicates."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import polars as pl

from prefdata import judging
from prefdata.errors import InputError, RecipeError, SchemaError
from prefdata.recipe import Recipe, settings_of
from prefdata.schema import MESSAGES, RecordType, check
from prefdata.text import joined_text, last_user_text

if TYPE_CHECKING:
    from prefdata.importing import Imported
    from prefdata.pictures import Pictures

logger = logging.getLogger(__name__)


class Log(NamedTuple):
    """A log, read: labelled canonical rows, and the account of what did not become one."""

    rows: pl.DataFrame
    """UNPAIRED rows; `label` null where the signals abstained."""
    quarantine: pl.DataFrame
    fates: list[dict[str, Any]]
    card: dict[str, Any]


class Filtered(NamedTuple):
    """Rows that pass every filter, and the rest with its reasons."""

    kept: pl.DataFrame
    dropped: pl.DataFrame


def read_log(
    path: str | Path | Sequence[str | Path],
    *,
    layout: str = "events",
    name: str = "log",
    ratings: dict[str, Any] | None = None,
    labels: dict[str, Any] | None = None,
    transforms: Sequence[str] = ("unicode", "personal_data", "control_tokens"),
    **layout_settings: Any,
) -> Log:
    """The agent turns of a raw support log as labelled UNPAIRED rows; nothing is written.

    `layout_settings` are those of the layout (`columns={"session": "ticket_id", ...}`, `roles=...`), `ratings` and
    `labels` those of the recipe's blocks. Raises RecipeError for unknown settings, InputError for unreadable files.
    """
    from prefdata.ingest import ingest
    from prefdata.logs.combine import combine
    from prefdata.logs.credit import credit
    from prefdata.recipe import from_data

    paths = [path] if isinstance(path, (str, Path)) else list(path)
    source = {
        "name": name,
        "path": [str(Path(one).resolve()) for one in paths],
        "layout": {layout: layout_settings or None},
        "ratings": ratings,
    }
    recipe: Recipe = from_data(
        {"sources": [source], "labels": labels, "transforms": list(transforms)}, root=Path.cwd(), where="read_log"
    )
    mined = ingest(recipe, recipe.sources[0], [entry.settings.build() for entry in recipe.transforms])
    credited = credit(mined.signals.drop("rev"), policy=recipe.credit.policy, factor=recipe.credit.factor)
    found = combine(credited.drop("id"), settings=recipe.labels)
    aligned = mined.signals.select("id", "session", "turn")
    joined = aligned.join(found.labels, on=["session", "turn"], how="left", maintain_order="left")
    order = mined.records.columns
    rows = mined.records.drop("label", "label_confidence", "label_sources", "evidence")
    rows = rows.join(joined.drop("session", "turn"), on="id", how="left", maintain_order="left").select(order)
    return Log(rows=check(rows, RecordType.UNPAIRED), quarantine=mined.quarantine, fates=mined.fates, card=found.card)


def read(
    path: str | Path | Sequence[str | Path],
    *,
    format: str = "auto",
    type: RecordType | str | None = None,
    into: RecordType | str | None = None,
    labels: Mapping[str, bool] | None = None,
    pictures: str | Path | None = None,
    **format_settings: Any,
) -> pl.DataFrame:
    """The rows of a dataset of any format as a canonical frame, which is what trainers and filters take.

    The format is recognised unless it is named; `type` says what the rows are where that is not clear, `into` makes
    them another type (pairs to unpaired, SFT or prompts), `labels` says what labels other than true and false mean. The
    column `group` holds rows of one prompt together. Where a folder is named for `pictures`, those of the rows pass the
    gate, are stored there, and have their addresses in it, which scorers that look at pictures need. Rows that cannot
    be read or say nothing are left out, and logged with their reasons. Raises RecipeError where the file can be read in
    several ways, InputError where not at all.
    Example: `prefdata.read("pairs.jsonl")`.
    """
    from prefdata import importing
    from prefdata.recipe import AUTO, from_data
    from prefdata.schema import conform

    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if len(paths) == 1 and (Path(paths[0]) / "run.json").is_file():
        raise RecipeError(f"{paths[0]} is a run; prefdata.kept_rows reads its rows")
    source = {
        "name": "data",
        "path": [str(Path(one).resolve()) for one in paths],
        "format": format if format == AUTO else {format: format_settings or None},
        "type": type,
        "labels": None if labels is None else dict(labels),
    }
    recipe = importing.typed(from_data({"sources": [source], "type": into}, root=Path.cwd(), where="read"))
    assert recipe.type is not None
    if pictures is None:
        found = importing.read_dataset(recipe, recipe.sources[0], recipe.type)
    else:
        found = _with_pictures(recipe, recipe.type, Path(pictures))
    account = found.account
    reasons = {**account["refused_because"], **account["left_out"], **account["unmade_because"]}
    if account["quarantined"]:
        reasons["unreadable"] = account["quarantined"]
    if reasons:
        logger.warning(
            "%s: left out: %s", Path(paths[0]).name, ", ".join(f"{number} {name}" for name, number in reasons.items())
        )
    return conform(found.records, recipe.type)


def _with_pictures(recipe: Recipe, record_type: RecordType, folder: Path) -> Imported:
    """A dataset whose pictures are stored in `folder`."""
    from prefdata.gating import STORE, TABLE, Looking
    from prefdata.importing import read_dataset

    if (folder / STORE).exists() and not (folder / TABLE).is_file():
        raise RecipeError(f"{folder}: has `{STORE}` in it that prefdata did not write; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    (source,) = recipe.sources
    with Looking(recipe, folder) as looking:
        found = read_dataset(recipe, source, record_type, looking=looking)
        looking.keep(source, found.records, found.records.clear())
        looking.write()
    return found


def score(
    frame: pl.DataFrame,
    name: str,
    *,
    side: judging.Side = "completion",
    pictures: str | Path | None = None,
    **settings: Any,
) -> pl.DataFrame:
    """The scores of the filter `name` for one side of the rows: as many rows, in the same order, with `id`.

    `pictures` is the folder that the rows' pictures are stored in: of `read`, or a run.
    Sides may be messages or plain text (String); rows without `id` are numbered. Null is unjudged. Raises RecipeError
    for wrong settings, SchemaError for a frame without that side.
    Example: `prefdata.score(rows, "toxicity")["toxicity_completion"]`.
    """
    row_filter = settings_of("filter", name, settings).build()
    rows = _canonical(frame, sides=("prompt", side))
    return rows.select("id").hstack(judging.judge(rows, row_filter, side, pictures=_known(pictures)))


def filter_rows(
    frame: pl.DataFrame,
    filters: dict[str, dict[str, Any]],
    *,
    unjudged: Literal["keep", "drop"] = "keep",
    pictures: str | Path | None = None,
) -> Filtered:
    """`frame` without the rows that a filter drops; the dropped come back with every reason.

    `filters` is name -> settings; `pictures` as of `score`. Rows without a label are not dropped for that.
    """
    built = [settings_of("filter", name, settings).build() for name, settings in filters.items()]
    known = _known(pictures)
    given = frame
    frame = _canonical(frame, sides=("prompt", *(side for row_filter in built for side in row_filter.sides)))
    scored = frame.select("id", *[name for name in ("label", "label_confidence") if name in frame.columns])
    unlabelled = "label" not in scored.columns
    if unlabelled:
        scored = scored.with_columns(label=pl.lit(True), label_confidence=pl.lit(0.0, dtype=pl.Float32))
    for row_filter in built:
        for side in row_filter.sides:
            scored = scored.hstack(judging.judge(frame, row_filter, side, pictures=known))
    decision = judging.decide(scored, built, [], unjudged=unjudged)
    reasons = pl.col("reasons").list.set_difference(pl.lit(["label_abstained"]))
    found = frame.select("id").join(decision.rows.select("id", reasons), on="id", how="left", maintain_order="left")
    rows = given.with_columns(reasons=found["reasons"])
    kept = pl.col("reasons").list.len() == 0
    return Filtered(kept=rows.filter(kept).drop("reasons"), dropped=rows.filter(~kept))


def near_duplicates(frame: pl.DataFrame, **settings: Any) -> pl.DataFrame:
    """Clusters of near-duplicate rows: `id`, `cluster`, `size`, `similarity`; rows without a mate are not in it."""
    grouping = settings_of("grouping", "near_duplicates", settings).build()
    texts = _canonical(frame, sides=("prompt", "completion")).select(
        "id", customer=last_user_text("prompt").fill_null(""), reply=joined_text("completion")
    )
    keys = grouping.keys(texts)
    edges = grouping.edges(keys.filter(pl.col("key").is_duplicated()))
    found: pl.DataFrame = grouping.groups(edges.filter(pl.col("similarity") >= grouping.min_similarity))
    return found


def _known(folder: str | Path | None) -> Pictures | None:
    """The pictures that are stored in a folder. Raises InputError where there are none."""
    if folder is None:
        return None
    from prefdata import gating

    known = gating.known(Path(folder))
    if known is None:
        raise InputError(f"{folder}: no {gating.TABLE} there; `read(..., pictures=...)` or a run writes one")
    return known


def _canonical(frame: pl.DataFrame, *, sides: Sequence[str]) -> pl.DataFrame:
    """The frame with an id and with the sides as messages; text becomes one message of its side's role."""
    faults = []
    columns = []
    for side in dict.fromkeys(sides):
        role = "user" if side == "prompt" else "assistant"
        dtype = frame.schema.get(side)
        if dtype is None and side == "prompt":
            columns.append(pl.lit([], dtype=MESSAGES).alias(side))
        elif dtype == pl.String:
            message = pl.struct(
                pl.lit(role).alias("role"),
                pl.col(side).alias("content"),
                pl.lit(None, dtype=pl.String).alias("tool_calls"),
            )
            columns.append(pl.when(pl.col(side).is_not_null()).then(pl.concat_list(message)).cast(MESSAGES).alias(side))
        elif not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)):
            faults.append(f"{side}: {dtype or 'missing'}, expected {MESSAGES} or String")
    if faults:
        raise SchemaError("these rows cannot be judged: " + "; ".join(faults))
    if "id" not in frame.columns:
        columns.append(pl.int_range(pl.len()).cast(pl.String).str.zfill(12).alias("id"))
    elif frame["id"].is_duplicated().any() or frame["id"].null_count():
        raise SchemaError(f"id: {frame['id'].is_duplicated().sum()} rows share an id; ids are unique and not null")
    return frame.with_columns(columns)
