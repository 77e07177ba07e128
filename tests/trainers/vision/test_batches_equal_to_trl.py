"""What a trainer reads of rows with pictures is what TRL's own collators make of them, tensor by tensor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from prefdata.schema import RecordType
from trainers.dpo import DPO, DPOSettings
from trainers.kto import KTO, KTOSettings
from trainers.method import Reads
from trainers.sft import SFT, SFTSettings
from trainers.vision.collating import seeing

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def tokenizer(tiny_vlm: Path, coloured: Path) -> Any:
    from trainers.start import open_start

    return open_start(tiny_vlm).tokenizer(coloured)


def rows_of(frame: pl.DataFrame, folder: Path, mark: str) -> list[dict[str, Any]]:
    """The rows as a script for TRL has them: pictures opened, a block for each."""
    from PIL import Image

    found = []
    for row in frame.iter_rows(named=True):
        images = [Image.open(folder / image["uri"]).convert("RGB") for image in row["images"] or []]
        sides = {
            side: [{"role": turn["role"], "content": turn["content"].replace(mark, "")} for turn in row[side]]
            for side in ("prompt", "completion", "chosen", "rejected")
            if side in row
        }
        found.append({"images": images, **sides, **({"label": row["label"]} if "label" in row else {})})
    return found


def ours(method: Any, settings: Any, frame: pl.DataFrame, tokenizer: Any, kind: Any, **options: Any) -> Any:
    """Our collator over the rows, and how many there are."""
    rows = method.encode(frame, tokenizer, settings, name="rows")
    plan: Any = SimpleNamespace(tokenizer=tokenizer, settings=settings)
    dataset = [{"label": label} for label in rows.columns.get("label", [None] * len(rows))]
    reads = seeing(plan, Reads(dataset=dataset), list(rows.sides.values()), kind=kind, **options)
    assert reads.arguments["max_length"] is None
    return reads.options["data_collator"](reads.dataset)


def compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    import torch

    assert sorted(found) == sorted(expected)
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def test_answered_rows(tiny_vlm: Path, tokenizer: Any, coloured: Path, made: SimpleNamespace) -> None:
    from transformers import AutoProcessor
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    frame = made.answered(range(3))
    theirs = DataCollatorForVisionLanguageModeling(AutoProcessor.from_pretrained(tiny_vlm), completion_only_loss=True)
    expected = theirs(rows_of(frame, coloured, made.MARK))
    compare(ours(SFT(), SFTSettings(), frame, tokenizer, "answered"), expected)


def test_pairs(tiny_vlm: Path, tokenizer: Any, coloured: Path, made: SimpleNamespace) -> None:
    from transformers import AutoProcessor
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

    frame = made.compared(range(3))
    expected = DataCollatorForVisionPreference(AutoProcessor.from_pretrained(tiny_vlm))(
        rows_of(frame, coloured, made.MARK)
    )
    compare(ours(DPO(), DPOSettings(), frame, tokenizer, "pairs"), expected)


def test_labelled_rows_with_their_estimate_of_the_kl_term(
    tiny_vlm: Path, tokenizer: Any, coloured: Path, made: SimpleNamespace
) -> None:
    from transformers import AutoProcessor
    from trl.trainer.kto_trainer import DataCollatorForVisionUnpairedPreference

    frame = made.labelled(range(2))
    expected = DataCollatorForVisionUnpairedPreference(AutoProcessor.from_pretrained(tiny_vlm))(
        rows_of(frame, coloured, made.MARK)
    )
    compare(ours(KTO(), KTOSettings(), frame, tokenizer, "labelled", kl=True), expected)


def test_rows_with_and_without_pictures_in_one_batch(
    tiny_vlm: Path, tokenizer: Any, coloured: Path, made: SimpleNamespace
) -> None:
    from transformers import AutoProcessor
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    bare = made.shown([{"asked": "Which colours are there?", "pictures": [], "completion": "red"}], RecordType.SFT)
    frame = pl.concat([made.answered(range(1)), bare.with_columns(id=pl.lit("bare"))])
    theirs = DataCollatorForVisionLanguageModeling(AutoProcessor.from_pretrained(tiny_vlm), completion_only_loss=True)
    expected = theirs(rows_of(frame, coloured, made.MARK))
    compare(ours(SFT(), SFTSettings(), frame, tokenizer, "answered"), expected)
    alone = ours(SFT(), SFTSettings(), bare, tokenizer, "answered")
    assert sorted(alone) == ["attention_mask", "input_ids", "labels"]


def test_a_model_that_reads_text_alone_is_given_what_it_was(tiny_model: Path) -> None:
    from trainers.start import open_start

    plan: Any = SimpleNamespace(tokenizer=open_start(tiny_model).tokenizer(), settings=SFTSettings())
    reads = Reads(dataset=[{"input_ids": [1]}], arguments={"packing": True})
    assert seeing(plan, reads, [[]], kind="answered") is reads
