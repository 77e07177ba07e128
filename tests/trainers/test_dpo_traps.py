"""What people lose days on with pairs, and what happens to it here: the traps T3 to T12 and checks C5 to C18."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError, RecipeError, SchemaError
from prefdata.schema import MESSAGES
from tests.trainers.conftest import pairs
from trainers.dpo import DPO, DPOSettings, train_dpo
from trainers.models import load_tokenizer
from trainers.preflight import examine
from trainers.rendering import protect

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

STEP: dict[str, Any] = {
    "learning_rate": 1e-3,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_steps": 2,
    "max_length": 128,
    "save_steps": 0,
    "samples": 0,
    "report_to": (),
}


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return protect(load_tokenizer(tiny_model))


def encoded(frame: pl.DataFrame, tokenizer: Any, **options: Any) -> Any:
    return DPO().encode(frame, tokenizer, DPOSettings(**{"max_length": 128, **options}), name="training rows")


def text(tokenizer: Any, ids: list[int]) -> str:
    found: str = tokenizer.decode(ids)
    return found


def test_answers_with_one_opening_keep_it_and_one_may_begin_the_other(tokenizer: Any) -> None:
    """T9: the common prefix of the two is never taken for the prompt."""
    rows = encoded(
        pairs([("Where is it?", "It will arrive tomorrow.", "It will arrive"), ("A?", "Yes", "Yes, no")]), tokenizer
    )
    chosen, rejected = rows.sides["chosen"], rows.sides["rejected"]
    assert text(tokenizer, chosen[0].completion_ids) == "It will arrive tomorrow.<|im_end|>\n"
    assert text(tokenizer, rejected[0].completion_ids) == "It will arrive<|im_end|>\n"
    assert chosen[0].prompt_ids == rejected[0].prompt_ids
    assert text(tokenizer, chosen[1].prompt_ids) == "<|im_start|>user\nA?<|im_end|>\n<|im_start|>assistant\n"
    assert text(tokenizer, rejected[1].completion_ids) == "Yes, no<|im_end|>\n"


def test_no_pair_is_cut_so_none_can_become_equal(tokenizer: Any) -> None:
    """T10, T11, C5: answers that differ only far behind are dropped where they do not fit, with their end token."""
    long = "It will arrive tomorrow. " * 12
    frame = pairs([("Where?", long + "Thanks.", long + "Go away."), ("Where?", "Tomorrow.", "Never.")])
    rows = encoded(frame, tokenizer, max_length=64)
    assert rows.ids == ["r001"]
    assert rows.dropped == {"too_long": 1}
    whole = encoded(frame, tokenizer, max_length=512)
    for side in whole.sides.values():
        assert all(text(tokenizer, row.completion_ids).endswith("<|im_end|>\n") for row in side)
    assert whole.sides["chosen"][0].completion_ids != whole.sides["rejected"][0].completion_ids


def test_both_sides_lose_the_same_older_turns(tokenizer: Any) -> None:
    """C5: where turns are cut the longer side decides, and the prompt stays one and the same."""
    frame = pairs([("Old question? " * 3, "x", "y")])
    turns = [
        {"role": role, "content": content, "tool_calls": None}
        for role, content in (("user", "Old question? " * 6), ("assistant", "Old answer."), ("user", "And now?"))
    ]
    long = [{"role": "assistant", "content": "It will arrive tomorrow, thank you. " * 2, "tool_calls": None}]
    frame = frame.with_columns(prompt=pl.Series([turns], dtype=MESSAGES), rejected=pl.Series([long], dtype=MESSAGES))
    rows = encoded(frame, tokenizer, max_length=64)
    chosen, rejected = rows.sides["chosen"][0], rows.sides["rejected"][0]
    assert chosen.turns_cut == rejected.turns_cut == 2
    assert chosen.prompt_ids == rejected.prompt_ids
    assert text(tokenizer, chosen.prompt_ids) == "<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n"


def test_equal_sides_are_dropped_and_counted_and_empty_ones_refused(tokenizer: Any) -> None:
    """T12, C18."""
    rows = encoded(pairs([("A?", "Yes.", "Yes."), ("B?", "Yes.", " Yes. "), ("C?", "Yes.", "No.")]), tokenizer)
    assert (rows.ids, rows.dropped) == (["r002"], {"equal_sides": 2})
    with pytest.raises(InputError, match="an empty chosen or rejected in 1 of 2 rows, first id r001"):
        encoded(pairs([("A?", "Yes.", "No."), ("B?", "Yes.", " ")]), tokenizer)


def test_a_prompt_of_plain_text_is_refused_by_its_type(tiny_model: Path, tmp_path: Path) -> None:
    """T7: text beside messages, the shape of UltraFeedback, crashes in TRL in another place at every run."""
    frame = pairs([("A?", "Yes.", "No.")]).with_columns(prompt=pl.lit("A?"))
    with pytest.raises(SchemaError, match=r"column prompt: String, expected List\(Struct"):
        train_dpo(frame, None, model=tiny_model, output_dir=tmp_path)


@pytest.mark.parametrize(
    ("repeated", "last", "check"),
    [
        (True, "assistant", "answer_begins_with_prompt_turns"),  # T8: the prompt would be trained on, twice
        (False, "user", "last_turn_not_the_assistants"),  # C9
    ],
)
def test_answers_that_hold_more_than_an_answer_stop_before_the_first_step(
    tiny_model: Path, tmp_path: Path, repeated: bool, last: str, check: str
) -> None:
    frame = pairs([(f"Where is order {n}?", f"It will arrive. {n}", f"Stop asking. {n}") for n in range(8)])

    def whole(side: str) -> pl.Series:
        rows = []
        for row in frame.iter_rows(named=True):
            turns = [*(row["prompt"] if repeated else []), *row[side]]
            rows.append(
                turns if last == "assistant" else [*turns, {"role": last, "content": "Ok.", "tool_calls": None}]
            )
        return pl.Series(rows, dtype=MESSAGES)

    frame = frame.with_columns(chosen=whole("chosen"), rejected=whole("rejected"))
    with pytest.raises(InputError, match=f"insist: \\[.*{check}"):
        train_dpo(frame, None, model=tiny_model, output_dir=tmp_path, settings=DPOSettings(**STEP))


def test_a_pair_that_comes_again_the_other_way_round_is_found(tiny_model: Path, tokenizer: Any) -> None:
    """C18."""
    rows = encoded(pairs([("A?", "Yes.", "No."), ("A?", "No.", "Yes."), ("B?", "Yes.", "No.")]), tokenizer)
    names = {one.check for one in examine(DPO(), rows, tokenizer, DPOSettings()).findings}
    assert "reversed_pairs" in names


@pytest.mark.parametrize("store", ["never", "always"])
def test_full_fine_tuning_never_has_trl_look_for_a_reference(
    tiny_model: Path, tmp_path: Path, support_pairs: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """T3, T4: TRL would load the model that the config's path names, or stop where it names none."""
    from trl.trainer import dpo_trainer

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("TRL loads a model by itself")

    monkeypatch.setattr(dpo_trainer, "create_model_from_path", refused)
    settings = DPOSettings(**STEP, tuner="full", reference_store=store)
    stage = train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path, settings=settings)
    assert stage.record["canary"]["found"] == pytest.approx(stage.record["canary"]["expected"], abs=1e-5)


@pytest.mark.parametrize("store", ["never", "always"])
@pytest.mark.parametrize("loss_type", ["sigmoid", ("sigmoid", "sft"), "ipo"])
def test_a_policy_that_is_not_the_start_model_stops_training(
    tiny_model: Path,
    tmp_path: Path,
    support_pairs: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    loss_type: Any,
    store: str,
) -> None:
    """T3, C10: an adapter merged in memory and a reference from disk is how the field trains against the base model."""
    from trainers.callbacks import CanaryError

    real = DPO.load

    def moved(self: DPO, plan: Any, dtype: Any) -> Any:
        model = real(self, plan, dtype)
        for weight in model.parameters():
            weight.data.mul_(1.5)
        return model

    monkeypatch.setattr(DPO, "load", moved)
    settings = DPOSettings(**STEP, tuner="full", reference_store=store, loss_type=loss_type)
    with pytest.raises(CanaryError, match="the reference model is not the model that training starts from"):
        train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path, settings=settings)


def test_a_first_step_that_would_not_be_logged_is_refused_before_it(
    tiny_model: Path, support_pairs: pl.DataFrame, tmp_path: Path
) -> None:
    quick: dict[str, Any] = {"model": tiny_model, "output_dir": tmp_path / "s", "max_length": 128, "max_steps": 2}
    with pytest.raises(RecipeError, match="args: logging_steps: the first step is not logged"):
        train_dpo(support_pairs, None, **quick, args={"logging_steps": 2})
    stage = train_dpo(support_pairs, None, **quick, args={"logging_steps": 2, "logging_first_step": True})
    assert stage.record["canary"] == {"expected": 0.693147, "found": 0.693147}


def test_held_out_rows_of_which_none_can_be_measured_are_told(
    tiny_model: Path, support_pairs: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    same = pairs([("Is it open?", "Yes.", "Yes."), ("And today?", "No.", "No.")], prefix="h")
    stage = train_dpo(support_pairs, same, model=tiny_model, output_dir=tmp_path / "s", settings=DPOSettings(**STEP))
    assert stage.record["evaluation"] is None
    assert "dpo: no held-out row can be measured (2 equal_sides), so nothing is known of the result" in caplog.text
