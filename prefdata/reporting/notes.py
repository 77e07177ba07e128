"""What a reader should look at first, told from the numbers of the report and of the trained stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from prefdata.reporting.training import notes as training
from prefdata.reporting.training.stages import Trained

SHIFT = 0.02
"""Change of the share of desirable rows from which on the filters are said to shift the classes."""

ABSTAINED = 0.5
"""Share of rows without a label from which on that is said to be much."""

CALIBRATION = 0.05
"""Expected calibration error from which on probabilities are said to be off."""

FEW = 200
"""Held-out rows below which intervals are said to be wide."""

UNREAD = 0.02
"""Share of a source's messages with an unreadable time, or no known role, from which on that is said."""

LEAKS = ("customer", "session", "prompt", "exchange", "near_duplicates")
"""What no two sides of a split should share; equal replies alone are courtesies mostly."""

UNPAIRED = "unpaired_preference"
"""The type of rows that carry labels."""

QUARANTINED = 0.005
"""Share of unreadable units from which on that stands on the first screen."""


class Note(NamedTuple):
    """One sentence, the part of the page it is about, and whether it asks for something to be done."""

    level: Literal["warn", "fine"]
    text: str
    anchor: str


def notes(report: dict[str, Any], stages: Sequence[Trained]) -> list[Note]:
    """Warnings first, each with its number; then what was checked and is fine."""
    found = [*_reading(report), *_imported(report), *_pictures(report), *_rows(report)]
    if labelled(report):
        found += _labels(report)
    found += [*_split(report), *(Note(*told) for told in training.notes(stages))]
    return sorted(found, key=lambda note: note.level != "warn")


def _reading(report: dict[str, Any]) -> list[Note]:
    found = []
    for source, facts in report["reading"].items():
        events = facts["counts"].get("events", 0)
        for name, what in (
            ("unparsed_time", "a time that could not be read: set time_format"),
            ("unknown_role", "a role that is mapped to nothing: see Input"),
        ):
            number = facts["counts"].get(name, 0)
            if events and number >= UNREAD * events:
                text = f"{number:,} of {events:,} messages of {source} have {what}."
                found.append(Note("warn", text, "input"))
    return found


def labelled(report: dict[str, Any]) -> bool:
    """Whether the rows of the run carry labels: those of pairs, examples and prompts do not."""
    return bool(report["recipe"].get("type", UNPAIRED) == UNPAIRED)


def _imported(report: dict[str, Any]) -> list[Note]:
    found = []
    for account in report.get("accounts", []):
        name, refused = account["source"], account["refused"]
        if account["flagged"]:
            number = account["flagged"]["control_tokens"]
            text = f"{_many(number, 'row')} of {name} with a model's own control token, as it came."
            found.append(Note("warn", text, "input"))
        if account["read"] and refused >= UNREAD * account["read"]:
            share = percent(refused / account["read"])
            text = f"{_many(refused, 'record')} of {name} ({share}) refused: see why under Input."
            found.append(Note("warn", text, "input"))
        if not account["rows"]:
            found.append(Note("warn", f"No row came of {name}: see why under Input.", "input"))
    for share in report.get("mix", []):
        if share["given"] < share["wanted"]:
            text = (
                f"{share['source']} gives {share['given']:,} of the {share['wanted']:,} rows that its weight asks for."
            )
            found.append(Note("warn", text, "funnel"))
    return found


def _pictures(report: dict[str, Any]) -> list[Note]:
    told = report.get("pictures") or {}
    if not told.get("refused") or told["refused"] < UNREAD * told["pictures"]:
        return []
    reason, number = max(told["refused_because"].items(), key=lambda one: (one[1], one[0]))
    most = f"most often as “{reason.replace('_', ' ')}” ({number:,})"
    text = f"{told['refused']:,} of {told['pictures']:,} pictures refused, {most}: what needs them is no row."
    return [Note("warn", text, "pictures")]


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _rows(report: dict[str, Any]) -> list[Note]:
    counts, found = report["counts"], []
    if counts["units"] and counts["quarantined"] >= QUARANTINED * counts["units"]:
        share = counts["quarantined"] / counts["units"]
        found.append(Note("warn", f"{counts['quarantined']:,} units ({percent(share)}) could not be read.", "input"))
    named = [reason for reason in report["reasons"] if reason["reason"] not in ("label_abstained", *_GROUPED)]
    if named and named[0]["rows"] > 0.1 * counts["rows"]:
        name, rows = named[0]["reason"].replace("_", " "), named[0]["rows"]
        text = f"One rule, “{name}”, stops {rows:,} rows ({percent(rows / counts['rows'])}): look at its samples."
        found.append(Note("warn", text, f"reason-{named[0]['reason']}"))
    before = _share(counts["rows_desirable"], counts["rows_undesirable"])
    after = _share(counts["kept_desirable"], counts["kept_undesirable"])
    if before is not None and after is not None:
        shift = f"from {percent(before)} to {percent(after)} desirable among labelled rows"
        if abs(after - before) >= SHIFT:
            found.append(Note("warn", f"The filters shift the classes {shift}.", "funnel"))
        else:
            found.append(Note("fine", f"The filters leave the classes as they were: {shift}.", "funnel"))
    for name in ("desirable", "undesirable") if labelled(report) else ():
        if counts["kept"] and not counts[f"kept_{name}"]:
            found.append(Note("warn", f"No {name} row was kept: KTO needs both classes.", "funnel"))
    conflicting = sum(reason["rows"] for reason in report["reasons"] if reason["reason"] == "conflicting_labels")
    if conflicting:
        what = "labels" if labelled(report) else "preferences"
        text = f"{conflicting:,} rows are duplicates with opposite {what}; all of them were dropped."
        found.append(Note("warn", text, "duplicates"))
    return found


_GROUPED = ("exact_duplicates", "near_duplicates", "conflicting_labels", "over_share")


def _labels(report: dict[str, Any]) -> list[Note]:
    counts, found = report["counts"], []
    abstained = report["labels"]["abstained"]
    if counts["rows"] and abstained >= ABSTAINED * counts["rows"]:
        share = percent(abstained / counts["rows"])
        text = f"{share} of the rows have no label: the signals are silent, neutral or at odds."
        found.append(Note("warn", text, "labels"))
    card = report["card"]
    if "auc" in card:
        text = f"calibration error {card['ece']:.3f}, AUC {card['auc']:.3f} on {card['n']:,} clear ratings."
        if card["ece"] > CALIBRATION:
            advice = " The method “fitted” learns from the ratings." if card["method"] == "rules" else ""
            found.append(Note("warn", f"The confidence of labels is off: {text}{advice}", "labels"))
        else:
            found.append(Note("fine", f"Labels keep to the customers' ratings: {text}", "labels"))
    return found


def _split(report: dict[str, Any]) -> list[Note]:
    return [*_held_out(report), *_units(report["split"])]


def _units(split: dict[str, Any]) -> list[Note]:
    found = []
    for one in split.get("giants", []):
        text = f"One split unit holds {one['rows']:,} rows ({percent(one['share'])}), all in {one['split']}."
        found.append(Note("warn", text, "training"))
    for leak in split.get("leaks", []):
        if leak["values"] and leak["kind"] in LEAKS:
            sides = " and ".join(leak["sides"])
            kind = leak["kind"].replace("_", " ")
            text = f"{sides} share {leak['values']:,} {kind} values, in {leak['right']:,} rows of {leak['sides'][1]}."
            found.append(Note("warn", text, "training"))
    return found


def _held_out(report: dict[str, Any]) -> list[Note]:
    side = report["split"]["evaluation"]
    if not side["rows"]:
        return [Note("warn", "No row is held out: nothing will tell what training brought.", "training")]
    if labelled(report) and not (side["desirable"] and side["undesirable"]):
        return [Note("warn", "The held-out rows are of one class: rewards cannot be compared.", "training")]
    if side["rows"] < FEW:
        return [Note("warn", f"Only {side['rows']:,} rows are held out: intervals will be wide.", "training")]
    return []


def percent(share: float) -> str:
    """A share as the report writes it."""
    return f"{100 * share:.1f} %"


def _share(desirable: int, undesirable: int) -> float | None:
    return desirable / (desirable + undesirable) if desirable + undesirable else None
