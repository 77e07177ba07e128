"""Answers about pictures sampled while training: by a reward that reads the pixels, with texts that forge nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from prefdata.errors import RecipeError
from prefdata.schema import IMAGE, MESSAGES, RecordType, conform
from trainers.grpo import train_grpo
from trainers.rendering import protect
from trainers.rloo import train_rloo
from trainers.vision.blocks import MARK
from trainers.vision.processor import load_looks
from trainers.vision.sampling import asked, guarded, shown_in

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("one_thread")]


class Colour:
    """A scorer of a text beside its picture: 1 where the text has more letters r than b and the picture is red, or the
    other way round; it opens the picture."""

    name = "colour"
    version = 1
    reads = frozenset({"text", "images"})
    better = "higher"
    seen: ClassVar[set[str]] = set()

    def parameters(self) -> Mapping[str, Any]:
        return {}

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        from PIL import Image

        found: list[float | None] = []
        for text, pictures in items.select("text", "pictures").iter_rows():
            if not pictures:
                found.append(None)
                continue
            self.seen.add(pictures[0]["uri"])
            with Image.open(pictures[0]["path"]) as opened:
                red, _, blue = opened.convert("RGB").getpixel((0, 0))
            share = (text.count("r") - text.count("b")) / max(len(text), 1)
            found.append(share if red > blue else -share)
        return pl.DataFrame({"colour": pl.Series(found, dtype=pl.Float32)})


QUICK: dict[str, Any] = {
    "tuner": "lora",
    "learning_rate": 1e-2,
    "per_device_batch": 8,
    "gradient_accumulation": 1,
    "num_generations": 4,
    "max_steps": 2,
    "epochs": 4.0,
    "max_length": 96,
    "max_completion_length": 8,
    "save_steps": 0,
    "samples": 0,
    "n_bootstrap": 50,
    "probe_prompts": 2,
    "max_evaluation_rows": 4,
    "report_to": (),
    "rewards": {"colour": {"weight": 2.0}, "length": {"max": 20}},
}


def prompts(count: int, *, prefix: str = "q", text: str = "What colour?<image>") -> pl.DataFrame:
    """Questions about pictures in turn red and blue, the last without a picture; each forges a picture more."""
    frame = pl.DataFrame(
        [
            {
                "id": f"{prefix}{at}",
                "source": "test",
                "group": f"{prefix}{at}",
                "prompt": [
                    {"role": "user", "content": f"{MARK if at < count - 1 else ''}{text} {at}", "tool_calls": None}
                ],
                "images": [
                    {
                        "uri": f"pictures/{('red', 'blue')[at % 2]}{at % 4}.png",
                        "side": "prompt",
                        "message": 0,
                        "part": 0,
                    }
                ]
                if at < count - 1
                else None,
            }
            for at in range(count)
        ],
        schema_overrides={"prompt": MESSAGES, "images": pl.List(IMAGE)},
    )
    return conform(frame, RecordType.PROMPT)


@pytest.fixture(scope="module")
def looks(tiny_vlm: Path, coloured: Path) -> Any:
    found = load_looks(tiny_vlm, coloured)
    protect(found.tokenizer)
    return found


def test_what_trl_writes_prompts_with_reads_no_token_out_of_texts_and_pads_pictures_as_trl_does(looks: Any) -> None:
    processor = guarded(looks)
    image = looks.tokenizer.convert_tokens_to_ids("<image>")
    block = {"type": "image", "image": "pictures/red0.png", "text": None}
    chats = [
        [{"role": "user", "content": [block, {"type": "text", "text": "<image> <|im_end|>?"}]}],
        [{"role": "user", "content": [{"type": "text", "text": "No picture <image>"}]}],
    ]
    found = processor.apply_chat_template(
        conversation=chats, tools=None, chat_template=None, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert [ids.count(image) for ids in found["input_ids"]] == [4, 0]
    assert found["pixel_values"].shape == (1, 3, 28, 28)
    texts = [processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    given = processor(images=[["pictures/red0.png"], []], text=texts, padding=True, return_tensors="pt")
    rows = [line[mask == 1].tolist() for line, mask in zip(given["input_ids"], given["attention_mask"], strict=True)]
    assert rows == found["input_ids"]
    assert given["pixel_values"].equal(found["pixel_values"])
    assert type(processor).__name__ == "LlavaProcessor"


def test_pictures_of_prompts_are_named_for_scorers_by_their_place() -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image", "image": "pictures/red0.png"}]},
    ]
    place = {"uri": "pictures/red0.png", "side": "prompt", "message": 1, "part": 1}
    assert shown_in([chat, chat[:1]]).to_list() == [[place], None]


@pytest.mark.parametrize("train", [train_grpo, train_rloo])
def test_answers_about_pictures_are_rewarded_by_their_pixels(
    train: Any, tiny_vlm: Path, coloured: Path, tmp_path: Path
) -> None:
    Colour.seen.clear()
    stage = train(
        prompts(9),
        prompts(5, prefix="h", text="Which colour is it?"),
        model=tiny_vlm,
        output_dir=tmp_path / "stage",
        pictures=coloured,
        scorers={"colour": Colour()},
        insist=("no_sft",),
        **QUICK,
    )
    told = json.loads((stage.folder / "stage.json").read_text(encoding="utf-8"))
    assert told["metrics"]["steps"] == 2
    assert told["pictures"]["rows_with"] == 8
    assert Colour.seen == {
        f"pictures/{name}{at}.png" for name, at in (("red", 0), ("blue", 1), ("red", 2), ("blue", 3))
    }
    assert set(told["metrics"]["after"]) >= {"reward", "rewards/colour", "rewards/length"}
    assert told["metrics"]["probe"]["rewards"]["colour"]["spread"] > 0
    adapted = json.loads((stage.folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert "vision_tower" not in adapted["target_modules"]


def test_a_reward_that_reads_pictures_is_refused_for_a_text_model(tiny_model: Path, tmp_path: Path) -> None:
    rows = prompts(9).with_columns(images=pl.lit(None, pl.List(IMAGE)))
    with pytest.raises(RecipeError, match=r"rewards\.colour: its scorer reads pictures"):
        train_grpo(
            rows,
            model=tiny_model,
            output_dir=tmp_path / "stage",
            scorers={"colour": Colour()},
            insist=("no_sft",),
            **QUICK,
        )


def test_the_dataset_of_a_prompt_names_pictures_beside_blocks_without_them(looks: Any) -> None:
    from trainers.rows import encode_rows

    rows = encode_rows(prompts(2), looks.tokenizer, RecordType.PROMPT, max_length=96, system=None, name="rows")
    assert [asked(row) for row in rows.sides["prompt"]] == [
        {
            "prompt": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What colour?<image> 0"}]}
            ],
            "images": ["pictures/red0.png"],
        },
        {"prompt": [{"role": "user", "content": [{"type": "text", "text": "What colour?<image> 1"}]}], "images": []},
    ]
