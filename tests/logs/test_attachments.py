"""Pictures in support logs: whose they are, where they stand, what becomes of them in rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import RecipeError
from prefdata.ingest import ingest
from prefdata.logs.attachments import MARK, pictured
from prefdata.logs.layout_conversations import Conversations
from prefdata.logs.layout_events import Events
from prefdata.logs.mapping import LogRead
from prefdata.logs.rows import rows
from prefdata.logs.sessions import build_sessions
from prefdata.recipe import from_data

COLUMNS = {"session": "ticket", "role": "who", "text": "body", "attachments": "files"}
HEAD = "ticket,who,body,files\n"


def read(tmp_path: Path, text: str, **more: Any) -> LogRead:
    (tmp_path / "log.csv").write_text(HEAD + text, encoding="utf-8")
    return Events(columns=COLUMNS, **more).read(tmp_path / "log.csv", source="desk")


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("a.png", ["a.png"]),
        ("shots/a b.JPG", ["shots/a b.JPG"]),
        ("a.png;b.jpeg|c.webp", ["a.png", "b.jpeg", "c.webp"]),
        ("a.png, b.png", ["a.png", "b.png"]),
        ("one,two.png,three.png", ["one,two.png", "three.png"]),
        ("a.png\nb.png\n", ["a.png", "b.png"]),
        ("shots/4711", ["shots/4711"]),
        ("4711", None),
        ("bill.pdf", None),
        ("bill.pdf;a.png", ["a.png"]),
        (
            "https://h.example/a.png?w=1;x=2; https://h.example/b",
            ["https://h.example/a.png?w=1;x=2", "https://h.example/b"],
        ),
        ('["https://host.example/a.png?w=1;x=2"]', ["https://host.example/a.png?w=1;x=2"]),
        ('["a.png", "b.mp4"]', ["a.png"]),
        ('[{"url": "a", "content_type": "image/png"}, {"url": "b.png", "content_type": "text/html"}]', ["a"]),
        ('{"image_url": {"url": "a.png"}}', ["a.png"]),
        ("data:image/png;base64,AA,AA", ["data:image/png;base64,AA,AA"]),
        ("data:text/html;base64,AAAA", None),
        ("Data:Image/PNG;base64,AAAA", ["Data:Image/PNG;base64,AAAA"]),
        (
            "data:image/png;base64,AA==;data:image/gif;base64,BB==",
            [f"data:image/{one}==" for one in ("png;base64,AA", "gif;base64,BB")],
        ),
        ("data:image/png;base64,AA\nAA\ndata:;base64,BB", ["data:image/png;base64,AA\nAA"]),
        ("a.png; b.png|data:image/png;base64,AA==", ["a.png", "b.png", "data:image/png;base64,AA=="]),
        (
            "data:image/png;base64,AA==, https://h.example/a.png",
            ["data:image/png;base64,AA==", "https://h.example/a.png"],
        ),
        ("my data: lamp.png", ["my data: lamp.png"]),
        ("[broken.png", ["[broken.png"]),
        ("[]", None),
        ("", None),
        (None, None),
    ],
)
def test_a_cell_names_the_pictures_of_its_message(cell: str | None, found: list[str] | None) -> None:
    got = pictured(pl.Series(["Look."]), pl.Series([cell], dtype=pl.String))
    assert got.pictures.to_list() == [found]
    assert got.text.to_list() == ["Look." + MARK * len(found or [])]


@pytest.mark.parametrize(
    ("text", "cell", "found"),
    [
        (f"See {MARK} here", "a.png", f"See {MARK} here"),
        (f"See {MARK} here", "a.png;b.png", f"See  here{MARK}{MARK}"),
        ("See [image] and [Bild]", "a.png;b.png", f"See {MARK} and {MARK}"),
        ("See [image] and [Bild]", "a.png", f"See [image] and [Bild]{MARK}"),
        (None, "a.png", MARK),
        (f"I wrote {MARK} myself", None, "I wrote  myself"),
        ("No picture", None, "No picture"),
        (None, None, None),
    ],
)
def test_a_picture_stands_where_its_message_says_else_at_the_end(
    text: str | None, cell: str | None, found: str | None
) -> None:
    said = pl.Series([text, "Other"], dtype=pl.String)
    got = pictured(said, pl.Series([cell, "z.png"], dtype=pl.String), stand_ins=["[image]", "[Bild]"])
    assert got.text.to_list() == [found, f"Other{MARK}"]


@pytest.mark.parametrize(
    ("cell", "found", "others"),
    [
        *((cell, None, 0) for cell in ("null", " None ", "-", "N/A", "NaN", "0", "False", "[null]", "[false, 0, 0.0]")),
        ("none;a.png", ["a.png"], 0),
        ('[{"url": null, "path": "none", "src": "a.png"}]', ["a.png"], 0),
        ("true", None, 1),
        ("see mail; a.png", ["a.png"], 1),
        ("[true, 4711]", None, 2),
        ('{"url": "https://h.example/123", "filename": "bill.pdf"}', None, 1),
        ('{"url": "https://h.example/123", "filename": "lamp.png"}', ["https://h.example/123"], 0),
        ('{"url": "https://h.example/123", "filename": "lamp"}', ["https://h.example/123"], 0),
    ],
)
def test_words_for_nothing_name_no_picture_and_other_words_are_counted(
    cell: str, found: list[str] | None, others: int
) -> None:
    got = pictured(pl.Series(["Look."]), pl.Series([cell]))
    assert got.pictures.to_list() == [found]
    assert got.report.get("attachments_left_out", 0) == others


def test_what_was_attached_is_counted() -> None:
    got = pictured(
        pl.Series([f"a {MARK}", f"b {MARK}", "c", "d"]), pl.Series(["1.png", None, "2.png;3.png;x.pdf", "y.zip"])
    )
    assert got.report == {"attachments_left_out": 2, "pictures": 3, "pictures_at_the_end": 2, "marks_taken_out": 1}


def test_a_log_without_pictures_keeps_its_texts_as_they_are() -> None:
    said = pl.Series([f"a {MARK}", None, " b "])
    got = pictured(said, pl.Series([None, None, "x.pdf"], dtype=pl.String))
    assert got.text.equals(said)
    assert got.report == {"attachments_left_out": 1}


def test_pictures_follow_their_messages_into_turns_and_rows(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        "1,customer,My lamp is broken,a.png\n1,customer,,b.png\n1,agent,Is this the part?,part.png\n"
        "1,customer,Yes,\n1,agent,It is on its way.,\n",
    )
    built = build_sessions(got.events)
    assert built.turns.select("role", "text", "pictures").rows() == [
        ("customer", f"My lamp is broken{MARK}\n{MARK}", ["a.png", "b.png"]),
        ("agent", f"Is this the part?{MARK}", ["part.png"]),
        ("customer", "Yes", None),
        ("agent", "It is on its way.", None),
    ]
    assert rows(built.turns)["pictures"].to_list() == [["a.png", "b.png", "part.png"]] * 2
    assert rows(built.turns, max_context_turns=1)["pictures"].to_list() == [["a.png", "b.png", "part.png"], None]


def test_two_pictures_sent_at_once_are_no_double_delivery(tmp_path: Path) -> None:
    text = "1,customer,,a.png\n1,customer,,b.png\n1,customer,,b.png\n1,agent,Thank you.,\n"
    (tmp_path / "log.csv").write_text(
        "ticket,who,body,files,at\n" + text.replace("\n", ",2024-03-05 10:20:00\n"), encoding="utf-8"
    )
    got = Events(columns={**COLUMNS, "time": "at"}).read(tmp_path / "log.csv", source="desk")
    built = build_sessions(got.events)
    assert built.turns["pictures"].to_list() == [["a.png", "b.png"], None]
    assert built.report["reason.double_delivery"] == 1


def test_a_column_called_attachments_is_read_only_where_it_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("session,role,text,attachments\n1,customer,Hi,a.png\n", encoding="utf-8")
    got = Events().read(tmp_path / "log.csv", source="desk")
    assert got.events.select("text", "pictures", "meta").rows() == [("Hi", None, '{"attachments":"a.png"}')]


def test_stand_ins_are_texts() -> None:
    with pytest.raises(RecipeError, match="picture_marks: a text is empty"):
        Events(columns=COLUMNS, picture_marks=[""])


def test_parts_of_a_message_keep_the_places_of_its_pictures(tmp_path: Path) -> None:
    parts = [
        {"type": "text", "text": "First"},
        {"type": "image_url", "image_url": {"url": "a.png"}},
        {"type": "text", "text": "then"},
        {"type": "text", "text": "more"},
        {"type": "image", "image": "b.png"},
        {"type": "file", "file": "c.pdf"},
    ]
    value = [{"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "Thanks"}]}]
    (tmp_path / "log.json").write_text(json.dumps(value), encoding="utf-8")
    layout = Conversations(message={"role": "role", "text": "content", "attachments": "content"})
    got = layout.read(tmp_path / "log.json", source="desk")
    assert got.events.select("text", "pictures").rows() == [
        (f"First{MARK}then\nmore{MARK}", ["a.png", "b.png"]),
        ("Thanks", None),
    ]
    bare = Conversations().read(tmp_path / "log.json", source="desk")
    assert bare.events.select("text", "pictures").rows() == [("First\nthen\nmore", None), ("Thanks", None)]


def test_attachments_beside_a_message_are_its_pictures(tmp_path: Path) -> None:
    files = [{"name": "a, b.png"}, {"name": "c.pdf"}]
    value = [{"messages": [{"role": "user", "content": "Hi", "files": files}, {"role": "assistant", "content": "Yes"}]}]
    (tmp_path / "log.json").write_text(json.dumps(value), encoding="utf-8")
    layout = Conversations(message={"role": "role", "text": "content", "attachments": "files"})
    got = layout.read(tmp_path / "log.json", source="desk")
    assert got.events.select("text", "pictures").rows() == [(f"Hi{MARK}", ["a, b.png"]), ("Yes", None)]


def test_a_screenshot_of_the_customer_belongs_to_the_prompt(tmp_path: Path) -> None:
    for folder, picture in (("may", "a.png"), ("june", "b.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "log.csv").write_text(
            HEAD + f"{folder},customer,Mine is broken. Write to ann@example.com.,{picture}\n"
            f"{folder},agent,Does yours look so?,like.png\n{folder},customer,Yes,\n{folder},agent,Sorry.,\n",
            encoding="utf-8",
        )
    source = {"name": "desk", "path": ["may", "june"], "layout": {"events": {"columns": COLUMNS}}}
    recipe = from_data({"sources": [source]}, root=tmp_path)
    mined = ingest(recipe, recipe.sources[0], [entry.settings.build() for entry in recipe.transforms])
    records = mined.records.sort("time", "group", maintain_order=True)
    texts = records["prompt"].list.first().struct.field("content").unique().to_list()
    assert texts == [f"Mine is broken. Write to <EMAIL_1>.{MARK}"]
    found = {tuple((one["uri"], one["side"], one["message"], one["part"]) for one in row) for row in records["images"]}
    assert found == {
        (("may/a.png", "prompt", 0, 1), ("may/like.png", "completion", 0, 1)),
        (("june/b.png", "prompt", 0, 1), ("june/like.png", "completion", 0, 1)),
        (("may/a.png", "prompt", 0, 1), ("may/like.png", "prompt", 1, 1)),
        (("june/b.png", "prompt", 0, 1), ("june/like.png", "prompt", 1, 1)),
    }
