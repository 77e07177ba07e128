"""Sources mixed by weight, caps, and balance: exact counts, and a reason for every row left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefdata.build.mixing import Caps, balanced, capped, mix, shares
from prefdata.errors import InputError
from prefdata.schema import SCHEMAS, RecordType

U = RecordType.UNPAIRED


def rows(*given: dict[str, Any]) -> pl.DataFrame:
    full = [
        {
            "source": "s",
            "group": "g",
            "prompt": [{"role": "user", "content": one.pop("asked", "q"), "tool_calls": None}],
            "completion": [{"role": "assistant", "content": one.pop("reply", "a"), "tool_calls": None}],
            **one,
        }
        for one in (dict(one) for one in given)
    ]
    return pl.DataFrame(full, schema=SCHEMAS[U])


def source(name: str, count: int) -> pl.DataFrame:
    return rows(*({"id": f"{name}{at:03d}", "source": name, "asked": f"{name} {at}"} for at in range(count)))


def counts(frame: pl.DataFrame, column: str) -> dict[Any, int]:
    return dict(sorted(Counter(frame[column].to_list()).items()))


def test_sources_come_in_the_shares_of_their_weights() -> None:
    mixed = mix([source("a", 50), source("b", 50), source("c", 50)], U, weights={"a": 3, "b": 2, "c": 2}, size=20)
    assert counts(mixed.built.rows, "source") == {"a": 8, "b": 6, "c": 6}  # 8.57, 5.71, 5.71
    assert mixed.built.counts() == {"over_share": 130}
    assert mixed.shares.select("source", "rows", "wanted", "made").rows() == [
        ("a", 50, 8, 8),
        ("b", 50, 6, 6),
        ("c", 50, 6, 6),
    ]


def test_without_a_size_the_scarcest_source_sets_it() -> None:
    mixed = mix([source("a", 90), source("b", 10)], U, weights={"a": 1, "b": 1})
    assert counts(mixed.built.rows, "source") == {"a": 10, "b": 10}


def test_a_source_that_falls_short_gives_all_and_the_others_fill_up() -> None:
    mixed = mix([source("a", 90), source("b", 4), source("c", 90)], U, weights={"a": 2, "b": 2, "c": 1}, size=34)
    assert counts(mixed.built.rows, "source") == {"a": 20, "b": 4, "c": 10}
    assert mixed.shares["wanted"].to_list() == [14, 13, 7]
    everything = mix([source("a", 3), source("b", 4)], U, weights={"a": 1, "b": 1}, size=100)
    assert counts(everything.built.rows, "source") == {"a": 3, "b": 4}


def test_without_weights_every_row_is_taken() -> None:
    mixed = mix([source("a", 7), source("b", 3)], U)
    assert mixed.built.rows.height == 10
    assert counts(mix([source("a", 70), source("b", 30)], U, size=10).built.rows, "source") == {"a": 7, "b": 3}


def test_a_larger_mixture_holds_the_smaller_and_other_sources_do_not_matter() -> None:
    small = mix([source("a", 50)], U, size=10).built.rows["id"].to_list()
    large = mix([source("a", 50), source("b", 50)], U, weights={"a": 1, "b": 1}, size=40).built.rows["id"].to_list()
    assert set(small) <= set(large)


def test_wrong_weights_are_all_named() -> None:
    with pytest.raises(InputError) as caught:
        mix([source("a", 1), source("b", 1)], U, weights={"a": 0, "x": 1}, size=0)
    assert str(caught.value) == (
        "weights: a: 0, expected a number above 0; x: no such source, found a, b; b: 1 rows without a weight; "
        "size: 0, expected at least 1 or none"
    )


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(0, 1000))
def test_shares_add_up_and_lie_within_one_of_the_exact_ones(weights: list[float], size: int) -> None:
    named = {f"s{at}": weight for at, weight in enumerate(weights)}
    found = shares(named, size)
    assert sum(found.values()) == size
    assert all(abs(found[name] - size * weight / sum(weights)) < 1 + 1e-6 for name, weight in named.items())


def test_caps_leave_so_many_rows_of_a_prompt_a_customer_and_a_source() -> None:
    given = rows(
        *({"id": f"p{at}", "asked": "same"} for at in range(5)),
        *({"id": f"c{at}", "asked": f"c{at}", "meta": '{"customer":"x"}'} for at in range(5)),
        *({"id": f"s{at}", "asked": f"s{at}", "source": "t"} for at in range(5)),
        {"id": "long", "asked": "a" * 90, "reply": "b" * 11},
        {"id": "fits", "asked": "a" * 90, "reply": "b" * 10},
    )
    caps = Caps(per_prompt=2, per_customer=3, per_source=4, max_chars=100)
    built = capped(given, U, caps)
    # of source s: 2 of one prompt, 3 of one customer and `fits` are left, of which 4 may stay
    assert built.counts() == {"too_long": 1, "over_cap_prompt": 3, "over_cap_customer": 2, "over_cap_source": 3}
    assert counts(built.rows, "source") == {"s": 4, "t": 4}
    assert built.rows.height + built.unmade.height == given.height
    again = capped(given.sort("id", descending=True), U, caps)
    assert again.rows.equals(built.rows)
    assert again.unmade.equals(built.unmade)


def test_rows_without_a_customer_are_not_capped_as_one() -> None:
    given = rows(*({"id": str(at), "asked": str(at)} for at in range(4)))
    assert capped(given, U, Caps(per_customer=1)).rows.height == 4


def test_no_caps_leave_everything() -> None:
    given = rows({"id": "2"}, {"id": "1"})
    built = capped(given, U, Caps())
    assert built.rows["id"].to_list() == ["1", "2"]
    assert built.unmade.height == 0


def test_the_longer_answer_of_a_pair_counts() -> None:
    said = [{"role": "assistant", "content": "b" * 20, "tool_calls": None}]
    pair = rows({"id": "1", "asked": "a" * 10}).rename({"completion": "chosen"}).with_columns(
        pl.Series("rejected", [said]), margin=pl.lit(None, pl.Float32)
    )  # fmt: skip
    frame = pair.select(SCHEMAS[RecordType.PREFERENCE].names()).cast(dict(SCHEMAS[RecordType.PREFERENCE]))
    assert capped(frame, RecordType.PREFERENCE, Caps(max_chars=30)).rows.height == 1
    assert capped(frame, RecordType.PREFERENCE, Caps(max_chars=29)).counts() == {"too_long": 1}


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="per_prompt: 0, expected at least 1 or none; max_chars: -1, expected"):
        Caps(per_prompt=0, max_chars=-1)


LABELLED = rows(
    *({"id": f"g{at}", "label": True, "label_confidence": 0.5 + at / 20} for at in range(9)),
    *({"id": f"b{at}", "label": False, "label_confidence": 0.9} for at in range(3)),
    {"id": "n"},
    {"id": "g_unknown", "label": True},
)


def test_the_larger_class_is_cut_to_the_ratio_by_hash() -> None:
    built = balanced(LABELLED, max_ratio=2)
    assert counts(built.rows, "label") == {False: 3, True: 6}
    assert built.counts() == {"abstained": 1, "surplus_label": 4}
    assert balanced(LABELLED.sort("id", descending=True), max_ratio=2).rows.equals(built.rows)
    assert not balanced(LABELLED, max_ratio=2, seed=1).rows.equals(built.rows)


def test_the_larger_class_is_cut_by_confidence() -> None:
    built = balanced(LABELLED, max_ratio=2, policy="least_confident")
    kept = built.rows.filter("label")["id"].to_list()
    assert kept == ["g3", "g4", "g5", "g6", "g7", "g8"]
    assert built.unmade.filter(pl.col("reasons").list.contains("surplus_label"))["id"].to_list() == [
        "g0",
        "g1",
        "g2",
        "g_unknown",
    ]


def test_nothing_is_cut_where_a_class_is_missing_or_the_ratio_is_kept() -> None:
    good = LABELLED.filter(pl.col("label"))
    assert balanced(good).rows.height == 10
    assert balanced(LABELLED, max_ratio=4).counts() == {"abstained": 1}


def test_wrong_settings_of_the_balance_are_refused() -> None:
    with pytest.raises(InputError, match=r"max_ratio: 0\.5, expected at least 1"):
        balanced(LABELLED, max_ratio=0.5)
    with pytest.raises(InputError, match="policy: 'random', expected least_confident or hash"):
        balanced(LABELLED, policy="random")  # type: ignore[arg-type]
