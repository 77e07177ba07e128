"""One customer out of a run: every row, score and export line, and a receipt that says what was done.

Records, signals and scores lose the customer's rows; labels, duplicates, decision, splits, exports and report are made
again from what is left, so that the run is what it would have been without the customer, fitted labels included. No
model runs: scores are kept per row. The run keeps the customer's hash, and run again it leaves the customer out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata import gating, importing, rundir, runner, stages
from prefdata import recipe as recipes
from prefdata.engine import LocalEngine
from prefdata.erased import CUSTOMERS, LIST, add, counted, rows_of
from prefdata.errors import InputError, RecipeError
from prefdata.io import sha256_file, write_json, write_parquet
from prefdata.recipe import Recipe
from prefdata.schema import stable_hash
from prefdata.stages import State
from prefdata.training_rows import OTHERS
from prefdata.training_seen import ROWS
from prefdata.training_stages import TRAINED_ON

RECEIPTS = "receipts"

REFUSED_PICTURES = (
    f"{gating.TABLE} and {gating.WATCHED} name pictures of rows that were refused, by address, size and measures; "
    "whose those are is not known which no row with a customer named"
)
"""What remains where a run has pictures of nobody."""

ROW_LEVEL = ("samples.json", "eval_rewards.parquet", "before.json")
"""Files of a trained stage that hold rows or what was generated for them."""


class Found(NamedTuple):
    """What a run holds of one customer: hashes by source, rows, and the models that were trained on them."""

    customer: dict[str, str]
    rows: pl.DataFrame
    """`id`, `source`, `group`, `place` ("kept" or "dropped"), `split`, `file`, `line`."""
    models: list[str]


class Erased(NamedTuple):
    """What was erased, where the receipt is, and what it says."""

    found: Found
    receipt: Path | None
    told: dict[str, Any]


def erase(
    path: str | Path, customer: str, *, source: str | None = None, recipe: Recipe | None = None, dry_run: bool = False
) -> Erased:
    """Take a customer out of the run at `path`; `customer` is the id as the source has it.

    `source` looks in one source only: ids of several exports are not of one person by themselves. `recipe` is needed
    where a filter reads files of its own. With `dry_run` nothing is changed. Raises InputError where the run holds no
    row of the customer, or its ids were made by another version or PREFDATA_KEY; RecipeError where nothing would be
    left.
    """
    directory = rundir.existing(path)
    facts = json.loads((directory.path / "run.json").read_text(encoding="utf-8"))
    made_with = recipe or recipes.from_resolved(facts["recipe"], root=Path.cwd())
    made_with = importing.typed(made_with)
    state = stages.state_of(made_with, directory, LocalEngine(threads=1), progress=lambda step, done, total: None)
    with directory.locked():
        marker = json.loads(directory.marker("ingest").read_text(encoding="utf-8"))
        if marker["key"] != stages.ingest_key(state, facts["inputs"]):
            raise InputError(
                f"{path}: made by another version of prefdata, another recipe, or with another PREFDATA_KEY, by which "
                "this customer's rows would not be found; run it again with this one first"
            )
        found = _find(state, customer, source)
        others = sorted(one.name for one in (directory.path / OTHERS).glob("*"))
        pictures = gating.nobodys(directory.path)
        if dry_run:
            return Erased(found, None, _told(found, others, pictures))
        if found.rows.height == marker["result"]["rows"]:
            raise RecipeError(f"{path}: every row is of this customer; delete the whole directory")
        before = _hashes(directory.path)
        kept = runner.kept_rows(directory.path).height
        _take_out(state, facts, marker, found)
        after = runner.conclude(state, facts["inputs"], json.loads(directory.marker("ingest").read_text())["result"])
        told = {
            **_told(found, others, pictures),
            "kept": {"before": kept, "after": after.kept},
            "files": _touched(before, _hashes(directory.path)),
            **_pictures(before, directory.path),
        }
        receipts = directory.path / RECEIPTS
        receipts.mkdir(exist_ok=True)
        receipt = receipts / f"{len(list(receipts.glob('*.json'))) + 1:04d}.json"
        write_json(receipt, told)
        directory.log("erased", customer=found.customer, rows=found.rows.height, receipt=receipt.name)
        return Erased(found, receipt, told)


def _find(state: State, customer: str, source: str | None) -> Found:
    names = [one.name for one in state.recipe.sources]
    if source is not None and source not in names:
        raise RecipeError(f"source {source!r}; this run has {', '.join(names)}")
    looked = [source] if source is not None else names
    hashed = {name: stable_hash([pl.Series([name]), pl.Series([customer])], purpose="customer")[0] for name in looked}
    records = pl.concat(
        [pl.read_parquet(shard, columns=["id", "source", "group", "meta"], glob=False) for shard in state.shards()]
    )
    theirs = records.filter(rows_of(records, {name: [value] for name, value in hashed.items()}))
    of_pictures = set(gating.whose(state.run.path).select("source", "customer").rows()) & set(hashed.items())
    if theirs.is_empty() and not of_pictures:
        raise InputError(f"{state.run.path}: no row of this customer in {', '.join(looked)}; ids are as the source has")
    # a customer that one source does not know is not added to its list
    has = [
        row
        for path in CUSTOMERS
        for row in theirs.select("source", customer=pl.col("meta").str.json_path_match(path)).unique().rows()
    ]
    hashed = {name: value for name, value in hashed.items() if (name, value) in {*has, *of_pictures}}
    kept = runner.scan_rows(state.run.path, "kept").select("id", "split").collect()
    rows = theirs.join(kept, on="id", how="left").select(
        "id",
        "source",
        "group",
        pl.when(pl.col("split").is_null()).then(pl.lit("dropped")).otherwise(pl.lit("kept")).alias("place"),
        "split",
        file=pl.col("meta").str.json_path_match("$.file"),
        line=pl.col("meta").str.json_path_match("$.line").cast(pl.Int64, strict=False),
    )
    trained = bool((rows["split"] == "train").any())
    return Found(hashed, rows.sort("id"), _models(state.run.path) if trained else [])


def _models(run: Path) -> list[str]:
    """The stages that were trained on the rows of the run as it stands, and those whose rows are not known."""
    rows = json.loads((run / "report.json").read_text(encoding="utf-8"))["training_rows"]
    found = []
    for stage in sorted((run / "model").glob("*")):
        known = stage / TRAINED_ON
        if not known.is_file() or json.loads(known.read_text(encoding="utf-8"))["training_rows"] == rows:
            found.append(str(stage.relative_to(run)))
    return found


def _told(found: Found, others: Sequence[str], pictures: bool) -> dict[str, Any]:
    places = found.rows.select(pl.coalesce("split", "place").alias("place"))
    return {
        "format": 1,
        "customer": found.customer,
        "sessions": found.rows.select("source", "group").n_unique(),
        "rows": {"all": found.rows.height, **dict(places.group_by("place").len().sort("place").iter_rows())},
        "sources": [
            {"source": source, "file": file, "rows": number}
            for source, file, number in found.rows.group_by("source", "file").len().sort("source", "file").iter_rows()
        ],
        "models": found.models,
        "remains": [
            "the source files still hold this customer: erase there too",
            "quarantine.parquet names lines by place and hash; whose they were is not known",
            *([REFUSED_PICTURES] if pictures else []),
            "a trained model cannot unlearn rows: train those under `models` again, or delete them",
            "copies of the exports made elsewhere are not known here",
            *(f"{OTHERS}/{name} is a run of its own: erase there too" for name in others),
        ],
    }


def _take_out(state: State, facts: dict[str, Any], marker: dict[str, Any], found: Found) -> None:
    """Records, signals, scores without these rows; what is made of them is removed, the marker of reading written.

    The list is written first: whatever happens on the way, another run leaves the customer out.
    """
    run = state.run
    add(run.path, found.customer)
    stages.unfinish(state)
    run.marker("ingest").unlink()
    columns = ["id", "source", "meta", "images"]
    records = pl.concat([pl.read_parquet(shard, columns=columns, glob=False) for shard in state.shards()])
    gone, others = (records.join(found.rows, on="id", how=how) for how in ("semi", "anti"))
    for position, shard in enumerate(state.shards()):
        signals = pl.read_parquet(state.signals(shard), glob=False)
        stays = signals.select(~pl.col("id").is_in(found.rows["id"].to_list())).to_series()
        if not stays.all():
            _scores(state, facts["sidecars"], (position, shard), signals, stays)
            if not stays.any():
                shard.unlink()
                state.signals(shard).unlink()
                continue
            write_parquet(shard, pl.read_parquet(shard, glob=False).filter(stays))
            write_parquet(state.signals(shard), signals.filter(stays))
    pictures = gating.forget(run.path, gone, others, found.customer)
    state.seen = None
    _forget(state)
    result = marker["result"]
    result["fates"] = counted(result["fates"], gone)
    result["rows"] -= found.rows.height
    for account in result.get("accounts", []):
        mine = found.rows.filter(pl.col("source") == account["source"]).height
        account["erased"] = account.get("erased", 0) + mine
    files = [file for shard in state.shards() for file in (shard, state.signals(shard))]
    if (run.path / "unmade.parquet").is_file():
        files.append(run.path / "unmade.parquet")
    key = stages.ingest_key(state, facts["inputs"])
    run.finish("ingest", key, [*files, run.path / "quarantine.parquet", *pictures], result)


def _scores(
    state: State, sidecars: dict[str, list[str]], at: tuple[int, Path], signals: pl.DataFrame, stays: pl.Series
) -> None:
    """The scores of one shard under the key of its remaining rows; a score that cannot be kept is made again."""
    position, shard = at
    for row_filter, side in stages.sides(state):
        keys = sidecars.get(f"{row_filter.scorer.name}_{side}")
        if keys is None:
            continue
        folder = state.run.path / "scores" / row_filter.scorer.name
        old = folder / f"{keys[position]}.parquet"
        if stays.any() and stages.sound(old) and (scores := pl.read_parquet(old, glob=False)).height == signals.height:
            images = stages.images_of(shard, row_filter)
            images = None if images is None else images.filter(stays)
            key = stages.score_key(state, row_filter, side, signals.filter(stays)["rev"], images)
            stages.write_sound(folder / f"{key}.parquet", scores.filter(stays))
        old.unlink(missing_ok=True)
        old.with_suffix(".sha256").unlink(missing_ok=True)


def _forget(state: State) -> None:
    """Remove what is made again, what nothing names any more, and row-level files of trained stages."""
    run = state.run.path
    for folder in ("kept", "dropped", "kept.tmp", "dropped.tmp", "edges", "exports", "ablation", ROWS):
        shutil.rmtree(run / folder, ignore_errors=True)
    for name in ("labels.parquet", "splits.parquet"):
        (run / name).unlink(missing_ok=True)
    state.run.marker("label").unlink(missing_ok=True)
    named = set()
    for shard in state.shards():
        revs = pl.read_parquet(state.signals(shard), columns=["rev"], glob=False)["rev"]
        for row_filter, side in stages.sides(state):
            key = stages.score_key(state, row_filter, side, revs, stages.images_of(shard, row_filter))
            named.add((row_filter.scorer.name, key))
    for file in sorted((run / "scores").glob("*/*")):  # scores of an earlier state of the run
        if (file.parent.name, file.stem) not in named:
            file.unlink()
    for stage in sorted((run / "model").glob("*")):
        for name in ROW_LEVEL:
            (stage / name).unlink(missing_ok=True)


def _hashes(run: Path) -> dict[str, str]:
    """File -> SHA-256 of everything that may hold rows; checkpoints and weights hold none."""
    found = {}
    for file in sorted(run.rglob("*")):
        name = file.relative_to(run).as_posix()
        skipped = name in (".lock", "run.log.jsonl") or name.startswith(f"{RECEIPTS}/")
        if file.is_file() and not skipped and (not name.startswith("model/") or file.name in ROW_LEVEL):
            found[name] = sha256_file(file)
    return found


def _pictures(before: dict[str, str], run: Path) -> dict[str, int]:
    """How many stored pictures went: a hash of one would tell whoever has the picture that it was here."""
    stored = [name for name in before if name.startswith(f"{gating.STORE}/")]
    return {"pictures": sum(not (run / name).is_file() for name in stored)} if stored else {}


def _touched(before: dict[str, str], after: dict[str, str]) -> list[dict[str, str | None]]:
    names = sorted({*before, *after} - {LIST})
    stored = f"{gating.STORE}/"
    changed = [name for name in names if before.get(name) != after.get(name) and not name.startswith(stored)]
    return [{"file": name, "before": before.get(name), "after": after.get(name)} for name in changed]
