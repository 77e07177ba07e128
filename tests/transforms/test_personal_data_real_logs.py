"""Personal data in real logs: what the data holds is gone, and what holds none is left alone."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl

from prefdata.transforms.personal_data import PersonalData, find


def _counts(frame: pl.DataFrame) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in frame["touched"].explode().drop_nulls():
        kind, count = entry.removeprefix("personal_data.").split(":")
        counts[kind] += int(count)
    return counts


def test_abcd_keeps_no_name_mail_or_phone_of_its_scenario(shared_data: Callable[[str], Path]) -> None:
    conversations = json.loads(shared_data("abcd/abcd_sample.json").read_text("utf-8"))
    rows = [(str(item["convo_id"]), text) for item in conversations for _, text in item["original"]]
    out = PersonalData().build()(pl.DataFrame(rows, schema=["session", "text"], orient="row"))
    for item in conversations:
        text = "\n".join(out.filter(pl.col("session") == str(item["convo_id"]))["text"]).casefold()
        personal = item["scenario"]["personal"]
        assert [personal[key] for key in ("customer_name", "email", "phone") if personal.get(key, "\0") in text] == []


def test_dialogues_without_customers_data_hold_telephones_of_shops_and_titled_names_only(
    shared_data: Callable[[str], Path],
) -> None:
    lines = shared_data("uss/SGD.txt").read_text("utf-8").splitlines()[:6000]
    rows = [line.split("\t")[1] for line in lines if line.strip()]
    counts = _counts(PersonalData().build()(pl.DataFrame({"text": rows})))
    assert set(counts) <= {"phone", "name"}
    assert counts["name"] < 0.01 * len(rows)


def test_a_form_of_address_is_hardly_ever_found_where_there_is_none(shared_data: Callable[[str], Path]) -> None:
    """Measured: of SGD's 21,619 distinct turns one is addressed to somebody after a comma, "Thanks ..., Shelby."."""
    turns = [line.split("\t")[1] for line in shared_data("uss/SGD.txt").read_text("utf-8").splitlines() if line.strip()]
    addressed = [find(text)[0] for text in dict.fromkeys(turns) if re.search(", Shelby", text)]
    assert [kind for kind, _, _ in addressed] == ["name"]
    counts = _counts(PersonalData(kinds=("name",)).build()(pl.DataFrame({"text": list(dict.fromkeys(turns))})))
    assert counts == {"name": 117}


def test_no_first_name_survives_in_the_sample_log_without_a_name_column() -> None:
    recipes = Path(__file__).resolve().parents[2] / "recipes" / "data"
    people = tomllib.loads((recipes / "wording" / "people.toml").read_text("utf-8"))["en"]
    content = (recipes / "chats.csv").read_bytes().decode("utf-8-sig", "ignore").replace("\0", "")
    header, *rows = csv.reader(io.StringIO(content))
    table = pl.DataFrame([row for row in rows if len(row) == len(header)], schema=header, orient="row")
    turns = table.select(session="ticket_id", at="created_at", text="body").sort("session", "at", maintain_order=True)
    text = PersonalData().build()(turns.select("session", "text"))["text"].str.join("\n")[0]
    names = [*people["first"], *itertools.chain.from_iterable(people["agents"].values())]
    assert [name for name in names if re.search(rf"\b{name}\b", text)] == []
