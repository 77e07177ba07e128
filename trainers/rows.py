"""Canonical rows made ready for a trainer: encoded once, fitted into the length, counted, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefdata.errors import InputError
from prefdata.schema import RecordType, check
from trainers.rendering import Encoded, Message, TemplateError, encode_sides_of, messages_of
from trainers.toolbox import with_tools
from trainers.vision.blocks import placed, uris
from trainers.vision.processor import Looks, PictureError, looks_of

ANSWERS: Mapping[RecordType, tuple[str, ...]] = {
    RecordType.SFT: ("completion",),
    RecordType.UNPAIRED: ("completion",),
    RecordType.PREFERENCE: ("chosen", "rejected"),
    RecordType.PROMPT: (),
}
"""The sides of a row that answer its prompt."""

BATCH = 512
"""Rows encoded at once: what they share is encoded once, and only so many texts are held twice."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows that a trainer or scorer reads, in the order of the frame; all columns are of one length."""

    type: RecordType
    ids: list[str]
    groups: list[str]
    sides: Mapping[str, list[Encoded]]
    """`completion`; or `chosen` and `rejected`, whose prompts are equal; or `prompt`, whose completion is empty."""
    columns: Mapping[str, list[Any]] = field(default_factory=dict)
    """What else the method reads: `label`, `margin`, `answer`, ..."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that cannot be trained on."""
    lost: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Reason -> their ids, in the order of the frame."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def first(self) -> list[Encoded]:
        """The first side: what is asked is the same on all of them."""
        return next(iter(self.sides.values()))

    @property
    def labels(self) -> list[bool]:
        """Of unpaired rows."""
        return self.columns["label"]

    def lengths(self) -> list[int]:
        """Tokens of each row's prompt with its longest answer."""
        per_side = [[len(row.prompt_ids) + len(row.completion_ids) for row in side] for side in self.sides.values()]
        return [max(one) for one in zip(*per_side, strict=True)]

    def take(self, at: Sequence[int], *, reason: str = "not_chosen") -> Rows:
        """The rows at these positions, in that order; the others are counted under `reason`."""
        left = len(self) - len(at)
        return Rows(
            type=self.type,
            ids=[self.ids[one] for one in at],
            groups=[self.groups[one] for one in at],
            sides={name: [side[one] for one in at] for name, side in self.sides.items()},
            columns={name: [column[one] for one in at] for name, column in self.columns.items()},
            dropped={**self.dropped, **({reason: left} if left else {})},
            lost=self.lost,
        )

    def record(self) -> dict[str, Any]:
        """Counts, lengths and a hash of the ids and tokens, as plain JSON data."""
        lengths = self.lengths()
        found: dict[str, Any] = {"rows": len(self)}
        if self.type is RecordType.UNPAIRED:
            good = sum(self.labels)
            found |= {"good": good, "bad": len(self) - good}
        return {
            **found,
            "dropped": dict(self.dropped),
            "shortened": sum(row.turns_cut > 0 for row in self.first),
            "turns_cut": sum(row.turns_cut for row in self.first),
            "longest": max(lengths, default=0),
            "mean_length": round(sum(lengths) / max(len(lengths), 1), 1),
            "sha256": self.digest(),
        }

    def digest(self) -> str:
        """SHA-256 over ids, columns, token ids in order, and what is seen on pictures; not where they are."""
        found = hashlib.sha256()
        for at, one in enumerate(self.ids):
            values = [self.columns[name][at] for name in sorted(self.columns)]
            tokens = [(row[at].prompt_ids, row[at].completion_ids) for row in self.sides.values()]
            seen = [picture.pixels for picture in self.first[at].pictures]
            found.update(f"{one}\x1f{values}\x1f{tokens}\x1e{seen if seen else ''}".encode())
        return found.hexdigest()


def encode_rows(
    frame: pl.DataFrame,
    tokenizer: Any,
    record_type: RecordType,
    *,
    max_length: int,
    system: str | None,
    name: str,
    columns: Sequence[str] = (),
) -> Rows:
    """The rows of a canonical frame, encoded; what cannot be trained on is counted by reason, not kept.

    `name` is what errors call the frame ("training rows"). Reasons: `abstained` (null label), `no_customer_turn`,
    `too_long`, `equal_sides` (of a pair, compared as tokens), and of rows with pictures `picture_missing`,
    `picture_broken`, `picture_in_answer`, `pictures_misplaced`: every picture is opened here.

    Raises SchemaError for a frame of another type, InputError for pictures before a model that reads text alone, and
    for empty answers, but those of rows without a label: a model trained to say nothing says nothing, and one exporter
    in the field reads them as the opposite label.
    """
    frame = check(frame, record_type)
    answers = ANSWERS[record_type]
    if record_type is RecordType.UNPAIRED:
        columns = ["label", *columns]
    labelled = frame.filter(pl.col("label").is_not_null()) if "label" in columns else frame
    bare = labelled.filter(empty(record_type))
    if bare.height:
        raise InputError(
            f"{name}: an empty {' or '.join(answers)} in {bare.height} of {labelled.height} rows, first id "
            f"{bare['id'][0]}; drop them first (the filter chat_quality does)"
        )
    lost: dict[str, list[str]] = {"abstained": []}
    if labelled.height < frame.height:
        lost["abstained"] = frame.filter(pl.col("label").is_null())["id"].to_list()
    ids: list[str] = []
    groups: list[str] = []
    sides: dict[str, list[Encoded]] = {side: [] for side in answers or ("prompt",)}
    kept: dict[str, list[Any]] = {column: [] for column in columns}
    refused: TemplateError | None = None
    wanted = labelled.select("id", "group", "prompt", "images", "tools", *answers, *columns)
    require_eyes(wanted, tokenizer, name=name)
    for row, encoded in _encoded(wanted, answers, tokenizer, max_length, system):
        if not isinstance(encoded, list):
            reason = "too_long" if _asks(row) else "no_customer_turn"
            if isinstance(encoded, str):
                reason = encoded
            if isinstance(encoded, TemplateError):
                refused, reason = refused or encoded, "template_refuses"
            lost.setdefault(reason, []).append(row["id"])
            continue
        if len(encoded) == 2 and encoded[0].completion_ids == encoded[1].completion_ids:
            lost.setdefault("equal_sides", []).append(row["id"])
            continue
        ids.append(row["id"])
        groups.append(row["group"])
        for side, one in zip(sides.values(), encoded, strict=True):
            side.append(one)
        for column, values in kept.items():
            values.append(row[column])
    if refused is not None and len(lost["template_refuses"]) == labelled.height:
        raise InputError(f"{name}: all {labelled.height} rows: {refused}")
    return Rows(
        type=record_type,
        ids=ids,
        groups=groups,
        sides=sides,
        columns=kept,
        dropped={reason: len(gone) for reason, gone in sorted(lost.items()) if gone},
        lost={reason: gone for reason, gone in sorted(lost.items()) if gone},
    )


def _encoded(
    frame: pl.DataFrame, answers: Sequence[str], tokenizer: Any, max_length: int, system: str | None
) -> Iterator[tuple[dict[str, Any], list[Encoded] | TemplateError | str | None]]:
    """Each row with its sides, encoded some rows at a time; None for one that is too long or asks nothing, the reason
    for one whose pictures cannot be shown."""
    looks = looks_of(tokenizer)
    for part in frame.iter_slices(BATCH):
        rows = list(part.iter_rows(named=True))
        if looks is not None:
            looks.look_at(image["uri"] or "" for row in rows for image in row["images"] or [])
        asking = [(row, read(row, answers, looks)) for row in rows if _asks(row)]
        encoded = encode_sides_of(
            tokenizer,
            [one for _, one in asking if not isinstance(one, str)],
            max_length=max_length,
            system=system,
        )
        found = iter(encoded)
        known = iter(asking)
        for row in rows:
            if not _asks(row):
                yield row, None
                continue
            _, one = next(known)
            yield row, one if isinstance(one, str) else _showing(next(found), looks)


def read(
    row: Mapping[str, Any], answers: Sequence[str], looks: Looks | None
) -> tuple[list[Message], list[list[Message]]] | str:
    """The prompt of a canonical row and its answers as a template reads them; or why its pictures cannot be shown."""
    sides = {side: messages_of(row[side]) for side in ("prompt", *answers)}
    if looks is not None:
        shown = placed(row, sides)
        if isinstance(shown, str):
            return shown
        try:
            for uri in uris(shown["prompt"]):
                looks.picture(uri)
        except PictureError as error:
            return error.reason
        sides = shown
    return with_tools(sides["prompt"], row["tools"]), [sides[side] for side in answers]


def _showing(
    encoded: list[Encoded] | TemplateError | None, looks: Looks | None
) -> list[Encoded] | TemplateError | None:
    """The sides with the pictures of the turns that were kept."""
    if looks is None or not isinstance(encoded, list):
        return encoded
    shown = tuple(looks.picture(uri) for uri in uris(encoded[0].prompt))
    return [one._replace(pictures=shown) for one in encoded]


def require_eyes(frame: pl.DataFrame, tokenizer: Any, *, name: str) -> None:
    """Raises InputError for rows with pictures before a model that reads text alone."""
    seeing = int((frame["images"].list.len().fill_null(0) > 0).sum())
    if seeing and looks_of(tokenizer) is None:
        raise InputError(
            f"{name}: {seeing} of {frame.height} rows have pictures, and the model reads text alone; start from a "
            "vision-language model, or leave those rows out"
        )


def empty(record_type: RecordType) -> pl.Expr:
    """Whether an answer of a row says nothing, and calls no tool."""
    return pl.any_horizontal([_empty(side) for side in ANSWERS[record_type]] or [pl.lit(False)])


def choose(rows: Rows, limit: int | None, *, seed: int) -> Rows:
    """At most `limit` of the rows, by a hash of seed and id, in their order; the others are counted as not chosen."""
    if limit is None or len(rows) <= limit:
        return rows
    ranked = sorted(range(len(rows)), key=lambda at: hashlib.sha256(f"{seed}\x1f{rows.ids[at]}".encode()).digest())
    return rows.take(sorted(ranked[:limit]))


def _asks(row: Mapping[str, Any]) -> bool:
    return bool(row["prompt"]) and row["prompt"][-1]["role"] != "assistant"


def _empty(side: str) -> pl.Expr:
    content = pl.element().struct.field("content").fill_null("").str.strip_chars().str.len_chars()
    calls = pl.element().struct.field("tool_calls").fill_null("").str.strip_chars(" \t\n[]").str.len_chars()
    return pl.col(side).list.eval(content + calls).list.sum() == 0
