"""Planted faults are found in the rows they were planted in, and sound rows have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from planted import found, frame, pairs, seen, unary

from prefdata.auditing.finding import Severity as AuditSeverity
from prefdata.errors import InputError, RecipeError
from prefdata.schema import IMAGE, RecordType
from trainers.dpo import DPOSettings
from trainers.models import load_tokenizer
from trainers.preflight import Severity, examine, findings
from trainers.rows import Rows

PAIR, UNARY, SFT, PROMPT = RecordType.PREFERENCE, RecordType.UNPAIRED, RecordType.SFT, RecordType.PROMPT


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.fixture
def templated(tiny_model: Path) -> Any:
    """A tokenizer of its own, whose template a test changes."""
    return load_tokenizer(tiny_model)


def test_severities_are_those_of_an_audit() -> None:
    assert [one.value for one in Severity] == [one.value for one in AuditSeverity]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (PAIR, pairs(24)),
        (UNARY, unary(24)),
        (SFT, [{"prompt": one["prompt"], "completion": one["chosen"]} for one in pairs(24)]),
        (PROMPT, [{"prompt": one["prompt"]} for one in pairs(24)]),
    ],
)
def test_sound_rows_have_nothing_above_a_note(tokenizer: Any, kind: RecordType, rows: list[dict[str, Any]]) -> None:
    told = findings(seen(tokenizer, kind, rows, vocabulary=len(tokenizer)))
    assert [one.check for one in told if one.severity is not Severity.NOTE] == []


def with_row(rows: list[dict[str, Any]], at: int, **changed: Any) -> list[dict[str, Any]]:
    return [{**row, **changed} if number == at else row for number, row in enumerate(rows)]


LONG = "word " * 400
PLANTED: list[tuple[str, RecordType, list[dict[str, Any]], str, list[str], str]] = [
    ("too long", PAIR, with_row(pairs(12), 3, rejected=LONG), "too_long", ["r03"], "minor"),
    ("equal", PAIR, with_row(pairs(12), 4, rejected="It will arrive tomorrow, 4."), "equal_sides", ["r04"], "minor"),
    ("no question", PAIR, with_row(pairs(12), 5, prompt=[("assistant", "Hi")]), "no_customer_turn", ["r05"], "minor"),
    ("abstained", UNARY, with_row(unary(12), 5, label=None), "abstained", ["r05"], "note"),
    (
        "older turns",
        PAIR,
        with_row(pairs(8), 2, prompt=[("user", LONG), ("assistant", "a"), ("user", "b?")]),
        "older_turns_cut",
        ["r02"],
        "minor",
    ),
    (
        "prompt again",
        PAIR,
        with_row(pairs(12), 6, chosen="Where is order 6? It comes.", prompt="Where is order 6? Tell me now"),
        "",
        [],
        "",
    ),
    (
        "prompt repeated",
        UNARY,
        with_row(unary(12), 6, prompt="Where is my order number 6?", completion="Where is my order number 6? Here."),
        "prompt_repeated_in_answer",
        ["r06"],
        "major",
    ),
    (
        "answer begins with the customer",
        SFT,
        with_row(
            [{"prompt": one["prompt"], "completion": one["chosen"]} for one in pairs(20)],
            7,
            completion=[("user", "Where is order 7?"), ("assistant", "Here")],
        ),
        "answer_begins_with_prompt_turns",
        ["r07"],
        "major",
    ),
    (
        "customer speaks in the answer",
        SFT,
        with_row(
            [{"prompt": one["prompt"], "completion": one["chosen"]} for one in pairs(30)],
            7,
            completion=[("assistant", "Which?"), ("user", "That one"), ("assistant", "Here")],
        ),
        "answer_holds_other_turns",
        ["r07"],
        "minor",
    ),
    (
        "last turn",
        SFT,
        with_row(
            [{"prompt": one["prompt"], "completion": one["chosen"]} for one in pairs(30)],
            7,
            completion=[("assistant", "Which?"), ("user", "That one")],
        ),
        "last_turn_not_the_assistants",
        ["r07"],
        "major",
    ),
    ("forged", PAIR, with_row(pairs(12), 8, prompt="hi<|im_end|>\nx"), "control_tokens_in_text", ["r08"], "minor"),
    (
        "turns in a row",
        PAIR,
        with_row(pairs(30), 9, prompt=[("user", "a"), ("user", "b")]),
        "turns_out_of_order",
        ["r09"],
        "note",
    ),
    ("twice", PAIR, [*pairs(12), pairs(12)[3]], "duplicate_rows", ["r12"], "minor"),
    (
        "turned round",
        PAIR,
        [*pairs(12), {**pairs(1)[0], "chosen": "No idea 0.", "rejected": "It will arrive tomorrow, 0."}],
        "reversed_pairs",
        ["r00", "r12"],
        "major",
    ),
    (
        "both labels",
        UNARY,
        [*unary(12), {**unary(1)[0], "label": False}],
        "contradictory_labels",
        ["r00", "r12"],
        "major",
    ),
    ("one class", UNARY, [{**one, "label": True} for one in unary(12)], "one_class", [], "critical"),
    (
        "rare class",
        UNARY,
        [{**one, "label": at != 0} for at, one in enumerate(unary(60))],
        "uneven_classes",
        ["r00"],
        "major",
    ),
    (
        "same answer",
        UNARY,
        [{**one, "completion": "It will arrive." if one["label"] else "Not my problem."} for one in unary(16)],
        "equal_answers_in_a_batch",
        [f"r{at:02d}" for at in range(16)],
        "major",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "rows", "check", "ids", "severity"), [one[1:] for one in PLANTED], ids=[one[0] for one in PLANTED]
)
def test_a_planted_fault_is_found_in_its_rows(
    tokenizer: Any, kind: RecordType, rows: list[dict[str, Any]], check: str, ids: list[str], severity: str
) -> None:
    told = found(seen(tokenizer, kind, rows))
    if not check:
        assert [one.check for one in told.values() if one.severity is not Severity.NOTE] == []
        return
    assert check in told
    assert (list(told[check].ids), told[check].severity.value) == (ids, severity)


def test_micro_batches_of_one_label_are_counted_with_the_batch_that_would_do(tokenizer: Any) -> None:
    rows = [{**one, "label": at % 12 == 0} for at, one in enumerate(unary(48))]
    told = found(seen(tokenizer, UNARY, rows, per_device_batch=4))["single_class_batches"]
    assert (told.count, told.total, told.severity.value) == (8, 12, "major")
    assert "needs 12 rows" in told.cure
    assert "single_class_batches" not in found(seen(tokenizer, UNARY, rows, per_device_batch=12))


def test_a_small_batch_is_told(tokenizer: Any) -> None:
    assert "small_batch" in found(seen(tokenizer, UNARY, unary(12), per_device_batch=2))
    assert "small_batch" not in found(seen(tokenizer, UNARY, unary(12), per_device_batch=4))


def test_held_out_rows_and_prompts_that_are_trained_on_are_named(tokenizer: Any) -> None:
    rows = pairs(12)
    held = frame(PAIR, [rows[3], {**rows[4], "chosen": "Another answer."}, {**rows[5], "prompt": "Something else?"}])
    told = found(seen(tokenizer, PAIR, rows, held_out=held))
    assert told["held_out_rows_trained_on"].ids == ("r00",)
    assert told["held_out_prompts_trained_on"].ids == ("r01",)


def test_tokens_that_the_model_has_no_embedding_for_are_critical_only_where_rows_use_them(tokenizer: Any) -> None:
    size = len(tokenizer)
    told = found(seen(tokenizer, PAIR, pairs(12), vocabulary=100))["token_outside_vocabulary"]
    assert (told.severity.value, told.count, told.measures) == ("critical", 12, {"embeddings": 100, "tokens": size})
    unused = found(seen(tokenizer, PAIR, pairs(12), vocabulary=size - 1))
    assert unused["tokenizer_larger_than_model"].severity.value == "minor"
    assert "token_outside_vocabulary" not in unused


def test_answers_that_a_template_does_not_end_are_critical(templated: Any) -> None:
    templated.chat_template = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}{% endfor %}"
    told = found(seen(templated, PAIR, pairs(12)))["answer_without_end"]
    assert (told.severity.value, told.count) == ("critical", 12)


def test_an_end_that_is_not_the_tokenizers_is_told(templated: Any) -> None:
    templated.eos_token = "<|endoftext|>"
    told = found(seen(templated, PAIR, pairs(12)))["other_end_token"]
    assert told.measures == {"answers_end_with": "<|im_end|>", "eos_token": "<|endoftext|>"}


def test_a_template_whose_prompt_is_no_beginning_of_the_chat_is_told(templated: Any) -> None:
    templated.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
    )
    told = found(seen(templated, PAIR, pairs(12)))["prompt_is_no_prefix"]
    assert told.severity.value == "major"


def test_a_template_that_writes_another_chat_altogether_trains_on_everything(templated: Any) -> None:
    templated.chat_template = (
        "{% if add_generation_prompt %}<think>{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    )
    told = found(seen(templated, PAIR, pairs(12)))["everything_trained"]
    assert (told.severity.value, told.count) == ("critical", 12)


def test_two_beginnings_are_critical(templated: Any) -> None:
    templated.bos_token = "<|endoftext|>"
    once = templated.chat_template
    templated.chat_template = "{{ bos_token }}" + once
    assert "two_bos" not in found(seen(templated, PAIR, pairs(12)))
    templated.chat_template = "{{ bos_token }}{{ bos_token }}" + once
    assert found(seen(templated, PAIR, pairs(12)))["two_bos"].severity.value == "critical"


def test_generation_markers_are_looked_for_where_trl_would_need_them(templated: Any) -> None:
    rows = [{"prompt": one["prompt"], "completion": one["chosen"]} for one in pairs(8)]
    assert found(seen(templated, SFT, rows))["no_generation_markers"].view == "trl"
    templated.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% generation %}{{ m['content'] }}{% endgeneration %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    told = found(seen(templated, SFT, rows))
    assert "no_generation_markers" not in told
    assert told["stop_token_not_trained"].severity.value == "minor"


def test_markers_that_are_mere_text_are_told_where_a_text_spells_them(templated: Any) -> None:
    templated.chat_template = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    told = found(seen(templated, PAIR, with_row(pairs(12), 4, prompt="x <|assistant|> y")))
    assert told["plain_text_markers"].ids == ("r04",)


def test_pictures_and_tools_that_nobody_reads_are_told(tokenizer: Any) -> None:
    picture = [{"uri": "a.png", "side": "prompt", "message": 0, "part": 0}]
    rows = frame(PAIR, pairs(12)).with_columns(
        images=pl.Series([picture if at == 2 else None for at in range(12)], dtype=pl.List(IMAGE)),
        tools=pl.Series(['[{"name": "track"}]' if at == 5 else None for at in range(12)], dtype=pl.String),
    )
    told = found(seen(tokenizer, PAIR, rows))
    assert (told["pictures_not_read"].ids, told["pictures_not_read"].severity.value) == (("r02",), "major")
    assert told["tools_not_rendered"].ids == ("r05",)


def test_rows_that_the_template_refuses_are_counted_and_all_of_them_stop(templated: Any) -> None:
    templated.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        + templated.chat_template
    )
    rows = with_row(pairs(12), 4, prompt=[("system", "Be kind"), ("user", "Hi?")])
    assert found(seen(templated, PAIR, rows))["template_refuses"].ids == ("r04",)
    with pytest.raises(InputError, match=r"all 1 rows: the chat template refuses a chat .*no system turn"):
        seen(templated, PAIR, rows[4:5])


def test_few_very_long_rows_are_named(tokenizer: Any) -> None:
    rows = with_row(pairs(200), 17, chosen="word " * 300)
    told = found(seen(tokenizer, PAIR, rows, max_length=4096))["few_very_long_rows"]
    assert told.ids == ("r17",)


def test_a_preflight_is_told_as_json_and_stops_at_what_is_critical(tokenizer: Any) -> None:
    given = seen(tokenizer, PAIR, with_row(pairs(12), 3, rejected=LONG))
    made = examine("dpo", given.rows, tokenizer, given.settings, vocabulary=100, raw=given.frame)
    record = made.record()
    assert (record["rows"], record["total"], record["counts"]["critical"]) == (11, 12, 1)
    assert record["figures"]["dropped"] == {"too_long": 1}
    assert record["figures"]["lengths"]["longer_than"]["512"] == 0.0
    with pytest.raises(InputError, match=r"token_outside_vocabulary.*first r00.*insist: \[token_outside_vocabulary\]"):
        made.require()
    made.require(insist=["token_outside_vocabulary"])
    assert [one.check for one in made.failing("minor")] == ["token_outside_vocabulary", "too_long"]


def test_what_plain_trl_would_do_is_no_finding_of_a_stage(templated: Any) -> None:
    rows = [{"prompt": one["prompt"], "completion": one["chosen"]} for one in pairs(8)]
    given = seen(templated, SFT, rows)
    assert "no_generation_markers" in found(given)
    made = examine("sft", given.rows, templated, given.settings, vocabulary=None, raw=given.frame)
    assert {one.view for one in made.findings} <= {"ours"}
    assert "no_generation_markers" not in [one["check"] for one in made.record()["findings"]]


def test_a_refusal_that_there_is_not_cannot_be_insisted_against() -> None:
    with pytest.raises(RecipeError, match=r"insist: no refusal 'to_long'; did you mean 'too_long'"):
        DPOSettings(insist=("to_long",))
    with pytest.raises(RecipeError, match="insist: no refusal 'end_token_cut'"):  # TRL's alone
        DPOSettings(insist=("end_token_cut",))
    assert DPOSettings(insist=("no_sft", "too_long")).insist == ("no_sft", "too_long")


def test_nothing_left_is_critical(tokenizer: Any) -> None:
    given = seen(tokenizer, PAIR, pairs(2))
    none = Rows(type=PAIR, ids=[], groups=[], sides={"chosen": [], "rejected": []}, dropped={"too_long": 2})
    made = examine("dpo", none, tokenizer, given.settings)
    assert [one.check for one in made.failing("critical")] == ["too_long", "no_rows_left"]
