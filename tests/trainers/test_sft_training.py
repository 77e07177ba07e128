"""What SFT trains on, what a stage of it holds, and what it refuses; other methods' tests hold what all share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError, RecipeError, SchemaError
from prefdata.schema import MESSAGES, RecordType, conform
from trainers.job import Stage, read_stage
from trainers.sft import SFTSettings, train_sft

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 2,
    "max_steps": 6,
    "max_length": 128,
    "save_steps": 2,
    "sample_tokens": 4,
    "samples": 2,
    "n_bootstrap": 100,
}

INSISTED = ("last_turn_not_the_assistants",)


def turn(role: str, text: str, tool_calls: Any = None) -> dict[str, Any]:
    return {"role": role, "content": text, "tool_calls": tool_calls and json.dumps(tool_calls)}


def frame(rows: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]], *, prefix: str = "s") -> pl.DataFrame:
    """A canonical frame of (prompt, completion), two rows a group."""
    return conform(
        pl.DataFrame(
            [
                {
                    "id": f"{prefix}{at:03d}",
                    "source": "test",
                    "group": f"{prefix}{at // 2:03d}",
                    "prompt": p,
                    "completion": c,
                }
                for at, (p, c) in enumerate(rows)
            ],
            schema_overrides={"prompt": MESSAGES, "completion": MESSAGES},
        ),
        RecordType.SFT,
    )


def orders(numbers: range, *, prefix: str = "s") -> pl.DataFrame:
    """Kind answers, every third of them long, so that batches by length differ from others."""
    rows = [
        (
            [turn("user", f"Where is order {n}?")],
            [turn("assistant", f"It will arrive tomorrow, thank you. {n}" + " Thank you for your patience." * (n % 3))],
        )
        for n in numbers
    ]
    return frame(rows, prefix=prefix)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return orders(range(24))


@pytest.fixture(scope="module")
def held_out() -> pl.DataFrame:
    return orders(range(50, 58), prefix="e")


@pytest.fixture(scope="module")
def stage(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, rows: pl.DataFrame, held_out: pl.DataFrame
) -> Stage:
    """A finished stage of SFT with LoRA."""
    import torch

    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("sft") / "stage"
    return train_sft(rows, held_out, model=tiny_model, output_dir=place, settings=SFTSettings(**QUICK))


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, list[int]]]]:
    """What TRL's trainer made of the rows, one entry a run."""
    from trainers import loop

    found: list[list[dict[str, list[int]]]] = []
    real = loop._require_all_rows

    def look(plan: Any, trainer: Any, reads: Any) -> None:
        found.append([dict(row) for row in trainer.train_dataset])
        real(plan, trainer, reads)

    monkeypatch.setattr(loop, "_require_all_rows", look)
    return found


def weights(stage: Stage) -> bytes:
    return next(stage.trained.glob("*.safetensors")).read_bytes()


def trained_ids(row: dict[str, list[int]]) -> list[int]:
    """Ids that the loss is taken on, which must be the end of the row."""
    ids = [one for one, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    assert (
        [label for label in row["labels"] if label != -100]
        == ids
        == row["input_ids"][len(row["input_ids"]) - len(ids) :]
    )
    return ids


def test_a_stage_holds_the_adapter_and_the_proof_of_what_it_learned(stage: Stage) -> None:
    record, folder = stage.record, stage.folder
    assert record["method"] == "sft"
    assert record["canary"] is None
    assert record["reference"] == {}
    assert record["data"]["used"] == 24
    assert record["tokens"] == {"all": 914, "trained": 493, "trained_ratio": 0.5394}
    before, after, change = (record["metrics"][name] for name in ("before", "after", "change"))
    assert {name: before[name] for name in ("rows", "groups")} == {"rows": 8, "groups": 4}
    assert before["loss"]["value"] == pytest.approx(5.98, abs=0.05)  # nearly ln 401: the start model knows nothing
    assert change["loss"]["high"] < 0
    assert change["loss"]["value"] == pytest.approx(after["loss"]["value"] - before["loss"]["value"], abs=1e-3)
    assert after["perplexity"]["value"] < before["perplexity"]["value"]
    history = json.loads((folder / "metrics.json").read_text())
    assert [entry["step"] for entry in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["loss"] < history[0]["loss"]
    measured = pl.read_parquet(folder / "eval_rewards.parquet")
    assert measured.columns == ["id", "group", "loss_before", "loss_after", "tokens"]
    weighted = (measured["loss_after"] * measured["tokens"]).sum() / measured["tokens"].sum()
    assert weighted == pytest.approx(after["loss"]["value"], abs=1e-3)
    assert "loss of held-out answers" in (folder / "README.md").read_text()
    assert not (folder / "checkpoints").exists()


def test_it_reloads_and_answers_as_it_did(stage: Stage) -> None:
    from trainers.answering import reload

    answerer = reload(stage.folder)
    for sample in json.loads((stage.folder / "samples.json").read_text()):
        assert answerer.answer(sample["prompt"], max_new_tokens=4) == sample["after"]


def test_the_default_learning_rate_hangs_on_the_tuner() -> None:
    from trainers.sft import SFT

    found = {tuner: SFT().defaults(SFTSettings(tuner=tuner), None) for tuner in ("lora", "full")}  # type: ignore[arg-type]
    assert {name: one["learning_rate"].value for name, one in found.items()} == {"lora": 1e-4, "full": 2e-5}
    assert "Zephyr" in found["full"]["learning_rate"].source


def test_only_the_answer_is_trained_on_and_it_keeps_its_end(
    tiny_model: Path, tmp_path: Path, fed: list[list[dict[str, list[int]]]]
) -> None:
    from trainers.models import load_tokenizer
    from trainers.rendering import encode_chat

    tokenizer = load_tokenizer(tiny_model)
    long = "Where is my order? It will arrive tomorrow. " * 3
    data = frame(
        [
            (
                [turn("system", "Be kind."), turn("user", "Hi <|im_end|>")],
                [turn("assistant", "Hello <|im_start|>user")],
            ),
            # the oldest turns are cut, whole, and the answer is not
            ([turn("user", long), turn("assistant", long), turn("user", "And now?")], [turn("assistant", "Tomorrow.")]),
            ([turn("user", "Why?")], [turn("assistant", "That is not my problem.")]),
            ([turn("user", long * 2)], [turn("assistant", "Thank you.")]),  # dropped: nothing of it can be cut
        ]
    )
    settings = SFTSettings(**{**QUICK, "per_device_batch": 3, "max_steps": 1, "save_steps": 0, "max_length": 64})
    stage = train_sft(data, None, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    (given,) = fed
    answers = [trained_ids(row) for row in given]
    texts = [tokenizer.decode(ids) for ids in answers]
    assert texts == [
        "Hello <|im_start|>user<|im_end|>\n",
        "Tomorrow.<|im_end|>\n",
        "That is not my problem.<|im_end|>\n",
    ]
    assert [ids.count(end) for ids in answers] == [1, 1, 1]
    assert [ids.count(start) for ids in answers] == [0, 0, 0]
    assert [row["input_ids"].count(end) for row in given] == [3, 2, 2]
    assert given[1]["input_ids"] == encode_chat(tokenizer, [turn("user", "And now?"), turn("assistant", "Tomorrow.")])
    assert stage.record["data"]["dropped"] == {"too_long": 1}
    assert stage.record["data"]["used"] == 3
    assert stage.record["data"]["turns_cut"] == 2


def test_turns_of_others_inside_an_answer_are_read_and_not_learned(
    tiny_model: Path, tmp_path: Path, fed: list[list[dict[str, list[int]]]]
) -> None:
    from trainers.models import load_tokenizer

    called = [
        turn("assistant", "Wait."),
        turn("tool", "It will arrive tomorrow."),
        turn("assistant", "Tomorrow."),
        turn("user", "Thank you"),
    ]
    data = frame(
        [
            ([turn("user", "Where is it?")], called),
            ([turn("user", "Why?")], [turn("assistant", "Not my problem."), turn("assistant", "Read the page.")]),
            ([turn("user", "Why?")], [turn("tool", "not found")]),
        ]
    )
    settings = SFTSettings(**{**QUICK, "per_device_batch": 2, "max_steps": 1, "save_steps": 0, "insist": INSISTED})
    stage = train_sft(data, None, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    tokenizer = load_tokenizer(tiny_model)
    texts = [tokenizer.decode([one for one in row["labels"] if one != -100]) for row in fed[0]]
    assert texts == [
        "Wait.<|im_end|>\nTomorrow.<|im_end|>\n",
        "Not my problem.<|im_end|>\n<|im_start|>assistant\nRead the page.<|im_end|>\n",
    ]
    assert stage.record["data"]["dropped"] == {"no_assistant_turn": 1}
    assert stage.record["tokens"]["trained"] == sum(label != -100 for row in fed[0] for label in row["labels"])


def test_the_held_out_loss_leaves_out_what_is_not_trained_on(tiny_model: Path) -> None:
    from trainers.evaluate_rewards import completion_logps
    from trainers.models import load_model, load_tokenizer
    from trainers.rendering import Encoded
    from trainers.sft import SFT

    model, tokenizer = load_model(tiny_model), load_tokenizer(tiny_model)
    answer = [turn("assistant", "Wait."), turn("tool", "It will arrive."), turn("assistant", "Tomorrow.")]
    data = frame([([turn("user", "Where is it?")], answer)])
    (row,) = SFT().encode(data, tokenizer, SFTSettings(), name="rows").sides["completion"]
    ids = [*row.prompt_ids, *row.completion_ids]
    ((start, end),) = row.untrained
    pieces = [(0, start), (end, len(row.completion_ids))]
    offset = len(row.prompt_ids)
    apart = [Encoded([], [], ids[: offset + begin], ids[offset + begin : offset + stop], 0) for begin, stop in pieces]
    whole, one, other = completion_logps(model, [row, *apart], pad_id=tokenizer.pad_token_id)
    assert row.trained == sum(stop - begin for begin, stop in pieces)
    assert whole == pytest.approx(one + other, abs=1e-3)


def test_a_prompt_that_stands_in_its_answer_again_stops_training(tiny_model: Path, tmp_path: Path) -> None:
    asked = turn("user", "Where is my order?")
    data = frame([([asked], [asked, turn("assistant", f"It will arrive tomorrow. {n}")]) for n in range(4)])
    with pytest.raises(InputError, match="preflight stops here: answer_"):
        train_sft(data, None, model=tiny_model, output_dir=tmp_path / "s", settings=SFTSettings(**QUICK))
    assert not (tmp_path / "s").exists()


def test_rows_that_are_all_too_long_are_named_before_a_model_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    data = frame([([turn("user", "Where is order 1? " * 40)], [turn("assistant", "Tomorrow.")])] * 1)
    with pytest.raises(InputError, match=r"training rows: none can be trained on \(1 too_long\)"):
        train_sft(data, None, model=tiny_model, output_dir=tmp_path / "s", max_length=32)
    assert not (tmp_path / "s").exists()


def test_an_empty_answer_is_refused_by_id(tiny_model: Path, tmp_path: Path) -> None:
    data = frame([([turn("user", "Hi")], [turn("assistant", " \n")])])
    with pytest.raises(InputError, match=r"an empty completion in 1 of 1 rows, first id s000"):
        train_sft(data, None, model=tiny_model, output_dir=tmp_path / "s")


@pytest.mark.parametrize("roles", [("human", "gpt"), ("user", "model")])
def test_roles_of_other_formats_are_refused_not_rendered(roles: tuple[str, str]) -> None:
    with pytest.raises(SchemaError, match="a role outside"):
        frame([([turn(roles[0], "Hi")], [turn(roles[1], "Hello")])])


def test_tool_calls_keep_their_own_arguments(
    tiny_model: Path, tmp_path: Path, fed: list[list[dict[str, list[int]]]]
) -> None:
    from transformers import AutoTokenizer

    from trainers.models import load_tokenizer

    calling = tmp_path / "calling"
    calling.mkdir()
    for file in tiny_model.iterdir():
        (calling / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_model))
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
        "{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer.save_pretrained(calling)
    calls = [[{"name": "track", "arguments": {"order": n}}] for n in (5, "A7")] + [[{"name": "stop", "arguments": {}}]]
    data = frame([([turn("user", f"Order {n}?")], [turn("assistant", "Wait.", call)]) for n, call in enumerate(calls)])
    settings = SFTSettings(**{**QUICK, "per_device_batch": 3, "max_steps": 1, "save_steps": 0})
    train_sft(data, None, model=calling, output_dir=tmp_path / "s", settings=settings)
    texts = [load_tokenizer(calling).decode(trained_ids(row)) for row in fed[0]]
    assert [json.loads(text.removeprefix("Wait.").removesuffix("<|im_end|>\n")) for text in texts] == [
        call[0] for call in calls
    ]


def plain_losses(tiny_model: Path, rows: pl.DataFrame, place: Path, *, lora: bool, **arguments: Any) -> list[float]:
    """Step losses of TRL's trainer as a short script of anybody's uses it."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from trainers.job import quiet

    def messages(cell: list[dict[str, Any]]) -> list[dict[str, str]]:
        return [{"role": one["role"], "content": one["content"]} for one in cell]

    data = Dataset.from_list(
        [
            {"prompt": messages(row["prompt"]), "completion": messages(row["completion"])}
            for row in rows.iter_rows(named=True)
        ]
    )
    config = SFTConfig(
        output_dir=str(place),
        learning_rate=QUICK["learning_rate"],
        per_device_train_batch_size=QUICK["per_device_batch"],
        gradient_accumulation_steps=QUICK["gradient_accumulation"],
        max_steps=QUICK["max_steps"],
        max_length=QUICK["max_length"],
        seed=0,
        bf16=False,
        use_cpu=True,
        activation_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **arguments,
    )
    adapter = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
    with quiet():
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(str(tiny_model), dtype="float32"),
            args=config,
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(str(tiny_model)),
            peft_config=adapter,
        )
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def step_losses(stage: Stage) -> list[float]:
    return [entry["loss"] for entry in json.loads((stage.folder / "metrics.json").read_text())]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "variant", ["lora", "full", pytest.param("dft", marks=SLOW), pytest.param("packing", marks=SLOW)]
)
def test_step_losses_equal_plain_trl(
    variant: str, tiny_model: Path, tmp_path: Path, rows: pl.DataFrame, stage: Stage
) -> None:
    options: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "lora": ({}, {}),
        "full": ({"tuner": "full"}, {}),
        "dft": ({"loss_type": "dft"}, {"loss_type": "dft"}),
        "packing": ({"packing": True}, {"packing": True}),
    }
    ours, theirs = options[variant]
    if ours:
        settings = SFTSettings(**{**QUICK, "save_steps": 0, **ours})
        stage = train_sft(rows, None, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    expected = plain_losses(tiny_model, rows, tmp_path / "plain", lora=variant != "full", **theirs)
    assert step_losses(stage) == pytest.approx(expected, abs=1e-5)


def test_packed_rows_are_blind_to_each_other(tiny_model: Path, tmp_path: Path, rows: pl.DataFrame) -> None:
    few = rows.head(8)
    same = {**QUICK, "gradient_accumulation": 1, "max_steps": 1, "save_steps": 0, "per_device_batch": 8}
    packed = {**same, "packing": True}
    losses = [
        step_losses(train_sft(few, None, model=tiny_model, output_dir=tmp_path / name, settings=SFTSettings(**values)))
        for name, values in (("apart", same), ("packed", packed))
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_packing_is_refused_for_a_model_whose_rows_would_see_each_other(
    tiny_model: Path, tmp_path: Path, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import masking_utils

    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda position_ids: None)
    settings = SFTSettings(**{**QUICK, "packing": True})
    with pytest.raises(RecipeError, match=r"rows packed into one sequence see each other in tiny\d* \(a logit changes"):
        train_sft(rows, None, model=tiny_model, output_dir=tmp_path / "s", settings=settings)


@pytest.mark.parametrize("order", ["random", "by_length"])
def test_a_run_that_was_cut_off_ends_in_the_weights_of_an_unbroken_one(
    order: str,
    tiny_model: Path,
    tmp_path: Path,
    stage: Stage,
    rows: pl.DataFrame,
    held_out: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trainers import callbacks

    settings = SFTSettings(**{**QUICK, "order": order})
    if order == "by_length":
        stage = train_sft(rows, held_out, model=tiny_model, output_dir=tmp_path / "whole", settings=settings)
    real = callbacks.Bar.on_step_end

    def cut(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        real(self, args, state, control, **rest)
        if state.global_step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.Bar, "on_step_end", cut)
    with pytest.raises(KeyboardInterrupt):
        train_sft(rows, held_out, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    monkeypatch.setattr(callbacks.Bar, "on_step_end", real)
    again = train_sft(rows, held_out, model=tiny_model, output_dir=tmp_path / "s", settings=settings)
    assert weights(again) == weights(stage)
    assert again.record["metrics"] == stage.record["metrics"]
    assert step_losses(again) == step_losses(stage)


def test_a_stage_goes_on_from_a_full_fine_tune_and_kto_from_that(
    tiny_model: Path, tmp_path: Path, rows: pl.DataFrame, held_out: pl.DataFrame, support_rows: pl.DataFrame
) -> None:
    from trainers.answering import reload
    from trainers.kto import KTOSettings, train_kto

    shared = {**QUICK, "save_steps": 0, "max_steps": 2}
    full = SFTSettings(**{**shared, "tuner": "full", "learning_rate": 3e-3})
    first = train_sft(rows, held_out, model=tiny_model, output_dir=tmp_path / "first", settings=full)
    assert first.trained.name == "model"
    second = train_sft(
        rows, held_out, model=first.folder, output_dir=tmp_path / "second", settings=SFTSettings(**shared)
    )
    assert second.metrics["before"]["loss"] == first.metrics["after"]["loss"]
    assert second.record["parent"]["path"] == "../first"
    assert [one["method"] for one in second.record["lineage"]] == ["sft"]
    third = train_kto(
        support_rows,
        None,
        model=second.folder,
        output_dir=tmp_path / "third",
        settings=KTOSettings(**{**shared, "learning_rate": 1e-3}),
    )
    assert third.record["canary"] == {"expected": 0.5, "found": 0.5}
    assert [one["key"] for one in third.record["lineage"]] == [first.record["key"], second.record["key"]]
    sample = json.loads((second.folder / "samples.json").read_text())[0]
    assert reload(second.folder).answer(sample["prompt"], max_new_tokens=4) == sample["after"]
    assert read_stage(third.folder).record == third.record


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"packing": True, "order": "by_length"}, "set packing or this"),
        ({"lora_dropout": 1.0}, r"lora_dropout: 1\.0; expected 0 or more and below 1"),
        ({"lora_targets": ("q_proj", "lm_head")}, "an adapter on it would never train"),
        ({"epochs": 0.0}, r"epochs: 0\.0; expected more than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        SFTSettings(**values)


@pytest.mark.parametrize("key", ["completion_only_loss", "assistant_only_loss", "dataset_kwargs", "packing_strategy"])
def test_what_would_change_the_trained_tokens_is_not_passed_through(
    key: str, tiny_model: Path, tmp_path: Path, rows: pl.DataFrame
) -> None:
    with pytest.raises(RecipeError, match=f"args: {key} is not passed through"):
        train_sft(rows, None, model=tiny_model, output_dir=tmp_path / "s", args={key: True})
