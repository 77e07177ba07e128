"""Where a converted dataset goes: one file, or a folder with a file for every split."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import polars as pl

from prefdata.errors import InputError, RecipeError
from prefdata.formats.core import Container, Format, data_file
from prefdata.formats.export import REFUSED_FILE, REFUSED_ROWS, SUFFIX, refused_file
from prefdata.formats.files import input_files
from prefdata.formats.picture_folder import PICTURES, TEXT, split_of
from prefdata.recognition import DATASET_INFO

_SUFFIXES: Mapping[str, Container] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".tar": "tar",
}
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_TAR = re.compile(r"-\d{6}\.tar$")


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
        if (out.suffix.lower() == ".tar") and target.container != "tar":
            raise RecipeError(f"{out.name}: a tar is written as webdataset; `--to webdataset`")
        self.container: Container = target.container if self.folder else _SUFFIXES[out.suffix.lower()]
        self.parent = out if self.folder else out.parent
        sources = input_files(path)
        self.inputs = [source.name for source in sources]
        taken = {source.path.resolve() for source in sources}
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
        if name == REFUSED_FILE:
            return refused_file(self.out, folder=self.folder)
        return self.out / name if self.folder else self.out.with_name(f"{self.out.stem}.{name}")

    def with_entries(self, name: str, text: str) -> str:
        """`text` of the file `name` beside the data, with the entries of other data where it is LLaMA-Factory's
        dataset_info.json, which is one for all. Raises InputError where what is there is none."""
        path = self.beside(name)
        if path.name != DATASET_INFO or not path.is_file():
            return text
        try:
            entries = {**json.loads(path.read_text(encoding="utf-8")), **json.loads(text)}
        except (ValueError, TypeError) as error:
            raise InputError(f"{path.name}: is no JSON object of entries; give another folder") from error
        return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"

    def refused_before(self, splits: Iterable[str]) -> pl.DataFrame:
        """What conversions of other files than these `splits` refused into the same folder; it is kept."""
        path = self.beside(REFUSED_FILE)
        if not (self.folder and path.is_file()):
            return pl.DataFrame(schema=REFUSED_ROWS)
        old = pl.read_parquet(path)
        if old.schema != REFUSED_ROWS:
            raise InputError(f"{path.name}: holds no refused rows; give another folder")
        ours = pl.col("split").is_in(list(splits)) | pl.col("file").is_in(self.inputs)
        return old.filter(~ours.fill_null(False))

    def split(self, file: str) -> str:
        """The split that a file of the input belongs to, by its folders or else its name, as Hugging Face's datasets
        tell it."""
        if not self.folder:
            return self.out.stem
        if (split := split_of(file)) is not None:
            return split
        if PurePosixPath(file).suffix.lower() in (TEXT, *PICTURES):
            return "train"
        name = _TAR.sub("", PurePosixPath(file.rpartition("!")[2]).name.removesuffix(".gz"))
        stem = name.removesuffix(".gz").rpartition(".")[0] or name
        return _SHARD.sub("", stem)
