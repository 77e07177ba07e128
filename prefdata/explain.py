"""A row's life, from the files of a run: where it came from, what was measured, what was decided and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from prefdata import gating, rundir
from prefdata.errors import InputError
from prefdata.runner import scan_rows
from prefdata.sides import ANSWERS

MATES = 10
"""Cluster mates told at most."""


def explain(path: str | Path, row: str) -> dict[str, Any]:
    """The life of the row whose id is `row` or begins with it, as JSON data.

    Raises InputError where no row or more than one begins so.
    """
    run = rundir.existing(path)
    facts = json.loads((run.path / "run.json").read_text())
    kept, dropped = scan_rows(run.path, "kept"), scan_rows(run.path, "dropped")
    begin_so = pl.col("id").str.starts_with(row)
    ids = [name for rows in (kept, dropped) for name in rows.filter(begin_so).select("id").collect()["id"]]
    if not ids:
        found_unmade = _unmade(run.path, row)
        if found_unmade is not None:
            return found_unmade
    if len(ids) != 1:
        what = f"{len(ids)} ids, among them {', '.join(sorted(ids)[:5])}" if ids else "no id in this run"
        raise InputError(f"{path}: {row!r} is the beginning of {what}")
    name = ids[0]
    found = kept.filter(pl.col("id") == name).collect()
    is_kept = found.height == 1
    record = (found if is_kept else dropped.filter(pl.col("id") == name).collect()).to_dicts()[0]
    scores, signals, after = _measured(run.path, facts, name)
    meta = json.loads(record["meta"] or "{}")
    alike = (pl.col("survivor") == name) if is_kept else (pl.col("cluster") == (record["cluster"] or ""))
    mates = dropped.filter(alike, pl.col("id") != name).select("id").sort("id").head(MATES).collect()
    return {
        "id": name,
        "source": record["source"],
        "file": meta.get("file"),
        "line": meta.get("line"),
        "session": meta.get("session"),
        "turn": meta.get("turn"),
        "touched": meta.get("touched", []),
        **({"flagged": meta.get("flagged", [])} if "turn" not in meta else {}),
        "prompt": record["prompt"],
        **{side: record[side] for side in ANSWERS if side in record},
        **({"pictures": gating.of_row(run.path, record["source"], record["images"])} if record["images"] else {}),
        "customer_after": after,
        "signals": signals,
        "label": record.get("label"),
        "label_confidence": record.get("label_confidence"),
        "label_sources": record.get("label_sources"),
        "evidence": json.loads(record["evidence"]) if record["evidence"] else None,
        "scores": scores,
        "verdicts": _verdicts(facts["thresholds"], scores, record, [] if is_kept else record["reasons"]),
        "kept": is_kept,
        "reasons": [] if is_kept else record["reasons"],
        "split": record.get("split"),
        "survivor": None if is_kept else record["survivor"],
        "mates": mates["id"].to_list(),
    }


def _measured(path: Path, facts: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """The row's scores, its signals, and the customer's turn after it, from the files beside its shard."""
    for position, shard in enumerate(facts["shards"]):
        beside = pl.read_parquet(path / "signals" / shard, glob=False).with_row_index("place")
        found = beside.filter(pl.col("id") == name)
        if found.is_empty():
            continue
        place = found["place"][0]
        scores: dict[str, Any] = {}
        for column, keys in facts["sidecars"].items():
            folder = path / "scores" / column.rsplit("_", 1)[0]
            scores.update(pl.read_parquet(folder / f"{keys[position]}.parquet", glob=False).row(place, named=True))
        texts = ("place", "id", "rev", "session", "turn", "customer_before", "reply", "customer_after")
        row = found.drop(texts, strict=False).row(0, named=True)
        after = found["customer_after"][0] if "customer_after" in found.columns else None
        return _rounded(scores), _rounded({key: value for key, value in row.items() if value is not None}), after
    raise InputError(f"{path}: row {name} has no signals; the run directory is not whole, run it again")


def _desirable(record: dict[str, Any], column: str) -> bool | None:
    """Whether what a score column speaks of is to be learnt: of a pair its chosen side, of an example the answer."""
    if "chosen" in record:
        return "_rejected" not in column
    label: bool | None = record.get("label", True)
    return label


def _unmade(path: Path, row: str) -> dict[str, Any] | None:
    """The fates of a candidate that became no row, by the beginning of its id; None where there is none."""
    file = path / "unmade.parquet"
    if not row or not file.is_file():
        return None
    found = pl.scan_parquet(file, glob=False).filter(pl.col("id").str.starts_with(row)).collect()
    if found["id"].n_unique() != 1:
        return None
    return {"id": found["id"][0], "source": found["source"][0], "unmade": found.drop("id", "source").to_dicts()}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) + 0.0 if isinstance(value, float) else value for key, value in values.items()}


def _verdicts(
    thresholds: dict[str, Any], scores: dict[str, Any], record: dict[str, Any], reasons: list[str]
) -> list[dict[str, Any]]:
    """Each rule: its score, its bounds, and what it said of this row."""
    told = []
    for reason, bounds in thresholds.items():
        speaks = bounds["only"] is None or _desirable(record, bounds["column"]) is (bounds["only"] == "desirable")
        value = scores.get(bounds["column"])
        verdict = (
            "drops" if reason in reasons else "not asked" if not speaks else "unjudged" if value is None else "passes"
        )
        told.append({"rule": reason, "score": value, "verdict": verdict, **bounds})
    return told


def _picture(one: dict[str, Any]) -> str:
    """A picture of the row: what it came as, its place, where it is stored, its measures."""
    came = ", ".join(one["addresses"]) or one["uri"]
    place = f"{one['side']}, message {one['message']}"
    if "width" not in one:
        return f"  picture  {came} ({place})"
    measures = ", ".join(f"{name} {one[name]}" for name in gating.MEASURES if one[name] is not None)
    return (
        f"  picture  {came} ({place}): {one['format']}, {one['width']} x {one['height']}, {one['bytes']:,} bytes; "
        f"{measures}; {one['uri']}"
    )


def told(life: dict[str, Any]) -> str:
    """A life as lines for a terminal."""
    if "unmade" in life:
        return "\n".join(
            [
                f"candidate {life['id']} of {life['source']} became no row",
                *(
                    f"  {one['file']} line {one['line']}"
                    + (f", {one['part']}" if one["part"] else "")
                    + (f", with {one['other']}" if one["other"] else "")
                    + f": {', '.join(one['reasons'])}"
                    for one in life["unmade"]
                ),
            ]
        )
    label = {True: "desirable", False: "undesirable", None: "abstained"}[life["label"]]
    confidence = f", confidence {life['label_confidence']:.2f}" if life["label_confidence"] is not None else ""
    lines = [
        f"row {life['id']}",
        f"  from     {life['source']}: {life['file']} line {life['line']}"
        + (f", turn {life['turn']} of its session" if life["turn"] is not None else ""),
        f"  edited   {', '.join(life['touched']) or 'nothing'}",
    ]
    if "completion" in life and (life["label"] is not None or life["turn"] is not None):
        lines.append(f"  label    {label}{confidence}; by {', '.join(life['label_sources'] or []) or 'nothing'}")
    if life.get("flagged"):
        lines.append(f"  flagged  {', '.join(life['flagged'])}")
    lines += [_picture(one) for one in life.get("pictures", [])]
    spoke = {name: value for name, value in life["signals"].items() if value not in (0, 0.0, [], "")}
    lines += [f"  signal   {name} = {value}" for name, value in sorted(spoke.items())]
    passed = []
    for verdict in life["verdicts"]:
        bounds = " ".join(
            f"{name} {verdict[name]}" for name in ("min", "max", "values", "only") if verdict.get(name) is not None
        )
        score = "null" if verdict["score"] is None else verdict["score"]
        if verdict["verdict"] == "passes":
            passed.append(f"{verdict['rule']} {score} ({bounds})")
        else:
            lines.append(f"  rule     {verdict['rule']}: {verdict['column']} = {score} ({bounds}) {verdict['verdict']}")
    if passed:
        lines.append(f"  passes   {', '.join(passed)}")
    if life["kept"]:
        lines.append(f"  verdict  kept, in {life['split']}")
    else:
        lines.append(f"  verdict  dropped because {', '.join(life['reasons'])}")
    if life["survivor"]:
        lines.append(f"  instead  {life['survivor']} was kept")
    if life["mates"]:
        lines.append(f"  mates    {', '.join(life['mates'])}")
    if life["turn"] is not None and "completion" in life:
        lines.append("  text     last customer turn, the reply, and the turn after it, which labels rest on:")
    else:
        lines.append("  text     last turn of the prompt" + (", and the answers:" if "chosen" in life else ":"))
    after = [{"role": "user", "content": life["customer_after"]}] if life["customer_after"] else []
    said = [(message["role"], message) for message in life["prompt"][-1:]]
    for side in ANSWERS:
        name = None if side == "completion" else side
        said += [(name or message["role"], message) for message in life.get(side) or []]
    for role, message in [*said, *((message["role"], message) for message in after)]:
        lines += [f"    {role}: {part}" for part in (message["content"] or "").split("\n")]
    return "\n".join(lines)
