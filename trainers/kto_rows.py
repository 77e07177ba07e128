"""Canonical unpaired rows made ready for KTO: encoded, fitted into the length, counted, weighted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from prefdata.errors import InputError
from prefdata.schema import RecordType, check
from trainers.rendering import Encoded, encode_row, messages_of


class Rows(NamedTuple):
    """Rows that a trainer or scorer reads, in the order of the frame."""

    ids: list[str]
    groups: list[str]
    labels: list[bool]
    encoded: list[Encoded]
    dropped: dict[str, int]
    """Reason -> rows that cannot be trained on."""

    def record(self) -> dict[str, Any]:
        """Counts, lengths and a hash of the ids and tokens, as plain JSON data."""
        good = sum(self.labels)
        lengths = [len(row.prompt_ids) + len(row.completion_ids) for row in self.encoded]
        return {
            "rows": len(self.ids),
            "good": good,
            "bad": len(self.ids) - good,
            "dropped": self.dropped,
            "shortened": sum(row.turns_cut > 0 for row in self.encoded),
            "turns_cut": sum(row.turns_cut for row in self.encoded),
            "longest": max(lengths, default=0),
            "mean_length": round(sum(lengths) / max(len(lengths), 1), 1),
            "sha256": self.digest(),
        }

    def digest(self) -> str:
        """SHA-256 over ids, labels and token ids in order."""
        found = hashlib.sha256()
        for one, label, row in zip(self.ids, self.labels, self.encoded, strict=True):
            found.update(f"{one}\x1f{label}\x1f{row.prompt_ids}\x1f{row.completion_ids}\x1e".encode())
        return found.hexdigest()


def encode_rows(frame: pl.DataFrame, tokenizer: Any, *, max_length: int, system: str | None, name: str) -> Rows:
    """The labelled rows of an unpaired frame, encoded; rows with a null label or too long are counted, not kept.

    Raises SchemaError for a frame of another type, InputError for empty completions: a model trained to say nothing
    says nothing, and one exporter in the field reads them as the opposite label.
    """
    frame = check(frame, RecordType.UNPAIRED)
    empty = frame.filter(
        pl.col("completion")
        .list.eval(pl.element().struct.field("content").str.strip_chars().str.len_chars())
        .list.sum()
        == 0
    )
    if empty.height:
        raise InputError(
            f"{name}: an empty completion in {empty.height} of {frame.height} rows, first id {empty['id'][0]}; "
            "drop them first (the filter chat_quality does)"
        )
    labelled = frame.filter(pl.col("label").is_not_null())
    dropped = Counter({"abstained": frame.height - labelled.height})
    ids, groups, labels, encoded = [], [], [], []
    columns = labelled.select("id", "group", "label", "prompt", "completion")
    for one, group, label, prompt, completion in columns.iter_rows():
        if not prompt or prompt[-1]["role"] == "assistant":
            dropped["no_customer_turn"] += 1
            continue
        row = encode_row(tokenizer, messages_of(prompt), messages_of(completion), max_length=max_length, system=system)
        if row is None:
            dropped["too_long"] += 1
            continue
        ids.append(one)
        groups.append(group)
        labels.append(label)
        encoded.append(row)
    return Rows(ids, groups, labels, encoded, {reason: count for reason, count in sorted(dropped.items()) if count})


def choose(rows: Rows, limit: int | None, *, seed: int) -> Rows:
    """At most `limit` of the rows, by a hash of seed and id, in their order; the others are counted as not chosen."""
    if limit is None or len(rows.ids) <= limit:
        return rows
    ranked = sorted(range(len(rows.ids)), key=lambda at: hashlib.sha256(f"{seed}\x1f{rows.ids[at]}".encode()).digest())
    chosen = sorted(ranked[:limit])
    return Rows(
        [rows.ids[at] for at in chosen],
        [rows.groups[at] for at in chosen],
        [rows.labels[at] for at in chosen],
        [rows.encoded[at] for at in chosen],
        {**rows.dropped, "not_chosen": len(rows.ids) - limit},
    )


def require_both_labels(labels: Sequence[bool], *, name: str) -> None:
    """Raises InputError naming the counts unless both classes are there: KTO has nothing to push away from."""
    good = sum(labels)
    if good == 0 or good == len(labels):
        raise InputError(
            f"{name}: {good} desirable and {len(labels) - good} undesirable rows; KTO needs both. "
            "Loosen what labels rows (`labels:`), or train on desirable rows alone with SFT"
        )
