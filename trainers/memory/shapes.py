"""The shape of a language model, from its config.json or from a table of known models; no weights are needed.

What a shape knows is what memory depends on: counts of parameters by part. Dense decoders of the Llama kind only, alone
or behind a vision tower (`vision`).
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefdata.errors import InputError, PrefdataError, RecipeError, nearest
from trainers.memory import vision
from trainers.memory.vision import Vision

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""`model_type` of the configs whose layers the closed form describes: grouped attention, gated MLP, RMSNorm."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a decoder; counts are parameters."""

    name: str
    family: str
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    tied: bool
    """Whether the head is the embedding."""
    attention_bias: bool = False
    """Whether query, key and value projections have biases (Qwen2)."""
    vision: Vision | None = None
    """What reads pictures; null for a text model."""

    @property
    def query(self) -> int:
        """Width of all query heads together; the hidden size in most models."""
        return self.heads * self.head_size

    @property
    def key(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_size

    @property
    def linear(self) -> int:
        """Weights of the seven linear modules of one layer: what LoRA adapts and QLoRA quantises."""
        return 2 * self.hidden * (self.query + self.key) + 3 * self.hidden * self.intermediate

    @property
    def layer(self) -> int:
        """All parameters of one layer."""
        biases = self.query + 2 * self.key if self.attention_bias else 0
        head_norms = 2 * self.head_size if self.family == "qwen3" else 0
        return self.linear + 2 * self.hidden + biases + head_norms

    @property
    def embedding(self) -> int:
        """Parameters of the embedding; the head has as many, unless it is the embedding."""
        return self.vocabulary * self.hidden

    @property
    def body(self) -> int:
        """Parameters of everything but embedding and head."""
        return self.layers * self.layer + self.hidden

    @property
    def parameters(self) -> int:
        """Parameters of the whole model."""
        seeing = self.vision.parameters if self.vision is not None else 0
        return self.body + self.embedding * (1 if self.tied else 2) + seeing

    @property
    def modules(self) -> Mapping[str, tuple[int, int]]:
        """Name of each linear module of a layer -> width of its input and of its output."""
        h, q, k, f = self.hidden, self.query, self.key, self.intermediate
        return {
            "q_proj": (h, q),
            "k_proj": (h, k),
            "v_proj": (h, k),
            "o_proj": (q, h),
            "gate_proj": (h, f),
            "up_proj": (h, f),
            "down_proj": (f, h),
        }

    def adapter(self, rank: int, *, layers: int, targets: Collection[str] | None = None) -> int:
        """Parameters of a LoRA adapter on the linear modules (those of `targets`) of so many layers."""
        return layers * rank * sum(sum(self.modules[name]) for name in self.targets(targets))

    def magnitudes(self, *, layers: int, targets: Collection[str] | None = None) -> int:
        """What DoRA trains beyond LoRA: one number an output of each adapted module."""
        return layers * sum(self.modules[name][1] for name in self.targets(targets))

    def targets(self, names: Collection[str] | None) -> list[str]:
        """The linear modules that are meant; all without names. Names that no layer has are passed over."""
        return [name for name in self.modules if names is None or name in names]


def _config(
    family: str,
    vocabulary: int,
    hidden: int,
    intermediate: int,
    layers: int,
    heads: int,
    kv: int,
    tied: bool,
    **more: Any,
) -> dict[str, Any]:
    return {
        "model_type": family,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "tie_word_embeddings": tied,
        **more,
    }


KNOWN: Mapping[str, Mapping[str, Any]] = {
    **vision.KNOWN,
    "smollm2-135m": _config("llama", 49152, 576, 1536, 30, 9, 3, True),
    "smollm2-360m": _config("llama", 49152, 960, 2560, 32, 15, 5, True),
    "smollm2-1.7b": _config("llama", 49152, 2048, 8192, 24, 32, 32, True),
    "llama-3.2-1b": _config("llama", 128256, 2048, 8192, 16, 32, 8, True),
    "llama-3.2-3b": _config("llama", 128256, 3072, 8192, 28, 24, 8, True),
    "llama-3.1-8b": _config("llama", 128256, 4096, 14336, 32, 32, 8, False),
    "llama-3.1-70b": _config("llama", 128256, 8192, 28672, 80, 64, 8, False),
    "mistral-7b-v0.3": _config("mistral", 32768, 4096, 14336, 32, 32, 8, False),
    "qwen2.5-0.5b": _config("qwen2", 151936, 896, 4864, 24, 14, 2, True),
    "qwen2.5-1.5b": _config("qwen2", 151936, 1536, 8960, 28, 12, 2, True),
    "qwen2.5-3b": _config("qwen2", 151936, 2048, 11008, 36, 16, 2, True),
    "qwen2.5-7b": _config("qwen2", 152064, 3584, 18944, 28, 28, 4, False),
    "qwen2.5-14b": _config("qwen2", 152064, 5120, 13824, 48, 40, 8, False),
    "qwen2.5-32b": _config("qwen2", 152064, 5120, 27648, 64, 40, 8, False),
    "qwen2.5-72b": _config("qwen2", 152064, 8192, 29568, 80, 64, 8, False),
    "qwen3-0.6b": _config("qwen3", 151936, 1024, 3072, 28, 16, 8, True, head_dim=128),
    "qwen3-1.7b": _config("qwen3", 151936, 2048, 6144, 28, 16, 8, True, head_dim=128),
    "qwen3-4b": _config("qwen3", 151936, 2560, 9728, 36, 32, 8, True, head_dim=128),
    "qwen3-8b": _config("qwen3", 151936, 4096, 12288, 36, 32, 8, False, head_dim=128),
}
"""Published configs by name, as far as memory depends on them; a name matches with or without owner and `-instruct`."""


def config_of(model: str | Path, *, root: Path | None = None) -> tuple[str, Mapping[str, Any]]:
    """Name and config of `model`: a local folder, a finished stage, a pulled model, or a name of the table.

    Nothing is fetched: raises RecipeError for a hub id that is neither in the table nor on this machine.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.name, _read(_base_folder(folder, root=root))
    name = str(model).rpartition("/")[2].partition("@")[0].lower()
    known = name if name in KNOWN else name.removesuffix("-instruct").removesuffix("-it").removesuffix("-base")
    known = known.removesuffix("-hf")
    known = known.removeprefix("meta-")
    if known in KNOWN:
        return known, KNOWN[known]
    for place in _pulled(str(model), root):
        if (place / "config.json").is_file():
            return str(model), _read(place)
    raise RecipeError(
        f"model {model}: not a folder, not pulled, and not a known shape; {nearest(name, KNOWN)}; "
        "or name a folder that holds its config.json (no weights are needed)"
    )


def shape_of(model: str | Path, *, root: Path | None = None) -> Shape:
    """The shape of `model`; see `config_of` for what that may be.

    Raises RecipeError for a family that the closed form does not describe, InputError for a config without its sizes.
    """
    name, config = config_of(model, root=root)
    return from_config(config, name=name)


def scorer_parameters(model: str | Path, *, root: Path | None = None) -> int:
    """Parameters of a reward model, with one output in place of a head; of its weight files where its family is none of
    FAMILIES, and 0 where there are none to be found."""
    try:
        shape = shape_of(model, root=root)
    except PrefdataError:
        return sum(_stored(file) for file in sorted(Path(model).expanduser().glob("*.safetensors")))
    return shape.body + shape.embedding + shape.hidden


def _stored(file: Path) -> int:
    """Numbers that a safetensors file holds, from its header."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(math.prod(facts["shape"]) for name, facts in header.items() if name != "__metadata__")


def from_config(config: Mapping[str, Any], *, name: str) -> Shape:
    """The shape that a config.json describes."""
    family = str(config.get("model_type"))
    if family in vision.TEXT_FAMILIES:
        # published configs of Qwen2.5-VL have the decoder's sizes at the top
        said = {**config, "model_type": vision.TEXT_FAMILIES[family], **(config.get("text_config") or {})}
        if said["model_type"] == "qwen2_5_vl_text":
            said["model_type"] = "qwen2"
        text = from_config(said, name=name)
        return dataclasses.replace(text, vision=vision.vision_of(config, out=text.hidden, name=name))
    if family not in FAMILIES:
        raise RecipeError(
            f"model {name}: model_type {family}; the closed form knows {', '.join(FAMILIES)}, and of those "
            f"that read pictures {', '.join(vision.TEXT_FAMILIES)}. Estimate one of these of "
            "about the same size (--model qwen2.5-7b), or train two steps (max_steps: 2) and watch"
        )
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        return Shape(
            name=name,
            family=family,
            vocabulary=int(config["vocab_size"]),
            hidden=hidden,
            intermediate=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            tied=bool(config.get("tie_word_embeddings", False)),
            attention_bias=family == "qwen2",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"model {name}: its config.json lacks a size that every decoder has ({error})") from error


def _read(folder: Path) -> Mapping[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise InputError(f"model folder {folder.name}: no config.json")
    try:
        found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"model folder {folder.name}: config.json is not JSON") from error
    return found


def _base_folder(folder: Path, *, root: Path | None) -> Path:
    """The folder whose config.json tells the shape: of a finished stage the model it was trained to, or from."""
    record = folder / "stage.json"
    if not record.is_file():
        return folder
    if (folder / "model" / "config.json").is_file():
        return folder / "model"
    said = json.loads(record.read_text(encoding="utf-8"))
    if said.get("parent"):
        return _base_folder(folder / said["parent"]["path"], root=root)
    model = str(said["model"])
    if Path(model).expanduser().is_dir():
        return Path(model).expanduser()
    for place in _pulled(model, root):
        if (place / "config.json").is_file():
            return place
    raise InputError(f"{folder.name}: the model it was trained from, {model}, is not on this machine")


def _pulled(model: str, root: Path | None) -> list[Path]:
    """Folders where `prefdata model pull` and a recipe's hub id keep a model."""
    home = root or Path(os.environ.get("PREFDATA_HOME") or Path.home() / ".cache" / "prefdata")
    hub, _, rest = model.rpartition(":")
    return [home / "models" / model, home / "models" / (hub or "hf") / rest.replace("/", "--")]
