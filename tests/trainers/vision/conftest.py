"""Canonical rows about pictures of one colour, and the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from prefdata.schema import IMAGE, MESSAGES, RecordType, conform

MARK = "\ufffc"
COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220)}


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text, "tool_calls": None}


def shown(rows: Sequence[dict[str, Any]], record_type: RecordType, *, prefix: str = "r") -> pl.DataFrame:
    """A canonical frame; each row gives `asked`, `pictures` (addresses for the marks in it) and its sides as texts."""
    made = []
    for at, row in enumerate(rows):
        sides = {side: row[side] for side in ("completion", "chosen", "rejected") if side in row}
        marks = [at for at, char in enumerate(row["asked"]) if char == MARK]
        made.append(
            {
                "id": f"{prefix}{at:03d}",
                "source": "test",
                "group": f"{prefix} {Path(row['pictures'][0]).stem if row['pictures'] else at}",
                "prompt": [turn("user", row["asked"])],
                "images": [
                    {"uri": uri, "side": "prompt", "message": 0, "part": number}
                    for number, (uri, _) in enumerate(zip(row["pictures"], marks, strict=True))
                ]
                or None,
                **{side: [turn("assistant", text)] for side, text in sides.items()},
                **({"label": row["label"]} if "label" in row else {}),
            }
        )
    sides = [side for side in ("completion", "chosen", "rejected") if side in made[0]]
    columns = {**dict.fromkeys(["prompt", *sides], MESSAGES), "images": pl.List(IMAGE)}
    return conform(pl.DataFrame(made, schema_overrides=columns), record_type)


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures/red0.png ... blue3.png, each a little different."""
    image = pytest.importorskip("PIL.Image", reason="needs the extra `images`")
    folder = tmp_path_factory.mktemp("coloured")
    (folder / "pictures").mkdir()
    for name, (red, green, blue) in COLOURS.items():
        for at in range(4):
            image.new("RGB", (40 + at, 40), (red, green + 5 * at, blue)).save(folder / "pictures" / f"{name}{at}.png")
    return folder


def labelled(numbers: Sequence[int], *, prefix: str = "r") -> pl.DataFrame:
    """Unpaired rows: the colour of the picture is good, the other one bad."""
    rows = [
        {"asked": f"{MARK}What colour?", "pictures": [f"pictures/{colour}{at}.png"], "completion": said, "label": good}
        for at in numbers
        for colour, other in (("red", "blue"), ("blue", "red"))
        for said, good in ((colour, True), (other, False))
    ]
    return shown(rows, RecordType.UNPAIRED, prefix=prefix)


def answered(numbers: Sequence[int], *, prefix: str = "r") -> pl.DataFrame:
    """Answered rows: the colour of the picture."""
    rows = [
        {"asked": f"{MARK}What colour?", "pictures": [f"pictures/{colour}{at}.png"], "completion": colour}
        for at in numbers
        for colour in COLOURS
    ]
    return shown(rows, RecordType.SFT, prefix=prefix)


def compared(numbers: Sequence[int], *, prefix: str = "r") -> pl.DataFrame:
    """Pairs: the colour of the picture over the other one."""
    rows = [
        {"asked": f"{MARK}What colour?", "pictures": [f"pictures/{one}{at}.png"], "chosen": one, "rejected": other}
        for at in numbers
        for one, other in (("red", "blue"), ("blue", "red"))
    ]
    return shown(rows, RecordType.PREFERENCE, prefix=prefix)


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    """What makes frames: `answered`, `labelled`, `compared` of numbers of pictures, and `shown` of rows; `MARK`."""
    return SimpleNamespace(MARK=MARK, shown=shown, answered=answered, labelled=labelled, compared=compared)
