"""The card of an exported dataset: README.md as the Hugging Face hub reads it, from a run's own numbers.

What it is, whence it came, under which licences, how much of it there is, what was filtered at which thresholds, what
is known to be wrong with it, and the SHA-256 of every file. No row text, no clock: the same run gives the same card.
https://huggingface.co/docs/hub/datasets-cards
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefdata.io import write_atomic
from prefdata.licences import USES
from prefdata.reporting.accounts import ENDS
from prefdata.reporting.notes import notes
from prefdata.schema import RecordType

CARD = "README.md"

ROWS = {
    RecordType.SFT: "examples of an answer to a prompt (prompt and completion)",
    RecordType.PREFERENCE: "pairs of a better and a worse answer to one prompt (preference)",
    RecordType.UNPAIRED: "answers, each labelled desirable or not (unpaired preferences)",
    RecordType.PROMPT: "prompts without an answer (prompt only)",
}
"""What rows of a type are, of whatever source."""

CLASSES = {True: "desirable", False: "undesirable", None: "unlabelled"}

TAGS = {
    RecordType.SFT: ("sft", "prefdata"),
    RecordType.PREFERENCE: ("preference", "dpo", "prefdata"),
    RecordType.UNPAIRED: ("preference", "kto", "prefdata"),
    RecordType.PROMPT: ("grpo", "prefdata"),
}

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The hub's size categories, by the number of rows that they end at."""


def write_card(
    run: Path, folder: Path, *, target: str, files: Mapping[str, Mapping[str, Any]], uses: Sequence[str] | None = None
) -> Path:
    """Writes README.md into `folder`, where the run at `run` was exported for `target`; returns its path.

    `files` is what the export told of its data files: name -> rows, sha256, and the classes. `uses` is what the export
    is for; None takes the recipe's. Where the format wrote a card of its own, its columns and features are kept.
    """
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    card = folder / CARD
    own = card.read_text(encoding="utf-8") if card.is_file() else ""
    columns = [line for line in own.splitlines() if line.startswith(("| ", "|--"))]
    if not columns or not columns[0].startswith("| column"):
        columns = []
    said = report["recipe"]["use"].get(target, []) if uses is None else uses
    features = _block(own, "dataset_info")
    text = render(report, facts, target=target, files=files, uses=said, columns=columns, features=features)
    write_atomic(card, text.encode())
    return card


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of what a resolved recipe says about the rows: its JSON with sorted keys and no spaces.

    Left out are the size of shards and the folders that the sources stand in, which change nothing.
    """
    sources = [{**source, "path": [Path(path).name for path in source["path"]]} for source in recipe["sources"]]
    said = {name: value for name, value in recipe.items() if name != "shard_rows"} | {"sources": sources}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def render(
    report: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    target: str,
    files: Mapping[str, Mapping[str, Any]],
    uses: Sequence[str],
    columns: list[str] | None = None,
    features: Sequence[str] = (),
) -> str:
    """The card as Markdown, from report.json and run.json.

    `columns`: lines of a table of them; `features`: lines of the YAML head that say their types.
    """
    recipe, counts, split = report["recipe"], report["counts"], report["split"]
    rows = sum(one["rows"] for one in files.values())
    record_type = RecordType(recipe.get("type", RecordType.UNPAIRED))
    what, units = f"{rows:,} {ROWS[record_type]}", f"{counts['units']:,} records and units of the sources below"
    if "type" not in recipe:
        what = f"{rows:,} agent replies to customers, each labelled desirable or not (unpaired preferences)"
        units = f"{counts['units']:,} units of raw support logs"
    classes = ("desirable", "undesirable") if record_type is RecordType.UNPAIRED else ()
    lines = [
        *_front(report, files, features),
        f"# {recipe['name']}",
        "",
        f"{what}, written for `{target}` by prefdata {facts['versions']['prefdata']} from {units}. "
        f"Use: {', '.join(uses) or 'not stated'}.",
        *_table(
            "Files",
            ("file", "rows", *classes, "SHA-256"),
            [
                (f"`{name}`", one["rows"], *(one.get(name_) for name_ in classes), f"`{one['sha256']}`")
                for name, one in files.items()
            ],
        ),
        "",
        f"SHA-256 of the resolved recipe (without shard size and folders): `{recipe_hash(recipe)}`.",
        *_table("Columns", (), columns or []),
        *_whence(report, facts),
        *_table(
            "Rows",
            (*(["label"] if classes else []), "language", *split["sides"], "all"),
            [
                (
                    *([CLASSES[one["label"]]] if classes else []),
                    one["language"] or "unknown",
                    *(one[side] for side in split["sides"]),
                    one["rows"],
                )
                for one in split["strata"]
            ],
        ),
        "",
        "Before the format's own rules, which may refuse rows: the files have the numbers above.",
        *_filtered(report),
        *_labelled(report),
        *_divided(split, anchor="session" if "type" not in recipe else "session or prompt"),
        *_limits(report, facts),
    ]
    return "\n".join(lines) + "\n"


def _block(card: str, key: str) -> list[str]:
    """The lines of one top-level key in the YAML head of a card; none where it has none."""
    head = card.split("\n---\n", 1)[0].splitlines() if card.startswith("---\n") else []
    if f"{key}:" not in head:
        return []
    start = head.index(f"{key}:")
    inside = itertools.takewhile(lambda line: line.startswith((" ", "-")), head[start + 1 :])
    return [head[start], *inside]


def _front(report: Mapping[str, Any], files: Mapping[str, Any], features: Sequence[str]) -> list[str]:
    """The YAML at the head, in the words that the hub knows."""
    licences = sorted({source["licence"] for source in report["recipe"]["sources"] if source["licence"]})
    stated = all(source["licence"] for source in report["recipe"]["sources"])
    known = len(licences) == 1 and stated and re.fullmatch(r"[A-Za-z0-9.-]+", licences[0])
    rows = sum(one["rows"] for one in files.values())
    languages = sorted({one["language"] for one in report["split"]["strata"] if one["language"]})
    lines = ["---", f"pretty_name: {json.dumps(report['recipe']['name'])}"]
    lines += [f"license: {licences[0].lower()}" if known else "license: other" if licences else "license: unknown"]
    if languages:
        lines += ["language:", *(f"  - {json.dumps(one)}" for one in languages)]
    tags = TAGS[RecordType(report["recipe"].get("type", RecordType.UNPAIRED))]
    lines += ["task_categories:", "  - text-generation", "tags:", *(f"  - {tag}" for tag in tags)]
    lines += ["size_categories:", f"  - {next((name for end, name in SIZES if rows < end), 'n>1M')}"]
    lines += ["configs:", "  - config_name: default", "    data_files:"]
    for name in files:
        side = next((side for side in report["split"]["sides"] if Path(name).name.startswith(side)), Path(name).stem)
        lines += [f"      - split: {side}", f"        path: {json.dumps(name)}"]
    return [*lines, *features, "---", ""]


def _whence(report: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    sources = report["recipe"]["sources"]
    read = {one["source"]: f"{one['read_as']} ({one['type']})" for one in report.get("accounts", [])}
    lines = _table(
        "Sources",
        ("source", "layout" if "accounts" not in report else "read as", "licence", "permits"),
        [
            (
                source["name"],
                read.get(source["name"]) or source["layout"]["name"],
                source["licence"] or "not stated",
                "not stated" if source["permits"] is None else ", ".join(source["permits"]) or "nothing",
            )
            for source in sources
        ],
    )
    inputs = [(name, file, f"`{sha}`") for name, named in facts["inputs"].items() for file, sha in named.items()]
    lines += _table("", ("source", "file", "SHA-256"), inputs)
    lines += _accounted(report)
    counts = report["counts"]
    edited = ", ".join(f"{name} {number:,}" for name, number in sorted(report["touched"].items())) or "nothing"
    return [
        *lines,
        "",
        f"{counts['rows']:,} rows came of them, {counts['quarantined']:,} units could not be read. "
        f"Edited before anything was written: {edited}.",
    ]


def _accounted(report: Mapping[str, Any]) -> list[str]:
    """What became of every candidate, by source, and why some were left out before they were rows."""
    accounts = report.get("accounts", [])
    lines = _table(
        "",
        ("source", "candidates", *ENDS),
        [(one["source"], one["all"], *(one[end] for end in ENDS)) for one in accounts],
    )
    parts = (("refused", "refused_because"), ("unmade", "unmade_because"), ("left out of records", "left_out"))
    why = [
        (one["source"], what, reason, number)
        for one in accounts
        for what, name in parts
        for reason, number in one[name].items()
    ]
    lines += _table("", ("source", "what", "because", "number"), why)
    shares = [
        (one["source"], "–" if one["weight"] is None else one["weight"], one["passed"], one["wanted"], one["given"])
        for one in report.get("mix", [])
    ]
    return lines + _table("", ("mixed of", "weight", "passed", "share", "taken"), shares)


def _filtered(report: Mapping[str, Any]) -> list[str]:
    counts = report["counts"]
    bounds = [
        (
            rule["reason"],
            rule["filter"],
            f"`{rule['column']}`",
            "–" if rule["min"] is None else rule["min"],
            "–" if rule["max"] is None else rule["max"],
            ", ".join(rule["values"]) if rule.get("values") else "–",
            rule["only"] or "all",
            rule["failed"],
        )
        for rule in report["rules"]
    ]
    lines = _table("Filters", ("reason", "filter", "score", "min", "max", "values", "speaks for", "failed"), bounds)
    lines += _table(
        "",
        ("dropped because", "rows", "for this alone"),
        [(one["reason"], one["rows"], one["unique"]) for one in report["reasons"]],
    )
    groupings = ", ".join(
        f"{entry['name']} " + json.dumps(entry["settings"], sort_keys=True) for entry in report["recipe"]["groupings"]
    )
    return [
        *lines,
        "",
        f"Kept {counts['kept']:,} of {counts['rows']:,} rows. Bounds are inclusive. Duplicates: {groupings or 'kept'}. "
        f"Rows without a score are {'kept' if report['recipe']['unjudged'] == 'keep' else 'dropped'}: "
        f"{counts['kept_unjudged']:,} of the kept ones.",
    ]


def _labelled(report: Mapping[str, Any]) -> list[str]:
    labels, card = report["labels"], report["card"]
    if card["method"] == "none":
        return []
    measured = (
        f" On {card['n']:,} clear ratings: AUC {card['auc']:.3f}, calibration error {card['ece']:.3f}."
        if "auc" in card
        else ""
    )
    lines = _table(
        "Labels",
        ("rests on", "desirable", "undesirable"),
        [(one["source"], one["desirable"], one["undesirable"]) for one in labels["sources"]],
    )
    return [
        *lines,
        "",
        f"Method: {card['method']}; {labels['abstained']:,} rows abstained and are not in here." + measured,
    ]


def _divided(split: Mapping[str, Any], *, anchor: str) -> list[str]:
    how = (
        f"by a hash of the customer, else the {anchor} (salt {split['salt']})"
        if split["by"] == "hash"
        else "by time: "
        + (", ".join(f"{side} from {cut}" for side, cut in split["cuts"].items()) or "nothing held out")
    )
    leaks = [
        (one["kind"].replace("_", " "), ", ".join(one["sides"]), one["values"], one["left"], one["right"])
        for one in split["leaks"]
    ]
    return [
        "",
        "## Split",
        "",
        f"{split['units']:,} units, tied by {', '.join(split['connect']) or 'nothing'}, were split {how}. "
        f"{split['merges']['units']:,} units hold rows that alone would have stood on different sides: they train.",
        *_table("", ("on both sides", "sides", "shared", "rows", "rows of the other"), leaks),
    ]


def _limits(report: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """What a user should know before trusting it."""
    found = [note.text for note in notes(dict(report), []) if note.level == "warn"]
    silent = [source["name"] for source in report["recipe"]["sources"] if source["permits"] is None]
    if silent:
        found.append(f"What may be done with {', '.join(silent)} was not stated ({', '.join(USES)}).")
    recipe = report["recipe"]
    logs = [source["name"] for source in recipe["sources"] if "layout" in source]
    untouched = [
        source["name"]
        for source in recipe["sources"]
        if "format" in source and "personal_data" not in {entry["name"] for entry in source["transforms"]}
    ]
    transforms = {entry["name"] for entry in recipe["transforms"]}
    if untouched:
        found.append(f"Personal data in {', '.join(untouched)} was not looked for.")
    none_touched = not logs and len(untouched) == len(recipe["sources"])
    if ("personal_data" in transforms or not logs) and not none_touched:
        found.append(
            "Personal data was replaced by patterns and name lists: what they do not know is still in the rows."
        )
    elif logs:
        found.append("Personal data was not replaced.")
    if logs:
        found.append("Labels are inferred from what customers did and said, not given by annotators.")
    gone = sum(fate.get("erased", 0) for fate in facts["fates"])
    if gone:
        found.append(f"{gone:,} rows of customers who asked for it were erased.")
    return ["", "## Known limits", "", *(f"- {_cell(text)}" for text in found)]


def _table(title: str, head: tuple[str, ...], rows: list[Any]) -> list[str]:
    """A Markdown table under its title; nothing where it has no rows. Rows of text stand as they are."""
    if not rows:
        return []
    lines = ["", f"## {title}"] if title else []
    if not head:
        return [*lines, "", *rows]
    lines += ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)]


def _cell(value: Any) -> str:
    """A value as it can stand in a table: no pipes, no markup of HTML, no line ends."""
    if value is None:
        return "–"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
