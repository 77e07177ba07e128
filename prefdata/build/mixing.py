"""Several sources as one set: caps, balance of labels, and shares by weight; all that is left out has its reason.

The steps stand in this order, each sees what the one before left: sound rows (length), caps, balance, shares. Which
rows stay is decided by a hash of the id, so that it hangs neither on the order of the rows nor on other sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl

from prefdata.build.built import Built, account, content_keys, sift
from prefdata.errors import InputError
from prefdata.schema import SCHEMAS, RecordType, check, stable_hash
from prefdata.text import char_count


@dataclass(frozen=True, kw_only=True)
class Caps:
    """How many rows may come from one place; None is no limit."""

    per_prompt: int | None = None
    """Rows with the same prompt."""
    per_customer: int | None = None
    """Rows of one customer (`meta.customer`); rows that name none are not counted."""
    per_source: int | None = None
    """Rows of one source."""
    max_chars: int | None = None
    """Characters of prompt and answers together; of a pair, of its longer answer."""

    def __post_init__(self) -> None:
        faults = [
            f"{name}: {value}, expected at least 1 or none"
            for name, value in vars(self).items()
            if value is not None and value < 1
        ]
        if faults:
            raise InputError("; ".join(faults))


class Mixed(NamedTuple):
    """The mixture, its account, and what each source gave (`source`, `rows`, `weight`, `wanted`, `made`)."""

    built: Built
    shares: pl.DataFrame


def capped(rows: pl.DataFrame, record_type: RecordType, caps: Caps, *, seed: int = 0) -> Built:
    """`rows` within the caps. Unmade: too_long, then over_cap_prompt, over_cap_customer, over_cap_source in turn.

    Within a prompt, customer or source the rows with the smallest hash of (seed, id) stay.
    """
    rows = check(rows, record_type).sort("id")
    left = rows.with_columns(_draw=_draws(rows["id"], seed))
    gone = []
    if caps.max_chars is not None:
        left, unmade = sift(left, {"too_long": _chars(record_type) > caps.max_chars})
        gone.append(unmade)
    steps = (("prompt", caps.per_prompt), ("customer", caps.per_customer), ("source", caps.per_source))
    for name, limit in steps:
        if limit is None:
            continue
        key = {
            "prompt": content_keys(left, ["prompt"], purpose="prompt"),
            "customer": left.select(_customer=pl.col("meta").str.json_path_match("$.customer"))["_customer"],
            "source": left["source"],
        }[name]
        left = left.with_columns(key.alias("_key")).sort("_draw", "id")
        place = pl.int_range(pl.len()).over("_key")
        left, unmade = sift(left, {f"over_cap_{name}": pl.col("_key").is_not_null() & (place >= limit)})
        gone.append(unmade)
    return Built(left.select(SCHEMAS[record_type].names()).sort("id"), account(*gone))


def balanced(
    rows: pl.DataFrame,
    *,
    max_ratio: float = 4 / 3,
    policy: Literal["least_confident", "hash"] = "hash",
    seed: int = 0,
) -> Built:
    """UNPAIRED rows with the larger class cut down to `max_ratio` times the smaller. Unmade: surplus_label, abstained.

    `policy`: which rows of the larger class go: `least_confident` those of the least sure labels (unknown first), which
    also changes what the class looks like; `hash` any, by a hash of the id. Nothing is cut where a class is missing.
    """
    if max_ratio < 1:
        raise InputError(f"max_ratio: {max_ratio}, expected at least 1")
    if policy not in ("least_confident", "hash"):
        raise InputError(f"policy: {policy!r}, expected least_confident or hash")
    rows = check(rows, RecordType.UNPAIRED)
    labelled, unmade = sift(rows.with_columns(_draw=_draws(rows["id"], seed)), {"abstained": pl.col("label").is_null()})
    sizes = dict(labelled.group_by("label").len().rows())
    smaller = min(sizes.get(True, 0), sizes.get(False, 0))
    room = int(smaller * max_ratio + 1e-9) if smaller else labelled.height
    first = [] if policy == "hash" else [-pl.col("label_confidence").fill_null(0.0)]
    ordered = labelled.sort(*first, "_draw", "id")
    made, surplus = sift(ordered, {"surplus_label": pl.int_range(pl.len()).over("label") >= room})
    return Built(check(made.drop("_draw"), RecordType.UNPAIRED).sort("id"), account(unmade, surplus))


def mix(
    sources: Sequence[pl.DataFrame],
    record_type: RecordType,
    *,
    weights: Mapping[str, float] | None = None,
    size: int | None = None,
    seed: int = 0,
) -> Mixed:
    """Rows of several frames, each `source` in the share that its weight asks for, exactly.

    `size` rows are shared out by largest remainder; None is the largest size at which no source falls short of its
    share. Without `weights` every row is taken, up to `size`. A source that has fewer rows than its share gives all it
    has, and the rest goes to the others by their weights; no row is taken twice. Unmade: over_share. Raises InputError
    for a weight that is no positive number or names no source, and for a source without a weight.
    """
    rows = check(pl.concat([check(one, record_type) for one in sources]), record_type)
    found = {str(name): count for name, count in rows.group_by("source").len().sort("source").rows()}
    weights = {name: float(count) for name, count in found.items()} if weights is None else dict(weights)
    faults = [f"{name}: {weight}, expected a number above 0" for name, weight in weights.items() if not weight > 0]
    faults += [f"{name}: no such source, found {', '.join(found)}" for name in sorted({*weights} - {*found})]
    faults += [f"{name}: {found[name]} rows without a weight" for name in sorted({*found} - {*weights})]
    if size is not None and size < 1:
        faults.append(f"size: {size}, expected at least 1 or none")
    if faults:
        raise InputError("weights: " + "; ".join(faults))
    total = sum(weights.values())
    if size is None:
        size = min((int(found[name] * total / weights[name] + 1e-9) for name in found), default=0)
    wanted = shares(weights, size)
    given = _within(weights, found, min(size, rows.height))
    limits = pl.DataFrame(
        {"source": list(given), "_limit": list(given.values())}, schema={"source": pl.String, "_limit": pl.Int64}
    )
    drawn = rows.with_columns(_draw=_draws(rows["id"], seed)).join(limits, on="source", how="left").sort("_draw", "id")
    made, unmade = sift(drawn, {"over_share": pl.int_range(pl.len()).over("source") >= pl.col("_limit")})
    table = pl.DataFrame(
        {
            "source": list(found),
            "rows": list(found.values()),
            "weight": [weights[name] for name in found],
            "wanted": [wanted[name] for name in found],
            "made": [given[name] for name in found],
        },
        schema={"source": pl.String, "rows": pl.Int64, "weight": pl.Float64, "wanted": pl.Int64, "made": pl.Int64},
    )
    built = Built(check(made.drop("_draw", "_limit"), record_type).sort("id"), account(unmade))
    return Mixed(built, table)


def shares(weights: Mapping[str, float], size: int) -> dict[str, int]:
    """`size` parted by `weights` into whole numbers that add up to it: largest remainder, ties to the smaller name."""
    total = sum(weights.values())
    exact = {name: size * weight / total for name, weight in sorted(weights.items())}
    whole = {name: int(share + 1e-9) for name, share in exact.items()}
    left = size - sum(whole.values())
    by_remainder = sorted(exact, key=lambda name: (-round(exact[name] - whole[name], 9), name))
    for name in by_remainder[:left]:
        whole[name] += 1
    return whole


def _within(weights: Mapping[str, float], found: Mapping[str, int], size: int) -> dict[str, int]:
    """Shares that no source falls short of: what a small source cannot give is shared out among the others."""
    given: dict[str, int] = {}
    open_weights = dict(weights)
    while open_weights:
        part = shares(open_weights, size - sum(given.values()))
        short = {name: found[name] for name in open_weights if found[name] < part[name]}
        if not short:
            return {**given, **part}
        given |= short
        open_weights = {name: weight for name, weight in open_weights.items() if name not in short}
    return given


def _chars(record_type: RecordType) -> pl.Expr:
    answers = [name for name in ("completion", "chosen", "rejected") if name in SCHEMAS[record_type]]
    longest = pl.max_horizontal(char_count(name) for name in answers) if answers else pl.lit(0)
    return char_count("prompt") + longest


def _draws(ids: pl.Series, seed: int) -> pl.Series:
    seeds = pl.repeat(str(seed), len(ids), eager=True, dtype=pl.String)
    return stable_hash([seeds, ids], purpose="mix")
