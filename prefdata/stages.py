"""The stages of a run up to its decision: ingest -> score -> label -> group.

Each is skipped where its marker stands and the hashes of its files are still right; a killed run goes on at the first
stage without one. What follows a decision is the runner's.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata import gating, judging, labelling, pictured, sourced
from prefdata.engine import Engine
from prefdata.erased import counted, erased, rows_of
from prefdata.errors import InputError, QuarantineError
from prefdata.io import QUARANTINE, sha256_file, write_atomic, write_parquet
from prefdata.judging import Grouping, RowFilter
from prefdata.recipe import Recipe, plain
from prefdata.rundir import RunDir, key_of
from prefdata.schema import RecordType, stable_hash
from prefdata.sides import by_sides, compared, fitted, orientation, texts, with_pictures

if TYPE_CHECKING:
    from prefdata.pictures import Pictures

FORMAT = 1
"""Version of the run directory; another version is not reused."""

Progress = Callable[[str, int, int], None]
"""Called with a step's name, how much of it is done, and how much there is."""


@dataclass
class State:
    """A run under way."""

    recipe: Recipe
    run: RunDir
    engine: Engine
    progress: Progress
    filters: list[RowFilter] = field(default_factory=list)
    groupings: list[Grouping] = field(default_factory=list)
    seen: Pictures | None = None
    """The pictures of the rows, once they were asked for."""

    @property
    def type(self) -> RecordType:
        """What the run makes."""
        assert self.recipe.type is not None
        return self.recipe.type

    def oriented(self) -> Callable[[pl.DataFrame], pl.DataFrame] | None:
        """What tells pairs of one cluster from their opposites; null for rows that are no pairs."""
        if self.type is not RecordType.PREFERENCE:
            return None

        def told(clusters: pl.DataFrame) -> pl.DataFrame:
            return orientation(self.pairs(pl.concat([clusters["id"], clusters["cluster"].alias("id")])), clusters)

        return told

    def pairs(self, ids: pl.Series) -> pl.DataFrame:
        """`id`, `chosen` and `rejected` of the records named by `ids`."""
        wanted = ids.alias("id").unique().to_frame()
        columns = ["id", "chosen", "rejected"]
        shards = [pl.read_parquet(shard, columns=columns, glob=False) for shard in self.shards()]
        return pl.concat([shard.join(wanted, on="id", how="semi") for shard in shards])

    def pictures(self) -> Pictures | None:
        """The pictures that rows have; null where there are none."""
        if self.seen is None:
            self.seen = gating.known(self.run.path)
        return self.seen

    def shards(self) -> list[Path]:
        return sorted((self.run.path / "records").glob("*.parquet"))

    def signals(self, shard: Path) -> Path:
        return self.run.path / "signals" / shard.name


def state_of(recipe: Recipe, run: RunDir, engine: Engine, progress: Progress) -> State:
    """The state of a run of `recipe`, whose type is known, with its filters and groupings."""
    state = State(recipe=recipe, run=run, engine=engine, progress=progress)
    state.filters = [
        fitted(judging.rooted(entry.settings, recipe.root).build(), state.type) for entry in recipe.filters
    ]
    state.groupings = [entry.settings.build() for entry in recipe.groupings]
    return state


def ingest_key(state: State, hashes: dict[str, dict[str, str]]) -> str:
    """What records depend on: inputs, the recipe up to mining, the version, the key of ids, who is erased."""
    resolved = state.recipe.resolved()
    parts = ["sources", "sessions", "max_context_turns", "transforms", "signals", "limits", "shard_rows"]
    if not state.recipe.of_logs():  # labels and matches are made of replies before they are rows
        parts += ["type", "match", "credit", "labels", "filters"]
    read_limits = {name: value for name, value in resolved["limits"].items() if name != "max_quarantined"}
    depends = {name: resolved[name] for name in parts if name != "limits"} | {"limits": read_limits}
    terms = ("licence", "permits")  # what one may do with the rows changes nothing in them
    depends["sources"] = [
        {name: value for name, value in source.items() if name not in terms} for source in depends["sources"]
    ]
    forgotten = erased(state.run.path)
    more: tuple[Any, ...] = (forgotten,) if forgotten else ()
    more += ({"pictures": _of_gate(resolved["pictures"])},) if "pictures" in resolved else ()
    more += _of_image_text(state, resolved) if "image_text" in resolved else ()
    files = gating.without_pictures(hashes)
    return key_of(FORMAT, version("prefdata"), files, depends, judging_key(), *more)


def _of_gate(section: dict[str, Any]) -> dict[str, Any]:
    """What is found in pictures depends on: the section without what speeds a look up or ends it, see gating.bounds."""
    return {name: value for name, value in section.items() if name not in ("workers", *gating.BOUNDS)}


def _of_image_text(state: State, resolved: dict[str, Any]) -> tuple[Any, ...]:
    """What rows about pictures depend on: the section, the scorer that it asks, what tells duplicates."""
    asked = [one.scorer for one in state.filters if one.name == resolved["image_text"]["relevance"]]
    scorers = [(one.name, one.version, dict(one.parameters())) for one in asked]
    return resolved["image_text"], scorers, resolved["groupings"], resolved["seed"]


def ingest(state: State, hashes: dict[str, dict[str, str]]) -> dict[str, Any]:
    """records/, signals/ and quarantine.parquet, or the account of them where they stand already.

    Customers that the run was told to forget are left out, with a fate of their own.
    """
    recipe = state.recipe
    key = ingest_key(state, hashes)
    forgotten = erased(state.run.path)
    known = state.run.finished("ingest", key)
    if known is not None and gating.unchanged(recipe, state.run.path, known.get("bounds")):
        return known
    state.run.log("stage_started", stage="ingest")
    unfinish(state)
    with gating.Looking(recipe, state.run.path) as looking:
        return _ingest(state, key, forgotten, looking)


def _ingest(state: State, key: str, forgotten: dict[str, list[str]], looking: gating.Looking) -> dict[str, Any]:
    recipe = state.recipe
    records, signals = state.run.fresh("records"), state.run.fresh("signals")
    gating.prune(state.run.path)
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
    accounts: list[dict[str, Any]] = []
    unmade: list[pl.DataFrame] = []
    reading = sourced.Reading(recipe, transforms, filters=state.filters, looking=looking)
    for position, source in enumerate(recipe.sources):
        state.progress("read", position, len(recipe.sources))
        mined = reading.of(source)
        unmade.append(mined.unmade)
        if mined.account is not None:
            accounts.append(mined.account)
        gone = rows_of(mined.records, forgotten) if forgotten else pl.repeat(False, mined.records.height, eager=True)
        rows = mined.records
        looking.keep(source, rows.filter(~gone), rows.filter(gone), forgotten.get(source.name, []))
        if forgotten:
            fates = counted(mined.fates, mined.records.filter(gone))
            mined = mined._replace(
                records=mined.records.filter(~gone), signals=mined.signals.filter(~gone), fates=fates
            )
            if mined.account is not None:
                mined.account["erased"] = int(gone.sum())
        for start in range(0, mined.records.height, recipe.shard_rows):
            name = f"{len(written) // 2:05d}.parquet"
            write_parquet(records / name, mined.records.slice(start, recipe.shard_rows))
            write_parquet(signals / name, mined.signals.slice(start, recipe.shard_rows))
            written += [records / name, signals / name]
        quarantines.append(mined.quarantine)
        result["files"] += [{"source": source.name, **report._asdict()} for report in mined.files]
        result["fates"] += mined.fates
        if source.layout is not None:
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
    if accounts:
        result["accounts"] = accounts
    if accounts or any(one.height for one in unmade):
        written.append(state.run.path / "unmade.parquet")
        write_parquet(written[-1], pl.concat(unmade).sort("source", "step", "file", "line", "id", "other", "part"))
    else:
        (state.run.path / "unmade.parquet").unlink(missing_ok=True)
    state.progress("read", len(recipe.sources), len(recipe.sources))
    pictures = looking.write()
    bounds = gating.bounds(recipe, state.run.path) if pictures else None
    result.update({} if bounds is None else {"bounds": bounds})
    return state.run.finish("ingest", key, [*written, path, *pictures], result)


def unfinish(state: State) -> None:
    """Take away what says that the run is whole, before anything changes that it tells of."""
    for name in ("run.json", "report.json", "report.html"):
        (state.run.path / name).unlink(missing_ok=True)


def judging_key() -> str:
    """A hash that tells whether ids are keyed, and by which key, without giving the key away."""
    return str(stable_hash([pl.Series(["prefdata"])], purpose="key")[0])


def check_quarantine(recipe: Recipe, ingested: dict[str, Any]) -> None:
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
    if not ingested["rows"] and "accounts" in ingested:
        why = [
            f"{one['source']}: " + json.dumps({**one["refused_because"], **one["left_out"], **one["unmade_because"]})
            for one in ingested["accounts"]
        ]
        raise InputError(
            "no rows came out of the sources; what kept them out: " + "; ".join(why) + _looked_up(recipe, str(why))
        )
    refused = sum(row.get("refused", 0) for row in ingested["fates"])
    if not ingested["rows"] and refused:
        raise InputError(
            f"no rows came out of the sources: all {refused} replies stand in conversations of which a picture was "
            f"refused; unmade.parquet tells where and why{_looked_up(recipe)}"
        )
    if not ingested["rows"]:
        raise InputError(
            "no rows came out of the sources: no agent turn answers a customer turn. Check columns and roles of the "
            "layouts; set aside: "
            + json.dumps(ingested["set_aside"], sort_keys=True)
            + "; role values without a role: "
            + json.dumps({name: one["unknown_roles"] for name, one in ingested["reading"].items()}, ensure_ascii=False)
        )


def _looked_up(recipe: Recipe, why: str | None = None) -> str:
    """Below which folders pictures were looked up, where `why` says that they were not found there."""
    if why is not None and not any(f'"{reason}"' in why for reason in ("not_there", "outside_root")):
        return ""
    roots = sorted({str(gating.root_of(source, recipe)) for source in recipe.sources})
    told = ", ".join(root if Path(root).is_dir() else f"{root} (no such folder)" for root in roots)
    return f". Pictures are looked up below {told}; another folder is named by `pictures: {{root: ...}}`"


def sides(state: State) -> Iterator[tuple[RowFilter, judging.Side]]:
    """Every scorer with every side that it scores, each once."""
    seen = set()
    for row_filter in state.filters:
        for side in row_filter.sides:
            if (row_filter.scorer.name, side) not in seen:
                seen.add((row_filter.scorer.name, side))
                yield row_filter, side


def score(state: State) -> dict[str, list[str]]:
    """scores/<scorer>/<key>.parquet for every shard and side; `<scorer>_<side>` -> the keys, shard by shard."""
    keys: dict[str, list[str]] = {}
    shards = state.shards()
    state.pictures()
    for row_filter, side in sides(state):
        name = f"{row_filter.scorer.name}_{side}"
        folder = state.run.path / "scores" / row_filter.scorer.name

        def one(
            shard: Path, *, row_filter: RowFilter = row_filter, side: judging.Side = side, folder: Path = folder
        ) -> str:
            revs = pl.read_parquet(state.signals(shard), columns=["rev"], glob=False)["rev"]
            key = score_key(state, row_filter, side, revs, images_of(shard, row_filter))
            if not sound(folder / f"{key}.parquet"):
                folder.mkdir(parents=True, exist_ok=True)
                scored = judging.judge(pl.read_parquet(shard, glob=False), row_filter, side, pictures=state.pictures())
                write_sound(folder / f"{key}.parquet", scored)
            return key

        state.progress(f"score {name}", 0, len(shards))
        keys[name] = []
        for key in state.engine.map(shards, one):
            keys[name].append(key)
            state.progress(f"score {name}", len(keys[name]), len(shards))
    return keys


def images_of(shard: Path, row_filter: RowFilter) -> pl.Series | None:
    """The pictures of a shard's rows, for a scorer that looks at them."""
    looks = "images" in row_filter.scorer.reads
    return pl.read_parquet(shard, columns=["images"], glob=False)["images"] if looks else None


def score_key(
    state: State, row_filter: RowFilter, side: judging.Side, revs: pl.Series, images: pl.Series | None
) -> str:
    """What the scores of rows depend on: on their texts, and, of a scorer that looks, on what is in their pictures."""
    pictures = None if images is None else state.pictures()
    if images is not None and pictures is not None:
        revs = revs + pictured.contents(images, pictures.table)
    return judging.sidecar_key(row_filter.scorer, side, revs)


def sound(path: Path) -> bool:
    """Whether a kept file is there and still has the hash written beside it."""
    try:
        return path.with_suffix(".sha256").read_text().strip() == sha256_file(path)
    except OSError:
        return False


def write_sound(path: Path, frame: pl.DataFrame) -> None:
    """Writes a frame and, last, its hash beside it."""
    write_parquet(path, frame)
    write_atomic(path.with_suffix(".sha256"), (sha256_file(path) + "\n").encode())


def scores(state: State, sidecars: dict[str, list[str]]) -> pl.DataFrame:
    """`id` and every score column, over the whole run."""
    frames = []
    for position, shard in enumerate(state.shards()):
        frame = pl.read_parquet(state.signals(shard), columns=["id"], glob=False)
        for row_filter, side in sides(state):
            key = sidecars[f"{row_filter.scorer.name}_{side}"][position]
            path = state.run.path / "scores" / row_filter.scorer.name / f"{key}.parquet"
            frame = frame.hstack(pl.read_parquet(path, glob=False))
        frames.append(frame)
    return pl.concat(frames, how="vertical_relaxed").sort("id")


def label(state: State, scores: pl.DataFrame, sidecars: dict[str, list[str]]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Labels of every row (id, label, label_confidence, label_sources, evidence) and the card of how they came."""
    resolved = state.recipe.resolved()
    ingested = json.loads(state.run.marker("ingest").read_text())
    key = key_of(
        ingested["key"], ingested["files"], sidecars.get(labelling.RUDENESS), resolved["credit"], resolved["labels"]
    )
    path = state.run.path / "labels.parquet"
    known = state.run.finished("label", key)
    if known is not None:
        return pl.read_parquet(path, glob=False), known
    state.progress("label", 0, 1)
    joined, card = labelling.labels(state.recipe, _beside(state), scores)
    write_parquet(path, joined)
    state.progress("label", 1, 1)
    return joined, state.run.finish("label", key, [path], card)


def _beside(state: State) -> Iterator[tuple[pl.DataFrame, Path]]:
    """The signals of every shard, and the file of its records."""
    for shard in state.shards():
        yield pl.read_parquet(state.signals(shard), glob=False), shard


def group(state: State) -> list[pl.DataFrame]:
    """The verified edges of every grouping, kept in edges/ under what they depend on."""
    found = []
    revs = [pl.read_parquet(state.signals(shard), columns=["id", "rev"], glob=False) for shard in state.shards()]
    digest = key_of(pl.concat(revs).sort("id").rows())
    columns = compared(state.type)
    as_pairs = ("by_sides", 2) if state.type is RecordType.PREFERENCE else ()
    for grouping in state.groupings:
        looks = "images" in getattr(grouping, "reads", frozenset())
        seen = state.pictures() if looks else None
        paired = as_pairs if not looks else ()
        more = (*paired, *(_of_pictures(state) if looks else ()))
        key = key_of(grouping.name, grouping.version, dict(grouping.parameters()), digest, *more)
        path = state.run.path / "edges" / grouping.name / f"{key}.parquet"
        if not sound(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            shards = state.shards()
            name = f"group {grouping.name}"

            def keys(
                shard: Path, *, grouping: Grouping = grouping, looks: bool = looks, seen: Pictures | None = seen
            ) -> pl.DataFrame:
                frame = pl.read_parquet(shard, columns=[*columns, "source"], glob=False)
                if looks:
                    return grouping.keys(with_pictures(frame, state.type, seen))
                return grouping.keys(texts(frame, state.type, exactly=grouping.min_similarity >= 1))

            def counted(
                frames: Iterator[pl.DataFrame], *, name: str = name, total: int = len(shards)
            ) -> Iterator[pl.DataFrame]:
                for number, frame in enumerate(frames, 1):
                    state.progress(name, number, total)
                    yield frame

            state.progress(name, 0, len(shards))
            buckets = list(state.engine.shuffle(counted(state.engine.map(shards, keys)), "key", grouping.edges))
            edges = pl.concat(buckets).unique().sort(["left", "right"])
            if paired:
                edges = by_sides(edges, state.pairs(pl.concat([edges["left"], edges["right"].alias("left")])))
            write_sound(path, edges)
        found.append(pl.read_parquet(path, glob=False))
    return found


def _of_pictures(state: State) -> tuple[str, ...]:
    """A hash of what is in the pictures of the rows."""
    table = state.run.path / gating.TABLE
    return (sha256_file(table),) if table.is_file() else ()


def sources_of(state: State) -> pl.DataFrame:
    """`id` and `source` of every record."""
    return pl.concat([pl.read_parquet(shard, columns=["id", "source"], glob=False) for shard in state.shards()])


def version(package: str) -> str:
    """The installed version of a package; "none" where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
