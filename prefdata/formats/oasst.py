"""OpenAssistant's reply trees: one tree a row, `prompt` with `replies` inside `replies`, ranked by people. Read only.

Köpf et al., 2023, arXiv:2304.07327; https://github.com/LAION-AI/Open-Assistant
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from prefdata.build.pairs import Policy
from prefdata.build.trees import NODES, tree_pairs
from prefdata.formats import fanned
from prefdata.formats.core import Match, Outcome, spare_columns
from prefdata.formats.read_only import ReadOnly
from prefdata.schema import RecordType

ROLES = {"prompter": "user", "assistant": "assistant"}

KEPT = ("message_id", "user_id", "model_name", "synthetic")
"""Fields of a message that go to the `meta` of the pairs it is the better side of."""

MAX_DEPTH = 100
"""Levels of a tree."""


@dataclass(frozen=True, kw_only=True)
class Oasst(ReadOnly):
    """Ranked replies at every level of a tree become pairs; the prompt is the path from the root."""

    name: ClassVar[str] = "oasst"

    pairs: Policy = "all_pairs"
    """Which siblings are paired: all_pairs, best_worst or best_random."""
    reviewed_only: bool = True
    """Leave out messages that did not pass review, and what hangs on them."""

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By `message_tree_id` and a `prompt` with `replies`."""
        prompt = sample.schema.get("prompt")
        if "message_tree_id" not in sample.columns or not isinstance(prompt, pl.Struct):
            return []
        if not {"text", "role", "replies"} <= {one.name for one in prompt.fields}:
            return []
        return [Match(RecordType.PREFERENCE, ("columns message_tree_id, prompt", "prompt has replies"))]

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """Pairs of siblings with different ranks; of the others `unmade` and the refusals say why."""
        keyed = fanned.keyed(rows, spare=spare_columns(rows, ["prompt", "message_tree_id", "tree_state"]))
        nodes = _nodes(keyed["_key"], keyed["prompt"])
        built = tree_pairs(nodes, source=fanned.SOURCE, policy=self.pairs, reviewed_only=self.reviewed_only)
        return fanned.outcome(keyed, built, path="$.chosen")


def _nodes(keys: pl.Series, roots: pl.Series) -> pl.DataFrame:
    """All messages of all trees as NODES. A batch kernel: a tree's levels have no dtype of their own."""
    found: list[dict[str, Any]] = []
    for key, root in zip(keys.to_list(), roots.to_list(), strict=True):
        number = 0
        waiting: list[tuple[Any, str | None, int]] = [(root, None, 0)] if root is not None else []
        while waiting:
            message, parent, depth = waiting.pop()
            node = f"{key}{fanned.SEPARATOR}{number:05d}"
            number += 1
            kept = {name: message[name] for name in KEPT if message.get(name) is not None}
            found.append(
                {
                    "tree": key,
                    "node": node,
                    "parent": parent,
                    "role": ROLES.get(message.get("role") or "", "assistant"),
                    "text": message.get("text"),
                    "rank": message.get("rank"),
                    "deleted": message.get("deleted"),
                    "review": message.get("review_result"),
                    "lang": message.get("lang"),
                    "meta": json.dumps(kept, ensure_ascii=False) if kept else None,
                }
            )
            if depth < MAX_DEPTH:
                waiting += [(one, node, depth + 1) for one in reversed(message.get("replies") or [])]
    return pl.DataFrame(found, schema=NODES)
