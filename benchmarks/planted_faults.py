"""Faults that are planted into clean rows, each beside the finding that should tell it (see `planted.py`)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(eq=False)
class Row:
    """A row on its way to the file."""

    data: dict[str, Any]
    named: bool = False
    """Whether the check should name it."""
    file: str = "rows.jsonl"

    def copy(self, **changes: Any) -> Row:
        return Row({**json.loads(json.dumps(self.data)), **changes}, named=True, file=self.file)


Plant = Callable[[list[Row], list[Row], random.Random], Iterable[Row]]
"""Changes the rows chosen, second, of all rows, first; gives those to add at the end."""


class Fault(NamedTuple):
    """A fault, and the finding that should tell it."""

    name: str
    finding: str
    plant: Plant
    unary: bool = False
    exact: bool = True
    of_the_set: bool = False
    told_from: float = 0.0
    """Share below which the check is silent on purpose."""
    where: Callable[[Row], bool] = lambda row: True
    """Rows in which it can be planted."""
    benchmarks: tuple[Path, ...] = ()
    """Sets that the audit is told of."""


def _answer(row: Row, side: str) -> dict[str, Any]:
    turn: dict[str, Any] = row.data[side][-1]
    return turn


def _last(row: Row) -> dict[str, Any]:
    turn: dict[str, Any] = row.data["prompt"][-1]
    return turn


def long_enough(row: Row) -> bool:
    """Whether every text has LONG words, so that one word leaves it nearly what it was."""
    texts = [
        row.data[side][-1]["content"] for side in ("prompt", "completion", "chosen", "rejected") if side in row.data
    ]
    return all(len(text.split()) >= LONG for text in texts[1:])


LONG = 60
"""Words of an answer from which on one word more leaves 0.9 of its groups of three words as they were."""


def changing(change: Callable[[Row, random.Random], None]) -> Plant:
    """A fault within a row."""

    def plant(rows: list[Row], chosen: list[Row], rng: random.Random) -> list[Row]:
        for row in chosen:
            change(row, rng)
            row.named = True
        return []

    return plant


def adding(more: Callable[[Row, random.Random], Row], *, both: bool = False) -> Plant:
    """A fault by one row more; `both`: the row that it was made from is named too."""

    def plant(rows: list[Row], chosen: list[Row], rng: random.Random) -> list[Row]:
        for row in chosen:
            row.named = row.named or both
        return [more(row, rng) for row in chosen]

    return plant


def _equal(row: Row, rng: random.Random) -> None:
    row.data["rejected"] = row.data["chosen"]


def _same_words(row: Row, rng: random.Random) -> None:
    text = _answer(row, "chosen")["content"]
    changed = rng.choice([text.upper() + "!", text.replace(" ", "  ") + "\n", text.replace(".", " ...") + " ."])
    row.data["rejected"] = [{"role": "assistant", "content": changed}]


def _near_equal(row: Row, rng: random.Random) -> None:
    words = _answer(row, "chosen")["content"].split(" ")
    words[rng.randrange(len(words))] = "indeed"
    row.data["rejected"] = [{"role": "assistant", "content": " ".join(words)}]


def _empty(row: Row, rng: random.Random) -> None:
    _answer(row, rng.choice(["chosen", "rejected"]))["content"] = rng.choice(["", " ", "\n\t", "\u3000"])


def _reversed(row: Row, rng: random.Random) -> Row:
    return row.copy(chosen=row.data["rejected"], rejected=row.data["chosen"])


def _cycles(rows: list[Row], chosen: list[Row], rng: random.Random) -> list[Row]:
    """Of each row A > B with a third answer C: B > C and C > A."""
    more = []
    for row in chosen:
        row.named = True
        third = [{"role": "assistant", "content": f"A third answer, number {rng.random()}."}]
        more.append(row.copy(chosen=row.data["rejected"], rejected=third))
        more.append(row.copy(chosen=third, rejected=row.data["chosen"]))
    return more


def _repeat_prompt(row: Row, rng: random.Random) -> None:
    for side in ("chosen", "rejected"):
        turn = _answer(row, side)
        turn["content"] = _last(row)["content"] + rng.choice(["\n", "\n\n", " "]) + turn["content"]


def _duplicate(row: Row, rng: random.Random) -> Row:
    made = row.copy()
    if rng.random() < 0.5:
        _last(made)["content"] = _last(made)["content"].upper() + " "
    return made


def _control_token(row: Row, rng: random.Random) -> None:
    from prefdata.transforms.control_tokens import control_tokens

    known = [token for name, tokens in control_tokens().items() if name != "images" for token in tokens]
    token = rng.choice(known).replace("{n}", "7").replace("{w}", "word")
    turn = rng.choice([_last(row), _answer(row, "chosen"), _answer(row, "rejected")])
    at = rng.randrange(len(turn["content"]) + 1)
    turn["content"] = f"{turn['content'][:at]} {token} {turn['content'][at:]}"


def _broken(row: Row, rng: random.Random) -> None:
    """Replacement and control characters, and UTF-8 that was read as Windows-1252, Latin-1 or GBK."""
    kind = rng.randrange(5)
    turn = rng.choice([_last(row), _answer(row, "chosen"), _answer(row, "rejected")])
    at = rng.randrange(len(turn["content"]) + 1)
    good = rng.choice(["don\u2019t", "caf\u00e9 \u2013 \u201cna\u00efve\u201d", "f\u00fcr \u00dcber", "\u60a8\u597d"])
    if kind == 0:
        bad = "\ufffd"
    elif kind == 1:
        bad = rng.choice(["\x08", "\x1b[0m", "\x7f", "\x02"])
    elif kind == 2:
        bad = good.encode().decode("cp1252", errors="ignore")
    elif kind == 3:
        bad = good.encode().decode("latin-1")
    else:
        bad = "\u951f\u65a4\u62f7"
    turn["content"] = turn["content"][:at] + f" {bad} " + turn["content"][at:]


def _wrong_answer_role(row: Row, rng: random.Random) -> None:
    _answer(row, rng.choice(["chosen", "rejected"]))["role"] = "user"


def _unknown_role(row: Row, rng: random.Random) -> None:
    rng.choice([_last(row), _answer(row, "chosen")])["role"] = "narrator"


def _ends_with_assistant(row: Row, rng: random.Random) -> None:
    row.data["prompt"].append({"role": "assistant", "content": "One moment, please."})


def _not_alternating(row: Row, rng: random.Random) -> None:
    row.data["prompt"].insert(0, {"role": "user", "content": "Hello, are you there?"})


def _no_prompt(row: Row, rng: random.Random) -> None:
    row.data["prompt"] = rng.choice([[], [{"role": "system", "content": "You are helpful."}]])


def _missing_content(row: Row, rng: random.Random) -> None:
    rng.choice([_last(row), _answer(row, "chosen")])["content"] = None


def _tie(row: Row, rng: random.Random) -> None:
    row.data["margin"] = 0.0


def _worse(row: Row, rng: random.Random) -> None:
    row.data["margin"] = -row.data["margin"]


def _crowd(rows: list[Row], chosen: list[Row], rng: random.Random) -> list[Row]:
    """All chosen rows ask what the first of them asks."""
    for row in chosen:
        row.data["prompt"] = chosen[0].data["prompt"]
        row.named = True
    return []


def _text_label(row: Row, rng: random.Random) -> None:
    row.data["label"] = "good" if row.data["label"] else "bad"


def _no_label(row: Row, rng: random.Random) -> None:
    row.data["label"] = None


def _contradiction(row: Row, rng: random.Random) -> Row:
    made = row.copy(label=not row.data["label"])
    if rng.random() < 0.5:
        _answer(made, "completion")["content"] = _answer(made, "completion")["content"].upper() + " !"
    return made


def _near_contradiction(row: Row, rng: random.Random) -> Row:
    made = row.copy(label=not row.data["label"])
    words = _answer(made, "completion")["content"].split(" ")
    words.insert(rng.randrange(len(words) + 1), "indeed")
    _answer(made, "completion")["content"] = " ".join(words)
    return made


def _run(rows: list[Row], chosen: list[Row], rng: random.Random) -> list[Row]:
    """As many rows as were chosen, one after another, are of one label; the class is as large as before."""
    start = rng.randrange(len(rows) - len(chosen))
    run = rows[start : start + len(chosen)]
    for row in run:
        row.named = True
    swapped = [row for row in run if not row.data["label"]]
    others = [row for row in rows if row.data["label"] and not row.named]
    for row, other in zip(swapped, rng.sample(others, len(swapped)), strict=True):
        row.data, other.data = other.data, row.data
    return []


def _imbalance(rows: list[Row], chosen: list[Row], rng: random.Random) -> list[Row]:
    """Only the chosen rows stay undesirable: `told_from` aside, their share is the class's."""
    picked = {id(row) for row in chosen}
    for row in rows:
        row.data["label"] = id(row) not in picked
    return []


def _near_duplicate(row: Row, rng: random.Random) -> Row:
    """One word more in both answers."""
    made = row.copy()
    for side in ("chosen", "rejected"):
        words = made.data[side][-1]["content"].split(" ")
        words.insert(rng.randrange(len(words) + 1), "indeed")
        made.data[side][-1]["content"] = " ".join(words)
    return made


def _parrot(row: Row, rng: random.Random) -> None:
    row.data["chosen"] = [{"role": "assistant", "content": _last(row)["content"]}]


def _refusal(row: Row, rng: random.Random) -> None:
    text = ("I'm sorry, but I can't help with that.", "As an AI language model, I cannot assist with this request.")
    _answer(row, "chosen")["content"] = rng.choice(text)


def _self_name(row: Row, rng: random.Random) -> None:
    name = rng.choice(["I am ChatGPT, a model trained by OpenAI.", "As Claude, made by Anthropic, I can help."])
    _answer(row, "chosen")["content"] += " " + name


def _personal(row: Row, rng: random.Random) -> None:
    number = rng.randrange(1_000, 9_999)
    told = rng.choice(
        [f"Write to maria.lopez{number}@gmail.com.", f"Call me at +49 170 38{number}1.", f"Call (415) 867-{number}."]
    )
    turn = rng.choice([_last(row), _answer(row, "chosen"), _answer(row, "rejected")])
    turn["content"] += " " + told


CHINESE = "您好，我们的营业时间是上午九点到下午六点，欢迎您随时光临。"


def _other_language(row: Row, rng: random.Random) -> None:
    _answer(row, "chosen")["content"] = CHINESE


def _repeated_id(rows: list[Row], chosen: list[Row], rng: random.Random) -> list[Row]:
    """All rows have an id; the chosen ones that of an earlier row."""
    for at, row in enumerate(rows):
        row.data["id"] = f"row-{at}"
    picked = {id(row) for row in chosen}
    for at, row in enumerate(rows):
        if at and id(row) in picked:
            row.data["id"] = rows[rng.randrange(at)].data["id"]
            row.named = True
    return []


def _small(row: Row, rng: random.Random) -> None:
    row.data["margin"] = 0.1


FAULTS = (
    Fault("equal sides", "equal_sides", changing(_equal)),
    Fault("same words", "same_words", changing(_same_words)),
    Fault("empty answer", "empty_answer", changing(_empty)),
    Fault("reversed pair", "reversed_pair", adding(_reversed, both=True)),
    Fault("cycle of three", "cycle", _cycles),
    Fault("prompt in answers", "prompt_in_answer", changing(_repeat_prompt)),
    Fault("duplicate", "exact_duplicates", adding(_duplicate)),
    Fault("control token", "control_tokens", changing(_control_token)),
    Fault("broken characters", "broken_characters", changing(_broken)),
    Fault("answer by the user", "answer_not_by_assistant", changing(_wrong_answer_role)),
    Fault("unknown role", "unknown_role", changing(_unknown_role)),
    Fault("prompt ends with assistant", "prompt_ends_with_assistant", changing(_ends_with_assistant)),
    Fault("not alternating", "not_alternating", changing(_not_alternating)),
    Fault("no prompt", "empty_prompt", changing(_no_prompt)),
    Fault("missing content", "missing_content", changing(_missing_content)),
    Fault("tie", "tie", changing(_tie)),
    Fault("rejected rated better", "worse_chosen", changing(_worse)),
    Fault("small margin", "small_margin", changing(_small)),
    Fault("chosen is the prompt", "answer_is_prompt", changing(_parrot)),
    Fault("repeated id", "repeated_ids", _repeated_id),
    Fault("crowded prompt", "crowded_prompt", _crowd, told_from=0.01),
    Fault("text for a label", "ambiguous_label", changing(_text_label), unary=True),
    Fault("contradiction", "contradictory_labels", adding(_contradiction, both=True), unary=True),
    Fault("no label", "missing_label", changing(_no_label), unary=True),
    Fault("run of one label", "label_runs", _run, unary=True, exact=False, told_from=0.02),
    Fault("imbalance", "class_balance", _imbalance, unary=True, of_the_set=True),
    Fault("one word changed", "near_equal_sides", changing(_near_equal), exact=False, where=long_enough),
    Fault("a word more in both answers", "near_duplicates", adding(_near_duplicate), exact=False, where=long_enough),
    Fault(
        "contradiction, a word more",
        "near_contradiction",
        adding(_near_contradiction, both=True),
        unary=True,
        exact=False,
        where=long_enough,
    ),
    Fault("refusal", "refusals", changing(_refusal), exact=False),
    Fault("name of a model", "self_names", changing(_self_name), exact=False),
    Fault("e-mail or telephone", "personal_data", changing(_personal), exact=False),
    Fault("Chinese answer", "language_mismatch", changing(_other_language), exact=False),
)


# ---------------------------------------------------------------- the audit
