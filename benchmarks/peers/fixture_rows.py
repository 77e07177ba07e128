"""Canonical rows that are easily damaged on their way into a trainer: the same conversations for every type.

Text is in Unicode normal form C, because the tokenizers of Qwen models bring any text into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata.formats.core import identify
from prefdata.formats.messages import MARK
from prefdata.schema import SCHEMAS, RecordType, check

Message = dict[str, str | None]

TYPES = {
    "sft": RecordType.SFT,
    "preference": RecordType.PREFERENCE,
    "unpaired": RecordType.UNPAIRED,
    "prompt": RecordType.PROMPT,
}


class Conversation(NamedTuple):
    """A prompt, a good and a bad answer to it, and what else belongs to the row."""

    name: str
    prompt: Sequence[Message]
    good: Sequence[Message]
    bad: Sequence[Message]
    tools: str | None = None


def turn(role: str, content: str, calls: Sequence[Mapping[str, Any]] | None = None) -> Message:
    """One canonical message; `calls`: name and arguments of each tool call."""
    made = [
        {
            "id": f"call_{at}",
            "type": "function",
            "function": {
                "name": one["name"],
                "arguments": json.dumps(one["arguments"], ensure_ascii=False, separators=(",", ":")),
            },
        }
        for at, one in enumerate(calls or ())
    ]
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":")) if made else None
    return {"role": role, "content": content, "tool_calls": text}


def system(text: str) -> Message:
    """A system prompt."""
    return turn("system", text)


def user(text: str) -> Message:
    """A customer's turn."""
    return turn("user", text)


def assistant(text: str, *calls: Mapping[str, Any]) -> Message:
    """An agent's turn."""
    return turn("assistant", text, calls)


def one(text: str) -> list[Message]:
    """An answer of one turn."""
    return [assistant(text)]


PARAMETERS = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {"name": "find_order", "description": "Where a parcel is.", "parameters": PARAMETERS},
        }
    ]
)
CALL = {"name": "find_order", "arguments": {"order": "№ 17", "地点": "上海"}}

CODE = (
    '  Try this:\n\n```python\nprint("a\\tb", {"k": [1, 2]})\n```\n\n'
    "- one\n\t- two\n1 < 2 && \"x\" != 'y' $HOME %s {0} {{ z }}"
)

TEXT = (
    Conversation("English", [user("Where is my order?")], one("It left us on Monday."), one("No idea.")),
    Conversation(
        "Chinese, system prompt",
        [system("你是一名客服，请用中文回答。"), user("我的订单在哪里？")],
        one("您的订单已经发货，预计三天内送达，请注意查收。"),
        one("不知道！"),
    ),
    Conversation(
        "emoji",
        [user("👩‍👩‍👧‍👦 lost our parcel 😭")],
        one("On its way 🇩🇪➡️🇫🇷 👍🏽"),
        one("🙄"),
    ),
    Conversation(
        "right to left",
        [system("أجب بلطف."), user("أين طلبي رقم 17؟ (Order #17)")],
        one("طلبك في الطريق، ‏שלום!‏ سيصل غدًا."),
        one("لا أعرف."),
    ),
    Conversation(
        "lines, quotes, code",
        [user('My script says:\r\n\r\n\t"error: \\n not found"\n\n\nwhy?')],
        one(CODE),
        one("\n\n   Read the manual.\n\n"),
    ),
    Conversation(
        "nine turns",
        [
            system("Be brief."),
            user("Hi"),
            assistant("Hello, how can I help?"),
            user("parcel 17"),
            assistant("One moment …"),
            user("…"),
            assistant("It is in Lyon."),
            user("当地时间几点到？"),
        ],
        one("Tomorrow before noon."),
        one("Some day."),
    ),
    Conversation(
        "long answer",
        [user("Tell me everything about returns.")],
        one("\n\n".join(f"{at}. Paragraph {at}: parcels come back within {at} days." for at in range(1, 61))),
        one("Read § 312g BGB."),
    ),
    Conversation("answer of one letter", [user("A or s?")], one("s"), one("A")),
    Conversation("two turns of the customer", [user("Hello?"), user("Anyone there?")], one("Yes, we are."), one("No.")),
    Conversation(
        "assistant speaks first", [assistant("Welcome!"), user("Hi, parcel 18")], one("It is in Nantes."), one("What?")
    ),
    Conversation("literal tag of a picture", [user("What is <image> in HTML?")], one("No tag: <img>."), one("A tag.")),
    Conversation(
        "tool call and its result before the answer",
        [user("Where is № 17?"), assistant("", CALL), turn("tool", '{"place": "Lyon", "状态": "ok"}')],
        one("In Lyon."),
        one("Nowhere."),
        TOOLS,
    ),
    Conversation(
        "tool call as the answer",
        [system("Use your tools."), user("Find № 17, please")],
        [assistant("", CALL)],
        one("I cannot look that up."),
        TOOLS,
    ),
    Conversation(
        "answer of several turns",
        [user("Can you look up № 17 for me?")],
        [assistant("", CALL), turn("tool", '{"place": "Metz"}'), assistant("It is in Metz.")],
        [assistant("Why?"), user("Because."), assistant("No.")],
        TOOLS,
    ),
)

IMAGES = (
    Conversation("picture first", [user(f"{MARK}What is this?")], one("A red square."), one("A cat.")),
    Conversation(
        "picture inside the text",
        [system("Look closely."), user(f"你看 {MARK} 是什么颜色？🙂")],
        one("红色。"),
        one("绿色。"),
    ),
    Conversation(
        "two pictures in one turn", [user(f"Compare {MARK} with {MARK}.")], one("Red and blue."), one("The same.")
    ),
    Conversation(
        "pictures in two turns",
        [user(f"{MARK}\nFirst one"), assistant("It is red."), user(f"And this?\n{MARK}")],
        one("Blue."),
        one("Red again."),
    ),
)


def frames(record_type: RecordType, conversations: Sequence[Conversation], pictures: Sequence[Path]) -> pl.DataFrame:
    """`conversations` as canonical rows of a type; an unpaired one gives two rows, the good answer and the bad one."""
    rows: list[dict[str, Any]] = []
    for each in conversations:
        row: dict[str, Any] = {"prompt": list(each.prompt), "tools": each.tools, "images": _places(each, pictures)}
        if record_type is RecordType.SFT:
            rows.append(row | {"completion": list(each.good)})
        elif record_type is RecordType.PREFERENCE:
            rows.append(row | {"chosen": list(each.good), "rejected": list(each.bad)})
        elif record_type is RecordType.UNPAIRED:
            rows.append(row | {"completion": list(each.good), "label": True})
            rows.append(row | {"completion": list(each.bad), "label": False})
        else:
            rows.append(row)
    schema = {name: dtype for name, dtype in SCHEMAS[record_type].items() if name not in ("id", "source", "group")}
    filled = [{name: row.get(name) for name in schema} for row in rows]
    frame = pl.DataFrame(filled, schema=schema, orient="row")
    return check(identify(frame, record_type, source="peers"), record_type)


def names(record_type: RecordType, conversations: Sequence[Conversation]) -> list[str]:
    """What each row of `frames` is called."""
    if record_type is not RecordType.UNPAIRED:
        return [each.name for each in conversations]
    return [f"{each.name} ({label})" for each in conversations for label in ("desirable", "undesirable")]


def _places(each: Conversation, pictures: Sequence[Path]) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = []
    for number, message in enumerate(each.prompt):
        part = 0
        for at, text in enumerate((message["content"] or "").split(MARK)):
            if at:
                uri = str(pictures[len(found) % len(pictures)])
                found.append({"uri": uri, "side": "prompt", "message": number, "part": part})
                part += 1
            part += bool(text)
    return found or None
