"""Which format a file is in, and which type its rows have: claims of the formats, compared by what they would read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from prefdata import catalogue
from prefdata.errors import InputError, RecipeError
from prefdata.formats.core import PLACES, ROW, Format
from prefdata.formats.files import input_files
from prefdata.formats.messages import READ
from prefdata.schema import RecordType

SAMPLE_ROWS = 1_000
DATASET_INFO = "dataset_info.json"
_SHOWN_COLUMNS = 40

_COMPARED = ("prompt", "completion", "chosen", "rejected", "label", "images", "tools", "margin", "answer")

TYPE_NAMES: Mapping[str, RecordType] = {
    "sft": RecordType.SFT,
    "pairs": RecordType.PREFERENCE,
    "unpaired": RecordType.UNPAIRED,
    "prompts": RecordType.PROMPT,
    **{record_type.value: record_type for record_type in RecordType},
}
"""What a type may be called on the command line."""


class Reading(NamedTuple):
    """How a file is read: by which format, as which type, for what reasons; other formats that read the same."""

    format: Format
    type: RecordType
    reasons: tuple[str, ...]
    same: tuple[str, ...] = ()


def record_type(name: str) -> RecordType:
    """The type called `name`. Raises RecipeError."""
    if name not in TYPE_NAMES:
        raise RecipeError(f"unknown type {name!r}; known: {', '.join(TYPE_NAMES)}")
    return TYPE_NAMES[name]


def format_of(name: str, settings: Mapping[str, Any] | None = None, labels: Mapping[str, bool] | None = None) -> Format:
    """The format called `name` with its settings; `labels` where it has such a setting. Raises RecipeError."""
    if settings:
        from prefdata.recipe import settings_of  # brings a library that is slow to import

        made: Any = settings_of("format", name, dict(settings))
    else:
        made = catalogue.load("format", name)()
    if labels and "labels" in {field.name for field in dataclasses.fields(made)}:
        made = dataclasses.replace(made, labels=dict(labels))
    form: Format = made
    return form


def recognised(
    sample: pl.DataFrame, *, where: str, wanted: RecordType | None = None, labels: Mapping[str, bool] | None = None
) -> Reading:
    """The one way in which the formats read `sample`, the first rows of the file `where`.

    Claims that give equal rows and refuse the same rows are one reading, named by the first of the catalogue. Raises
    RecipeError where there are several, InputError where there is none.
    """
    sample = sample.head(SAMPLE_ROWS)
    readings: list[tuple[Reading, pl.DataFrame, pl.Series]] = []
    for name in catalogue.FORMATS:
        form = format_of(name, labels=labels)
        for match in form.recognise(sample):
            if wanted not in (None, match.type):
                continue
            outcome = form.decode(sample, match.type)
            rows = outcome.rows.select(one for one in (*PLACES, *_COMPARED) if one in outcome.rows.columns)
            refused = outcome.refused[ROW].sort()
            for at, (known, same_rows, same_refused) in enumerate(readings):
                if known.type is match.type and same_rows.equals(rows) and same_refused.equals(refused):
                    readings[at] = (known._replace(same=(*known.same, name)), same_rows, same_refused)
                    break
            else:
                readings.append((Reading(form, match.type, tuple(match.reasons)), rows, refused))
    some = [one for one in readings if one[1].height]
    readings = some or readings  # what refuses all rows is no way to read them
    if len(readings) == 1:
        return readings[0][0]
    if not readings:
        raise InputError(_nothing(sample, where, wanted))
    listed = "\n".join(
        f"  - --from {reading.format.name} --type {reading.type}: {'; '.join(reading.reasons)}"
        for reading, _, _ in readings
    )
    raise RecipeError(f"{where}: can be read in {len(readings)} ways; say which\n{listed}")


def described(
    path: str | Path | Sequence[str | Path], name: str = "auto", labels: Mapping[str, bool] | None = None
) -> Format | None:
    """The format that a file beside the data describes (LLaMA-Factory's dataset_info.json), with settings as it says.

    Of a folder its own dataset_info.json counts. None where nothing describes `path`, it is a list, or another format
    than `name` is asked for. Raises RecipeError where the files of a folder are not all described alike.
    """
    if not isinstance(path, (str, Path)) or name not in ("auto", "llamafactory") or not Path(path).exists():
        return None
    whole = Path(path).is_dir()
    folder = (Path(path) if whole else Path(path).parent).absolute()
    if not (folder / DATASET_INFO).is_file():
        return None
    from prefdata.formats.llamafactory import LlamaFactory, entries

    text = (folder / DATASET_INFO).read_text(encoding="utf-8")
    files = [source.path.relative_to(folder).as_posix() for source in input_files(path)] if whole else [Path(path).name]
    told: list[Any] = [LlamaFactory.described(text, file, labels=labels) for file in files]
    if all(one == told[0] for one in told):
        return told[0]  # type: ignore[no-any-return]
    names = {entry.get("file_name"): name for name, entry in entries(text).items()}
    listed = "".join(f"\n  - {file}: {f'entry {names[file]}' if file in names else 'no entry'}" for file in files)
    raise RecipeError(f"{folder.name}: {DATASET_INFO} does not describe these files alike; give one of them{listed}")


def reading_as(form: Format, sample: pl.DataFrame, *, where: str, wanted: RecordType | None = None) -> Reading:
    """How the format that was asked for reads `sample`. Raises RecipeError where the type is not clear."""
    if wanted is not None:
        if wanted not in form.reads:
            raise RecipeError(f"{form.name} does not hold {wanted}; it holds {_types(form.reads)}")
        return Reading(form, wanted, ("as asked for",))
    matches = form.recognise(sample.head(SAMPLE_ROWS))
    types = {match.type for match in matches}
    if len(types) == 1:
        return Reading(form, matches[0].type, tuple(matches[0].reasons))
    if not types and len(form.reads) == 1:
        return Reading(form, next(iter(form.reads)), ("as asked for",))
    found = (
        f"looks like {_types(types)} in {form.name}"
        if types
        else f"does not look like {form.name} (columns {_columns(sample)}); {_looks_for(form)}"
    )
    named = "" if types or not hasattr(form, "columns") else f"say which column is what (`columns` of {form.name}), or "
    raise RecipeError(f"{where}: {found}; {named}give --type, one of {_types(types or form.reads)}")


def _nothing(sample: pl.DataFrame, where: str, wanted: RecordType | None) -> str:
    lines = [
        f"{where}: no format recognises these columns" + (f" as {wanted}" if wanted else "") + f": {_columns(sample)}",
        "what the formats look for (give --from and --type where you know better):",
        *(f"  - {name}: {_looks_for(catalogue.load('format', name))}" for name in catalogue.FORMATS),
    ]
    return "\n".join(lines)


def _looks_for(form: Any) -> str:
    lines: Sequence[str] = (form.recognise.__doc__ or "").strip().splitlines()
    return " ".join(line.strip() for line in lines) or "?"


def _columns(sample: pl.DataFrame) -> str:
    shown = [f"{name} ({_kind(dtype)})" for name, dtype in sample.schema.items() if name not in PLACES]
    more = f" and {len(shown) - _SHOWN_COLUMNS} more" if len(shown) > _SHOWN_COLUMNS else ""
    return ", ".join(shown[:_SHOWN_COLUMNS]) + more if shown else "none"


KNOWN_KEYS = (
    READ
    | {"messages", "input", "tools", "function", "name", "arguments", "id"}
    | {"text", "type", "image", "image_url", "images", "url", "path", "human", "user", "assistant", "bot"}
    | {"answer", "rank", "replies", "response", "overall_score", "style", "ground_truth"}
)
"""Keys inside columns that a format reads. Others may be data themselves, a person's address for one."""


def _kind(dtype: Any) -> str:
    """A dtype in words; of the keys of an object only those of KNOWN_KEYS by name."""
    if isinstance(dtype, pl.Struct):
        known = [field.name for field in dtype.fields if field.name in KNOWN_KEYS]
        other = len(dtype.fields) - len(known)
        return "object of " + "/".join([*known, f"{other} unknown key{'s' if other > 1 else ''}"] if other else known)
    if isinstance(dtype, pl.List):
        return "list of " + _kind(dtype.inner).removeprefix("object of ")
    return str(dtype.base_type()).lower()


def _types(types: Any) -> str:
    return ", ".join(sorted(types))
