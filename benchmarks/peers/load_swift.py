"""Loads exports with ms-swift's own dataset code, up to the encoded row: what is accepted, its label, the trained text.

    python load_swift.py JOBS.json RESULTS.json

`swift.dataset.load_dataset` with its defaults (rows in error are dropped), the KTO preparation of its pipeline, the
dropping of rows that cannot be encoded, then `template.encode` in the mode that `swift rlhf` sets for the type.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["MODELSCOPE_CACHE"] = tempfile.mkdtemp(prefix="swift-cache-")  # it keeps mapped rows by name

import jobs
from swift.dataset import load_dataset
from swift.dataset.utils import AddLengthPreprocessor
from swift.model import get_processor
from swift.pipelines.train.kto import prepare_kto_dataset
from swift.template import get_template

MODES = {"sft": "train", "preference": "rlhf", "unpaired": "kto", "prompt": "train"}
LOSS = {"sft": "default", "preference": "last_round", "unpaired": "last_round", "prompt": "default"}
"""`--loss_scale` as `swift sft` and `swift rlhf` set it when nobody does."""

KTO = SimpleNamespace(
    loss_type="kto",
    per_device_train_batch_size=4,
    gradient_accumulation_steps=1,
    dataset_num_proc=1,
    data_seed=1,
    desirable_weight=1.0,
    undesirable_weight=1.0,
)


def load(job: dict[str, Any], path: Path) -> dict[str, Any]:
    """Rows as the trainer of the job's type gets them."""
    template = _template(job["model"], job["type"], job.get("settings", {}))
    tokenizer = template.tokenizer
    given = _rows_in(path)
    data, _ = load_dataset([str(path)], num_proc=1, load_from_cache_file=False)
    loaded = len(data)
    if job["type"] == "unpaired":
        data, _ = prepare_kto_dataset(KTO, data, None)
    data = AddLengthPreprocessor(template=template)(data, num_proc=1, load_from_cache_file=False)
    rows = []
    for row in data:
        encoded = template.encode(row)
        if job["type"] == "sft":
            sides = {"completion": jobs.labelled(tokenizer, encoded["input_ids"], encoded["labels"])}
        elif job["type"] == "preference":
            sides = {
                name: jobs.labelled(tokenizer, encoded[f"{name}_input_ids"], encoded[f"{name}_labels"])
                for name in ("chosen", "rejected")
            }
        elif job["type"] == "unpaired":
            text = jobs.labelled(tokenizer, encoded["chosen_input_ids"], encoded["chosen_labels"])
            sides = {"completion": text}
        else:
            sides = {"prompt": {"context": jobs.decode(tokenizer, encoded["input_ids"]), "trained": ""}}
        rows.append({"label": encoded.get("label"), "sides": sides})
    return {"rows_in": given, "rows_loaded": loaded, "rows": rows}


def _template(model: str, kind: str, settings: dict[str, Any]) -> Any:
    vision = (Path(model) / "processor_config.json").is_file()
    name = "qwen2_5_vl" if vision else "qwen2_5"
    processor = get_processor(model, model_type=name if vision else "qwen2")
    options = {"loss_scale": LOSS[kind], "template_type": name, "max_length": None} | settings
    template = get_template(processor, **options)
    template.set_mode(MODES[kind])
    return template


def _rows_in(path: Path) -> int:
    import datasets

    builder = {".parquet": "parquet"}.get(path.suffix, "json")
    with tempfile.TemporaryDirectory() as cache:
        return len(datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=cache))


if __name__ == "__main__":
    if "--traceback" not in sys.argv:
        logging.disable(logging.ERROR)
    jobs.run("ms-swift", load)
