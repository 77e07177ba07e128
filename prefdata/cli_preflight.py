"""`prefdata preflight`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefdata.cli_options import (
    Columns,
    LabelMeanings,
    Markdown,
    RecordTypeName,
    Source,
    checked_severity,
    columns_given,
    labels_given,
)

if TYPE_CHECKING:
    from prefdata.preflighting import Checked


def preflight_command(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE_OR_DATA",
            help="A recipe whose run is built, a dataset in any format that `convert` reads, or a run.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Whose tokenizer, template and vocabulary: name, folder or hub id. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="sft, dpo, kto, reward, grpo or rloo. [default: by the type of the rows]", show_default=False
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            help="Tokens of a row, prompt and answer. [default: the recipe's, else the method's]",
            min=16,
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", help="Rows in one forward pass. [default: the recipe's, else the method's]", show_default=False
        ),
    ] = None,
    as_trl: Annotated[
        bool, typer.Option("--as-trl", help="Tell also what plain TRL would do with the same rows.")
    ] = False,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="ROW",
            help="Print this row with its masks, markers and cuts, and end; ids as findings name them.",
            show_default=False,
        ),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option("--held-out", help="Rows that will be measured on: none may be trained on.", show_default=False),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that addresses of pictures are seen from. [default: that of the data]",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Run of the recipe. [default: runs/<name of the recipe>]", show_default=False),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="This stage of the recipe only. [default: all]", show_default=False)
    ] = None,
    source: Source = "auto",
    record_type: RecordTypeName = None,
    label: LabelMeanings = None,
    columns: Columns = None,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", help="Exit with 1 from this on: critical, major, minor, note.", show_default=False),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A finding that --fail-on passes over; may be given again.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, a list of stages.")] = False,
    markdown: Markdown = False,
) -> None:
    """Tell what training will make of the rows, before the first step: tokenised, with the real template, cut.

    Rows that are dropped and why, answers without an end token, masks that train on nothing or on everything, pairs
    that are equal, labels in blocks, forged control tokens, tokens outside the vocabulary, lengths and what each limit
    costs. `--as-trl` tells what plain TRL would do instead. The same runs by itself before each stage is trained;
    critical findings stop it there unless the recipe says `insist: [finding]`.

    Examples:

      prefdata preflight pairs.jsonl --model smollm2-135m --fail-on major

      prefdata preflight pairs.jsonl --model smollm2-135m --max-length 512 --as-trl

      prefdata preflight pairs.jsonl --model smollm2-135m --show pairs.jsonl:12

      prefdata preflight recipes/support_kto.yaml --run runs/demo
    """
    from prefdata.errors import InputError, RecipeError
    from prefdata.preflighting import preflight
    from prefdata.recognition import record_type as type_named

    checked_severity(fail_on)
    if allow and fail_on is None:
        raise RecipeError("--allow says what --fail-on passes over; give --fail-on too")
    _require_known(allow or ())
    checked = preflight(
        path,
        model=model,
        method=method,
        max_length=max_length,
        as_trl=as_trl,
        held_out=held_out,
        pictures=pictures,
        source=source,
        type=type_named(record_type) if record_type else None,
        labels=labels_given(label),
        columns=columns_given(columns),
        run=run,
        stage=stage,
        per_device_batch=batch,
    )
    if show is not None:
        if not sum(_shown(one, show, as_json) for one in checked):
            raise InputError(f"{path.name}: no row {show!r}; findings name rows as they are called here")
        return
    records = [one.record() for one in checked]
    if as_json:
        typer.echo(json.dumps(records, ensure_ascii=False, indent=2, sort_keys=True))
    elif markdown:
        from prefdata.reporting.preflight.markdown import markdown as to_markdown

        typer.echo(to_markdown(records))
    else:
        from rich.console import Console

        from prefdata.reporting.preflight.terminal import terminal

        console = Console()
        for record in records:
            terminal(record, console)
    bad = [one for each in checked for one in (each.preflight.failing(fail_on, allow or ()) if fail_on else ())]
    for one in bad:
        if not (as_json or markdown):
            rows = f", {one.count:,} rows: {', '.join(one.ids[:3])}" if one.ids else ""
            typer.echo(f"{one.severity.value} {one.check}{rows}", err=True)
    if bad:
        raise typer.Exit(1)


def _require_known(names: Sequence[str]) -> None:
    """Raises RecipeError for names that no finding has."""
    if not names:
        return
    from prefdata.errors import RecipeError, nearest
    from trainers.preflight import checks

    known = checks(trl=True)
    faults = [f"--allow {name}: no such finding; {nearest(name, known)}" for name in names if name not in known]
    if faults:
        raise RecipeError(faults)


def _shown(checked: Checked, row: str, as_json: bool) -> bool:
    from trainers.preflight.showing import show

    found = show(checked.seen, row, checked.plain)
    if found is None:
        return False
    if as_json:
        typer.echo(json.dumps(found.record(), ensure_ascii=False, indent=2, sort_keys=True))
        return True
    from rich.console import Console

    from prefdata.reporting.preflight.row import show as printed

    printed(found.record(), Console(highlight=False))
    return True
