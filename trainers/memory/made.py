"""Made-up rows for a rehearsal: so many tokens in every prompt and answer, and a picture where the model reads any."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.schema import IMAGE, MESSAGES, RecordType, conform
from trainers.rendering import encode_sides
from trainers.vision.blocks import MARK
from trainers.vision.processor import Looks

PICTURE = "made.png"
PLACE = {"uri": PICTURE, "side": "prompt", "message": 0, "part": 0}

MESSAGE_COLUMNS = frozenset(["prompt", "completion", "chosen", "rejected"])


def made_rows(
    record_type: RecordType, rows: int, prompt: int, completion: int, tokenizer: Any, *, padded: bool
) -> pl.DataFrame:
    """Canonical rows whose prompt and answers have so many tokens each, as near as words of one token come to it."""
    asked = _fitting(tokenizer, prompt, completion=False)
    told = _fitting(tokenizer, completion, completion=True)
    sides = {
        RecordType.PREFERENCE: {"chosen": "g", "rejected": "b"},
        RecordType.PROMPT: {},
    }.get(record_type, {"completion": "g"})
    frame = []
    for at in range(rows):
        row: dict[str, Any] = {
            "id": f"r{at:05d}",
            "source": "made",
            "group": f"r{at:05d}",
            "prompt": [_turn("user", _text(asked // 2 if padded and at % 2 else asked, "q", at))],
        }
        row |= {side: [_turn("assistant", _text(told, letter, at))] for side, letter in sides.items()}
        if record_type is RecordType.UNPAIRED:
            row["label"] = at % 2 == 0
        frame.append(row)
    typed = dict.fromkeys(MESSAGE_COLUMNS & frame[0].keys(), MESSAGES)
    return conform(pl.DataFrame(frame, schema_overrides=typed), record_type)


def _fitting(tokenizer: Any, wanted: int, *, completion: bool) -> int:
    """How many letters of `_text` come to `wanted` tokens, markers included; never more of them."""

    def tokens(letters: int) -> int:
        row = encode_sides(
            tokenizer,
            [_turn("user", "q" if completion else _text(letters, "q", 0))],
            [[_turn("assistant", _text(letters, "g", 0) if completion else "g")]],
            max_length=1 << 30,
        )
        assert row is not None
        return len(row[0].completion_ids if completion else row[0].prompt_ids)

    low, high = 1, 2
    while tokens(high) < wanted:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if tokens(middle) <= wanted else (low, middle)
    return high if tokens(high) <= wanted else low


def _text(letters: int, letter: str, at: int) -> str:
    """So many letters, spaced in words; those of another row begin otherwise."""
    name = f"{chr(97 + at % 26)}{chr(97 + at // 26 % 26)} "
    return (name + f"{letter} " * letters)[: max(letters, 1)].rstrip().ljust(max(letters, 1), letter)


def _turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text, "tool_calls": None}


def drawn(looks: Looks | None, file: Path, *, room: int) -> int:
    """Tokens of a picture that is written to `file`, at most `room`; 0 and no file where none would fit."""
    if looks is None or room < 1:
        return 0
    from PIL import Image

    side = 28 * math.isqrt(room)  # of a model that makes more tokens of larger pictures, Qwen's 28 x 28 pixels each
    while side >= 28:
        Image.new("RGB", (side, side), "white").save(file)
        tokens = Looks(looks.processor, file.parent).picture(file.name).tokens
        if tokens <= room:
            return tokens
        side //= 2
    return 0


def with_picture(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows, each prompt with the picture before its text."""
    element = pl.element().struct
    marked = element.with_fields(content=pl.lit(MARK) + element.field("content"))
    shown = pl.Series("images", [[PLACE]] * frame.height, dtype=pl.List(IMAGE))
    return frame.with_columns(pl.col("prompt").list.eval(marked), shown)
