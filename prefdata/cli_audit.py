"""`prefdata audit`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefdata.cli_options import (
    Columns,
    LabelMeanings,
    Lang,
    Markdown,
    Only,
    Quiet,
    RecordTypeName,
    Skip,
    Source,
    checked_language,
    checked_severity,
    columns_given,
    labels_given,
)

if TYPE_CHECKING:
    from prefdata.auditing.gate import Fresh
    from prefdata.auditor import Audit


def _listed(wanted: bool) -> None:
    if not wanted:
        return
    from prefdata.auditor import all_checks

    for check in all_checks():
        typer.echo(f"{check.family:13} {check.name:28} {check.title}")
    raise typer.Exit


def audit_command(
    path: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="JSONL, JSON, Parquet, CSV, TSV or XLSX, plain or .gz, or a folder."),
    ],
    source: Source = "auto",
    record_type: RecordTypeName = None,
    label: LabelMeanings = None,
    columns: Columns = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for report.html, report.json and report.md.", show_default=False),
    ] = None,
    only: Only = None,
    skip: Skip = None,
    benchmarks: Annotated[
        list[Path] | None,
        typer.Option(
            help="File or folder of an evaluation set that no row should hold; may be given again.", show_default=False
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Open every picture; paths in the data are meant from this folder.", show_default=False),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            help="Tokens of a row that the trainer reads; rows that it will cut are told.",
            min=1,
            show_default=False,
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Counts them: name of a model, folder or hub id; else they are estimated.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Small language model (name, folder or hub id) that reads a sample of the rows; slow.",
            show_default=False,
        ),
    ] = None,
    model_rows: Annotated[int, typer.Option("--model-rows", help="Rows that it reads.", min=1)] = 200,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Try every filter and grouping with its defaults; nothing is removed.")
    ] = False,
    what_if_recipe: Annotated[
        Path | None,
        typer.Option("--what-if-recipe", help="Try the filters and groupings of this recipe.", show_default=False),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", help="Exit with 1 from this on: critical, major, minor, note.", show_default=False),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="report.json of an earlier audit: only what is new counts for --fail-on.", show_default=False
        ),
    ] = None,
    lang: Lang = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    markdown: Markdown = False,
    quiet: Quiet = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the checks, a line each, and end.", is_eager=True, callback=_listed)
    ] = False,
) -> None:
    """Tell what is wrong with a dataset before GPU hours are spent on it: how bad, which rows, what to do.

    Any format that `prefdata convert` reads, all types of rows; no recipe, no model, no network. Findings are critical,
    major, minor or a note; `--out` writes a page with the rows behind each.

    Examples:

      prefdata audit pairs.jsonl --out audit/

      prefdata audit data/ --fail-on major --baseline audit/report.json

      prefdata audit pairs.jsonl --what-if --out audit/

      prefdata audit rated.jsonl --type unpaired --label good=true --label bad=false --skip shortcuts

      prefdata audit rated.csv --columns completion=reply --columns label=stars --label 5=true --label 1=false
    """
    from prefdata.auditing.finding import Severity
    from prefdata.auditing.gate import failing, fresh
    from prefdata.auditor import audit
    from prefdata.errors import RecipeError
    from prefdata.recognition import record_type as type_named
    from prefdata.reporting.audit.json import to_json

    checked_language(lang)
    checked_severity(fail_on)
    if baseline is not None and fail_on is None:
        raise RecipeError("--baseline says what is not new; give --fail-on too")
    if what_if and what_if_recipe is not None:
        raise RecipeError("--what-if tries the whole catalogue, --what-if-recipe one recipe: give one of them")
    before = _report(baseline) if baseline is not None else None
    told = None if quiet or not sys.stderr.isatty() else _progress
    result = audit(
        path,
        source=source,
        type=type_named(record_type) if record_type else None,
        labels=labels_given(label),
        columns=columns_given(columns),
        only=only or (),
        skip=skip or (),
        benchmarks=benchmarks or (),
        pictures=pictures,
        max_length=max_length,
        tokenizer=tokenizer,
        model=model,
        model_rows=model_rows,
        what_if=what_if_recipe or what_if,
        progress=told,
    )
    if told is not None:
        print(file=sys.stderr)
    new = fresh(result.findings, before)
    if out is not None:
        _write(result, new if before is not None else None, out, lang)
    if as_json:
        typer.echo(json.dumps(to_json(result), ensure_ascii=False, indent=2, sort_keys=True))
    elif markdown:
        from prefdata.reporting.audit.markdown import to_markdown

        typer.echo(to_markdown(result, new=new if before is not None else None, lang=lang))
    else:
        from rich.console import Console

        from prefdata.reporting.audit.terminal import terminal

        terminal(result, Console(), lang=lang)
    bad = failing(new, Severity(fail_on)) if fail_on is not None else []
    if not (as_json or markdown):
        for one in bad:
            typer.echo(_line(one, baseline is not None), err=True)
        if out is not None:
            typer.echo(f"report {out / 'report.html'}")
    if bad:
        raise typer.Exit(1)


def _line(one: Fresh, compared: bool) -> str:
    finding = one.finding
    what = f"{one.rows:,} {'new ' if compared else ''}rows" if one.rows else "of the set as a whole"
    where = f": {', '.join(one.places[:3])}{' ...' if len(one.places) > 3 else ''}" if one.places else ""
    return f"{finding.severity.value} {finding.check}, {what}{where}"


def _report(path: Path) -> dict[str, Any]:
    from prefdata.errors import InputError

    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path.name}: is no JSON; give the report.json of an audit") from error
    if not isinstance(read, dict):
        raise InputError(f"{path.name}: is no report.json of an audit")
    return read


def _write(result: Audit, new: list[Fresh] | None, folder: Path, lang: str) -> None:
    from prefdata.io import write_atomic
    from prefdata.reporting.audit.json import to_json
    from prefdata.reporting.audit.markdown import to_markdown
    from prefdata.reporting.audit.page import write_page

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(result), ensure_ascii=False, indent=2, sort_keys=True)
    write_atomic(folder / "report.json", (text + "\n").encode())
    write_atomic(folder / "report.md", (to_markdown(result, new=new, lang=lang) + "\n").encode())
    write_page(result, folder / "report.html", lang=lang)


def _progress(name: str, rows: int) -> None:
    print(f"\r{name}: {rows:,} rows\x1b[K", end="", file=sys.stderr, flush=True)
