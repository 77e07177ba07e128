"""A CLIP model through open_clip's public API: by name with published weights, or from a local folder.

Weights are safetensors, wherever they come from; a pickle is refused unread. Names reach the network (or its cache),
a folder never does. What of a model's answers depends on is told by hashes, never by paths.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filters.scripts import ANY
from prefdata.errors import InputError, MissingExtraError, RecipeError, nearest

HUB = "hf-hub:"
"""What a name of open_clip begins with where config and weights come from a repository of the Hugging Face hub."""
HUB_WEIGHTS = "open_clip_model.safetensors"
OWN_CONFIG = "open_clip_config.json"
"""The config of a folder as open_clip's `push_to_hf_hub` writes it: `model_cfg` and `preprocess_cfg`."""
_ARCHITECTURE = ("embed_dim", "vision_cfg", "text_cfg")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_CODE = ("auto_map", "trust_remote_code")

MULTILINGUAL = ("xlm", "mt5", "nllb", "i18n", "siglip2", "worldwide", "metaclip2", "multilingual", "mclip", "labse")
"""Parts of names of models and tokenizers that have learnt many languages; every other model is taken as English."""


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to embed, and the ways in."""

    model: Any
    preprocess: Any
    """A picture of Pillow -> tensor (3, height, width)."""
    tokenizer: Any
    """Texts -> ids (texts, context_length)."""
    context_length: int
    size: int
    """Pixels of the model's own picture, on its longer side."""
    device: str


@dataclass(frozen=True)
class Origin:
    """Where config and weights are, found but not loaded."""

    architecture: str
    """The name that open_clip knows the config by; of a folder, one that is made of the config's hash."""
    config: Mapping[str, Any]
    """open_clip's model config."""
    preprocess: Mapping[str, Any]
    """Of a folder: what its own config says of size, mean and resizing."""
    weights: Path
    pretrained: str
    """What open_clip is given as `pretrained`: a tag, or a file."""
    quick_gelu: bool
    """Whether the weights were trained with that activation though the architecture's config does not say so."""


def require_clip(what: str) -> None:
    """Raises MissingExtraError where open_clip, torch or Pillow is not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("open_clip", "torch", "PIL")):
        raise MissingExtraError(what, "clip")


def unnamed(model: str | None) -> list[str]:
    """The fault where no model is named: there is none that would do for all pictures."""
    if model is not None and model.strip():
        return []
    return [
        "model: is not given; expected a folder with a config and safetensors, a name of open_clip's as in ViT-B-32 "
        "with its `pretrained`, or hf-hub:OWNER/NAME"
    ]


def faults_of(model: str, pretrained: str | None) -> list[str]:
    """What is wrong with the two settings as far as files tell, without open_clip."""
    faults = []
    folder = Path(model)
    if folder.is_dir():
        try:
            _folder_config(folder)
            _folder_weights(folder, pretrained)
        except InputError as error:
            faults.append(f"model: {error}")
    elif model.startswith(HUB):
        if pretrained is not None:
            faults.append("pretrained: does not go with a model of the hub, which has its own weights")
    elif pretrained is None:
        faults.append(
            f"pretrained: is not given, and {folder.name!r} is no folder with weights of its own; expected a tag of "
            "open_clip's, as in laion2b_s34b_b79k, or a safetensors file"
        )
    return faults


def languages_of(model: str, pretrained: str | None) -> tuple[str, ...]:
    """The languages that a model has learnt, as its names tell: `any` for the multilingual ones, else English.

    Of a folder the names in its config tell, and not its own: a model that moves says of a text what it said.
    """
    if Path(model).is_dir():
        text = _folder_config(Path(model))[0]["text_cfg"]
        names = [str(text.get(key, "")) for key in ("hf_model_name", "hf_tokenizer_name")]
    else:
        names = [model, "" if _is_file(pretrained) else pretrained or ""]
    told = " ".join(names).lower()
    return (ANY,) if any(part in told for part in MULTILINGUAL) else ("en",)


def identity(model: str, pretrained: str | None) -> dict[str, Any]:
    """Which model, as JSON data: its name and tag, the hashes of config and weights, what runs it. No paths."""
    origin = find(model, pretrained)
    named = not Path(model).is_dir()
    return {
        "model": model if named else None,
        "pretrained": pretrained if named and not _is_file(pretrained) else None,
        "weights": _file_hash(origin.weights, _stamp(origin.weights)),
        "config": _json_hash({"model": origin.config, "preprocess": origin.preprocess}),
        "tokenizer": _tokenizer_hash(Path(model)) if not named else None,
        "quick_gelu": origin.quick_gelu,
        "open_clip": version("open_clip_torch"),
    }


def state_of(model: str, pretrained: str | None) -> str:
    """What changes where the files of a folder do; names stand for the same weights as long as a process lives."""
    if not Path(model).is_dir():
        return ""
    files = [_folder_weights(Path(model), pretrained), *_tokenizer_files(Path(model))]
    return _json_hash([_folder_config(Path(model)), [[file.name, _stamp(file)] for file in files]])


def find(model: str, pretrained: str | None) -> Origin:
    """Config and weights of a model, fetched where a name says so.

    Raises InputError or RecipeError: nothing of that name, no safetensors, a config that names code.
    """
    folder = Path(model)
    if folder.is_dir():
        return _of_folder(folder, pretrained)
    return _by_name(model, pretrained)


def load(model: str, pretrained: str | None, device: str) -> Loaded:
    """The model, its picture transform and its tokenizer. Raises as `find` does."""
    require_clip("the filter clip")
    import open_clip

    origin = find(model, pretrained)
    shape = dict(origin.preprocess)
    try:
        with _quiet():
            made, _, preprocess = open_clip.create_model_and_transforms(
                origin.architecture,
                pretrained=None if origin.architecture.startswith(HUB) else origin.pretrained,
                device=device,
                force_quick_gelu=origin.quick_gelu,
                image_mean=shape.get("mean"),
                image_std=shape.get("std"),
                image_interpolation=shape.get("interpolation"),
                image_resize_mode=shape.get("resize_mode"),
            )
            tokenizer = open_clip.get_tokenizer(origin.architecture)
    except Exception as error:  # open_clip, torch, transformers and safetensors raise what they please
        raise InputError(
            f"model {_shown(model)}: config and weights do not load together ({type(error).__name__}); "
            "where its tokenizer is on a hub, it must be fetched once with a network"
        ) from None
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None:
        inner.split_special_tokens = True  # a text that spells a special token is read as text
    made.eval().requires_grad_(False)
    length = int(getattr(tokenizer, "context_length", None) or getattr(made, "context_length", None) or 77)
    side = getattr(made.visual, "image_size", None) or 224
    size = max(side) if isinstance(side, tuple | list) else int(side)
    return Loaded(made, preprocess, tokenizer, length, size, device)


def _of_folder(folder: Path, pretrained: str | None) -> Origin:
    require_clip("the filter clip")
    import open_clip

    told, preprocess = _folder_config(folder)
    weights = _folder_weights(folder, pretrained)
    _refuse_code_of_tokenizer(folder)
    config = told
    if told["text_cfg"].get("hf_tokenizer_name") and _tokenizer_files(folder):
        config = {**told, "text_cfg": {**told["text_cfg"], "hf_tokenizer_name": str(folder)}}
    architecture = f"prefdata-{_json_hash(config)[:16]}"
    if architecture not in open_clip.list_models():
        with tempfile.TemporaryDirectory(prefix="prefdata-clip-") as place:
            file = Path(place) / f"{architecture}.json"
            file.write_text(json.dumps(config), encoding="utf-8")
            open_clip.add_model_config(file)  # it is read at once, and a file that is gone is passed over later
    return Origin(architecture, told, preprocess, weights, str(weights), False)


@cache
def _by_name(model: str, pretrained: str | None) -> Origin:
    require_clip("the filter clip")
    import open_clip

    if model.startswith(HUB):
        from huggingface_hub import hf_hub_download

        config = _fetched(model, lambda: open_clip.get_model_config(model))
        refuse_code(config, model)
        weights = _fetched(model, lambda: hf_hub_download(model.removeprefix(HUB), HUB_WEIGHTS))
        return Origin(model, config, {}, Path(weights), "", False)
    if model not in open_clip.list_models():
        raise RecipeError(f"model: {_shown(model)!r} is no folder and no model of open_clip; {_near(model)}")
    config = dict(open_clip.get_model_config(model))
    if pretrained is not None and Path(pretrained).is_file():
        return Origin(model, config, {}, _safe(Path(pretrained)), pretrained, False)
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in tags:
        known = nearest(str(pretrained), tags)
        raise RecipeError(f"pretrained: {_shown(str(pretrained))!r} are no weights of {model}; {known}")
    told = open_clip.get_pretrained_cfg(model, pretrained)
    if config.get("quick_gelu", False) and not told.get("quick_gelu", False):
        raise RecipeError(f"pretrained: {pretrained} was trained without QuickGELU, which {model} has: take the other")
    weights = _fetched(f"{model} {pretrained}", lambda: open_clip.download_pretrained(told))
    return Origin(model, config, {}, _safe(Path(weights)), str(pretrained), bool(told.get("quick_gelu", False)))


def refuse_code(config: Any, name: str) -> None:
    """Raises InputError where a config asks for code of its own to be run, wherever in it."""
    if isinstance(config, Mapping):
        asked = [key for key in _CODE if config.get(key)]
        if asked:
            raise InputError(f"{_shown(name)}: its config has {asked[0]}, which runs code of the model's; refused")
        for value in config.values():
            refuse_code(value, name)
    elif isinstance(config, list):
        for value in config:
            refuse_code(value, name)


def _folder_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model config and the preprocess config of a folder. Raises InputError where there is not one."""
    own = folder / OWN_CONFIG
    files = [own] if own.is_file() else sorted(folder.glob("*.json"))
    found = []
    for file in files:
        read = _json(file)
        config = read.get("model_cfg", read) if isinstance(read, dict) else {}
        if isinstance(config, dict) and all(isinstance(config.get(key), dict | int) for key in _ARCHITECTURE):
            found.append((config, read.get("preprocess_cfg") or {}))
    if len(found) != 1:
        raise InputError(
            f"{folder.name}: {len(found)} model configs, expected one: {OWN_CONFIG}, or a JSON file with "
            f"{', '.join(_ARCHITECTURE)}"
        )
    refuse_code(found[0][0], folder.name)
    return found[0]


def _folder_weights(folder: Path, pretrained: str | None) -> Path:
    if pretrained is not None:
        return _safe(Path(pretrained))
    files = sorted(folder.glob("*.safetensors"))
    named = [file for file in files if file.name == HUB_WEIGHTS]
    if len(named or files) == 1:
        return (named or files)[0]
    pickles = [file.name for file in folder.iterdir() if file.suffix in _PICKLES]
    if not files and pickles:
        return _safe(folder / pickles[0])
    raise InputError(f"{folder.name}: {len(files)} safetensors files, expected one, or one called {HUB_WEIGHTS}")


def _is_file(pretrained: str | None) -> bool:
    """Whether `pretrained` names a file and no tag."""
    return pretrained is not None and Path(pretrained).suffix == ".safetensors"


def _safe(file: Path) -> Path:
    """`file` itself, a safetensors file that is there."""
    if file.suffix != ".safetensors":
        raise InputError(
            f"weights {file.name}: expected safetensors. Other formats are pickles, which can run code: it was not "
            "opened; save its state dict with safetensors.torch.save_file"
        )
    if not file.is_file():
        raise InputError(f"weights {file.name}: no such file")
    return file


def _fetched(name: str, fetch: Any) -> Any:
    """What `fetch` gives; its failures, of whatever kind, say that a network is needed."""
    try:
        with _quiet():
            found = fetch()
    except Exception as error:  # hubs raise their own, urllib's and the file system's
        raise InputError(
            f"model {_shown(name)}: cannot be fetched as safetensors ({type(error).__name__}); it needs a network "
            "once. Without one give a local folder with its config and its safetensors as `model`"
        ) from None
    if not found:
        raise InputError(f"model {_shown(name)}: the hub has no config or weights for it")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs on the root logger, which would give it a handler for good where it has none."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{file.parent.name}/{file.name}: no JSON ({type(error).__name__})") from None


def _tokenizer_files(folder: Path) -> list[Path]:
    names = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt")
    found = [folder / name for name in names if (folder / name).is_file()]
    return [*found, *sorted(folder.glob("*.model"))]


def _refuse_code_of_tokenizer(folder: Path) -> None:
    for file in _tokenizer_files(folder):
        if file.suffix == ".json":
            refuse_code(_json(file), folder.name)


def _tokenizer_hash(folder: Path) -> str | None:
    files = _tokenizer_files(folder)
    return _json_hash([[file.name, _file_hash(file, _stamp(file))] for file in files]) if files else None


def _stamp(file: Path) -> tuple[int, int]:
    told = file.stat()
    return told.st_size, told.st_mtime_ns


@cache
def _file_hash(file: Path, stamp: tuple[int, int]) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _json_hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _shown(name: str) -> str:
    """A name as it may be told: of a path its last part."""
    return name if name.startswith(HUB) else Path(name).name


def _near(model: str) -> str:
    import difflib

    import open_clip

    close = difflib.get_close_matches(Path(model).name, open_clip.list_models(), n=3, cutoff=0.5)
    return f"near are {', '.join(close)}" if close else "open_clip.list_models() names them"
