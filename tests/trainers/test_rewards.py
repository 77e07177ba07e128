from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError, RecipeError
from trainers.rewards import REWARDS, Rewarder, build_rewards, check_rewards, look, read_rewards, totals, wanted_scorers


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


def asked(rewarder: Rewarder, answers: list[str], **columns: Any) -> list[float | None]:
    """What the reward says of answers of one token a word."""
    return rewarder(
        prompts=[[{"role": "user", "content": "q"}]] * len(answers),
        completions=[said(one) for one in answers],
        completion_ids=[list(range(len(one.split()))) for one in answers],
        **columns,
    )


def only(name: str, **settings: Any) -> Rewarder:
    return build_rewards({name: settings}, {})[0]


class Scorer:
    """Scores texts by their number of exclamation marks; null for an empty one."""

    name = "shouting"
    version = 3
    reads = frozenset({"text", "prompt"})

    def __init__(self, better: str = "lower") -> None:
        self.better = better
        self.seen: list[pl.DataFrame] = []

    def parameters(self) -> Mapping[str, Any]:
        return {"mark": "!"}

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        self.seen.append(items)
        marks = pl.col("text").str.count_matches("!").cast(pl.Float32)
        return items.select(
            shouting=pl.when(pl.col("text") != "").then(marks),
            tone=pl.when(marks > 0).then(pl.lit("loud")).otherwise(pl.lit("calm")),
            calm=1 / (1 + marks),
        )


@pytest.mark.parametrize(
    ("settings", "answers", "expected"),
    [
        ({"min": 2, "max": 4}, ["ab", "abcd", "abcdefgh", "", "abcdef"], [1.0, 1.0, 0.5, 0.5, 2 / 3]),
        ({"min": 10, "slack": 2}, ["1234567890", "12345678"], [1.0, 0.5]),
        ({"max": 2, "unit": "words"}, ["one two", "one two three four"], [1.0, 0.5]),
        ({"max": 3, "unit": "tokens"}, ["a b c", "a b c d e f"], [1.0, 0.5]),
        ({"max": 3}, ["  你好吗  "], [1.0]),
    ],
)
def test_length_is_1_inside_its_range_and_halves_at_the_slack(
    settings: dict[str, Any], answers: list[str], expected: list[float]
) -> None:
    assert asked(only("length", **settings), answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "answers", "expected"),
    [
        ({"ends_with": [".", "!"]}, ["yes.", "yes! \n", "yes"], [1.0, 1.0, 0.0]),
        ({"starts_with": "Dear"}, [" Dear all", "dear all"], [1.0, 0.0]),
        ({"in_order": ["<a>", "</a>"]}, ["<a>x</a>", "</a><a>", "<a>", ""], [1.0, 0.5, 0.5, 0.0]),
        ({"in_order": ["x", "x"]}, ["x", "x x"], [0.5, 1.0]),
        ({"max_lines": 2}, ["a\n\nb", "a\nb\nc"], [1.0, 0.0]),
        ({"is_json": True}, ['{"a": 1}', "3", "{a: 1}", ""], [1.0, 1.0, 0.0, 0.0]),
        ({"keys": ["a", "b"]}, ['{"a": 1}', '{"b": 0, "a": 1}', "[]", "no"], [0.5, 1.0, 0.0, 0.0]),
        ({"is_json": True, "ends_with": ["]"]}, ["{}", "[]", "]"], [0.5, 1.0, 0.5]),
    ],
)
def test_format_is_the_share_of_what_is_asked_for(
    settings: dict[str, Any], answers: list[str], expected: list[float]
) -> None:
    assert asked(only("format", **settings), answers) == pytest.approx(expected)


def test_regex_is_found_or_forbidden() -> None:
    assert asked(only("regex", pattern=r"\bthanks?\b"), ["thank you", "thankful"]) == [1.0, 0.0]
    assert asked(only("regex", pattern=r"\d", forbid=True), ["no digits", "2"]) == [1.0, 0.0]


def test_regex_is_of_the_engine_that_no_pattern_can_hold_up() -> None:
    # an engine that backtracks would not come back from this before the suite's time-out
    assert asked(only("regex", pattern="^(a+)+$"), ["a" * 50_000 + "b"]) == [0.0]
    with pytest.raises(RecipeError, match=r"rewards\.regex\.pattern: not a regular expression .* look-around"):
        only("regex", pattern="(?=a)")


def test_the_exact_answer_is_compared_without_case_spaces_separators_and_edges() -> None:
    answers = ["1,234,567.", " Paris ", "the answer is Paris", "London", "x"]
    right = ["1234567", "paris", "Paris", "Paris", None]
    assert asked(only("exact_answer"), answers, answer=right) == [1.0, 1.0, 0.0, 0.0, None]
    assert asked(only("exact_answer", within=True), answers, answer=right) == [1.0, 1.0, 1.0, 0.0, None]
    found = asked(
        only("exact_answer", extract=r"answer: (\S+)"),
        ["answer: 3, no, answer: 4", "4", "ＡＮＳＷＥＲ answer: ４"],
        answer=["4", "4", "4"],
    )
    assert found == [1.0, 0.0, 1.0]
    assert asked(only("exact_answer"), ["x"]) == [None]
    assert asked(only("exact_answer", within=True), ["1234", "a (b"], answer=["234", "(b"]) == [0.0, 1.0]


@pytest.mark.parametrize(("better", "sign"), [("lower", -1.0), ("higher", 1.0)])
def test_a_scorer_is_a_reward_whose_sign_is_what_it_calls_better(better: str, sign: float) -> None:
    scorer = Scorer(better)
    rewarder = build_rewards({"shouting": None}, {"shouting": scorer})[0]
    assert asked(rewarder, ["hi!!", "hi", "", "hi!!"]) == [2 * sign, 0.0, None, 2 * sign]
    assert scorer.seen[0].columns == ["text", "prompt"]
    assert scorer.seen[0]["text"].to_list() == ["hi!!", "hi", ""]
    assert rewarder.identity["version"] == 3


def test_the_filters_of_a_recipe_are_rewards() -> None:
    from prefdata.catalogue import FILTERS, load

    of_text = [name for name in FILTERS if name not in ("clip", "image_quality", "nsfw", "picture_text")]
    scorers = {name: load("filter", name)().build().scorer for name in of_text}
    assert check_rewards(dict.fromkeys(scorers), scorers=list(scorers)) == []
    toxicity, quality, english = build_rewards(
        {"toxicity": {}, "chat_quality": {}, "language": {"column": "code", "values": ["en"]}}, scorers
    )
    rude, kind = asked(toxicity, ["You are a stupid idiot, shut up.", "Thank you, it will arrive tomorrow."])
    assert rude is not None
    assert kind is not None
    assert rude < -0.5 < kind <= 0
    poor, good = asked(quality, ["!!!! !!!! !!!!", "Thank you, it will arrive tomorrow."])
    assert poor is not None
    assert good is not None
    assert poor < good
    german = "Ihre Bestellung kommt morgen an, vielen Dank für Ihre Geduld."
    assert asked(english, ["Your order will arrive tomorrow, thank you for waiting.", german]) == [1.0, 0.0]


def test_another_column_of_a_scorer_is_taken_as_it_is() -> None:
    rewards = {"calm": {"kind": "shouting", "column": "calm"}, "tone": {"kind": "shouting", "column": "tone"}}
    rewards["tone"]["values"] = ["calm"]  # type: ignore[assignment]
    calm, tone = build_rewards(rewards, {"shouting": Scorer()})
    assert asked(calm, ["hi!", "hi"]) == [0.5, 1.0]
    assert asked(tone, ["hi!", "hi"]) == [0.0, 1.0]
    with pytest.raises(RecipeError, match=r"rewards\.x\.column: 'tones'; did you mean 'tone'\?"):
        asked(build_rewards({"x": {"kind": "shouting", "column": "tones"}}, {"shouting": Scorer()})[0], ["hi"])
    with pytest.raises(RecipeError, match="holds text; set `values`"):
        asked(build_rewards({"x": {"kind": "shouting", "column": "tone"}}, {"shouting": Scorer()})[0], ["hi"])


def test_a_scorer_of_pictures_is_refused_for_a_model_that_reads_none() -> None:
    scorer = Scorer()
    scorer.reads = frozenset({"text", "images"})  # type: ignore[assignment]
    made = build_rewards({"shouting": {}, "length": {"max": 9}}, {"shouting": scorer})
    with pytest.raises(RecipeError, match=r"rewards\.shouting: its scorer reads pictures, and the model"):
        look(made, None, [])
    look(made[1:], None, [])


def test_a_function_is_a_reward_and_its_numbers_are_checked() -> None:
    def odd(prompts: Any, completions: Any, answer: Any = None, **_: Any) -> list[float | None]:
        return [float("nan"), None, 1.0][: len(completions)]

    rewarder = build_rewards({"odd": {"weight": 2.0}}, {"odd": odd})[0]
    assert rewarder.weight == 2.0
    assert asked(rewarder, ["a", "b", "c"]) == [None, None, 1.0]
    with pytest.raises(InputError, match="reward odd: 3 numbers for 4 answers"):
        asked(rewarder, ["a", "b", "c", "d"])


def told_by(function: Any) -> str:
    return build_rewards({"own": None}, {"own": function})[0].identity["sha256"]


def test_functions_that_reward_otherwise_are_told_apart() -> None:
    def shorter_than(limit: int) -> Any:
        return lambda prompts, completions, **columns: [float(len(one[0]["content"]) < limit) for one in completions]

    def typed(text: str) -> Any:  # as in a shell: without a source
        names: dict[str, Any] = {}
        exec(text, names)
        return names["f"]

    class Counting:
        def __init__(self, limit: int) -> None:
            self.limit = limit

        def __call__(self, prompts: Any, completions: Any, **columns: Any) -> list[float]:
            return [float(self.limit) for _ in completions]

        def method(self, prompts: Any, completions: Any, **columns: Any) -> list[float]:
            return self(prompts, completions)

    def typed_with(number: int) -> str:
        return f"def f(prompts, completions, **columns): return [{number}.0 for _ in completions]"

    for make in (
        shorter_than,
        Counting,
        lambda limit: Counting(limit).method,
        lambda limit: functools.partial(shorter_than, limit=limit),
        lambda limit: typed(typed_with(limit)),
    ):
        assert told_by(make(5)) == told_by(make(5))
        assert told_by(make(5)) != told_by(make(6))


def test_the_total_weighs_what_could_be_said() -> None:
    found = {"a": [1.0, None, None], "b": [2.0, 2.0, None]}
    assert totals(found, {"a": 1.0, "b": -0.5}) == [0.0, -1.0, None]


def test_every_fault_of_rewards_is_told_at_its_place_with_the_nearest_name() -> None:
    rewards: dict[str, Any] = {
        "lenght": {},
        "length": {"mx": 3},
        "words": {"kind": "length", "min": 5, "max": 3},
        "regex": {},
        "format": {},
        "exact_answer": {"within": "yes"},
        "reward_model": {},
        "toxicity": {"weight": 0.0},
    }
    faults = check_rewards(rewards, scorers=["toxicity"])
    starts = [fault.partition(";")[0] for fault in faults]
    assert starts == [
        "rewards.lenght: unknown reward 'lenght'",
        "rewards.length.mx: unknown setting",
        "rewards.words.max: 3",
        "rewards.regex.pattern: missing",
        "rewards.format.starts_with: nothing is asked for",
        "rewards.exact_answer.within: Input should be a valid boolean",
        "rewards.reward_model.model: missing",
        "rewards.toxicity.weight: 0.0",
    ]
    assert "did you mean 'length'?" in faults[0]
    assert "did you mean 'max'?" in faults[1]
    made, left = read_rewards({"toxicity": {"weight": 2, "model": "detoxify"}})
    assert (made["toxicity"].weight, left) == (2.0, [])


def test_the_scorers_that_rewards_ask_for_are_named_with_their_own_settings() -> None:
    rewards = {
        "length": {"max": 3},
        "toxicity": {"weight": 2, "model": "detoxify"},
        "english": {"kind": "language", "column": "code", "values": ["en"], "min_chars": 5},
        "chat_quality": None,
    }
    assert wanted_scorers(rewards) == {
        "toxicity": {"scorer": "toxicity", "model": "detoxify"},
        "english": {"scorer": "language", "min_chars": 5},
        "chat_quality": {"scorer": "chat_quality"},
    }


def test_the_page_on_rewards_names_all_of_them_and_their_settings() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip().strip("`"): line for line in page.splitlines() if line.startswith("| `")}
    assert sorted(rows) == sorted(REWARDS)
    for name, settings in REWARDS.items():
        own = {entry.name for entry in dataclasses.fields(settings)} - {"weight"}
        assert {one for one in own if f"`{one}`" not in rows[name]} == set(), name
