"""Personal data in real logs: what the data holds is gone, and what holds none is left alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl

from prefdata.transforms.personal_data import PersonalData


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
