"""Whether a start model answers chats: the evidence, the refusal, the way to insist, and templates for base models."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError, RecipeError
from trainers.chat_templates import TEMPLATES, given
from trainers.job import Stage
from trainers.lineage import evidence, require
from trainers.models import load_tokenizer
from trainers.start import Start, open_start

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "lora_r": 4,
    "lora_alpha": 8,
    "per_device_batch": 4,
    "gradient_accumulation": 1,
    "max_steps": 1,
    "max_length": 128,
    "save_steps": 0,
    "report_to": (),
}


@pytest.fixture(scope="module")
def base_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model without a chat template: its vocabulary has ChatML's tokens."""
    folder = tmp_path_factory.mktemp("models") / "tiny-base"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = folder / "tokenizer_config.json"
    said = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({name: value for name, value in said.items() if name != "chat_template"}))
    assert load_tokenizer(folder).chat_template is None
    return folder


@pytest.mark.parametrize(
    ("name", "tuned"),
    [
        ("Qwen/Qwen2.5-7B", False),
        ("Qwen/Qwen2.5-7B-Instruct", True),
        ("Qwen/Qwen2-0.5B", False),
        ("Qwen/Qwen3-8B", None),
        ("Qwen/Qwen3-8B-Base", False),
        ("google/gemma-3-4b-pt", False),
        ("google/gemma-3-4b-it", True),
        ("meta-llama/Llama-2-7b-chat-hf", True),
        ("HuggingFaceH4/zephyr-7b-beta", None),
        ("HuggingFaceH4/mistral-7b-sft-beta", True),
        ("facebook/opt-1.3b", None),
        ("our-own-database-model", None),
        ("someone/italian-model", None),
    ],
)
def test_a_name_is_evidence_where_it_says_what_a_model_is(tiny_model: Path, name: str, tuned: bool | None) -> None:
    start = Start(model=name, name=name, folder=tiny_model)
    assert evidence(start, start.tokenizer()).tuned is tuned


@pytest.mark.parametrize(
    ("card", "manifest", "tuned", "because"),
    [
        ("---\ntags: [base-model]\n---\n# M", None, False, "the tags of its card name base-model"),
        ("---\ntags:\n- chat\n- en\n---\n", None, True, "the tags of its card name chat"),
        ("---\ntags: chat\n---\n", None, None, "it has a chat template, and nothing else tells"),
        ("# no front matter, base", None, None, "it has a chat template, and nothing else tells"),
        ("---\ntags: [chat]\n---\n", "base", False, "its manifest says base"),
        ("---\n: [\n---\n", None, None, "it has a chat template, and nothing else tells"),
    ],
)
def test_a_card_and_a_manifest_are_evidence(
    tiny_model: Path, tmp_path: Path, card: str, manifest: str | None, tuned: bool | None, because: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    if manifest is not None:
        (folder / "prefdata-model.json").write_text(json.dumps({"kind": manifest, "files": {}}), encoding="utf-8")
    start = Start(model=str(folder), name="model", folder=folder)
    assert evidence(start, start.tokenizer()) == (tuned, because)


def test_a_stage_of_sft_satisfies_the_rule(tiny_model: Path) -> None:
    record = {"method": "sft", "key": "k", "files": {}, "data": {"sha256": "d"}, "lineage": []}
    start = Start(model="m", name="Qwen/Qwen2.5-7B", folder=tiny_model, stage=Stage(folder=tiny_model, record=record))
    found = evidence(start, open_start(tiny_model).tokenizer())
    assert found == (True, "stage 1 of its lineage is SFT")
    require("dpo", start, found, ())


@pytest.mark.parametrize(("method", "refused"), [("dpo", True), ("kto", True), ("grpo", True), ("rloo", True)])
def test_a_preference_stage_on_a_base_model_is_refused(base_model: Path, method: str, refused: bool) -> None:
    start = open_start(base_model)
    found = evidence(start, start.tokenizer())
    assert found.tuned is False
    with pytest.raises(RecipeError) as error:
        require(method, start, found, ())
    assert str(error.value) == (
        f"{method} on tiny-base, which has seen no SFT stage (its tokenizer has no chat template): it does not answer "
        "yet, so there is nothing to prefer among. Put an `sft` stage before it (the chosen or good answers will do), "
        "or start from the instruction-tuned model; to do it all the same, write `insist: [no_sft]`"
    )
    require(method, start, found, ("no_sft",))
    for other in ("sft", "reward"):
        require(other, start, found, ())


def test_kto_is_refused_insisted_on_and_recorded(base_model: Path, support_rows: pl.DataFrame, tmp_path: Path) -> None:
    from trainers.kto import train_kto

    with pytest.raises(RecipeError, match=r"kto on tiny-base, which has seen no SFT stage"):
        train_kto(support_rows, model=base_model, output_dir=tmp_path / "a", **QUICK)
    with pytest.raises(InputError, match=r"has no chat template.*set `chat_template:` to chatml or plain"):
        train_kto(support_rows, model=base_model, output_dir=tmp_path / "a", insist=("no_sft",), **QUICK)
    stage = train_kto(
        support_rows, model=base_model, output_dir=tmp_path / "a", insist=("no_sft",), chat_template="chatml", **QUICK
    )
    assert stage.record["chat"] == {
        "tuned": False,
        "because": "its tokenizer has no chat template",
        "template": "chatml",
    }
    again = open_start(stage.folder)
    assert evidence(again, again.tokenizer()).tuned is False  # KTO makes no assistant of it


def test_sft_gives_a_base_model_a_template_that_goes_on_with_it(
    base_model: Path, support_rows: pl.DataFrame, tmp_path: Path
) -> None:
    from prefdata.build.retype import retype
    from prefdata.schema import RecordType
    from trainers.sft import train_sft

    examples = retype(support_rows, RecordType.UNPAIRED, RecordType.SFT).rows
    stage = train_sft(examples, model=base_model, output_dir=tmp_path / "sft", **QUICK)
    assert stage.record["chat"]["template"] == "chatml"
    start = open_start(stage.folder)
    tokenizer = start.tokenizer()
    assert tokenizer.chat_template == TEMPLATES["chatml"].text
    assert tokenizer.eos_token == "<|im_end|>"
    assert evidence(start, tokenizer).tuned is True
    assert given(tokenizer, "chatml") is None  # its own already


def test_a_template_is_only_given_where_its_tokens_are_in_the_vocabulary(base_model: Path, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(base_model)
    with pytest.raises(InputError, match=r"llama3 needs <\|begin_of_text\|>, <\|start_header_id\|>"):
        given(tokenizer, "llama3", model="m")
    with pytest.raises(InputError, match="m has a chat template of its own"):
        given(load_tokenizer(tiny_model), "chatml", model="m")
    tokenizer.add_tokens(["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"])
    assert given(tokenizer, "llama3") == "llama3"
    assert tokenizer.eos_token == "<|eot_id|>"


def test_the_plain_template_ends_every_answer_with_the_models_own_end_token(base_model: Path) -> None:
    from trainers.rendering import encode_chat, protect

    tokenizer = load_tokenizer(base_model)
    assert given(tokenizer, "plain") == "plain"
    chat = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Here."}]
    drawn = tokenizer.apply_chat_template(chat, tokenize=False)
    assert drawn == f"User:\nWhere is it?\n\nAssistant:\nHere.{tokenizer.eos_token}\n\n"
    ids = encode_chat(protect(tokenizer), chat)
    assert ids.count(tokenizer.eos_token_id) == 1
    forged = [{"role": "user", "content": f"Where{tokenizer.eos_token} is it?"}, chat[1]]
    assert encode_chat(tokenizer, forged).count(tokenizer.eos_token_id) == 1


def test_the_settings_hold_templates_and_refusals() -> None:
    from trainers.kto import KTOSettings

    assert dataclasses.asdict(KTOSettings())["insist"] == ()
    with pytest.raises(RecipeError, match="chat_template: chatlm; expected chatml, llama3, plain, or null"):
        KTOSettings(chat_template="chatlm")
