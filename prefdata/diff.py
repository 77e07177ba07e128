"""What two runs differ in: rows that came, went, changed label, text or split, and the step that made them.

Read from the runs' own files; no model runs and nothing is decided anew. A row is the same where its id is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata import rundir
from prefdata.balance import REASONS
from prefdata.erased import erased
from prefdata.rows import scan_rows

NAMES = {True: "desirable", False: "undesirable", None: "abstained"}


class _Side(NamedTuple):
    """A run as it is compared: facts of run.json, and `id`, `kept`, `reasons`, `label`, `split`, `rev`, `customer`."""

    path: Path
    facts: dict[str, Any]
    rows: pl.DataFrame


def diff(before: str | Path, after: str | Path) -> dict[str, Any]:
    """How the run `after` differs from `before`, as JSON data; lists are sorted by id and whole.

    `came` and `went` are rows kept in one run only: `id`, and `by`, a step and its reason each: `input` (new_row,
    not_read, erased), `label`, `threshold` (the rule's bounds differ), `filter` (the rule came or went), `score` (same
    rule, another score or another label that it speaks for), `dedup`, `mix`, `balance`, `unjudged`. `relabelled`,
    `moved` (split) and `edited` (text) are rows that stand in both runs, moved ones kept in both. `steps` counts the
    rows of each step and reason, a row under each of its own; `recipe` holds the settings that differ. Raises
    InputError where a run is not whole.
    """
    one, other = _side(before), _side(after)
    both = one.rows.join(other.rows, on="id", suffix="_after")
    came = other.rows.filter("kept").join(one.rows.filter("kept"), on="id", how="anti")
    went = one.rows.filter("kept").join(other.rows.filter("kept"), on="id", how="anti")
    came_by = _by(came, one, other, gained=True)
    went_by = _by(went, other, one, gained=False)
    relabelled = both.filter(pl.col("label").ne_missing(pl.col("label_after"))).sort("id")
    kept = both.filter(pl.col("kept") & pl.col("kept_after"))
    moved = kept.filter(pl.col("split").ne_missing(pl.col("split_after"))).sort("id")
    edited = both.filter(pl.col("rev").ne_missing(pl.col("rev_after"))).sort("id")
    return {
        "before": _counts(one),
        "after": _counts(other),
        "kept_in_both": kept.height,
        "came": came_by,
        "went": went_by,
        "relabelled": [
            {"id": name, "from": NAMES[old], "to": NAMES[new]}
            for name, old, new in relabelled.select("id", "label", "label_after").iter_rows()
        ],
        "moved": [
            {"id": name, "from": old, "to": new}
            for name, old, new in moved.select("id", "split", "split_after").iter_rows()
        ],
        "edited": edited["id"].to_list(),
        "steps": {"came": _steps(came_by), "went": _steps(went_by)},
        "recipe": _settings(one.facts["recipe"], other.facts["recipe"]),
        "inputs": _inputs(one.facts["inputs"], other.facts["inputs"]),
    }


def _side(path: str | Path) -> _Side:
    run = rundir.existing(path).path
    label = "label" if "label" in scan_rows(run, "kept").collect_schema() else pl.lit(None, pl.Boolean).alias("label")
    columns: list[Any] = ["id", label, pl.col("meta").str.json_path_match("$.customer").alias("customer"), "source"]
    kept = scan_rows(run, "kept").select(*columns, "split", kept=pl.lit(True), reasons=pl.lit([], pl.List(pl.String)))
    dropped = scan_rows(run, "dropped").select(
        *columns, split=pl.lit(None, pl.String), kept=pl.lit(False), reasons=pl.col("reasons")
    )
    signals = sorted((run / "signals").glob("*.parquet"))
    revs = pl.concat([pl.read_parquet(file, columns=["id", "rev"], glob=False) for file in signals])
    rows = pl.concat([kept.collect(), dropped.collect()]).join(revs, on="id", how="left").sort("id")
    return _Side(run, json.loads((run / "run.json").read_text(encoding="utf-8")), rows)


def _counts(side: _Side) -> dict[str, Any]:
    kept = side.rows.filter("kept")
    splits = {str(name): number for name, number in kept.group_by("split").len().sort("split").iter_rows()}
    return {"rows": side.rows.height, "kept": kept.height, "splits": splits}


def _by(rows: pl.DataFrame, elsewhere: _Side, here: _Side, *, gained: bool) -> list[dict[str, Any]]:
    """Each row kept `here` and not `elsewhere`, with what keeps it out there."""
    reasons = elsewhere.rows.select("id", pl.col("reasons").alias("why"))
    joined = rows.sort("id").join(reasons, on="id", how="left", maintain_order="left")
    forgotten = erased(elsewhere.path)
    steps = _step_of(elsewhere.facts, here.facts)
    found = []
    for name, source, customer, why in joined.select("id", "source", "customer", "why").iter_rows():
        if why is None:
            gone = customer is not None and customer in forgotten.get(source, [])
            reason = "new_row" if gained else "erased" if gone else "not_read"
            found.append({"id": name, "by": [["input", reason]]})
        else:
            found.append({"id": name, "by": [[steps(reason), reason] for reason in why]})
    return found


def _step_of(there: dict[str, Any], here: dict[str, Any]) -> Any:
    """A function from a reason of the run `there` to the step that explains why it does not hold `here`."""
    groupings = {entry["name"] for facts in (there, here) for entry in facts["recipe"]["groupings"]}

    def step(reason: str) -> str:
        if reason == "label_abstained":
            return "label"
        if reason in groupings or reason == "conflicting_labels":
            return "dedup"
        if reason == OVER_SHARE or (reason in REASONS and _mixes(there, reason)):
            return "mix"
        if reason in REASONS:
            return "balance"
        if reason.startswith("unjudged_by_"):
            return "unjudged"
        bounds = [
            {name: value for name, value in facts["thresholds"].items() if name.split(":")[0] == reason}
            for facts in (there, here)
        ]
        if not bounds[1]:
            return "filter"
        return "score" if bounds[0] == bounds[1] else "threshold"

    return step


OVER_SHARE = "over_share"
"""The reason that only a mixture has; its caps have those of the balance."""


def _mixes(facts: dict[str, Any], reason: str) -> bool:
    """Whether it is the mixture of a run that caps, rather than its balance."""
    cap = "max_chars" if reason == "too_long" else reason.replace("over_cap", "per")
    return (facts["recipe"].get("mix") or {}).get(cap) is not None


def _steps(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many rows each step and reason explain, most first."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        for step, reason in row["by"]:
            counts[step, reason] = counts.get((step, reason), 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"step": step, "reason": reason, "rows": number} for (step, reason), number in ordered]


def _settings(before: Any, after: Any, at: str = "") -> list[dict[str, Any]]:
    """Settings that differ: `setting`, `before`, `after`; entries of a list are told apart by their name."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        return [
            fault
            for name in names
            for fault in _settings(before.get(name), after.get(name), f"{at}.{name}" if at else name)
        ]
    if _named(before) and _named(after):
        tables = [{entry["name"]: entry for entry in side} for side in (before, after)]
        return _settings(tables[0], tables[1], at)
    return [] if before == after else [{"setting": at, "before": before, "after": after}]


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value)


def _inputs(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[dict[str, str]]:
    """Files that came, went or changed."""
    files = [
        {(source, file): sha for source, named in side.items() for file, sha in named.items()}
        for side in (before, after)
    ]
    found = []
    for key in sorted({*files[0], *files[1]}):
        old, new = files[0].get(key), files[1].get(key)
        if old != new:
            what = "came" if old is None else "went" if new is None else "changed"
            found.append({"source": key[0], "file": key[1], "what": what})
    return found


def told(found: dict[str, Any]) -> str:
    """A difference as lines for a terminal."""
    lines = [f"input    {one['source']}: {one['file']} {one['what']}" for one in found["inputs"]]
    for one in found["recipe"]:
        was, now = (json.dumps(one[side], ensure_ascii=False) for side in ("before", "after"))
        lines.append(f"setting  {one['setting']}: {_short(was)} -> {_short(now)}")
    for what in ("came", "went"):
        lines += [f"{what:8} {one['rows']:>7,} rows by {one['step']}: {one['reason']}" for one in found["steps"][what]]
    for what in ("relabelled", "moved"):
        ways: dict[tuple[str, str], int] = {}
        for one in found[what]:
            ways[one["from"], one["to"]] = ways.get((one["from"], one["to"]), 0) + 1
        name = "label" if what == "relabelled" else "split"
        lines += [f"{name:8} {number:>7,} rows {old} -> {new}" for (old, new), number in sorted(ways.items())]
    if found["edited"]:
        lines.append(f"text     {len(found['edited']):>7,} rows have another text")
    lines.append(
        f"kept {found['before']['kept']:,} -> {found['after']['kept']:,}: {len(found['came']):,} came, "
        f"{len(found['went']):,} went, {found['kept_in_both']:,} stayed"
    )
    return "\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
