"""Clusters around heads."""

from __future__ import annotations

from itertools import combinations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdata.dedup.components import EDGES, GROUPS
from prefdata.dedup.heads import around_heads


def edges(*pairs: tuple[str, str, float]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=EDGES, orient="row")


def test_a_chain_is_cut_where_its_ends_are_not_alike() -> None:
    chain = edges(("a", "b", 0.98), ("b", "c", 0.98), ("c", "d", 0.98), ("d", "e", 0.98))
    groups = around_heads(chain)
    assert groups.select("id", "cluster", "size").rows() == [
        ("a", "a", 3), ("b", "a", 3), ("c", "a", 3), ("d", "d", 2), ("e", "d", 2),
    ]  # fmt: skip


def test_equal_rows_stay_together_whoever_their_head_is() -> None:
    # b and c are equal; only the first of them was compared with a
    groups = around_heads(edges(("a", "b", 0.98), ("b", "c", 1.0)))
    assert groups.rows() == [("a", "a", 3, 0.9800000190734863), ("b", "a", 3, 1.0), ("c", "a", 3, 1.0)]


def test_the_row_with_the_most_likenesses_is_the_head() -> None:
    star = edges(("a", "c", 0.99), ("b", "c", 0.98), ("c", "d", 0.975))
    assert around_heads(star).select("id", "cluster", "size").rows() == [(each, "a", 4) for each in "abcd"]


def test_no_edges_give_no_groups() -> None:
    assert around_heads(EDGES.to_frame()).schema == GROUPS
    assert around_heads(EDGES.to_frame()).height == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(list(combinations("abcdefgh", 2))), min_size=1, unique=True), st.data())
def test_every_member_is_like_one_row_of_its_cluster(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    order = data.draw(st.permutations(pairs))
    groups = around_heads(edges(*((left, right, 0.98) for left, right in order)))
    assert groups.equals(around_heads(edges(*((left, right, 0.98) for left, right in sorted(pairs)))))
    assert groups["id"].is_sorted()
    near = {frozenset(pair) for pair in pairs}
    clusters = groups.group_by("cluster").agg("id", pl.col("size").first())
    for cluster, members, size in clusters.iter_rows():
        assert cluster == min(members)
        assert size == len(members) > 1
        assert any(all(frozenset((head, each)) in near for each in members if each != head) for head in members)
    # nobody is left out whose neighbours are all left out
    outside = set("abcdefgh") - set(groups["id"])
    assert not any(pair <= outside for pair in near)
