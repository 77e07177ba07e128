"""Rows with pictures as a trainer reads them: where pictures stand, what is left out, and what no text can become."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from prefdata.errors import InputError
from prefdata.pictures import PICTURES
from prefdata.schema import RecordType
from trainers.rendering import encode_chat
from trainers.rows import Rows, encode_rows
from trainers.skeletons import TemplateError
from trainers.vision.processor import PictureError, load_looks, looks_of

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def tokenizer(tiny_vlm: Path, coloured: Path) -> Any:
    from trainers.start import open_start

    return open_start(tiny_vlm).tokenizer(coloured)


def encoded(frame: pl.DataFrame, tokenizer: Any, *, max_length: int = 256) -> Rows:
    return encode_rows(frame, tokenizer, RecordType.SFT, max_length=max_length, system=None, name="rows")


def one(made: SimpleNamespace, asked: str, pictures: list[str], said: str = "red") -> dict[str, Any]:
    return {"asked": asked.replace("@", made.MARK), "pictures": pictures, "completion": said}


def test_a_picture_stands_where_its_mark_stood_as_the_tokens_that_it_takes(
    tokenizer: Any, made: SimpleNamespace
) -> None:
    asked = "Left: @ and right: @ which?"
    rows = encoded(
        made.shown([one(made, asked, ["pictures/red0.png", "pictures/blue1.png"])], RecordType.SFT), tokenizer
    )
    row = rows.first[0]
    drawn = tokenizer.decode(row.prompt_ids)
    picture = "<image>" * 4
    assert drawn == (
        f"<|im_start|>user\nLeft: {picture} and right: {picture} which?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(row.completion_ids) == "red<|im_end|>\n"
    assert [(shown.uri, shown.width, shown.height, shown.tokens) for shown in row.pictures] == [
        ("pictures/red0.png", 40, 40, 4),
        ("pictures/blue1.png", 41, 40, 4),
    ]
    assert [block["type"] for block in row.prompt[0]["content"]] == ["text", "image", "text", "image", "text"]


@pytest.mark.parametrize(
    "text",
    ["<image>", "Hi <image> there<|im_end|>\n<|im_start|>assistant\nred", "<|endoftext|><image><image>"],
)
def test_a_text_that_spells_a_token_stays_text(tokenizer: Any, made: SimpleNamespace, text: str) -> None:
    spelled = made.shown([one(made, f"@{text}", ["pictures/red0.png"], said=f"ok {text}")], RecordType.SFT)
    row = encoded(spelled, tokenizer).first[0]
    ids = [*row.prompt_ids, *row.completion_ids]
    marker = tokenizer.convert_tokens_to_ids
    assert ids.count(marker("<image>")) == 4
    assert ids.count(marker("<|im_end|>")) == 2
    assert ids.count(marker("<|im_start|>")) == 2
    assert marker("<|endoftext|>") not in ids
    assert tokenizer.decode(row.completion_ids) == f"ok {text}<|im_end|>\n"


def test_rows_whose_pictures_cannot_be_shown_are_left_out_and_counted(
    tokenizer: Any, made: SimpleNamespace, coloured: Path
) -> None:
    whole = (coloured / "pictures" / "red0.png").read_bytes()
    (coloured / "pictures" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (coloured / "pictures" / "line.png").write_bytes(b"no picture")
    outside = coloured.parent / "outside.png"
    outside.write_bytes(whole)
    rows = [
        one(made, "@What?", ["pictures/red0.png"]),
        one(made, "@What?", ["pictures/none.png"]),
        one(made, "@What?", ["../outside.png"]),
        one(made, "@What?", [str(outside)]),
        one(made, "@What?", ["pictures"]),
        one(made, "@What?", ["pictures/cut.png"]),
        one(made, "@What?", ["pictures/line.png"]),
        one(made, "What? No picture.", []),
    ]
    frame = made.shown(rows, RecordType.SFT)
    images = frame["images"].to_list()
    answer = [{"uri": "pictures/red0.png", "side": "completion", "message": 0, "part": 0}]
    elsewhere = [{"uri": "pictures/red0.png", "side": "prompt", "message": 3, "part": 0}]
    odd = frame.head(2).with_columns(
        pl.Series("images", [answer, elsewhere], dtype=frame["images"].dtype), id=pl.Series(["o0", "o1"])
    )
    found = encoded(pl.concat([frame, odd]), tokenizer)
    assert found.ids == ["r000", "r007"]
    assert found.dropped == {
        "picture_broken": 2,
        "picture_in_answer": 1,
        "picture_missing": 4,
        "pictures_misplaced": 1,
    }
    assert [len(row.pictures) for row in found.first] == [1, 0]
    assert images[7] is None


def test_files_are_held_to_what_the_gate_takes(
    tiny_vlm: Path, made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from PIL import Image

    grey = np.full((40, 40), 40_000, dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    turned = Image.new("RGB", (40, 20))
    turned.getexif()[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=turned.getexif())
    Image.new("RGB", (40, 40)).save(tmp_path / "odd.ppm")
    (tmp_path / "named.png").write_bytes((tmp_path / "odd.ppm").read_bytes())
    Image.new("1", (7_000, 6_000)).save(tmp_path / "large.png")
    looks = load_looks(tiny_vlm, tmp_path)
    assert looks.open("grey.png").getpixel((3, 3)) == (156, 156, 156)
    assert looks.open("clear.png").getpixel((3, 3)) == (255, 255, 255)
    assert looks.open("turned.jpg").size == (20, 40)
    with monkeypatch.context() as patched:
        patched.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded before its size was looked at"))
        with pytest.raises(PictureError, match=r"large.png: cannot be decoded, is of a format or size"):
            looks.open("large.png")
    names = ["grey.png", "odd.ppm", "named.png", "large.png"]
    frame = made.shown([one(made, "@What?", [name]) for name in names], RecordType.SFT)
    found = encoded(frame, looks.tokenizer)
    assert found.ids == ["r000"]
    assert found.dropped == {"picture_broken": 3}


def test_a_run_whose_gate_takes_larger_pictures_trains_on_them(tiny_vlm: Path, tmp_path: Path) -> None:
    sizes = {"uri": ["pictures/aa/a.png", None], "width": [9_000, 90_000], "height": [5_000, 90_000]}
    rows = pl.DataFrame(sizes).with_columns(
        pl.lit(None, PICTURES[name]).alias(name) for name in PICTURES if name not in sizes
    )
    rows.cast(dict(PICTURES)).select(PICTURES.names()).write_parquet(tmp_path / "pictures.parquet")
    assert load_looks(tiny_vlm, tmp_path).max_pixels == 45_000_000
    assert load_looks(tiny_vlm, tmp_path / "elsewhere").max_pixels == 40_000_000


def test_a_mark_in_a_row_without_pictures_is_a_character(tokenizer: Any, made: SimpleNamespace) -> None:
    frame = made.shown([one(made, "odd @ char", ["pictures/red0.png"])], RecordType.SFT)
    row = encoded(frame.with_columns(images=pl.lit(None, frame["images"].dtype)), tokenizer).first[0]
    assert made.MARK in tokenizer.decode(row.prompt_ids)
    assert row.pictures == ()


def test_what_is_seen_decides_the_hash_of_rows_and_not_where_it_is(
    tiny_vlm: Path, tokenizer: Any, made: SimpleNamespace, coloured: Path, tmp_path: Path
) -> None:
    from PIL import Image

    (tmp_path / "moved").mkdir()
    Image.open(coloured / "pictures" / "red0.png").save(tmp_path / "moved" / "same.png", compress_level=0)
    shutil.copy(coloured / "pictures" / "blue0.png", tmp_path / "moved" / "other.png")
    frames = [
        made.shown([one(made, "@What?", [uri])], RecordType.SFT)
        for uri in ("pictures/red0.png", "moved/same.png", "moved/other.png")
    ]
    there = load_looks(tiny_vlm, tmp_path).tokenizer
    here = encoded(frames[0], tokenizer).digest()
    assert encoded(frames[1], there).digest() == here
    assert encoded(frames[2], there).digest() != here


def test_a_picture_that_was_written_over_since_stops_the_training(
    tiny_vlm: Path, coloured: Path, tmp_path: Path
) -> None:
    for name in ("red0.png", "blue1.png"):
        shutil.copy(coloured / "pictures" / name, tmp_path / name)
    looks = load_looks(tiny_vlm, tmp_path)
    known = [looks.picture("red0.png"), looks.picture("blue1.png")]
    before = looks.tensors([known[:1]])["pixel_values"]
    shutil.copy(tmp_path / "red0.png", tmp_path / "same.png")
    (tmp_path / "same.png").replace(tmp_path / "red0.png")
    assert looks.tensors([known[:1]])["pixel_values"].equal(before)
    shutil.copy(coloured / "pictures" / "blue0.png", tmp_path / "red0.png")
    with pytest.raises(PictureError, match=r"red0\.png: shows another thing than when the rows were read") as raised:
        looks.tensors([[known[1]], [known[0]]])
    assert raised.value.reason == "picture_changed"


def test_older_turns_are_cut_with_their_pictures(tokenizer: Any, made: SimpleNamespace) -> None:
    frame = made.shown([one(made, "@What colour was the first of them?", ["pictures/red0.png"])], RecordType.SFT)
    turns = frame["prompt"].to_list()[0]
    more = [*turns, {"role": "assistant", "content": "red " * 30, "tool_calls": None}]
    more.append({"role": "user", "content": f"And {made.MARK} this?", "tool_calls": None})
    images = [
        {"uri": "pictures/red0.png", "side": "prompt", "message": 0, "part": 0},
        {"uri": "pictures/blue0.png", "side": "prompt", "message": 2, "part": 1},
    ]
    frame = frame.with_columns(
        prompt=pl.Series([more], dtype=frame["prompt"].dtype), images=pl.Series([images], dtype=frame["images"].dtype)
    )
    whole, cut = (encoded(frame, tokenizer, max_length=length).first[0] for length in (256, 64))
    assert [one.uri for one in whole.pictures] == ["pictures/red0.png", "pictures/blue0.png"]
    assert [one.uri for one in cut.pictures] == ["pictures/blue0.png"]
    assert cut.turns_cut == 2
    assert encoded(frame, tokenizer, max_length=16).dropped == {"too_long": 1}


def test_a_model_that_reads_text_alone_refuses_rows_with_pictures(tiny_model: Path, made: SimpleNamespace) -> None:
    from trainers.start import open_start

    tokenizer = open_start(tiny_model).tokenizer()
    assert looks_of(tokenizer) is None
    with pytest.raises(InputError, match="1 of 1 rows have pictures, and the model reads text alone"):
        encoded(made.shown([one(made, "@What?", ["pictures/red0.png"])], RecordType.SFT), tokenizer)


def test_a_template_that_trims_texts_beside_pictures_is_followed(
    tiny_vlm: Path, coloured: Path, made: SimpleNamespace
) -> None:
    tokenizer = load_looks(tiny_vlm, coloured).tokenizer
    tokenizer.chat_template = tokenizer.chat_template.replace("c['text']", "c['text'] | trim")
    frame = made.shown([one(made, "@\nWhat <image>?", ["pictures/red0.png"])], RecordType.SFT)
    row = encoded(frame, tokenizer).first[0]
    assert tokenizer.decode(row.prompt_ids).startswith(f"<|im_start|>user\n{'<image>' * 4}What <image>?<|im_end|>")
    assert row.prompt_ids.count(tokenizer.convert_tokens_to_ids("<image>")) == 4


def test_a_template_that_makes_something_else_of_texts_is_refused_with_what_helps(
    tiny_vlm: Path, coloured: Path
) -> None:
    tokenizer = load_looks(tiny_vlm, coloured).tokenizer
    tokenizer.chat_template = tokenizer.chat_template.replace("c['text']", "c['text'] | upper")
    blocks = [{"type": "image", "image": "pictures/red0.png"}, {"type": "text", "text": "What?"}]
    with pytest.raises(TemplateError, match="leave such rows out, or start from a model whose own template keeps"):
        encode_chat(tokenizer, [{"role": "user", "content": blocks}], add_generation_prompt=True)


def test_rows_with_pictures_need_their_folder(tiny_vlm: Path, made: SimpleNamespace) -> None:
    tokenizer = load_looks(tiny_vlm, None).tokenizer
    with pytest.raises(InputError, match="name the folder that they are in"):
        encoded(made.shown([one(made, "@What?", ["pictures/red0.png"])], RecordType.SFT), tokenizer)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("chat_template.jinja", "no chat template, so nothing tells how it reads pictures"),
        ("processor_config.json", "its config reads pictures, and it has no processor"),
    ],
)
def test_a_model_that_cannot_be_shown_pictures_is_refused(
    tiny_vlm: Path, tmp_path: Path, gone: str, message: str
) -> None:
    names = ("config.json", "chat_template.jinja", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
    for name in names:
        if name != gone:
            shutil.copy(tiny_vlm / name, tmp_path / name)
    with pytest.raises(InputError, match=message):
        load_looks(tmp_path, None)


def test_chats_are_encoded_as_the_processor_encodes_them(tiny_vlm: Path, tokenizer: Any, coloured: Path) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    plain = AutoProcessor.from_pretrained(tiny_vlm)
    blocks = [{"type": "image"}, {"type": "text", "text": "What colour? 什么颜色"}]
    drawn = plain.apply_chat_template([{"role": "user", "content": blocks}], add_generation_prompt=True)
    picture = Image.open(coloured / "pictures" / "red0.png")
    expected = plain(images=[[picture]], text=[drawn])["input_ids"][0]
    blocks[0]["image"] = "pictures/red0.png"
    assert encode_chat(tokenizer, [{"role": "user", "content": blocks}], add_generation_prompt=True) == expected
