from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError
from prefdata.schema import MESSAGES, RecordType, conform
from trainers.kto import require_both_labels
from trainers.models import load_tokenizer
from trainers.rows import choose, encode_rows


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.mark.parametrize(("labels", "counts"), [([True] * 5, "5 desirable and 0"), ([False] * 2, "0 desirable and 2")])
def test_one_class_is_refused_with_its_count(labels: list[bool], counts: str) -> None:
    with pytest.raises(InputError, match=counts):
        require_both_labels(labels, name="training rows")


def test_rows_are_encoded_and_every_other_row_is_counted(tokenizer: Any, support_rows: pl.DataFrame) -> None:
    long = pl.col("completion").list.eval(pl.element().struct.with_fields(content=pl.lit("word " * 200)))
    frame = support_rows.with_columns(
        label=pl.when(pl.col("id") == "r001").then(None).otherwise("label"),
        prompt=pl.when(pl.col("id") == "r002").then(pl.col("prompt").list.head(0)).otherwise("prompt"),
        completion=pl.when(pl.col("id") == "r003").then(long).otherwise("completion"),
    )
    found = encode_rows(frame, tokenizer, RecordType.UNPAIRED, max_length=128, system=None, name="training rows")
    assert found.dropped == {"abstained": 1, "no_customer_turn": 1, "too_long": 1}
    assert len(found.ids) == 21
    assert found.record()["good"] == 9
    assert found.record()["bad"] == 12


def test_empty_completions_are_refused(tokenizer: Any, support_rows: pl.DataFrame) -> None:
    blank = pl.col("completion").list.eval(pl.element().struct.with_fields(content=pl.lit(" \n")))
    frame = support_rows.with_columns(completion=pl.when(pl.col("id") == "r004").then(blank).otherwise("completion"))
    with pytest.raises(InputError, match="empty completion in 1 of 24 rows, first id r004"):
        encode_rows(frame, tokenizer, RecordType.UNPAIRED, max_length=128, system=None, name="training rows")


def test_an_empty_completion_without_a_label_is_left_out_with_its_row(
    tokenizer: Any, support_rows: pl.DataFrame
) -> None:
    blank = pl.col("completion").list.eval(pl.element().struct.with_fields(content=pl.lit(" ")))
    changed = pl.col("id") == "r004"
    frame = support_rows.with_columns(
        completion=pl.when(changed).then(blank).otherwise("completion"),
        label=pl.when(changed).then(None).otherwise("label"),
    )
    found = encode_rows(frame, tokenizer, RecordType.UNPAIRED, max_length=128, system=None, name="training rows")
    assert (found.dropped, found.lost) == ({"abstained": 1}, {"abstained": ["r004"]})


@pytest.mark.parametrize(("calls", "kept"), [('[{"name": "track", "arguments": {}}]', True), ("[]", False)])
def test_an_answer_that_only_calls_a_tool_is_not_empty(tiny_model: Path, calls: str, kept: bool) -> None:
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
        "{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    turns = [
        [{"role": "user", "content": "Where is it?", "tool_calls": None}],
        [{"role": "assistant", "content": None, "tool_calls": calls}],
    ]
    frame = conform(
        pl.DataFrame(
            {"id": ["a"], "source": ["t"], "group": ["g"], "prompt": [turns[0]], "completion": [turns[1]]},
            schema_overrides={"prompt": MESSAGES, "completion": MESSAGES},
        ),
        RecordType.SFT,
    )
    if not kept:
        with pytest.raises(InputError, match="an empty completion in 1 of 1 rows"):
            encode_rows(frame, tokenizer, RecordType.SFT, max_length=128, system=None, name="rows")
        return
    found = encode_rows(frame, tokenizer, RecordType.SFT, max_length=128, system=None, name="rows")
    assert "track" in tokenizer.decode(found.sides["completion"][0].completion_ids)


def test_choosing_is_by_id_and_keeps_the_order(tokenizer: Any, support_rows: pl.DataFrame) -> None:
    rows = encode_rows(support_rows, tokenizer, RecordType.UNPAIRED, max_length=128, system=None, name="rows")
    some = choose(rows, 10, seed=0)
    turned = choose(
        encode_rows(support_rows.reverse(), tokenizer, RecordType.UNPAIRED, max_length=128, system=None, name="rows"),
        10,
        seed=0,
    )
    assert some.ids == sorted(some.ids)
    assert sorted(turned.ids) == some.ids
    assert some.dropped == {"not_chosen": 14}
    assert choose(rows, None, seed=0) is rows
