"""Faults of content, of several files and of whole sets, planted as those of `planted_faults.py` are."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from planted_faults import Fault, Plant, Row, adding, changing, long_enough

TRAINING, HELD_OUT = "train.jsonl", "test.jsonl"

BOILERPLATE = "Thank you for contacting us. We will look into your request and come back to you as soon as we can."
OPENING = "Thank you so much for bringing this question to my attention today."
CLOSING = "Please let me know if there is anything else that I can do for you!"
INSULTS = (
    "You are a stupid idiot and everybody hates you.",
    "Shut up, you pathetic moron.",
    "You disgusting piece of trash, go to hell.",
)
CHINESE = (
    "请问你们周末营业吗？我想知道具体的时间。",
    "您好，我们周末也营业，时间是上午九点到下午六点，欢迎光临。",
    "不知道，你自己去网上查一查吧，我们这里很忙。",
)


def _text(row: Row, side: str) -> str:
    text: str = row.data[side][-1]["content"]
    return text


def _tell(row: Row, side: str, text: str) -> None:
    row.data[side][-1]["content"] = text


def inside(make: Callable[[str, random.Random], str], *sides: str) -> Plant:
    """A fault within one answer: the chosen one, or one of `sides` by chance."""

    def change(row: Row, rng: random.Random) -> None:
        side = rng.choice(sides or ("chosen",))
        _tell(row, side, make(_text(row, side), rng))

    return changing(change)


def _long(text: str, rng: random.Random) -> str:
    return f"{text} " * (40_000 // (len(text) + 1) + 1)


def _turn(text: str, rng: random.Random) -> str:
    speaker, other = rng.choice([("Human", "Assistant"), ("User", "Assistant"), ("用户", "助手")])
    return f"{text}\n\n{speaker}: And then?\n\n{other}: Then nothing."


def _blank(text: str, rng: random.Random) -> str:
    blank = rng.choice(["[Your Name]", "{name}", "{{customer_name}}", "[Insert date here]", "<insert company name>"])
    return f"Dear {blank}, {text}"


def _insult(text: str, rng: random.Random) -> str:
    return f"{rng.choice(INSULTS)} {text}"


def _template(text: str, rng: random.Random) -> str:
    city, name = rng.choice(["Rome", "Oslo", "Lima", "Cairo"]), rng.choice(["Ann", "Bob", "Eve", "Joe"])
    return f"The order {rng.randrange(10**6)} of {name} has left our house in {city} on day {rng.randrange(28)} of it."


def _chinese(row: Row, rng: random.Random) -> None:
    row.data["prompt"] = [{"role": "user", "content": CHINESE[0]}]
    for side, text in zip(("chosen", "rejected"), CHINESE[1:], strict=True):
        _tell(row, side, f"{text}第{rng.randrange(10**6)}号。")


def _longer_only(row: Row, rng: random.Random) -> None:
    """The longer answer is preferred."""
    if len(_text(row, "chosen")) < len(_text(row, "rejected")):
        row.data["chosen"], row.data["rejected"] = row.data["rejected"], row.data["chosen"]


def _near_prompt(row: Row, rng: random.Random) -> Row:
    made = row.copy(chosen=[{"role": "assistant", "content": f"Another answer, number {rng.random()}."}])
    words = _text(made, "prompt").split(" ")
    words[rng.randrange(len(words))] = "indeed"
    _tell(made, "prompt", " ".join(words))
    return made


def leaking(change: Callable[[Row, random.Random], None] | None = None) -> Plant:
    """A training and a test file: the rows chosen stand in both; as many stand in the test file alone."""

    def plant(rows: list[Row], chosen: list[Row], rng: random.Random) -> list[Row]:
        for row in rows:
            row.file = TRAINING
        taken = {id(row) for row in chosen}
        for row in rng.sample([row for row in rows if id(row) not in taken], len(chosen)):
            row.file = HELD_OUT
        more = []
        for row in chosen:
            made = row.copy()
            made.file = HELD_OUT
            if change is not None:
                change(made, rng)
            more.append(made)
        return more

    return plant


def _word_more(row: Row, rng: random.Random) -> None:
    for side in ("prompt", "chosen", "rejected"):
        words = _text(row, side).split(" ")
        words.insert(rng.randrange(len(words) + 1), "indeed")
        _tell(row, side, " ".join(words))


def from_benchmark(data: Path) -> Plant:
    """Prompts of IFEval, inside other words or as they are."""
    lines = (data / "ifeval" / "input_data.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line)["prompt"] for line in lines]

    def change(row: Row, rng: random.Random) -> None:
        row.data["prompt"] = [{"role": "user", "content": rng.choice(["", "Hello! "]) + rng.choice(items)}]

    return changing(change)


def content_faults(data: Path) -> tuple[Fault, ...]:
    """The faults, from the folder of real data."""
    return (
        Fault("answer of 40,000 characters", "truncation", inside(_long, "chosen", "rejected")),
        Fault("prompt of a test row in training", "split_leak", leaking()),
        Fault("item of IFEval", "benchmark_overlap", from_benchmark(data), benchmarks=(data / "ifeval",)),
        Fault("turns inside an answer", "template_leaks", inside(_turn), exact=False),
        Fault("blank of a template", "placeholders", inside(_blank), exact=False),
        Fault("one reply to all", "boilerplate", inside(lambda text, rng: BOILERPLATE)),
        Fault("insult", "toxic_answers", inside(_insult), exact=False),
        Fault(
            "test row in training, a word more", "near_split_leak", leaking(_word_more), exact=False, where=_long_row
        ),
        Fault("prompt, a word changed", "near_prompts", adding(_near_prompt), exact=False, where=_long_prompt),
        Fault("reply of a template", "template_copying", inside(_template), exact=False, told_from=0.02),
        Fault(
            "same opening",
            "same_openings",
            inside(lambda text, rng: f"{OPENING} {text}"),
            exact=False,
            where=_long_answer,
        ),
        Fault(
            "same closing",
            "same_closings",
            inside(lambda text, rng: f"{text} {CLOSING}"),
            exact=False,
            where=_long_answer,
        ),
        Fault("mail address in chosen", "personal_data_onesided", inside(_address), exact=False),
        Fault("link in chosen", "links", inside(_link), exact=False),
        Fault("Chinese row", "language_mix", changing(_chinese), of_the_set=True),
        Fault("longer answer preferred", "length_bias", changing(_longer_only), of_the_set=True),
    )


def _long_row(row: Row) -> bool:
    return long_enough(row) and _long_prompt(row)


def _long_answer(row: Row) -> bool:
    return len(_text(row, "chosen")) > 200


def _long_prompt(row: Row) -> bool:
    return len(_text(row, "prompt").split()) >= 40


def _address(text: str, rng: random.Random) -> str:
    return f"{text} Write to {rng.choice(['ann', 'bob', 'eve'])}.{rng.choice(['lee', 'kim', 'roy'])}@gmx.de."


def _link(text: str, rng: random.Random) -> str:
    return f"{text} See https://www.wikipedia.org/wiki/{rng.randrange(1000)}."
