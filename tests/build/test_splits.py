"""Splits: units are connected components, whole units stay on one side, appended rows move nobody else."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefdata.build.splits import components, split_by_hash

ROWS = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d", "e"],
        "session": ["1", "1", "2", "3", "4"],
        "customer": ["x", "x", "y", "y", None],
        "cluster": [None, "k", "k", None, None],
    }
)


def test_rows_are_connected_through_any_column() -> None:
    found = components(ROWS, ["session", "customer", "cluster"])
    assert dict(found.iter_rows()) == {"a": "a", "b": "a", "c": "a", "d": "a", "e": "e"}


def test_null_connects_nothing() -> None:
    rows = pl.DataFrame({"id": ["a", "b"], "customer": [None, None]}, schema={"id": pl.String, "customer": pl.String})
    assert dict(components(rows, ["customer"]).iter_rows()) == {"a": "a", "b": "b"}


def test_components_of_no_rows() -> None:
    assert components(ROWS.clear(), ["session"]).height == 0


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40),
    st.floats(0, 0.9),
    st.integers(0, 3),
)
def test_no_unit_is_torn_apart_and_the_fraction_is_kept(pairs: list[tuple[int, int]], share: float, seed: int) -> None:
    rows = pl.DataFrame(
        {
            "id": [f"{position:03d}" for position in range(len(pairs))],
            "session": [str(one) for one, _ in pairs],
            "customer": [str(two) for _, two in pairs],
        }
    )
    groups = components(rows, ["session", "customer"])
    split = split_by_hash(groups, evaluation=share, seed=seed)
    joined = groups.join(split, on="id").join(rows, on="id")
    for column in ("group", "session", "customer"):
        assert joined.group_by(column).agg(pl.col("split").n_unique())["split"].max() == 1
    assert joined.filter(pl.col("split") == "evaluation").height <= max(share * rows.height, 1)


def test_a_giant_component_stays_in_training() -> None:
    groups = pl.DataFrame(
        {"id": [str(row) for row in range(100)], "group": ["giant"] * 60 + [str(row) for row in range(40)]}
    )
    split = groups.join(split_by_hash(groups, evaluation=0.3, seed=0), on="id")
    assert split.filter(pl.col("group") == "giant")["split"].unique().to_list() == ["train"]
    assert split.filter(pl.col("split") == "evaluation").height == 30
