"""Exact duplicates: same last customer turn and same reply after normalisation."""

from __future__ import annotations

import polars as pl

from prefdata.dedup.exact import ExactDuplicates


def rows(*records: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        list(records), schema={"id": pl.String, "customer": pl.String, "reply": pl.String}, orient="row"
    )


def groups(frame: pl.DataFrame) -> list[tuple[str, str, int]]:
    grouping = ExactDuplicates().build()
    found = grouping.groups(grouping.edges(grouping.keys(frame)))
    return found.select("id", "cluster", "size").rows()


def test_rows_that_differ_in_case_width_and_space_are_exact_duplicates() -> None:
    frame = rows(("b", "Hi  there", "ＯＫ"), ("a", "hi there ", "ok"), ("c", "hi there", "ok!"))
    assert groups(frame) == [("a", "a", 2), ("b", "a", 2)]


def test_both_sides_must_be_the_same() -> None:
    assert groups(rows(("a", "hi", "ok"), ("b", "hello", "ok"), ("c", "hi", "sure"))) == []


def test_pseudonyms_of_one_type_are_the_same_text() -> None:
    frame = rows(("a", "", "write to <EMAIL_1>"), ("b", "", "write to <EMAIL_7>"), ("c", "", "write to <PHONE_1>"))
    assert groups(frame) == [("a", "a", 2), ("b", "a", 2)]


def test_text_does_not_move_between_the_sides() -> None:
    assert groups(rows(("a", "one two", "three"), ("b", "one", "two three"))) == []
    assert groups(rows(("a", "one\x1ftwo", "three"), ("b", "one", "two\x1fthree"))) == []


def test_edges_are_a_star_at_the_smallest_id_with_similarity_one() -> None:
    frame = rows(("c", "hi", "ok"), ("a", "hi", "ok"), ("b", "hi", "ok"))
    grouping = ExactDuplicates().build()
    edges = grouping.edges(grouping.keys(frame))
    assert edges.rows() == [("a", "b", 1.0), ("a", "c", 1.0)]
    assert edges.schema["similarity"] == pl.Float32


def test_keys_hold_no_text() -> None:
    keys = ExactDuplicates().build().keys(rows(("a", "my secret", "ok")))
    assert keys.columns == ["id", "key"]
    assert keys["key"].str.len_chars().to_list() == [32]


def test_no_rows_give_no_edges() -> None:
    grouping = ExactDuplicates().build()
    edges = grouping.edges(grouping.keys(rows()))
    assert edges.height == 0
    assert grouping.groups(edges).columns == ["id", "cluster", "size", "similarity"]
