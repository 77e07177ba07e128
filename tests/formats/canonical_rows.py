"""Made canonical rows: for a record type and the features that a row may have, frames as `identify` leaves them.

Every row has text that is easily damaged (other scripts, emoji, quotes, backslashes, line ends, what looks like JSON or
like a template). A feature that is not asked for is never there; one that is asked for is in some of the rows.

    @given(rows(RecordType.SFT, {Feature.SYSTEM, Feature.IMAGES}))
    def test_...(frame): ...
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import polars as pl
from hypothesis import strategies as st

from prefdata.formats.core import Feature, answers_of, identify
from prefdata.formats.messages import MARK
from prefdata.schema import SCHEMAS, RecordType, check

SNIPPETS = (
    "Where is my order?",
    "您的订单已经发货，请注意查收。",
    "שלום, איפה ההזמנה שלי?",
    "أين طلبي؟",
    "🙂 👩‍👩‍👧‍👦 🇩🇪 👍🏽",
    "cafe\u0301",
    "one\ntwo\r\nthree\ttab",
    "\n  blank around  \n",
    'she said "no"',
    "C:\\new\\table \\n \\u0041 \\",
    '{"role": "user", "content": null}',
    ',"a":null',
    '{"b":null}',
    "null",
    "true",
    "$1 \\1 %s {0} {{x}}",
    "<|im_start|>user",
    "</tool_call>",
    "Human: hi\n\nAssistant: hello",
    "\u2028line\u2029paragraph\u200b",
    "\x01\x1f\x7f",
)

FILES = ("pictures/1.jpg", "a b/ü 图.png")
ADDRESSES = ("https://example.org/p?x=1&y=<2>", "data:image/png;base64,iVBORw0KGgo=")

plain = st.one_of(
    st.sampled_from(SNIPPETS),
    st.lists(st.sampled_from(SNIPPETS), min_size=2, max_size=3).map(" ".join),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=12),
).filter(lambda text: bool(text.strip()) and MARK not in text and "<image>" not in text)
"""Text that is not blank, without a mark, without a tag, and without NUL, which no reader lets pass."""

values = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), plain),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
    max_leaves=4,
)
"""JSON values without null: an absent key and a key that is null are the same here."""


@st.composite
def calls(draw: st.DrawFn, features: Collection[Feature], most: int) -> str:
    """Canonical `tool_calls`: JSON text."""
    made = []
    for number in range(draw(st.integers(1, most))):
        arguments = draw(st.dictionaries(st.sampled_from(["city", "当地", "n"]), values, max_size=2))
        call: dict[str, Any] = {"id": f"call_{number}"} if Feature.CALL_IDS in features else {}
        name = draw(st.sampled_from(["weather", "look_up"]))
        call |= {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}}
        made.append(call)
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"))


@st.composite
def definitions(draw: st.DrawFn) -> str:
    """Canonical `tools`: JSON text."""
    properties = draw(st.dictionaries(st.sampled_from(["city", "n"]), st.just({"type": "string"}), max_size=2))
    parameters = {"type": "object", "properties": properties} if properties else {"type": "object"}
    function = {"name": "weather", "description": draw(plain), "parameters": parameters}
    return json.dumps([{"type": "function", "function": function}], ensure_ascii=False)


def turn(role: str, content: str, tool_calls: str | None = None) -> dict[str, str | None]:
    """One canonical message."""
    return {"role": role, "content": content, "tool_calls": tool_calls}


@st.composite
def _tool_round(draw: st.DrawFn, features: Collection[Feature]) -> list[dict[str, str | None]]:
    text = draw(plain) if Feature.TEXT_WITH_CALL in features else ""
    most = 2 if Feature.REPEATED_ROLE in features else 1  # every call has its result, one turn each
    called = draw(calls(features, most))
    results = len(json.loads(called))
    return [turn("assistant", text, called), *[turn("tool", draw(plain)) for _ in range(results)]]


@st.composite
def _prompt(draw: st.DrawFn, features: Collection[Feature]) -> list[dict[str, str | None]]:
    turns = [turn("system", draw(plain))] if Feature.SYSTEM in features else []
    turns.append(turn("user", draw(plain)))
    if Feature.REPEATED_ROLE in features:
        turns.append(turn("user", draw(plain)))
    for _ in range(draw(st.integers(1, 3)) if Feature.TURNS in features else 0):
        turns += [turn("assistant", draw(plain)), turn("user", draw(plain))]
    if Feature.TOOL_CALLS in features and Feature.TURNS in features:
        turns += draw(_tool_round(features))
    return turns


@st.composite
def _answer(draw: st.DrawFn, features: Collection[Feature]) -> list[dict[str, str | None]]:
    last = turn("assistant", draw(plain))
    if Feature.ANSWER_TURNS not in features:
        if Feature.TOOL_CALLS in features and draw(st.booleans()):
            return draw(_tool_round(features))[:1]
        return [last]
    if Feature.TOOL_CALLS in features:
        return [*draw(_tool_round(features)), last]
    return [last, turn("user", draw(plain)), turn("assistant", draw(plain))]


def _with_picture(content: str, at: int) -> str:
    return content[:at] + MARK + content[at:]


def _sprinkle(draw: st.DrawFn, turns: list[dict[str, str | None]], roles: Collection[str], text: str) -> None:
    """`text` put once at any place of any turn of these roles."""
    chosen = draw(st.sampled_from([at for at, one in enumerate(turns) if one["role"] in roles]))
    content = turns[chosen]["content"] or ""
    turns[chosen]["content"] = _with_picture(content, draw(st.integers(0, len(content)))).replace(MARK, text)


def pictures(
    draw: st.DrawFn, row: dict[str, Any], sides: Collection[str], uris: Collection[str]
) -> list[dict[str, Any]] | None:
    """Canonical `images` for the marks in a row, counted part by part; null where there is none."""
    found = []
    for side in sides:
        for number, message in enumerate(row[side]):
            part = 0
            for at, text in enumerate(message["content"].split(MARK)):
                if at:
                    uri = draw(st.sampled_from(sorted(uris)))
                    found.append({"uri": uri, "side": side, "message": number, "part": part})
                    part += 1
                part += bool(text)
    return found or None


@st.composite
def row(draw: st.DrawFn, record_type: RecordType, features: Collection[Feature]) -> dict[str, Any]:
    """One row that has all of `features`, as far as they can go together; without what `identify` gives."""
    made: dict[str, Any] = {"prompt": draw(_prompt(features))}
    answers = answers_of(record_type)
    for side in answers:
        made[side] = draw(_answer(features))
    if Feature.IMAGE_TAG in features:
        _sprinkle(draw, made["prompt"], ("user",), "<image>")
    if answers == ("chosen", "rejected") and made["chosen"][0] == made["rejected"][0]:
        made["rejected"] = [turn("assistant", (made["chosen"][-1]["content"] or "") + " (worse)")]
        if Feature.ANSWER_TURNS in features:
            made["rejected"] += made["chosen"][-2:]
    if Feature.IMAGES in features:
        first = next(one for one in made["prompt"] if one["role"] == "user")
        first["content"] = MARK * draw(st.integers(1, 2)) + (first["content"] or "")
    if Feature.IMAGE_PLACES in features and Feature.IMAGES in features:
        for _ in range(draw(st.integers(1, 3))):
            _sprinkle(draw, made["prompt"], ("user",), MARK)
    if Feature.ANSWER_IMAGES in features and Feature.IMAGES in features and answers:
        last = made[answers[-1]][-1]
        if not last["tool_calls"] or Feature.TEXT_WITH_CALL in features:
            last["content"] = (last["content"] or "") + MARK  # at the end: answers that differ go on doing so
    uris = (*ADDRESSES, *FILES) if Feature.IMAGE_FILES in features else ADDRESSES
    made["images"] = pictures(draw, made, ("prompt", *answers), uris)
    if made["images"] is None and draw(st.booleans()):
        _sprinkle(draw, made["prompt"], ("user",), MARK)  # no picture: just a character
    made["tools"] = draw(definitions()) if Feature.TOOLS in features else None
    if record_type is RecordType.PREFERENCE:
        made["margin"] = draw(st.sampled_from([-1.0, 0.0, 0.25, 3.0])) if Feature.MARGIN in features else None
    if record_type is RecordType.UNPAIRED:
        made["label"] = draw(st.booleans())
    if record_type is RecordType.PROMPT:
        made["answer"] = draw(plain) if Feature.ANSWER in features else None
    return made


def framed(made: Collection[dict[str, Any]], record_type: RecordType, *, source: str = "made") -> pl.DataFrame:
    """Rows of `row` as a canonical frame with ids."""
    schema = {name: dtype for name, dtype in SCHEMAS[record_type].items() if name not in ("id", "source", "group")}
    frame = pl.DataFrame([{name: one.get(name) for name in schema} for one in made], schema=schema, orient="row")
    return check(identify(frame, record_type, source=source), record_type)


@st.composite
def rows(
    draw: st.DrawFn,
    record_type: RecordType,
    features: Collection[Feature] = (),
    *,
    always: Collection[Feature] = (),
    max_rows: int = 4,
) -> pl.DataFrame:
    """A canonical frame of 1 to `max_rows` rows, each with some of `features` and all of `always`."""
    optional = sorted(set(features) - set(always))
    made = []
    for _ in range(draw(st.integers(1, max_rows))):
        some = draw(st.sets(st.sampled_from(optional))) if optional else set()
        made.append(draw(row(record_type, {*some, *always})))
    return framed(made, record_type)
