"""Commands about data that is there already: what two sets share, whom a run forgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prefdata.cli_options import Json, LabelMeanings, RecordTypeOfEach, SourceOfEach, labels_given, of_each

RunPath = Annotated[Path, typer.Argument(help="The run directory.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to `app`."""
    app.command("leaks")(leaks)
    app.command("erase")(erase)


def _print_json(data: Any) -> None:
    import json

    typer.echo(json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True))


def leaks(
    left: Annotated[
        Path, typer.Argument(help="A dataset in any format that `convert` reads, or a run.", show_default=False)
    ],
    right: Annotated[
        Path | None,
        typer.Argument(help="The rows to compare with; left out, the splits of a run are.", show_default=False),
    ] = None,
    source: SourceOfEach = None,
    record_type: RecordTypeOfEach = None,
    label: LabelMeanings = None,
    near: Annotated[bool, typer.Option("--near/--no-near", help="Look for near-duplicates too.")] = True,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 where anything but replies is shared.")] = False,
    as_json: Json = False,
) -> None:
    """Count what two sets of rows share: prompts, replies, exchanges, sessions, customers, near-duplicates.

    Ids are printed (a row's own, else its file and line), no texts. Equal replies alone are courtesies mostly;
    `long_reply` has at least 80 characters.

    Example: prefdata leaks runs/demo benchmark.jsonl
    """
    from prefdata.compared import compared, found, read
    from prefdata.dedup.near import NearDuplicates
    from prefdata.recognition import record_type as type_named

    labels = labels_given(label)
    if right is None:
        sides = {name: compared(rows, texts=near) for name, rows in _splits(left).items()}
    else:
        sides = {
            name: read(
                path,
                texts=near,
                source=form or "auto",
                wanted=type_named(kind) if kind else None,
                labels=labels,
            )
            for name, path, form, kind in zip(
                ("left", "right"), (left, right), of_each("--from", source), of_each("--type", record_type), strict=True
            )
        }
    told = found(sides, groupings=(NearDuplicates().build(),) if near else ())
    if as_json:
        _print_json(
            {
                "rows": {name: side.rows for name, side in sides.items()},
                "read_as": {name: side.read_as for name, side in sides.items() if side.read_as},
                "not_compared": {name: side.left_out for name, side in sides.items() if side.left_out},
                "leaks": told,
            }
        )
    else:
        for name, side in sides.items():
            if side.read_as:
                without = ", ".join(f"{count:,} {reason}" for reason, count in side.left_out.items())
                typer.echo(
                    f"{name}: {side.rows:,} rows, read as {', '.join(side.read_as)}"
                    + (f"; not compared: {without}" if without else "")
                )
        for one in told:
            names = "".join(f"  {' = '.join(pair)}" for pair in one["examples"][:1])
            where = f"{one['left']:,} rows of {one['sides'][0]}, {one['right']:,} of {one['sides'][1]}"
            typer.echo(f"{one['kind'].replace('_', ' '):16} {one['values']:>7,} shared, in {where}{names}")
    if fail and any(one["values"] for one in told if one["kind"] not in ("reply", "long_reply")):
        raise typer.Exit(1)


def _splits(run: Path) -> dict[str, Any]:
    import polars as pl

    from prefdata import rundir
    from prefdata.rows import kept_rows

    rows = kept_rows(rundir.existing(run).path)
    names = [name for name in ("train", "evaluation", "test") if (rows["split"] == name).any()]
    return {name: rows.filter(pl.col("split") == name) for name in names}


def erase(
    run: RunPath,
    customer: Annotated[str, typer.Option(help="The customer's id, as the source has it.", show_default=False)],
    source: Annotated[
        str | None, typer.Option(help="Look in this source only. [default: all]", show_default=False)
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="The recipe, where its filters read files of their own.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Take one customer out of a run: rows, scores, duplicates, exports, report; and leave a receipt.

    Every row of a session in which the customer spoke goes. Run again, the run leaves the customer out, though the
    source file still holds the lines. Models that were trained on the rows are named: they cannot unlearn.

    Example: prefdata erase runs/demo --customer C-1042 --dry-run
    """
    from prefdata.erase import erase as erased
    from prefdata.recipe import load

    done = erased(run, customer, source=source, recipe=load(recipe) if recipe else None, dry_run=dry_run)
    if as_json:
        _print_json(
            {**done.told, "ids": done.found.rows["id"].to_list(), "receipt": done.receipt and str(done.receipt)}
        )
        return
    for row in done.found.rows.iter_rows(named=True):
        typer.echo(f"{row['id']}  {row['source']}: {row['file']} line {row['line']}  {row['split'] or row['place']}")
    for model in done.told["models"]:
        typer.echo(f"trained on these rows: {model}; train again, or delete it")
    typer.echo(f"note: {done.told['remains'][0]}")
    rows = done.found.rows.height
    if done.receipt is None:
        typer.echo(f"would erase {rows:,} rows of {done.told['sessions']:,} sessions; nothing was changed")
    else:
        files = len(done.told["files"])
        typer.echo(
            f"erased {rows:,} rows of {done.told['sessions']:,} sessions from {files} files; receipt {done.receipt}"
        )
