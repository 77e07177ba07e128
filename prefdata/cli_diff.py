"""`prefdata diff`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefdata.cli_options import (
    Json,
    LabelMeanings,
    Lang,
    Markdown,
    Only,
    Quiet,
    RecordTypeOfEach,
    Skip,
    SourceOfEach,
    checked_language,
    checked_severity,
    labels_given,
    of_each,
)

if TYPE_CHECKING:
    from prefdata.comparing.findings import Change
    from prefdata.comparison import Comparison


def diff_command(
    before: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="A run directory, or a dataset in any format that `convert` reads.", show_default=False
        ),
    ],
    after: Annotated[Path, typer.Argument(metavar="B", help="What to compare with it.", show_default=False)],
    source: SourceOfEach = None,
    record_type: RecordTypeOfEach = None,
    label: LabelMeanings = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for diff.html, diff.json and diff.md.", show_default=False),
    ] = None,
    only: Only = None,
    skip: Skip = None,
    audit: Annotated[bool, typer.Option("--audit/--no-audit", help="Audit both and compare the findings.")] = True,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="Exit with 1 where B has new or worse findings from this on: critical, major, minor, note.",
            show_default=False,
        ),
    ] = None,
    lang: Lang = "en",
    as_json: Json = False,
    markdown: Markdown = False,
    quiet: Quiet = False,
) -> None:
    """Tell what two datasets, two runs, or one of each differ in: rows, labels, findings, distributions.

    A row is the same where its content is, wherever it stands and in whatever format. Of two runs it is told which step
    made rows come and go. Places are printed, no texts; `--out` writes a page with changed rows word by word.

    Example: prefdata diff pairs.jsonl pairs_cleaned.jsonl --out diff/

    Example: prefdata diff runs/monday runs/tuesday --no-audit

    Example: prefdata diff data/v1 data/v2 --fail-on major
    """
    from prefdata.auditing.finding import Severity
    from prefdata.comparing.findings import failing
    from prefdata.comparison import compare
    from prefdata.diff import told as told_of_runs
    from prefdata.errors import RecipeError
    from prefdata.recognition import record_type as type_named
    from prefdata.reporting.diff.json import to_json

    checked_language(lang)
    checked_severity(fail_on)
    if fail_on is not None and not audit:
        raise RecipeError("--fail-on speaks of findings; leave out --no-audit")
    forms, kinds = of_each("--from", source), of_each("--type", record_type)
    progress = None if quiet or not sys.stderr.isatty() else _progress
    found = compare(
        before,
        after,
        source=(forms[0] or "auto", forms[1] or "auto"),
        type=(type_named(kinds[0]) if kinds[0] else None, type_named(kinds[1]) if kinds[1] else None),
        labels_given=labels_given(label),
        audit=audit,
        only=only or (),
        skip=skip or (),
        progress=progress,
    )
    if progress is not None:
        print(file=sys.stderr)
    if out is not None:
        _write(found, out, lang)
    if as_json:
        typer.echo(json.dumps(to_json(found), ensure_ascii=False, indent=2, sort_keys=True))
    elif markdown:
        from prefdata.reporting.diff.markdown import to_markdown

        typer.echo(to_markdown(found, lang=lang))
    else:
        from rich.console import Console

        from prefdata.reporting.diff.terminal import terminal

        terminal(found, Console(), lang=lang)
        if found.runs is not None:
            typer.echo(told_of_runs(found.runs))
    bad = failing(found.findings or (), Severity(fail_on)) if fail_on is not None else []
    if not (as_json or markdown):
        for one in bad:
            typer.echo(_line(one), err=True)
        if out is not None:
            typer.echo(f"report {out / 'diff.html'}")
    if bad:
        raise typer.Exit(1)


def _line(one: Change) -> str:
    rows = f", {one.rows_new:,} rows" if one.rows_new else ""
    where = f": {', '.join(one.places[:3])}{' ...' if len(one.places) > 3 else ''}" if one.places else ""
    return f"{one.severity.value} {one.check} is {one.status.value}{rows}{where}"


def _write(found: Comparison, folder: Path, lang: str) -> None:
    from prefdata.io import write_atomic
    from prefdata.reporting.diff.json import to_json
    from prefdata.reporting.diff.markdown import to_markdown
    from prefdata.reporting.diff.page import write_page

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(found), ensure_ascii=False, indent=2, sort_keys=True)
    write_atomic(folder / "diff.json", (text + "\n").encode())
    write_atomic(folder / "diff.md", (to_markdown(found, lang=lang) + "\n").encode())
    write_page(found, folder / "diff.html", lang=lang)


def _progress(name: str, rows: int) -> None:
    print(f"\r{name}: {rows:,} rows\x1b[K", end="", file=sys.stderr, flush=True)
