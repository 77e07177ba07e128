"""What the probes see of a text, and the models that they fit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from prefdata.auditing import surface
from prefdata.auditing.bags import bag
from prefdata.auditing.linear import fit
from prefdata.auditing.probing import fewer, group_of, scaled, sources


def counted(text: str) -> dict[str, int]:
    found = bag(pl.Series([text]))
    return {word: int(count) for word, count in zip(found.words, found.counts.toarray()[0], strict=True)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Yes, yes: it's 24/7!", {"yes": 2, ",": 1, ":": 1, "it": 1, "'": 1, "s": 1, "24": 1, "/": 1, "7": 1, "!": 1}),
        ("退款 OK", {"退": 1, "款": 1, "退款": 1, "ok": 1}),
        ("我我我", {"我": 3, "我我": 2}),
        ("naïve Überraschung", {"naïve": 1, "überraschung": 1}),
        ("", {}),
        (" \n\t", {}),
    ],
)
def test_words_of_a_text(text: str, words: dict[str, int]) -> None:
    assert counted(text) == words


def test_neighbours_do_not_reach_into_the_next_text() -> None:
    found = bag(pl.Series(["你", None, "好"]))
    assert found.words.to_list() == ["你", "好"]
    assert found.counts.toarray().tolist() == [[1, 0], [0, 0], [0, 1]]


def test_rare_words_are_left_out() -> None:
    found = bag(pl.Series(["a b b", "a c", "a"])).often(2)
    assert found.words.to_list() == ["a"]
    assert found.counts.toarray().tolist() == [[1], [1], [1]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=8))
def test_any_text_can_be_looked_at(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    found = bag(series)
    assert found.counts.shape == (len(texts), len(found.words))
    assert found.words.to_list() == sorted(set(found.words), key=lambda word: word.encode())
    blocks = [surface.length(series), surface.markdown(series), surface.refusal(series)]
    blocks += [surface.script(found), surface.emoji(found)]
    blocks += [surface.first_words(series).toarray(), surface.ending(series).toarray()]
    assert all(block.shape[0] == len(texts) and np.isfinite(block).all() for block in blocks)


@pytest.mark.parametrize(
    ("text", "refuses", "apologises"),
    [
        ("I'm sorry, but I can't help with that.", True, True),
        ("I’m so sorry to hear that!", False, True),
        ("Sorry, we are closed today.", False, True),
        ("Unfortunately the part is out of stock.", False, True),
        ("很抱歉，给您带来不便。", False, True),
        ("抱歉，我无法提供这些信息。", True, True),
        ("I can't wait to see you!", False, False),
        ("We regret nothing. Regretful songs, however", False, True),
        ("You need not be sorry.", False, False),
        ("Sure, here it is.", False, False),
    ],
)
def test_how_refusals_and_apologies_begin(text: str, refuses: bool, apologises: bool) -> None:
    assert surface.refusal(pl.Series([text])).tolist() == [[float(refuses), float(apologises)]]


def test_emoji_are_counted_and_signs_are_not() -> None:
    found = surface.emoji(bag(pl.Series(["ok 🎉🎉 👍", "© 2024 ™ * # 5", ""])))
    assert found[:, 1].tolist() == [1.0, 0.0, 0.0]
    assert found[0, 0] == pytest.approx(np.log(4))


def test_languages_of_one_script_are_told_apart_by_frequent_words() -> None:
    found = surface.script(bag(pl.Series(["the cat and the dog", "der Hund und die Katze", "猫和狗"])))
    assert len({tuple(row.round(3)) for row in found}) == 3


@pytest.mark.parametrize("dense", [True, False])
def test_weights_are_where_the_loss_is_least(dense: bool) -> None:
    rng = np.random.default_rng(0)
    block = rng.normal(size=(300, 6))
    label = (block[:, 0] - block[:, 1] + rng.normal(size=300) > 0.4).astype(float)
    weights, start = fit(block if dense else sparse.csr_matrix(block), label, prior=2.0, intercept=True)

    def loss(weights: np.ndarray, start: float) -> float:
        margin = (2 * label - 1) * (block @ weights + start)
        return float(np.logaddexp(0, -margin).sum() + weights @ weights)

    least = loss(weights, start)
    assert least < 0.7 * 300 * np.log(2)
    for column in range(6):
        for step in (-0.05, 0.05):
            assert loss(weights + step * np.eye(6)[column], start) > least
    assert min(loss(weights, start + 0.05), loss(weights, start - 0.05)) > least


def test_a_column_of_one_value_is_no_mark() -> None:
    block = np.column_stack([np.full(49, 0.1), np.arange(49.0), np.zeros(49)])
    found = scaled(block)
    assert (found[:, [0, 2]] == 0).all()
    assert found[:, 1].std() == pytest.approx(1.0)


def test_pairs_need_no_second_class() -> None:
    weights, start = fit(np.array([[1.0], [2.0], [-0.5]]), np.ones(3), prior=1.0, intercept=False)
    assert weights[0] > 0
    assert start == 0.0


def rows(prompts: list[list[tuple[str, str]]]) -> pl.DataFrame:
    turns = [[{"role": role, "content": text} for role, text in prompt] for prompt in prompts]
    return pl.DataFrame({"prompt": turns, "prompt_norm": [hash(str(prompt)) % 2**32 for prompt in prompts]})


def test_turns_of_one_conversation_stay_together() -> None:
    first = ("user", "I would like to book a table")
    found = group_of(
        rows(
            [
                [first],
                [first, ("assistant", "For when?"), ("user", "Tonight")],
                [("user", "Hello")],
                [("user", "Hello"), ("assistant", "Hi"), ("user", "Is my order there?")],
                [("user", "Hello")],
            ]
        )
    )
    assert found.tolist() == [0, 0, 1, 2, 1]


def test_fewer_rows_do_not_follow_a_rhythm() -> None:
    frame = pl.DataFrame({"row": pl.int_range(20_000, dtype=pl.UInt32, eager=True)})
    found = fewer(frame, 5_000)["row"]
    assert (len(found), found.is_sorted()) == (5_000, True)
    for step in (2, 3, 4, 8, 10):
        shares = (found % step).value_counts()["count"] / 5_000
        assert shares.min() > 0.9 / step


def test_sources_are_found_in_what_was_kept_beside_the_rows() -> None:
    frame = pl.DataFrame({"meta": ['{"model": "a", "domain": "x"}', '{"model": "b", "domain": "x"}', None]})
    assert {name: values.to_list() for name, values in sources(frame).items()} == {"model": ["a", "b", None]}
