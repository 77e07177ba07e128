"""Splits: units are connected components, whole units stay on one side, appended rows move nobody they do not join."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.build.splits import components, giants, imbalance, sides, split_by_hash, split_by_time, strata

ROWS = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d", "e"],
        "session": ["1", "1", "2", "3", "4"],
        "customer": ["x", "x", "y", "y", None],
        "cluster": [None, "k", "k", None, None],
    }
)
CONNECT = ["session", "customer", "prompt", "cluster"]
SHARES = {"evaluation": 0.3, "test": 0.2}

# few values, so that units meet; ids in any order, so that an appended row may have the smallest
TABLES = st.lists(
    st.tuples(
        st.integers(0, 999), st.integers(0, 30), st.integers(0, 12) | st.none(), st.integers(0, 60), st.integers(0, 60)
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[0],
)


def table(rows: list[tuple[int, int, int | None, int, int]]) -> pl.DataFrame:
    """Rows as a frame: sessions belong to one customer each, a third of the cluster numbers is no cluster."""
    return pl.DataFrame(
        {
            "id": [f"{row[0]:03d}" for row in rows],
            "session": [f"{row[1]}-{row[2]}" for row in rows],
            "customer": [None if row[2] is None else str(row[2]) for row in rows],
            "prompt": [f"p{row[3]}" for row in rows],
            "cluster": [None if row[4] % 3 == 0 else f"k{row[4]}" for row in rows],
        },
        schema=dict.fromkeys(["id", *CONNECT], pl.String),
    )


def test_rows_are_connected_through_any_column() -> None:
    found = components(ROWS, ["session", "customer", "cluster"])
    assert dict(found.iter_rows()) == {"a": "a", "b": "a", "c": "a", "d": "a", "e": "e"}


def test_null_connects_nothing() -> None:
    rows = pl.DataFrame({"id": ["a", "b"], "customer": [None, None]}, schema={"id": pl.String, "customer": pl.String})
    assert dict(components(rows, ["customer"]).iter_rows()) == {"a": "a", "b": "b"}


def test_components_of_no_rows() -> None:
    assert components(ROWS.clear(), ["session"]).height == 0


def test_without_columns_every_row_is_its_own_unit() -> None:
    assert components(ROWS, [])["group"].to_list() == ["a", "b", "c", "d", "e"]


@given(TABLES, st.integers(0, 5))
def test_no_unit_is_torn_apart(rows: list[tuple[int, int, int | None, int, int]], salt: int) -> None:
    frame = table(rows)
    found = split_by_hash(frame, connect=CONNECT, shares=SHARES, salt=salt)
    joined = frame.join(found.rows, on="id")
    assert joined.height == frame.height
    for column in ("group", *CONNECT):
        assert joined.drop_nulls(column).group_by(column).agg(pl.col("split").n_unique())["split"].max() in (1, None)


@given(TABLES, TABLES, st.integers(0, 5))
def test_appended_rows_move_only_what_they_join_and_only_to_train(
    rows: list[tuple[int, int, int | None, int, int]],
    more: list[tuple[int, int, int | None, int, int]],
    salt: int,
) -> None:
    known = {row[0] for row in rows}
    frame, appended = table(rows), table([*rows, *(row for row in more if row[0] not in known)])
    before = split_by_hash(frame, connect=CONNECT, shares=SHARES, salt=salt)
    after = split_by_hash(appended, connect=CONNECT, shares=SHARES, salt=salt)
    pairs = before.rows.join(after.rows, on="id", suffix="_after")
    assert (pairs["own"] == pairs["own_after"]).all()
    moved = pairs.filter(pl.col("split") != pl.col("split_after"))
    assert set(moved["split_after"]) <= {"train"}
    listed = after.merges()
    assert set(moved["group_after"]) <= set(listed["group"])
    assert set(moved["id"]) <= set(listed.explode("ids", empty_as_null=True)["ids"])
    # what moved was joined to something: its unit gained a row, old or new
    grown = after.rows.group_by("group").agg(members=pl.col("id").sort())
    old = before.rows.group_by("group").agg(members=pl.col("id").sort())
    units = moved.join(old, on="group").join(grown, left_on="group_after", right_on="group", suffix="_after")
    assert (units["members_after"].list.len() > units["members"].list.len()).all()


@given(TABLES, st.integers(0, 5))
def test_merges_hold_what_would_have_stood_on_two_sides(
    rows: list[tuple[int, int, int | None, int, int]], salt: int
) -> None:
    found = split_by_hash(table(rows), connect=CONNECT, shares=SHARES, salt=salt)
    listed = found.merges()
    mixed = found.rows.filter(pl.col("group").is_in(listed["group"].to_list()))
    assert set(mixed["split"]) <= {"train"}
    assert set(listed.explode("ids", empty_as_null=True)["ids"].drop_nulls()) == set(
        mixed.filter(pl.col("own") != "train")["id"]
    )
    rest = found.rows.filter(~pl.col("group").is_in(listed["group"].to_list()))
    assert (rest["own"] == rest["split"]).all()


def test_the_drawn_sides_are_these_on_every_machine() -> None:
    anchors = pl.Series([f"customer {number}" for number in range(12)])
    held, tested, train = "evaluation", "test", "train"
    expected = [held, held, held, train, train, held, held, tested, tested, held, held, train]
    assert sides(anchors, shares=SHARES, salt=7).to_list() == expected


def test_a_larger_share_only_adds() -> None:
    anchors = pl.Series([str(number) for number in range(2000)])
    small = sides(anchors, shares={"evaluation": 0.1}, salt=1) == "evaluation"
    large = sides(anchors, shares={"evaluation": 0.2}, salt=1) == "evaluation"
    assert (small & ~large).sum() == 0
    assert (int(small.sum()), int(large.sum())) == (210, 404)


def test_nothing_is_held_out_where_nothing_is_asked_for() -> None:
    assert set(sides(pl.Series(["a", "b"]), shares={}, salt=0)) == {"train"}


def test_a_new_session_of_a_known_customer_follows_the_customer() -> None:
    customers = [f"c{number}" for number in range(40)]
    first = pl.DataFrame({"id": customers, "customer": customers, "session": [f"s{one}" for one in customers]})
    again = pl.DataFrame(
        {"id": [f"0{one}" for one in customers], "customer": customers, "session": [f"t{one}" for one in customers]}
    )
    by = ["session", "customer"]
    before = split_by_hash(first, connect=by, shares=SHARES, salt=3)
    after = split_by_hash(pl.concat([first, again]), connect=by, shares=SHARES, salt=3)
    assert after.merges().is_empty()
    kept = after.rows.filter(pl.col("id").is_in(customers))
    assert kept.select("id", "split").equals(before.rows.select("id", "split"))


def test_giant_units_are_named_with_what_holds_them_together() -> None:
    rows = pl.DataFrame(
        {
            "id": [f"{number:03d}" for number in range(100)],
            "customer": [str(number) for number in range(100)],
            "prompt": ["hi"] * 60 + [f"p{number}" for number in range(40)],
        }
    )
    found = split_by_hash(rows, connect=["customer", "prompt"], shares=SHARES, salt=0)
    assert giants(found.rows, rows, ["customer", "prompt"], share=0.05) == [
        {"group": "000", "rows": 60, "split": "train", "share": 0.6, "values": {"customer": 60, "prompt": 1}}
    ]


def day(number: int) -> datetime:
    return datetime(2024, 1, number, tzinfo=UTC)


TIMED = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d", "e", "f", "g", "h"],
        "session": ["1", "2", "3", "3", "4", "4", "5", "6"],
        "time": [day(1), day(2), day(3), day(9), day(8), day(9), day(10), None],
    },
    schema_overrides={"time": pl.Datetime("us", "UTC")},
)


def test_by_time_the_newest_units_are_held_out_and_those_across_the_cut_train() -> None:
    found = split_by_time(TIMED, connect=["session"], shares={"evaluation": 0.4})
    assert found.cuts == {"evaluation": day(8)}
    split = dict(found.rows.select("id", "split").iter_rows())
    assert split == {
        "a": "train",
        "b": "train",
        "c": "train",
        "d": "train",
        "e": "evaluation",
        "f": "evaluation",
        "g": "evaluation",
        "h": "train",
    }
    assert found.merges().select("group", "rows", "train", "evaluation", "ids").rows() == [("c", 2, 1, 1, ["d"])]


def test_by_time_test_is_newer_than_evaluation() -> None:
    found = split_by_time(TIMED, connect=["session"], shares={"evaluation": 0.3, "test": 0.15})
    assert found.cuts == {"evaluation": day(8), "test": day(10)}
    assert found.rows["split"].to_list() == [*["train"] * 4, "evaluation", "evaluation", "test", "train"]


def test_a_cut_that_is_given_stays_where_it_is_as_rows_are_appended() -> None:
    later = TIMED.with_columns(pl.col("id") + "2", session=pl.lit("n"), time=pl.col("time") + pl.duration(days=20))
    cuts = {"evaluation": day(8)}
    before = split_by_time(TIMED, connect=["session"], shares={"evaluation": 0.4}, cuts=cuts)
    after = split_by_time(pl.concat([TIMED, later]), connect=["session"], shares={"evaluation": 0.4}, cuts=cuts)
    assert after.rows.filter(pl.col("id").str.len_chars() == 1).equals(before.rows)


def test_strata_count_each_side_and_an_even_split_has_no_imbalance() -> None:
    rows = pl.DataFrame(
        {
            "label": [True] * 4 + [False] * 4,
            "language": ["en", "en", "zh", "zh"] * 2,
            "split": ["train", "evaluation"] * 4,
        }
    )
    even = strata(rows, ["label", "language"])
    assert even.rows()[0] == (False, "en", 2, 1, 1, 0)
    assert imbalance(even) == 0.0
    uneven = strata(rows.with_columns(split=pl.Series(["evaluation"] * 4 + ["train"] * 4)), ["label"])
    assert imbalance(uneven) == pytest.approx(0.5)
