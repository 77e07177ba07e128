"""Rows in a peer's own form that it refuses, changes or trips over, each with the rule that prefdata has for it.

A case is a file of two rows: a good one and the one in question. The loaders load it as they load an export; `outcome`
says in words what became of the second row, `rule` what our reader and writer of the same format say to the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from cases import Case

from prefdata.catalogue import load
from prefdata.errors import PrefdataError
from prefdata.formats.core import identify
from prefdata.formats.files import read_frames
from prefdata.schema import RecordType

TYPES = {"sft": RecordType.SFT, "preference": RecordType.PREFERENCE, "unpaired": RecordType.UNPAIRED}


def write(case: Case, folder: Path, picture: Path) -> Path:
    """The file of a case, and dataset_info.json where the peer wants one."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(list(case.rows), ensure_ascii=False).replace('"PICTURE"', json.dumps(str(picture)))
    if case.peer == "verl":
        pl.DataFrame(json.loads(text)).write_parquet(folder / "train.parquet")
    elif case.columns is None:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in json.loads(text))
        (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    else:
        (folder / "train.json").write_text(text, encoding="utf-8")
        entry = {"file_name": "train.json", "formatting": "sharegpt", **case.columns}
        (folder / "dataset_info.json").write_text(json.dumps({"case": entry}), encoding="utf-8")
    return folder


def rule(case: Case, folder: Path) -> str:
    """Our rule for the case: the reasons for which our reader or our writer of this format refuses a row of `folder`;
    the case's own words where the writer cannot make such a row; "none" where it could.
    """
    if " " in case.rule:
        return case.rule
    record_type = TYPES[case.type]
    settings: Any = load("format", case.peer)
    form = settings()
    if case.columns is not None:
        form = settings.described((folder / "dataset_info.json").read_text(encoding="utf-8"), "train.json") or form
    reasons: set[str] = set()
    try:
        for chunk in read_frames(folder):
            reasons |= set(chunk.quarantine["reason"].to_list())
            if not chunk.frame.height:
                continue
            decoded = form.decode(chunk.frame, record_type)
            rows = identify(decoded.rows, record_type, source="case")
            for refused in (decoded.refused, form.encode(rows, record_type).refused):
                reasons |= set(refused["reasons"].explode().drop_nulls().to_list())
    except PrefdataError:
        reasons.add("the file is refused")
    return ", ".join(f"`{reason}`" for reason in sorted(reasons)) or "none"


def outcome(case: Case, result: Mapping[str, Any]) -> str:
    """What the peer did with the second row, in words."""
    if result["error"]:
        return failure(result["error"])
    rows = result["rows"]
    if not rows:
        return "drops every row"
    if len(rows) < len(case.rows):
        return "drops the row"
    found = rows[-1]
    faults = []
    if case.type == "unpaired" and found["label"] != case.label and case.label is not None:
        faults.append(f"label {str(case.label).lower()} becomes {str(found['label']).lower()}")
    for side, wanted in case.expected.items():
        if side == "prompt":
            text = next(iter(found["sides"].values()))["context"].split("<|im_start|>user\n")[-1].split("<|im_end|>")[0]
            if text != wanted:
                faults.append(f"reads one turn, `{_escaped(text)}`")
            continue
        text = found["sides"][side]["trained"].rstrip("\n").removesuffix("<|im_end|>")
        if text != wanted:
            faults.append(f"{side} is trained on as `{_escaped(text)}`")
    return "takes it, but " + "; ".join(faults) if faults else "takes it"


def failure(error: str) -> str:
    """The peer's own words, in one line of a table."""
    line = " ".join(error.split()).replace("`", "'").replace("|", "\\|")
    return f"the whole file fails: `{line if len(line) <= 110 else line[:107] + '...'}`"


def _escaped(text: str) -> str:
    line = text.replace("\n", "\\n").replace("|", "\\|")
    return line if len(line) <= 60 else line[:57] + "..."
