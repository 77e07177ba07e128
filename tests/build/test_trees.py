"""Preference rows from reply trees."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.build.trees import NODES, tree_pairs
from prefdata.errors import InputError


def text(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content")).list.join(" | ")


def nodes(*rows: dict[str, Any]) -> pl.DataFrame:
    """Nodes with `node`, `parent`, `rank` and whatever else matters; the text is the node's name."""
    full = [
        {"tree": "t", "role": "assistant", "text": row["node"], "deleted": False, "review": True, "lang": "en", **row}
        for row in rows
    ]
    return pl.DataFrame(full, schema=NODES)


ROOT = {"node": "q", "parent": None, "role": "user"}
A = {"node": "a", "parent": "q", "rank": 0}
B = {"node": "b", "parent": "q", "rank": 1}
C = {"node": "c", "parent": "q", "rank": 2}
AGAIN = {"node": "qa", "parent": "a", "role": "user"}
D = {"node": "d", "parent": "qa", "rank": 1}
E = {"node": "e", "parent": "qa", "rank": 0}


def pairs(frame: pl.DataFrame, **settings: Any) -> list[tuple[str, str, str]]:
    rows = tree_pairs(frame, source="s", **settings).rows
    return sorted(rows.select(text("prompt"), text("chosen"), text("rejected")).rows())


def test_siblings_are_paired_at_every_level_with_the_path_as_prompt() -> None:
    built = tree_pairs(nodes(ROOT, A, B, C, AGAIN, D, E), source="s")
    assert sorted(built.rows.select(text("prompt"), text("chosen"), text("rejected")).rows()) == [
        ("q", "a", "b"),
        ("q", "a", "c"),
        ("q", "b", "c"),
        ("q | a | qa", "e", "d"),
    ]
    deep = built.rows.filter(pl.col("prompt").list.len() == 3)
    assert deep["prompt"].list.eval(pl.element().struct.field("role")).to_list() == [["user", "assistant", "user"]]
    assert deep["language"].to_list() == ["en"]
    assert built.rows["group"].unique().to_list() == ["t"]
    assert built.unmade.height == 0


def test_best_against_worst_of_each_level() -> None:
    assert pairs(nodes(ROOT, A, B, C, AGAIN, D, E), policy="best_worst") == [("q", "a", "c"), ("q | a | qa", "e", "d")]


def test_equal_ranks_are_ties() -> None:
    built = tree_pairs(nodes(ROOT, A, B, {**C, "rank": 0}), source="s")
    assert built.unmade.rows() == [("a", "c", None, ["tied_rank"])]
    assert built.rows.height == 2


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"deleted": True}, ["deleted"]),
        ({"review": False}, ["not_reviewed"]),
        ({"review": None}, ["not_reviewed"]),
        ({"deleted": True, "review": False}, ["deleted", "not_reviewed"]),
        ({"rank": None}, ["no_rank"]),
        ({"text": " "}, ["empty_completion"]),
        ({"parent": "nowhere"}, ["no_path"]),
        ({"parent": None}, ["no_prompt"]),
    ],
)
def test_a_reply_that_cannot_be_paired(change: dict[str, Any], reasons: list[str]) -> None:
    built = tree_pairs(nodes(ROOT, A, B, {**C, **change}), source="s")
    assert built.rows.height == 1
    assert built.unmade.rows() == [("c", None, None, reasons)]


def test_what_stands_after_a_deleted_or_unreviewed_message_is_no_row() -> None:
    built = tree_pairs(nodes(ROOT, {**A, "deleted": True}, B, {**AGAIN, "review": None}, D, E), source="s")
    assert built.rows.height == 0
    both = ["ancestor_deleted", "ancestor_not_reviewed"]
    assert built.unmade.rows() == [
        ("a", None, None, ["deleted"]),
        ("b", None, None, ["only_answer"]),
        ("d", None, None, both),
        ("e", None, None, both),
    ]


def test_unreviewed_messages_pass_where_that_is_said() -> None:
    frame = nodes(ROOT, {**A, "review": None}, {**B, "review": False})
    assert pairs(frame, reviewed_only=False) == [("q", "a", "b")]


def test_messages_in_a_circle_have_no_path() -> None:
    built = tree_pairs(nodes(ROOT, {**A, "parent": "qa"}, AGAIN, {**B, "parent": "qa"}), source="s")
    assert built.unmade.rows() == [("a", None, None, ["no_path"]), ("b", None, None, ["no_path"])]


def test_wrong_nodes_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match="node: null or shared by several rows; role: neither user nor assistant in 2"):
        tree_pairs(nodes({**ROOT, "role": "prompter"}, {**ROOT, "role": "prompter"}), source="s")
    with pytest.raises(InputError, match="parent: missing, expected String"):
        tree_pairs(nodes(ROOT).drop("parent"), source="s")


@pytest.fixture(scope="module")
def oasst(shared_data: Callable[[str], Path]) -> list[dict[str, Any]]:
    """The trees as flat nodes, in a few lines that know nothing of the code."""
    found: list[dict[str, Any]] = []

    def walk(tree: str, message: dict[str, Any], parent: str | None, path: tuple[str, ...]) -> None:
        role = {"prompter": "user"}.get(message["role"], message["role"])
        found.append(
            {
                "tree": tree,
                "node": message["message_id"],
                "parent": parent,
                "role": role,
                "text": message["text"],
                "rank": message.get("rank"),
                "deleted": message["deleted"],
                "review": message["review_result"],
                "lang": message["lang"],
                "path": path,
            }
        )
        for reply in message["replies"]:
            walk(tree, reply, message["message_id"], (*path, message["text"]))

    for line in shared_data("oasst/en_100_tree.jsonl").read_text(encoding="utf-8").splitlines():
        tree = json.loads(line)
        walk(tree["message_tree_id"], tree["prompt"], None, ())
    return found


def test_the_trees_of_oasst(oasst: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame([{**row, "path": None} for row in oasst], schema=NODES)
    built = tree_pairs(frame, source="oasst")

    replies = [row for row in oasst if row["role"] == "assistant"]
    ranked = [row for row in replies if row["rank"] is not None]
    by_parent: dict[str, list[dict[str, Any]]] = {}
    for row in ranked:
        by_parent.setdefault(row["parent"], []).append(row)
    wanted = Counter(
        (" | ".join(one["path"]), one["text"], other["text"])
        for siblings in by_parent.values()
        for one, other in (sorted(two, key=lambda row: row["rank"]) for two in combinations(siblings, 2))
    )
    assert (len(oasst), len(replies), len(ranked), len(by_parent), wanted.total()) == (1167, 687, 641, 212, 754)
    assert Counter(built.rows.select(text("prompt"), text("chosen"), text("rejected")).rows()) == wanted
    assert built.counts() == {"no_rank": 46}
    assert built.rows["group"].n_unique() == 100


@pytest.mark.parametrize("policy", ["all_pairs", "best_worst", "best_random"])
def test_the_order_of_the_nodes_does_not_matter(oasst: list[dict[str, Any]], policy: Any) -> None:
    frame = pl.DataFrame([{**row, "path": None} for row in oasst], schema=NODES)
    built = tree_pairs(frame, source="oasst", policy=policy)
    again = tree_pairs(frame.reverse(), source="oasst", policy=policy)
    assert again.rows.equals(built.rows)
    assert again.unmade.equals(built.unmade)
    if policy != "all_pairs":
        assert built.rows.height == 212
        assert built.counts() == {"no_rank": 46, "not_drawn": 217}  # 641 - 2 x 212
