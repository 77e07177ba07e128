"""What is told of rows with pictures before the first step, with a real processor."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from planted import found, frame, seen
from rich.console import Console

from prefdata.preflighting import preflight
from prefdata.reporting.preflight.row import show as printed
from prefdata.schema import IMAGE, RecordType, conform
from trainers.preflight import checks, examine, figures, plain_trl
from trainers.preflight.finding import Finding
from trainers.preflight.showing import show
from trainers.rendering import protect
from trainers.vision.processor import load_looks

SFT = RecordType.SFT
MARK = "\ufffc"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several kinds, sound and not."""
    image = pytest.importorskip("PIL.Image")
    place = tmp_path_factory.mktemp("pictures")
    for name, size in {"square": (40, 40), "wide": (64, 32), "dot": (2, 40), "line": (2, 500)}.items():
        image.new("RGB", size, (200, 30, 30)).save(place / f"{name}.png")
    (place / "cut.png").write_bytes((place / "square.png").read_bytes()[:60])
    return place


@pytest.fixture(scope="module")
def llava(tiny_vlm: Path, folder: Path) -> Any:
    return protect(load_looks(tiny_vlm, folder).tokenizer)


@pytest.fixture(scope="module")
def qwen(tiny_vlm: Path, folder: Path) -> Any:
    """A processor that makes more tokens of larger pictures, and refuses long ones."""
    from transformers import AutoTokenizer, Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    from trainers.vision.processor import Looks

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_vlm), local_files_only=True)
    markers = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": markers})
    tokenizer.chat_template = tokenizer.chat_template.replace("<image>", "<|vision_start|><image><|vision_end|>")
    sizes: dict[str, Any] = {"patch_size": 4, "merge_size": 2, "min_pixels": 64, "max_pixels": 64 * 64}
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**sizes),
        chat_template=tokenizer.chat_template,
    )
    processor.tokenizer.__dict__["_prefdata_looks"] = Looks(processor, folder)
    return protect(processor.tokenizer)


def pictured(shown: dict[int, list[str]], *, count: int = 8, **changed: Any) -> pl.DataFrame:
    """Sound rows, each about the picture square.png, but those that `shown` says are about others, or about none."""
    rows = [{"prompt": f"What colour is it, {at}?", "completion": f"It is red, {at}."} for at in range(count)]
    for at, change in changed.items():
        rows[int(at.removeprefix("r"))] |= change
    for at, row in enumerate(rows):
        row["prompt"] = MARK * len(shown.get(at, ["square.png"])) + row["prompt"]
    places = [
        [{"uri": uri, "side": "prompt", "message": 0, "part": part} for part, uri in enumerate(uris)] or None
        for uris in (shown.get(at, ["square.png"]) for at in range(count))
    ]
    return frame(SFT, rows).with_columns(images=pl.Series(places, dtype=pl.List(IMAGE)))


def told(tokenizer: Any, rows: pl.DataFrame, **options: Any) -> dict[str, Finding]:
    return {name: one for name, one in found(seen(tokenizer, SFT, rows, **options)).items() if one.family == "pictures"}


def test_sound_rows_with_pictures_have_no_finding_and_their_tokens_are_counted(llava: Any) -> None:
    data = seen(llava, SFT, pictured({1: ["square.png", "wide.png"]}))
    assert told(llava, pictured({})) == {}
    assert figures(data)["pictures"] == {
        "count": 9,
        "rows": 8,
        "tokens_p50": 4,
        "tokens_most": 4,
        "share_of_tokens": round(36 / sum(data.lengths), 4),
    }


def test_pictures_that_do_not_open_are_told_before_training_with_the_reason(llava: Any) -> None:
    rows = pictured({2: ["gone.png"], 4: ["cut.png"], 5: ["../conftest.py"], 6: ["square.png", "gone.png"]})
    findings = told(llava, rows)
    assert {name: one.ids for name, one in findings.items()} == {
        "picture_missing": ("r02", "r05", "r06"),
        "picture_broken": ("r04",),
    }
    assert {one.severity.value for one in findings.values()} == {"critical"}
    report = examine("sft", (data := seen(llava, SFT, rows)).rows, llava, data.settings, raw=rows)
    assert [one.check for one in report.failing("critical")] == ["picture_missing", "picture_broken"]


def test_marks_and_pictures_that_do_not_fit_are_told(llava: Any) -> None:
    rows = pictured({})
    image = pl.col("images").list.eval(pl.element().struct.with_fields(part=pl.lit(0, pl.Int32)))
    twice = pl.when(pl.col("id") == "r03").then(pl.concat_list(image, image)).otherwise("images")
    in_answer = pl.element().struct.with_fields(side=pl.lit("completion"))
    answered = pl.when(pl.col("id") == "r05").then(pl.col("images").list.eval(in_answer)).otherwise("images")
    findings = told(llava, rows.with_columns(images=twice).with_columns(images=answered))
    assert {name: one.ids for name, one in findings.items()} == {
        "pictures_misplaced": ("r03",),
        "picture_in_answer": ("r05",),
    }


def test_a_picture_longer_than_qwen_takes_is_told_apart_from_a_broken_one(qwen: Any) -> None:
    findings = told(qwen, pictured({1: ["line.png"], 2: ["cut.png"], 3: ["dot.png"]}))
    assert {name: one.ids for name, one in findings.items()} == {
        "picture_too_narrow": ("r01",),
        "picture_broken": ("r02",),
        "picture_a_few_pixels_wide": ("r03",),
    }
    assert "2U1/Qwen-VL-Series-Finetune#133" in findings["picture_too_narrow"].threads


def test_rows_that_pictures_fill_are_told_with_a_length_that_is_enough(qwen: Any) -> None:
    rows = pictured({2: ["wide.png"] * 6, 3: ["square.png"] * 2})
    findings = told(qwen, rows, max_length=160)
    assert {name: one.ids for name, one in findings.items()} == {"pictures_fill_max_length": ("r02",)}
    assert findings["pictures_fill_max_length"].measures["most_picture_tokens"] == 6 * 32
    enough = int(findings["pictures_fill_max_length"].measures["enough"])
    assert told(qwen, rows, max_length=enough) == {}


def test_pictures_of_older_turns_that_are_cut_are_told(llava: Any) -> None:
    asked = [("user", MARK + "word " * 60), ("assistant", "Yes."), ("user", "And now?")]
    whole = pictured({0: []}, r0={"prompt": "x"}, count=4)
    cut = frame(SFT, [{"prompt": asked, "completion": "Red.", "id": "r00"}]).with_columns(
        images=pictured({})["images"][:1]
    )
    rows = pl.concat([cut, whole.filter(pl.col("id") != "r00")])
    findings = told(llava, rows, max_length=96)
    assert {name: one.ids for name, one in findings.items()} == {"pictures_cut": ("r00",)}
    assert told(llava, rows, max_length=int(findings["pictures_cut"].measures["enough"])) == {}


@pytest.mark.parametrize("text", ["<image>", "<|image_pad|>", "<|vision_start|>", "[IMG]", "<|image_1|>", "<img>"])
def test_a_tag_in_a_text_stays_text_and_is_told(llava: Any, text: str) -> None:
    rows = pictured({3: []}, r3={"prompt": f"{text} What is it?"}, r5={"completion": f"It is {text}."})
    data = seen(llava, SFT, rows)
    assert found(data)["picture_tags_in_text"].ids == ("r03", "r05")
    picture = llava.convert_tokens_to_ids("<image>")
    assert [row.prompt_ids.count(picture) for row in data.rows.first] == [4, 4, 4, 0, 4, 4, 4, 4]
    assert sum(row.completion_ids.count(picture) for row in data.rows.first) == 0


def test_a_mark_without_its_picture_is_told(llava: Any) -> None:
    rows = pictured({3: []}, r3={"prompt": f"{MARK}What is it?"})
    assert told(llava, rows)["mark_without_picture"].ids == ("r03",)


def test_rows_without_pictures_among_others_are_told_and_are_worse_where_weights_are_shared_out(
    llava: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pictured({1: [], 6: []})
    assert (told(llava, rows)["rows_without_pictures"].ids, told(llava, rows)["rows_without_pictures"].severity) == (
        ("r01", "r06"),
        "note",
    )
    monkeypatch.setattr("trainers.preflight.pictures.sharded", lambda: True)
    assert told(llava, rows)["rows_without_pictures"].severity == "major"


def test_a_vision_model_given_no_picture_is_told_and_a_text_model_given_some(llava: Any, tiny_model: Path) -> None:
    from trainers.models import load_tokenizer

    none = pictured({at: [] for at in range(8)})
    assert (told(llava, none)["no_pictures"].severity, list(told(llava, none))) == ("major", ["no_pictures"])
    blind = told(load_tokenizer(tiny_model), pictured({2: [], 3: []}))["pictures_not_read"]
    assert (blind.count, blind.severity) == (6, "critical")


def test_what_stops_plain_trl_is_told_with_the_updates_before_it(llava: Any) -> None:
    rows = pictured({5: ["gone.png"]}, r6={"prompt": "What is <image> here?"})
    labels = [at % 2 == 0 for at in range(rows.height)]
    unary = conform(rows.with_columns(label=pl.Series(labels)), RecordType.UNPAIRED)
    data = seen(llava, RecordType.UNPAIRED, unary, per_device_batch=2, gradient_accumulation=1)
    stops = {one.check: one for one in plain_trl.look(data, plain_trl.plain(data))}
    assert (stops["pictures_opened_late"].ids, stops["pictures_opened_late"].measures) == (
        ("r05",),
        {"updates_before": 2},
    )
    assert stops["text_becomes_a_picture"].ids == ("r06",)


def test_rows_of_a_file_are_let_in_by_the_gate_and_what_it_refused_is_told(
    tiny_vlm: Path, tiny_model: Path, folder: Path
) -> None:
    lines = [
        "image,caption",
        *(f"{name}.png,It is red {at}." for at, name in enumerate(["square", "wide", "cut", "gone"])),
    ]
    (folder / "captions.csv").write_text("\n".join(lines), encoding="utf-8")
    (checked,) = preflight(folder / "captions.csv", model=tiny_vlm)
    refused = {one.check: one for one in checked.preflight.findings}["picture_missing"]
    assert (refused.ids, refused.measures["refused"]) == (
        ("captions.csv:4", "captions.csv:5"),
        {"truncated": 1, "not_there": 1},
    )
    assert checked.preflight.figures["pictures"]["count"] == 2
    (blind,) = preflight(folder / "captions.csv", model=tiny_model)
    assert {one.check: one.severity for one in blind.preflight.findings}["pictures_not_read"] == "critical"


def test_a_picture_is_looked_for_beside_its_data_file_and_a_held_out_one_beside_its_own(
    tiny_vlm: Path, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image")
    for at, split in enumerate(("photos/train", "photos/more", "held")):
        (tmp_path / split).mkdir(parents=True)
        image.new("RGB", (40 + 8 * at, 40), (200, 30, 30)).save(tmp_path / split / "x.png")
        line = {"file_name": "x.png", "text": f"It is red {at}."}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    (checked,) = preflight(tmp_path / "photos", model=tiny_vlm, held_out=tmp_path / "held" / "metadata.jsonl")
    assert "picture_missing" not in {one.check for one in checked.preflight.findings}
    assert checked.preflight.figures["pictures"]["count"] == 2
    assert checked.seen.held_out is not None
    assert (len(checked.seen.held_out), dict(checked.seen.held_out.dropped)) == (1, {})


def test_one_row_shows_where_its_pictures_stand(llava: Any) -> None:
    data = seen(llava, SFT, pictured({1: ["square.png", "wide.png"], 2: ["gone.png"]}))
    shown = show(data, "r01")
    assert shown is not None
    spans = [(span.text, span.marker) for span in shown.sides["completion"][:4]]
    assert spans == [("<|im_start|>", True), ("user\n", False), ("<image> x 8", True), ("What colour is it, 1?", False)]
    out = io.StringIO()
    printed(shown.record(), Console(file=out, width=200, no_color=True))
    assert "picture 1: square.png, 40 x 40 pixels, 4 tokens" in out.getvalue()
    lost = show(data, "r02")
    assert lost is not None
    assert lost.facts["pictures"] == [{"uri": "gone.png", "reason": "picture_missing"}]
    assert lost.facts["dropped"] == "picture_missing"


def test_a_stage_may_insist_on_findings_about_pictures() -> None:
    known = checks()
    assert {"picture_missing", "picture_broken", "pictures_cut", "rows_without_pictures"} <= set(known)
    assert all(one.threads for one in known.values() if one.family == "pictures" and one.name.startswith("rows_"))
