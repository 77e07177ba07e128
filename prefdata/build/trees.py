"""Preference rows from reply trees: at every level the siblings that an agent's turn could have been, by rank."""

from __future__ import annotations

import polars as pl

from prefdata.build.built import Built, account, json_object, need, optional, sift
from prefdata.build.pairs import Policy
from prefdata.build.preference import from_rankings
from prefdata.errors import InputError
from prefdata.schema import MESSAGE, MESSAGES

NODES = pl.Schema(
    {
        "tree": pl.String(),
        "node": pl.String(),
        "parent": pl.String(),
        "role": pl.String(),
        "text": pl.String(),
        "rank": pl.Int64(),
        "deleted": pl.Boolean(),
        "review": pl.Boolean(),
        "lang": pl.String(),
        "meta": pl.String(),
    }
)
"""One row a message. `parent` null is a root; `role` user or assistant; `rank` 0 the best of its siblings, null where
nobody ranked; `review` whether it passed review, null where it never was reviewed."""


def tree_pairs(
    nodes: pl.DataFrame, *, source: str, policy: Policy = "all_pairs", reviewed_only: bool = True, seed: int = 0
) -> Built:
    """Pairs of sibling replies of different rank; the prompt is the path from the root to their parent.

    `nodes`: NODES; `rank`, `deleted`, `review`, `lang`, `meta` may be missing. Candidates are the pairs of siblings
    that `policy` draws; the rows of one tree are one group. Unmade pairs: tied_rank, equal_sides. Unmade replies:
    deleted, not_reviewed (unless `reviewed_only` is false), ancestor_deleted, ancestor_not_reviewed, no_path (its
    parent is missing), no_prompt (a root), no_rank, only_answer, not_drawn, empty_completion. What a user says is no
    candidate.
    """
    nodes = _checked(nodes)
    placed = _with_paths(nodes)
    unreviewed = ~pl.col("review").fill_null(False) & pl.lit(reviewed_only)
    before = pl.col("_before_unreviewed") & pl.lit(reviewed_only)
    replies = placed.filter(pl.col("role") == "assistant").rename({"node": "id"})
    replies, unmade = sift(
        replies,
        {
            "deleted": pl.col("deleted"),
            "not_reviewed": unreviewed,
            "ancestor_deleted": pl.col("_before_deleted"),
            "ancestor_not_reviewed": before,
            "no_path": pl.col("path").is_null(),
            "no_prompt": pl.col("path").list.len() == 0,
        },
    )
    ranked = replies.select(
        "id",
        "rank",
        "meta",
        source=pl.lit(source),
        key=pl.col("parent"),
        group=pl.col("tree"),
        prompt=pl.col("path"),
        answer=pl.col("text").fill_null(""),
        language=pl.col("lang"),
        evidence=json_object(tree=pl.col("tree"), parent=pl.col("parent")),
    )
    built = from_rankings(ranked, policy=policy, seed=seed)
    return Built(built.rows, account(built.unmade, unmade))


def _checked(nodes: pl.DataFrame) -> pl.DataFrame:
    named = {name: dtype for name, dtype in NODES.items() if name in ("tree", "node", "parent", "role", "text")}
    need(nodes, named, what="nodes of reply trees")
    nodes = optional(nodes, NODES).sort("node").cast({"rank": pl.Int64})
    faults = []
    if nodes["node"].null_count() or nodes["node"].is_duplicated().any():
        faults.append("node: null or shared by several rows")
    odd = nodes.filter(~pl.col("role").is_in(["user", "assistant"]).fill_null(False))
    if odd.height:
        faults.append(f"role: neither user nor assistant in {odd.height} rows, first node {odd['node'][0]}")
    if faults:
        raise InputError("nodes of reply trees: " + "; ".join(faults))
    return nodes


def _with_paths(nodes: pl.DataFrame) -> pl.DataFrame:
    """`nodes` with `path` (messages from the root to the parent; null where no root is reached) and what stands on it.

    Level by level from the roots: as many joins as the deepest tree has levels.
    """
    said = pl.struct(role=pl.col("role"), content=pl.col("text").fill_null(""), tool_calls=pl.lit(None, pl.String))
    nodes = nodes.with_columns(_said=said.cast(MESSAGE))
    level = nodes.filter(pl.col("parent").is_null()).with_columns(
        path=pl.lit([], dtype=MESSAGES), _before_deleted=pl.lit(False), _before_unreviewed=pl.lit(False)
    )
    rest = nodes.filter(pl.col("parent").is_not_null())
    levels = []
    while level.height:
        levels.append(level)
        above = level.select(
            parent="node",
            path=pl.concat_list("path", pl.concat_list("_said")),
            _before_deleted=pl.col("_before_deleted") | pl.col("deleted").fill_null(False),
            _before_unreviewed=pl.col("_before_unreviewed") | ~pl.col("review").fill_null(False),
        )
        level = rest.join(above, on="parent", how="inner")
    found = pl.concat(levels) if levels else level
    lost = nodes.join(found, on="node", how="anti")
    return pl.concat([found, lost], how="diagonal").sort("node")
