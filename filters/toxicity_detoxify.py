"""The Detoxify classifier (unitary, Apache-2.0) as a scorer: the real class, on official weights or a local checkpoint.

Detoxify's checkpoints are pickles, and its loader unpickles them without restraint. So a local one is refused unread
unless its SHA-256 is the one the user gave; then its weights are read by torch's restricted loader, and what the
class gets is a copy that we wrote: tensors and plain values only.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl

from filters.letters import without_placeholders
from prefdata.errors import InputError, MissingExtraError, RecipeError
from prefdata.judging import SCORE_DECIMALS, Reads

MAIN = "toxicity"
"""The class of every official model that is the main score."""


@dataclass(frozen=True, kw_only=True)
class DetoxifyToxicity:
    """All classes of a Detoxify model, `toxicity` first."""

    weights: str
    checkpoint: str | None
    sha256: str | None
    config: str | None
    batch_rows: int
    device: str

    name: ClassVar[str] = "toxicity"
    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[Reads]] = frozenset({"text"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    def parameters(self) -> Mapping[str, Any]:
        """Which model: the official name, or the hash of the checkpoint and of its folder. No paths, no device."""
        if self.checkpoint is None:
            return {"model": "detoxify", "weights": self.weights}
        return {"model": "detoxify", "sha256": str(self.sha256).lower(), "config": _folder_hash(Path(str(self.config)))}

    def score(self, items: pl.DataFrame) -> pl.DataFrame:
        """Float32 columns in [0, 1], rounded to 1e-4: `toxicity`, then the model's other classes. Null text is null.

        Texts go through the model by length, so that a batch holds little padding; the rows come back in their order.
        """
        model = _model(self.weights, self.checkpoint, self.sha256, self.config, self.device)
        others = [name for name in model.class_names if name != MAIN]
        if MAIN not in model.class_names:
            raise InputError(f"the checkpoint has the classes {', '.join(others)}; one must be {MAIN!r} or 'toxic'")
        texts = (
            items.select(text=without_placeholders(pl.col("text")))
            .with_row_index("row")
            .drop_nulls("text")
            .sort(pl.col("text").str.len_chars(), "row")
        )
        found: dict[str, list[float]] = {name: [] for name in (MAIN, *others)}
        for batch in texts.iter_slices(self.batch_rows):
            answers = predict(model, batch["text"].to_list())
            for name, column in found.items():
                column.extend(answers[name])
        scores = texts.select("row").hstack(
            pl.DataFrame(found, schema=dict.fromkeys(found, pl.Float64)).select(
                pl.all().fill_nan(None).round(SCORE_DECIMALS).cast(pl.Float32)
            )
        )
        rows = items.select(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        return rows.join(scores, on="row", how="left", maintain_order="left").drop("row")


def predict(model: Any, texts: list[str]) -> dict[str, list[float]]:
    """Class -> a score for each text. `Detoxify.predict` itself fails on no text and gives bare floats for one."""
    if not texts:
        return {name: [] for name in model.class_names}
    answers = model.predict(texts)
    return {name: [float(values)] if isinstance(values, float) else list(values) for name, values in answers.items()}


@cache
def _model(weights: str, checkpoint: str | None, sha256: str | None, config: str | None, device: str) -> Any:
    """A `Detoxify`, loaded once for each source."""
    try:
        from detoxify import Detoxify
    except ImportError as error:
        raise MissingExtraError("toxicity with `model: detoxify`", "detoxify") from error
    if checkpoint is None:
        try:
            return Detoxify(weights, device=device)
        except (OSError, ValueError) as error:  # torch.hub raises URLError, transformers OSError or ValueError
            raise InputError(
                f"the official Detoxify weights {weights!r} cannot be fetched ({type(error).__name__}): they need a "
                "network once; without one give a local `checkpoint` with its `sha256` and its `config` folder, "
                "or take `model: lexical`"
            ) from None
    with tempfile.TemporaryDirectory(prefix="prefdata-detoxify-") as folder:
        copy = localized_checkpoint(Path(checkpoint), sha256=str(sha256), config=Path(str(config)), folder=Path(folder))
        # Loads with `weights_only` off, which nothing from outside reaches: the file is the copy just written.
        return Detoxify(checkpoint=str(copy), huggingface_config_path=str(config), device=device)


def localized_checkpoint(checkpoint: Path, *, sha256: str, config: Path, folder: Path) -> Path:
    """A copy of `checkpoint` in `folder` that loads without a hub.

    The published files name a hub model as `model_type`, and transformers asks for it before Detoxify looks at the
    local folder (unitaryai/detoxify 0.5.4); in the copy it is `config`. Raises InputError where the file is not there,
    has another SHA-256 (it is not unpickled then), or is not a Detoxify checkpoint.
    """
    import torch

    if not checkpoint.is_file():
        raise InputError(f"checkpoint {checkpoint.name}: no such file")
    if not (config / "config.json").is_file():
        raise InputError(f"config {config.name}: expected a folder with config.json and the tokenizer's files")
    content = checkpoint.read_bytes()  # read once: what is hashed is what is loaded
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise InputError(
            f"checkpoint {checkpoint.name}: its SHA-256 is {found}, expected {sha256.lower()}; it was not opened. "
            "A checkpoint is a pickle and can run code: give the hash that its publisher names"
        )
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (torch.serialization.pickle.UnpicklingError, RuntimeError, ValueError, OSError, EOFError) as error:
        raise InputError(
            f"checkpoint {checkpoint.name}: holds more than tensors and plain values, or is damaged "
            f"({type(error).__name__}); save it again with `config` and `state_dict` only"
        ) from None
    try:
        arguments = loaded["config"]["arch"]["args"]
        plain = {
            "config": {
                "dataset": {"args": {"classes": list(loaded["config"]["dataset"]["args"]["classes"])}},
                "arch": {"args": {**arguments, "model_type": str(config)}},
            },
            "state_dict": loaded["state_dict"],
        }
        model_name, tokenizer_name = str(arguments["model_name"]), str(arguments["tokenizer_name"])
    except (KeyError, TypeError):
        raise InputError(
            f"checkpoint {checkpoint.name}: no Detoxify checkpoint; expected `config` (dataset.args.classes, "
            "arch.args) and `state_dict`"
        ) from None
    if not (model_name.endswith("ForSequenceClassification") and "Tokenizer" in tokenizer_name):
        raise InputError(f"checkpoint {checkpoint.name}: names no classifier and tokenizer of transformers")
    copy = folder / "localized.ckpt"
    torch.save(plain, copy)
    return copy


def _folder_hash(folder: Path) -> str:
    """Hash over the names and contents of the files of a config folder."""
    if not folder.is_dir():
        raise RecipeError(f"toxicity: config: {folder.name} is not a folder")
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    lines = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
