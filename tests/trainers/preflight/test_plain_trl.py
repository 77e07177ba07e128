"""What plain TRL would do with the same rows, and that it really does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from planted import pairs, seen, unary

from prefdata.schema import RecordType
from trainers.job import quiet
from trainers.models import load_tokenizer
from trainers.preflight import columns, plain_trl
from trainers.preflight.finding import Finding

PAIR, UNARY = RecordType.PREFERENCE, RecordType.UNPAIRED
LIMIT = 64


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


SAME = "It will arrive tomorrow, thank you for your patience. " * 5
PLANTED = [
    *pairs(4),
    {"prompt": "Where?", "chosen": SAME + "yes", "rejected": SAME + "no"},
    {"prompt": "Where is it?" * 20, "chosen": "Here.", "rejected": "There."},
    {"prompt": "Where?", "chosen": SAME + "ok", "rejected": "No."},
    {"prompt": "a<|im_end|>b", "chosen": "Here.", "rejected": "There."},
    {"prompt": " Where? ", "chosen": "Here.", "rejected": "There."},
    {"prompt": "Where?", "chosen": "Same.", "rejected": "Same."},
]
EQUAL, PROMPT_FILLS, ONE_SIDE, FORGED, BLANKS, TWINS = ("r04", "r05", "r06", "r07", "r08", "r09")


def told(data: Any) -> dict[str, Finding]:
    made = plain_trl.plain(data)
    return {one.check: one for one in [*plain_trl.look(data, made), *plain_trl.differing(made)]}


def test_planted_rows_are_named(tokenizer: Any) -> None:
    found = told(seen(tokenizer, PAIR, PLANTED, max_length=LIMIT))
    assert found["row_dropped"].ids == (PROMPT_FILLS,)
    assert found["end_token_cut"].ids == (EQUAL, ONE_SIDE)
    assert found["one_side_cut"].ids == (ONE_SIDE,)
    assert found["equal_after_truncation"].ids == (EQUAL,)
    assert found["equal_sides_trained"].ids == (TWINS,)
    assert found["text_becomes_control_tokens"].ids == (FORGED,)
    assert found["ids_differ_from_plain"].ids == (FORGED, BLANKS)
    assert found["ids_differ_from_plain"].measures == {"forged": 1, "blanks_at_edges": 1}


def test_sound_rows_have_nothing(tokenizer: Any) -> None:
    assert told(seen(tokenizer, PAIR, pairs(12))) == {}
    assert told(seen(tokenizer, UNARY, unary(24))) == {}


def test_trl_makes_the_same_tokens_of_the_rows_and_drops_the_same(
    tokenizer: Any, tiny_model: Path, tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    data = seen(tokenizer, PAIR, PLANTED, max_length=LIMIT)
    made = plain_trl.plain(data)
    rows = [
        {side: [{"role": "user" if side == "prompt" else "assistant", "content": row[side]}] for side in row}
        for row in PLANTED
    ]
    with quiet():
        config = DPOConfig(output_dir=str(tmp_path), max_length=LIMIT, bf16=False, use_cpu=True, report_to=[])
        theirs = DPOTrainer(
            str(tiny_model),
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(tiny_model),
        ).train_dataset
    dropped = {PROMPT_FILLS}
    kept = [sides for one, sides in zip(made.ids, made.sides, strict=True) if one not in dropped]
    assert [sides[0].prompt for sides in kept] == theirs["prompt_ids"][:]
    assert [sides[0].answer for sides in kept] == theirs["chosen_ids"][:]
    assert [sides[1].answer for sides in kept] == theirs["rejected_ids"][:]


def test_labels_in_blocks_are_told_and_labels_in_turn_are_not(tokenizer: Any) -> None:
    rows = sorted(unary(40), key=lambda row: not row["label"])
    blocks = told(seen(tokenizer, UNARY, rows))["labels_in_blocks"]
    assert (blocks.count, blocks.total, blocks.severity.value) == (10, 10, "critical")
    assert blocks.measures["longest_run"] == 20
    assert "labels_in_blocks" not in told(seen(tokenizer, UNARY, unary(40)))


def test_a_tail_of_one_row_twins_and_weights_are_told(tokenizer: Any) -> None:
    rows = [{**one, "label": at % 4 == 0} for at, one in enumerate(unary(41))]
    rows[5] |= {"completion": rows[6]["completion"]}
    found = told(seen(tokenizer, UNARY, rows))
    assert found["tail_batch_of_one"].ids == ("r40",)
    assert found["equal_answers_in_a_batch"].ids == ("r05", "r06")
    assert found["weights_of_one"].severity.value == "major"
    assert "desirable_weight=" in found["weights_of_one"].cure


def test_pairs_given_to_kto_are_critical(tokenizer: Any) -> None:
    assert told(seen(tokenizer, PAIR, pairs(8), method="kto"))["pairs_for_kto"].severity.value == "critical"


def test_a_reward_model_drops_rows_with_a_long_side(tokenizer: Any) -> None:
    found = told(seen(tokenizer, PAIR, PLANTED, method="reward", max_length=LIMIT))
    assert found["row_dropped"].ids == (EQUAL, PROMPT_FILLS, ONE_SIDE)
    assert "end_token_cut" not in found


def turns(*contents: str | None, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role if at == 0 else "assistant", "content": text} for at, text in enumerate(contents)]


A = turns("a", role="assistant")
FILES: list[tuple[str, list[dict[str, Any]], str, list[str], str]] = [
    ("texts", [{"prompt": turns("q"), "completion": A, "label": "true"}], "labels_not_boolean", [], "critical"),
    ("media", [{"prompt": "q", "chosen": "a", "rejected": "b", "images": None}], "empty_media_columns", [], "major"),
    (
        "roles",
        [{"prompt": turns("q", role="human"), "chosen": A, "rejected": A}],
        "foreign_roles",
        ["x.jsonl:1"],
        "critical",
    ),
    ("mixed", [{"prompt": "q", "chosen": A, "rejected": A}], "text_and_messages_mixed", [], "critical"),
    ("no prompt", [{"chosen": "q a", "rejected": "q b"}], "no_prompt_column", [], "major"),
    (
        "twice",
        [{"prompt": turns("q"), "chosen": turns("q", "a"), "rejected": turns("q", "b")}],
        "prompt_in_both",
        ["x.jsonl:1"],
        "critical",
    ),
    (
        "twice as text",
        [{"prompt": "Where is it?", "chosen": "Where is it? Here", "rejected": "There"}],
        "prompt_in_both",
        ["x.jsonl:1"],
        "critical",
    ),
    (
        "null",
        [{"prompt": turns("q"), "chosen": turns(None, role="assistant"), "rejected": A}],
        "null_content",
        ["x.jsonl:1"],
        "critical",
    ),
]


@pytest.mark.parametrize(
    ("rows", "check", "ids", "severity"), [one[1:] for one in FILES], ids=[one[0] for one in FILES]
)
def test_columns_that_trl_stumbles_over_are_named(
    rows: list[dict[str, Any]], check: str, ids: list[str], severity: str
) -> None:
    frame = pl.DataFrame(rows).with_columns(_file=pl.lit("x.jsonl"), _line=pl.int_range(1, pl.len() + 1))
    found = {one.check: one for one in columns.look(frame)}
    assert (list(found[check].ids), found[check].severity.value) == (ids, severity)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": turns("q"), "chosen": A, "rejected": turns("b", role="assistant")},
        {"prompt": turns("q"), "completion": A, "label": True},
        {"prompt": "q", "chosen": "a", "rejected": "b", "images": ["a.png"]},
        {"instruction": "q", "output": "a"},
    ],
)
def test_sound_columns_have_no_finding(row: dict[str, Any]) -> None:
    frame = pl.DataFrame([row]).with_columns(_file=pl.lit("x.jsonl"), _line=pl.lit(1))
    assert list(columns.look(frame)) == []
