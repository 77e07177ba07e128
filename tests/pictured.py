"""Runs of rows with pictures, small: a folder of drawn ones, its recipe, and what a run leaves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image, ImageDraw

import prefdata
from prefdata import stages
from prefdata.engine import LocalEngine
from prefdata.ingest import input_hashes
from prefdata.io import sha256_file
from prefdata.recipe import load
from prefdata.reporting.accounts import ENDS
from prefdata.rundir import RunDir

QUESTION = "What is to be seen in this picture of my order?"

TAKEN = ["p/0.png", "p/1.png", "p/2.png", "p/again.png"]
"""Pictures of rows that stay."""


def draw(path: Path, number: int, *, size: tuple[int, int] = (24, 18)) -> Path:
    """A small picture, another one for every number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size, (40 + 11 * number % 200, 60, 200 - 7 * number % 180))
    ImageDraw.Draw(picture).rectangle((number % 8, 3, number % 8 + 9, 12), fill=(250, 250, 20 * number % 250))
    picture.save(path)
    return path


def shown(pictures: list[str], answer: str, *, question: str = QUESTION, **more: Any) -> dict[str, Any]:
    """A row as TRL has it: a question about pictures, and an answer."""
    part: list[dict[str, Any]] = [{"type": "image"} for _ in pictures]
    prompt = [{"role": "user", "content": [*part, {"type": "text", "text": question}]}]
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}], "images": pictures, **more}


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def folder(tmp_path: Path) -> Path:
    """A data file of seven rows, a folder of pictures beside it, and a recipe."""
    for number in range(4):
        draw(tmp_path / f"p/{number}.png", number)
    draw(tmp_path / "p/again.png", 1)
    whole = (tmp_path / "p/0.png").read_bytes()
    (tmp_path / "p/cut.png").write_bytes(whole[: len(whole) // 2])
    draw(tmp_path.parent / f"{tmp_path.name}-outside.png", 9)
    rows = [
        shown(["p/0.png"], "A lamp with a broken shade."),
        shown(["p/1.png", "p/2.png"], "A kettle, and the box that it came in."),
        shown(["p/again.png", "p/2.png"], "A kettle, and the box that it came in."),
        shown(["p/cut.png", "p/3.png"], "Nobody can see that."),
        shown(["p/gone.png"], "Nothing there."),
        shown([f"../{tmp_path.name}-outside.png"], "Elsewhere."),
        shown([], "You sent no picture."),
    ]
    write(tmp_path / "data.jsonl", rows)
    return tmp_path


def recipe(at: Path, more: str = "", *, name: str = "recipe") -> Path:
    text = f"sources:\n  - {{name: data, path: data.jsonl, format: trl, type: sft}}\n{more}"
    if "filters" not in more:
        text += "filters: []\n"
    if "groupings" not in more:
        text += "groupings: []\n"
    if "pictures" not in more:
        text += "pictures: {workers: 1}\n"
    (at / f"{name}.yaml").write_text(text, encoding="utf-8")
    return at / f"{name}.yaml"


def run(path: Path, out: Path, **options: Any) -> dict[str, Any]:
    prefdata.run(path, out=out, train=False, **options)
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for account in report["accounts"]:
        assert account["all"] == sum(account[end] for end in ENDS)
    return report


def read_in(path: Path, out: Path) -> dict[str, Any]:
    """The first stage of a run alone, or what is known of it."""
    recipe = load(path)
    out.mkdir(exist_ok=True)
    state = stages.state_of(recipe, RunDir(out), LocalEngine(threads=1), lambda step, done, total: None)
    return stages.ingest(state, input_hashes(recipe))


def refused(found: dict[str, Any]) -> dict[str, int]:
    (account,) = found["accounts"]
    reasons: dict[str, int] = account["refused_because"]
    return reasons


def table(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "pictures.parquet")


def tree(run: Path) -> dict[str, str]:
    """Every file that may not differ between two runs of the same."""
    skipped = {".lock", "run.log.jsonl", "run.json", "report.json", "report.html", "stages/ingest.json"}
    found = {file.relative_to(run).as_posix(): file for file in run.rglob("*") if file.is_file()}
    return {name: sha256_file(file) for name, file in found.items() if name not in skipped}
