"""Sentences that the terminal and Markdown share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SYMBOLS = {"critical": "✖", "major": "▲", "minor": "●", "note": "·"}
VIEWS = {"ours": "As prefdata trains them", "trl": "As plain TRL would train the same rows"}


_SAID = frozenset({"reason", "enough", "covers"})
"""Measures that the name of a finding or its cure says already."""


def headline(record: Mapping[str, Any]) -> str:
    """What was examined."""
    refused = sum(record["refused"].values())
    more = f", {refused:,} more could not be read" if refused else ""
    return (
        f"{record['name']}: {record['total']:,} rows ({record['read_as']}){more}, for {record['method']} on "
        f"{record['model']} at max_length {record['figures']['max_length']:,}"
    )


def kept(record: Mapping[str, Any]) -> str:
    """How many rows are trained on, and why others are not."""
    lost = ", ".join(f"{number:,} {reason}" for reason, number in record["figures"]["dropped"].items())
    return f"{record['rows']:,} rows are trained on" + (f"; dropped: {lost}" if lost else "")


def lengths(record: Mapping[str, Any]) -> list[str]:
    """Percentiles of the tokens of a row, and the share of rows that limits would cut; of uncut rows where known."""
    if not record["rows"]:
        return []
    whole = record["figures"].get("uncut")
    lines = [_percentiles("tokens of a row as trained", record["figures"]["lengths"])]
    if whole:
        lines.append(_percentiles("tokens of a row uncut", whole))
    over = (whole or record["figures"]["lengths"])["longer_than"]
    told = ", ".join(f"{100 * share:.1f} % over {int(limit):,}" for limit, share in over.items())
    return [*lines, f"rows {'uncut' if whole else 'as trained'}: {told}"]


def _percentiles(what: str, told: Mapping[str, Any]) -> str:
    return f"{what}: " + ", ".join(f"{name} {told[name]:,}" for name in ("p50", "p95", "p99", "longest"))


def trained(record: Mapping[str, Any]) -> str:
    """The share of tokens that are trained on."""
    share = record["figures"]["trained"]
    if not share:
        return ""
    told = (
        f"trained on {100 * share['of_all']:.1f} % of the tokens ({100 * share['least']:.1f} to "
        f"{100 * share['most']:.1f} % of a row)"
    )
    trl = record["figures"].get("trl")
    if trl is not None:
        told += f"; TRL would train {100 * trl['answer_tokens_trained']:.1f} % of the answers' tokens"
    return told


def pictures(record: Mapping[str, Any]) -> list[str]:
    """How many pictures there are, and what they take of the tokens; nothing for rows without any."""
    told = record["figures"].get("pictures")
    if not told:
        return []
    return [
        f"{told['count']:,} pictures in {told['rows']:,} rows: {told['tokens_p50']:,} tokens each, "
        f"{told['tokens_most']:,} at most, {100 * told['share_of_tokens']:.1f} % of all tokens"
    ]


def summary(record: Mapping[str, Any]) -> str:
    """How many findings of each severity."""
    told = ", ".join(f"{number:,} {name}" for name, number in record["counts"].items() if number)
    return f"findings: {told or 'none'}"


def figures(finding: Mapping[str, Any]) -> list[str]:
    """The measures of a finding that are short."""
    found = []
    for name, value in finding["measures"].items():
        if name in _SAID:
            continue
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(f"{name} {value:,}")
        elif isinstance(value, str) and len(value) <= 40:
            found.append(f"{name} {value}")
        elif isinstance(value, Mapping) and value:
            found.append(f"{name}: " + ", ".join(f"{key} {number:,}" for key, number in list(value.items())[:4]))
    return found


def by_view(findings: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The findings of each view that has some, ours first."""
    parted = {view: [one for one in findings if one["view"] == view] for view in VIEWS}
    return {view: found for view, found in parted.items() if found}
