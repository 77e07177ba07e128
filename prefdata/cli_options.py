"""Options that several commands share: how a dataset is read, which checks run, how the result is told."""

from __future__ import annotations

from typing import Annotated

import typer

RecordTypeName = Annotated[
    str | None,
    typer.Option(
        "--type",
        help="What the rows are, where that is not clear: pairs, unpaired, sft, prompts (or TRL's names).",
        show_default=False,
    ),
]
Source = Annotated[str, typer.Option("--from", help="Format to read; auto recognises it.")]
SourceOfEach = Annotated[
    list[str] | None,
    typer.Option("--from", help="Format to read; given twice, that of each side. [default: auto]", show_default=False),
]
RecordTypeOfEach = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="What the rows are, where that is not clear: pairs, unpaired, sft, prompts; twice for each side.",
        show_default=False,
    ),
]
LabelMeanings = Annotated[
    list[str] | None,
    typer.Option("--label", help="What a label other than true or false means, e.g. good=true.", show_default=False),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="NAME=COLUMN",
        help="What a column of a table is: prompt, completion, chosen, rejected, label ..., e.g. completion=text.",
        show_default=False,
    ),
]
Only = Annotated[
    list[str] | None, typer.Option("--only", help="Checks or families to run; others are not.", show_default=False)
]
Skip = Annotated[list[str] | None, typer.Option("--skip", help="Checks or families not to run.", show_default=False)]
Lang = Annotated[str, typer.Option(help="Language of the reports: en or zh.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]

_BOOLEANS = {"true": True, "false": False}


def labels_given(given: list[str] | None) -> dict[str, bool] | None:
    """What `--label VALUE=true` options say; null without any. Raises RecipeError."""
    from prefdata.errors import RecipeError

    found = {}
    for one in given or []:
        value, mark, label = one.rpartition("=")
        if not mark or label.lower() not in _BOOLEANS:
            raise RecipeError(f"--label {one}: expected VALUE=true or VALUE=false")
        found[value] = _BOOLEANS[label.lower()]
    return found or None


def columns_given(given: list[str] | None) -> dict[str, str] | None:
    """What `--columns NAME=COLUMN` options say; null without any. Raises RecipeError."""
    from prefdata.errors import RecipeError

    found: dict[str, str] = {}
    for one in given or []:
        name, mark, column = one.partition("=")
        if not mark or not name or not column:
            raise RecipeError(f"--columns {one}: expected NAME=COLUMN, e.g. completion=text")
        if name in found:
            raise RecipeError(f"--columns {name}: given twice")
        found[name] = column
    return found or None


def of_each(option: str, given: list[str] | None) -> tuple[str | None, str | None]:
    """The value of an option for the left and the right side. Raises RecipeError where it is given more than twice."""
    from prefdata.errors import RecipeError

    given = given or []
    if len(given) > 2:
        raise RecipeError(f"{option}: given {len(given)} times; once for both sides, or twice")
    return (given[0], given[-1]) if given else (None, None)


def checked_language(lang: str) -> str:
    """`lang` itself. Raises RecipeError where no report speaks it."""
    from prefdata.errors import RecipeError

    if lang not in ("en", "zh"):
        raise RecipeError(f"--lang {lang}: expected en or zh")
    return lang


def checked_severity(name: str | None) -> str | None:
    """`name` itself, the value of --fail-on. Raises RecipeError where no finding is that bad."""
    from prefdata.auditing.finding import Severity
    from prefdata.errors import RecipeError

    if name is not None and name not in list(Severity):
        raise RecipeError(f"--fail-on {name}: expected {', '.join(Severity)}")
    return name
