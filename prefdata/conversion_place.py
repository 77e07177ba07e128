"""Where a converted dataset goes: one file, or a folder with a file for every split."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from prefdata.errors import RecipeError
from prefdata.formats.core import Container, Format, data_file
from prefdata.formats.export import SUFFIX
from prefdata.formats.files import input_files

_SUFFIXES: Mapping[str, Container] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet"}
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


class Place:
    """Where the output goes: one file, or a folder with a file for every split."""

    def __init__(self, out: Path, target: Format, path: str | Path | Sequence[str | Path]) -> None:
        self.out = out
        self.target = target
        self.folder = out.suffix.lower() not in _SUFFIXES
        if out.suffix.lower() in (".gz", ".zip", ".zst", ".csv", ".xlsx"):
            raise RecipeError(f"{out.name}: written are {' '.join(_SUFFIXES)}, or a folder")
        if self.folder and out.exists() and not out.is_dir():
            raise RecipeError(f"{out}: is a file; give a folder, or a name that ends in {' '.join(_SUFFIXES)}")
        if not self.folder and out.is_dir():
            raise RecipeError(f"{out}: is a folder, although it ends like a file; give another name")
        self.container: Container = target.container if self.folder else _SUFFIXES[out.suffix.lower()]
        self.parent = out if self.folder else out.parent
        taken = {source.path.resolve() for source in input_files(path)}
        if not self.folder and out.resolve() in taken:
            raise RecipeError(f"{out}: is the input itself; give another name")
        if self.folder and any(one.is_relative_to(out.resolve()) for one in taken):
            raise RecipeError(f"{out}: holds the input; give another folder")

    def file(self, split: str) -> Path:
        return self.out / data_file(self.target, split, SUFFIX[self.container]) if self.folder else self.out

    def name(self, split: str) -> str:
        """The same from the folder on."""
        return self.file(split).relative_to(self.parent).as_posix()

    def beside(self, name: str) -> Path:
        """`name` in the folder; beside a single file with that file's name in front, so that nothing is overwritten."""
        return self.out / name if self.folder else self.out.with_name(f"{self.out.stem}.{name}")

    def split(self, file: str) -> str:
        """The split that a file of the input belongs to, by its name, as Hugging Face's datasets tell it."""
        if not self.folder:
            return self.out.stem
        name = PurePosixPath(file.rpartition("!")[2]).name
        stem = name.removesuffix(".gz").rpartition(".")[0] or name
        return _SHARD.sub("", stem)
