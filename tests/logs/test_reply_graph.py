"""Chains of replies: roots, depths, what is carried down, and circles."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefdata.logs.reply_graph import lineage


def parents(*values: int | None) -> pl.Series:
    return pl.Series("parent", values, dtype=pl.UInt32)


def test_a_chain_has_one_root_and_growing_depth() -> None:
    found = lineage(parents(None, 0, 1, 2, 3, None)).frame
    assert found["root"].to_list() == [0, 0, 0, 0, 0, 5]
    assert found["depth"].to_list() == [0, 1, 2, 3, 4, 0]


def test_a_maximum_and_the_nearest_value_come_down_the_chain() -> None:
    found = lineage(
        parents(None, 0, 1, 1),
        carried=[pl.Series("most", [5, 1, 7, 2])],
        nearest=[pl.Series("who", [None, "ann", None, "bob"])],
    ).frame
    assert found["most"].to_list() == [5, 5, 7, 5]
    assert found["who"].to_list() == [None, "ann", "ann", "bob"]


def test_a_circle_is_cut_at_its_earliest_message() -> None:
    found = lineage(parents(None, 3, 1, 2, 4))
    assert found.frame["parent"].to_list() == [None, None, 1, 2, None]
    assert found.frame["root"].to_list() == [0, 1, 1, 1, 4]
    assert found.cut == 2


def test_nothing_has_no_lineage() -> None:
    assert lineage(parents()).frame.height == 0


@given(st.lists(st.one_of(st.none(), st.integers(0, 11)), min_size=12, max_size=12))
def test_every_message_reaches_a_root_in_as_many_steps_as_its_depth(given_parents: list[int | None]) -> None:
    found = lineage(parents(*given_parents))
    after, roots = found.frame["parent"].to_list(), found.frame["root"].to_list()
    for place in range(12):
        steps, here = 0, place
        while after[here] is not None:
            here, steps = after[here], steps + 1
            assert steps < 12
        assert (here, steps) == (roots[place], found.frame["depth"][place])
