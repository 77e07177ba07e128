"""Rows in TRL's form, and what an audit says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefdata.auditing.finding import Finding
from prefdata.auditor import audit


def user(text: str | None) -> list[dict[str, Any]]:
    """One turn of the customer."""
    return [{"role": "user", "content": text}]


def agent(text: str | None, **more: Any) -> list[dict[str, Any]]:
    """One turn of the assistant."""
    return [{"role": "assistant", "content": text, **more}]


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    """A preference."""
    return {"prompt": user(prompt), "chosen": agent(chosen), "rejected": agent(rejected), **more}


def labelled(prompt: str, completion: str, label: bool | None, **more: Any) -> dict[str, Any]:
    """A row for KTO."""
    return {"prompt": user(prompt), "completion": agent(completion), "label": label, **more}


def answered(prompt: str, completion: str, **more: Any) -> dict[str, Any]:
    """A row for supervised fine-tuning."""
    return {"prompt": user(prompt), "completion": agent(completion), **more}


def written(folder: Path, rows: Iterable[Mapping[str, Any]], name: str = "rows.jsonl") -> Path:
    """The file `name` with the rows, a line each."""
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def findings(
    folder: Path, rows: Iterable[Mapping[str, Any]], only: Sequence[str] = (), **settings: Any
) -> dict[str, Finding]:
    """Check -> what it finds in the rows; `only`: checks or families."""
    told = audit(written(folder, rows), only=only, **settings).findings
    return {finding.check: finding for finding in told}
