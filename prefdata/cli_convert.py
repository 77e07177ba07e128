"""`prefdata convert`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefdata.cli_options import (
    Columns,
    Json,
    LabelMeanings,
    Quiet,
    RecordTypeName,
    Source,
    columns_given,
    labels_given,
)

if TYPE_CHECKING:
    from prefdata.conversion import Converted

_SHOWN = 3
"""Reasons named where nothing was written."""


def convert_command(
    path: Annotated[
        Path,
        typer.Argument(metavar="IN", help="JSONL, JSON, Parquet, CSV, TSV or XLSX, plain or .gz, or a folder."),
    ],
    to: Annotated[str, typer.Option("--to", help="Format to write; `prefdata filters` lists them.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A file (.jsonl .json .parquet), or a folder: a file for every split.")
    ],
    source: Source = "auto",
    record_type: RecordTypeName = None,
    written_as: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="What they shall become: unpaired or sft of pairs, sft of unpaired, prompts of all.",
            show_default=False,
        ),
    ] = None,
    label: LabelMeanings = None,
    columns: Columns = None,
    control_tokens: Annotated[
        str,
        typer.Option("--control-tokens", help="A model's own tokens (<|im_end|>) in a text: keep, escape or refuse."),
    ] = "keep",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the format that is written.", show_default=False),
    ] = None,
    source_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--from-set", metavar="KEY=VALUE", help="A setting of the format that is read.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a dataset from one format into another, with an account of every row.

    The format is recognised from the columns, and the reasons are printed; where a file can be read in several ways,
    nothing is guessed: the ways are listed, choose with --from and --type. Rows that the target would drop or misread
    are refused before they get there; `.refused.parquet` beside the output says which (file, line) and why. Where no
    row is left, the command ends with 3.

    Examples:

      prefdata convert hh_rlhf/test.jsonl.gz --to trl --out data/

      prefdata convert pairs.jsonl --to llamafactory --out LLaMA-Factory/data/mine

      prefdata convert pairs.parquet --to trl --as unpaired --out kto.parquet

      prefdata convert rated.jsonl --type unpaired --label good=true --label bad=false --to swift --out kto.jsonl

      prefdata convert answers.csv --columns prompt=question --columns completion=answer --to trl --out sft.parquet
    """
    from prefdata.conversion import convert
    from prefdata.errors import InputError, RecipeError
    from prefdata.recognition import record_type as type_named

    if control_tokens not in ("keep", "escape", "refuse"):
        raise RecipeError(f"--control-tokens {control_tokens!r}: expected keep, escape or refuse")
    result = convert(
        path,
        to=to,
        out=out,
        source=source,
        type=type_named(record_type) if record_type else None,
        written_as=type_named(written_as) if written_as else None,
        labels=labels_given(label),
        columns=columns_given(columns),
        control_tokens=control_tokens,  # type: ignore[arg-type]
        settings=_settings(settings or [], "--set"),
        source_settings=_settings(source_settings or [], "--from-set"),
        progress=None if quiet or not sys.stderr.isatty() else _progress,
    )
    if not quiet and sys.stderr.isatty():
        print(file=sys.stderr)
    if as_json:
        facts = result._asdict() | {"out": str(result.out)}
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=2, sort_keys=True))
    else:
        for line in told(result, given=source != "auto"):
            typer.echo(line)
    if not result.written:
        raise InputError(_nothing_written(result))


def told(result: Converted, *, given: bool = False) -> list[str]:
    """The result in lines; the last says where the output is."""
    from prefdata.conversion.reasons import sentence

    same = f"; reads the same as {', '.join(result.same)}" if result.same else ""
    how = "read as" if given else "recognised as"
    lines = [f"{how} {result.source}, {result.type}: {'; '.join(result.reasons)}{same}"]
    for name, counts in (
        ("could not be read", result.unreadable),
        (f"not taken from {result.source}", result.refused_reading),
        (f"not made into {result.written_as}", result.refused_building),
        (f"not taken by {result.target}", result.refused_writing),
    ):
        if counts:
            lines.append(f"{name}:")
            lines += [f"  {count:>9,}  {reason}: {sentence(reason)}" for reason, count in counts.items()]
    if result.left_out:
        held = ", ".join(f"{name} ({count:,} rows)" for name, count in result.left_out.items())
        lines.append(f"{result.target} does not hold, left out: {held}")
    if result.other_columns:
        lines.append(f"columns that no format asks for, left out: {', '.join(result.other_columns)}")
    if result.context:
        lines.append(
            f"{result.context:,} rows have turns of the assistant before the answer: context, not to be trained on"
        )
    if refused := _refused_file(result):
        lines.append(f"which rows, by file and line: {refused}")
    total = f"wrote {result.written:,} rows of {result.read:,} read"
    if result.written_as != result.type or result.decoded > result.read:
        total += f" ({result.retyped:,} {result.written_as} rows made of them)"
    total += f", refused {result.refused:,}, unreadable {result.quarantined:,}, {result.seconds:.1f} s"
    lines.append(f"{total} -> {result.out}")
    return lines


def _nothing_written(result: Converted) -> str:
    """Why no row was written: the most frequent reasons, and where all are."""
    from prefdata.conversion.reasons import sentence

    counts: Counter[str] = Counter()
    for part in (result.unreadable, result.refused_reading, result.refused_building, result.refused_writing):
        counts.update(part)
    most = "".join(f"\n  {count:>9,}  {reason}: {sentence(reason)}" for reason, count in counts.most_common(_SHOWN))
    where = _refused_file(result)
    return f"no row of {result.read:,} was written, most often because of{most}" + (
        f"\nall reasons, by file and line: {where}" if where else ""
    )


def _refused_file(result: Converted) -> Path | None:
    from prefdata.formats.export import refused_file

    path = refused_file(result.out, folder=result.out.is_dir())
    return path if (result.refused or result.quarantined) and path.is_file() else None


def _progress(name: str, rows: int) -> None:
    print(f"\r{name}: {rows:,} rows", end="", file=sys.stderr, flush=True)


def _settings(given: list[str], option: str) -> dict[str, Any] | None:
    from prefdata.errors import RecipeError

    found: dict[str, Any] = {}
    for one in given:
        key, mark, value = one.partition("=")
        if not mark:
            raise RecipeError(f"{option} {one}: expected KEY=VALUE")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found or None
