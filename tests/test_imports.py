"""The import rule, held by reading the imports; and what may not be loaded before it is used."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "trl", "datasets", "datasketch", "scipy", "pandas", "sklearn", "PIL", "open_clip")

LOW = {
    "prefdata.errors",
    "prefdata.schema",
    "prefdata.text",
    "prefdata.io",
    "prefdata.reading",
    "prefdata.judging",
    "prefdata.pictured",
    "prefdata.pictures",
    "prefdata.picturing",
}
PARTS = (
    "prefdata.logs",
    "prefdata.transforms",
    "prefdata.dedup",
    "prefdata.build",
    "prefdata.formats",
    "filters",
    "trainers",
)


@functools.cache
def modules() -> dict[str, Path]:
    found = {}
    for package in ("prefdata", "filters", "trainers"):
        for file in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> set[str]:
    """Modules of ours that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("prefdata", "filters", "trainers")} & set(modules())


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("name", sorted(modules()))
def test_parts_import_only_what_is_below_them(name: str) -> None:
    part = next((part for part in PARTS if inside(name, part)), None)
    allowed_any = part is None and not any(inside(name, low) for low in LOW)
    if allowed_any:
        return
    for other in imports(modules()[name]) - {"prefdata"}:
        is_low = any(inside(other, low) for low in LOW) or other == "prefdata.balance"
        # a set of rated or ranked answers is read by the builders of pairs
        is_low = is_low or (part == "prefdata.formats" and inside(other, "prefdata.build"))
        # text in pictures is searched as text in turns is
        is_low = is_low or (name, other) == ("filters.picture_text", "prefdata.transforms.personal_data")
        assert is_low or (part is not None and inside(other, part)), f"{name} imports {other}"


UPWARDS = (
    "sides",
    "recipe_parts",
    "recipe_settings",
    "recipe_types",
    "recipe_training",
    "recipe",
    "recognition",
    "building",
    "labelling",
    "edited",
    "importing",
    "ingest",
    "sourced",
    "stages",
    "mixture",
    "splitting",
    "rows",
    "training_stages",
    "runner",
    "erase",
    "cli",
)
"""The modules that join the parts into a run: each imports only those before it."""


@pytest.mark.parametrize("name", UPWARDS)
def test_what_joins_the_parts_imports_only_what_stands_before_it(name: str) -> None:
    found = imports(modules()[f"prefdata.{name}"]) & {f"prefdata.{one}" for one in UPWARDS}
    before = {f"prefdata.{one}" for one in UPWARDS[: UPWARDS.index(name)]}
    assert sorted(found - before) == []


@pytest.mark.parametrize("name", sorted(name for name in modules() if name.startswith("prefdata")))
def test_the_data_layer_never_imports_torch(name: str) -> None:
    for node in ast.walk(tree(modules()[name])):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        assert not [one for one in names if one.split(".")[0] in ("torch", "transformers", "trl", "datasets")]


@pytest.mark.parametrize("module", ["prefdata", "prefdata.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(modules()))
def test_every_module_imports(name: str) -> None:
    __import__(name)


def test_nothing_executes_what_it_reads() -> None:
    banned = {"pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"}
    for name, file in modules().items():
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Import):
                assert not banned & {alias.name.split(".")[0] for alias in node.names}, name
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, name
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), name
            elif isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert isinstance(node.value, ast.Constant), name
                assert node.value.value is False, name
