"""What became of texts about pictures, source by source: for the page of a run, and for the line in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BOUNDS = (("relevant_min", "relevant from"), ("irrelevant_max", "irrelevant up to"))

MADE = "hard_negative"
"""What labels and pairs rest on that are made of true texts."""


def section(accounts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each source that the section `image_text` speaks of: facts as words, and tables of counts by name."""
    return [{"source": one["source"], **_told(one["image_text"])} for one in accounts if "image_text" in one]


def lines(accounts: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each such source: what its texts became."""
    found = []
    for one in accounts:
        card = one.get("image_text")
        if card is None or "texts" not in card:
            continue
        parts = [f"{number:,} {name}" for name, number in _ends(card).items()]
        left = [f"{name.replace('_', ' ')} {number:,}" for name, number in card["left"].items()]
        bounds = [f"{what} {card['bands'][name]:g}" for name, what in _bounded(card)]
        told = "; ".join([", ".join(parts) or "nothing", *bounds, *(["left: " + ", ".join(left)] if left else [])])
        found.append(f"{one['source']}: of {card['texts']:,} texts about pictures {told}")
    return found


def _ends(card: Mapping[str, Any]) -> dict[str, int]:
    if "examples" in card:
        return {"examples": card["examples"]}
    if "labels" in card:
        wrong = card["labels"]["undesirable"]
        named = {
            "desirable": sum(card["labels"]["desirable"].values()),
            "undesirable": sum(number for name, number in wrong.items() if name != MADE),
            "wrong answers made": wrong.get(MADE, 0),
        }
    else:
        named = {f"pairs by {name.replace('_', ' ')}": number for name, number in card["pairs"].items()}
    return {name: number for name, number in named.items() if number}


def _bounded(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, what) for name, what in BOUNDS if card.get("bands", {}).get(name) is not None]


def _told(card: Mapping[str, Any]) -> dict[str, Any]:
    facts = []
    if "relevance" in card:
        told = card["relevance"]
        facts.append(("relevance", f"{told['scorer']}: {told['judged']:,} judged, {told['unjudged']:,} unjudged"))
    for name, what in _bounded(card):
        percentile = card.get("asked", {}).get(f"{name}_percentile")
        whose = "all sources" if "percentile_of" in card.get("asked", {}) else "this source"
        of = "" if percentile is None else f", asked for as percentile {percentile:g} of the texts of {whose}"
        facts.append((what, f"{card['bands'][name]:g}{of}"))
    if "min_margin" in card:
        facts.append(("least margin", f"{card['min_margin']:g}"))
    for by, values in card.get("margins", {}).items():
        spread = ", ".join(f"{name} {value:g}" for name, value in values.items())
        facts.append((f"margins by {by.replace('_', ' ')}", spread))
    tables = []
    for name, table in card.get("labels", {}).items():
        tables.append((f"{name} by", table))
    if "pairs" in card:
        tables.append(("pairs by", card["pairs"]))
    if "examples" in card:
        facts.append(("examples", f"{card['examples']:,}"))
    if "left" in card:
        tables.append(("left because", card["left"]))
    negatives = card.get("negatives", {})
    if "made" in negatives:
        reasons = sorted({name for table in negatives.get("unmade", {}).values() for name in table})
        kinds = sorted({*negatives["made"], *negatives.get("unmade", {})})
        unmade = [(kind, [negatives.get("unmade", {}).get(kind, {}).get(one, 0) for one in reasons]) for kind in kinds]
        made = [(kind, negatives["made"].get(kind, 0), numbers) for kind, numbers in unmade]
    else:
        reasons, made = [], []
    return {
        "texts": card.get("texts"),
        "facts": facts,
        "tables": [(title.capitalize(), table) for title, table in tables if table],
        "reasons": reasons,
        "negatives": made,
    }
