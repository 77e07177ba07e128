"""What the checks look at: encoded rows with the frame they came from, and what several checks ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from prefdata.schema import RecordType
from trainers.rendering import Encoded, control_ids
from trainers.rows import ANSWERS, Rows
from trainers.vision import blocks
from trainers.vision.processor import Looks, looks_of


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Rows as a trainer reads them."""

    method: str
    rows: Rows
    tokenizer: Any
    settings: Any
    vocabulary: int | None
    """Rows of the model's embedding; null where nobody knows."""
    frame: pl.DataFrame | None
    """The canonical rows that were encoded, those that were dropped included."""
    held_out: Rows | None = None

    @property
    def type(self) -> RecordType:
        """Of the rows."""
        return self.rows.type

    @property
    def answers(self) -> tuple[str, ...]:
        """completion; or chosen and rejected; or none."""
        return ANSWERS[self.rows.type]

    @cached_property
    def control(self) -> frozenset[int]:
        """Ids of markers, the end token among them."""
        eos = self.tokenizer.eos_token_id
        return control_ids(self.tokenizer) | ({eos} if eos is not None else frozenset())

    @property
    def looks(self) -> Looks | None:
        """How the model looks at pictures; null for one that reads text alone."""
        return looks_of(self.tokenizer)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row's prompt with its longest answer."""
        return self.rows.lengths()

    @property
    def total(self) -> int:
        """Rows that were given, dropped ones included."""
        return len(self.rows) + sum(self.rows.dropped.values())

    def rows_where(self, flags: Sequence[bool]) -> list[str]:
        """Ids of the rows of which `flags` is true."""
        return [one for one, flag in zip(self.rows.ids, flags, strict=True) if flag]

    def any_side(self, test: Any) -> list[str]:
        """Ids of the rows with an answer that `test` (of an Encoded) is true of."""
        sides = [self.rows.sides[name] for name in self.answers]
        return self.rows_where([any(test(row) for row in row_sides) for row_sides in zip(*sides, strict=True)])

    @cached_property
    def _blank(self) -> dict[int, bool]:
        return {}

    def blank(self, one: int) -> bool:
        """Whether a token is white space alone."""
        known = self._blank.get(one)
        if known is None:
            known = self._blank[one] = one not in self.control and not self.tokenizer.decode([one]).strip()
        return known

    def end(self, row: Encoded) -> int | None:
        """The token that an answer ends with, white space behind it aside; null for an empty one."""
        return next((one for one in reversed(row.completion_ids) if not self.blank(one)), None)


def text_of(messages: Sequence[Any]) -> str:
    """The contents of messages as one text, a mark in it for each picture."""
    return "\n".join(blocks.text_of(message["content"]) for message in messages)
