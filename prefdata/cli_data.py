"""Commands about data that is there already: what two sets share, what two runs differ in, whom a run forgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
RunPath = Annotated[Path, typer.Argument(help="The run directory.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to `app`."""
    app.command("leaks")(leaks)


def _print_json(data: Any) -> None:
    import json

    typer.echo(json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True))


def leaks(
    left: Annotated[Path, typer.Argument(help="Rows: a Parquet file, a folder of them, or a run.", show_default=False)],
    right: Annotated[
        Path | None,
        typer.Argument(help="The rows to compare with; left out, the splits of a run are.", show_default=False),
    ] = None,
    near: Annotated[bool, typer.Option("--near/--no-near", help="Look for near-duplicates too.")] = True,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 where anything but replies is shared.")] = False,
    as_json: Json = False,
) -> None:
    """Count what two sets of rows share: prompts, replies, exchanges, sessions, customers, near-duplicates.

    Ids are printed, no texts. Equal replies alone are courtesies mostly; `long_reply` has at least 80 characters.

    Example: prefdata leaks runs/demo benchmark.parquet
    """
    from itertools import combinations

    from prefdata.build.leaks import leaks as found
    from prefdata.build.leaks import read_rows
    from prefdata.dedup.near import NearDuplicates

    frames = {"left": read_rows(left), "right": read_rows(right)} if right else _splits(left)
    groupings = [NearDuplicates().build()] if near else []
    told = [
        {"sides": [one, other], **leak._asdict()}
        for one, other in combinations(frames, 2)
        for leak in found(frames[one], frames[other], groupings=groupings)
    ]
    if as_json:
        _print_json({"rows": {name: frame.height for name, frame in frames.items()}, "leaks": told})
    else:
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
