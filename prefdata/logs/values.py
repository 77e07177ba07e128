"""Cells of a log read as roles, ratings and thumbs: by tables, never by guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from prefdata.errors import InputError, RecipeError, nearest
from prefdata.logs.events import ROLES

KNOWN_ROLES: dict[str, tuple[str, ...]] = {
    "customer": (
        *("customer", "client", "consumer", "user", "usr", "visitor", "end-user", "end_user", "enduser", "buyer"),
        *("客户", "顾客", "用户", "买家", "访客"),
    ),
    "agent": (
        *("agent", "operator", "representative", "rep", "advisor", "assistant", "staff", "support"),
        *("客服", "坐席", "人工客服", "卖家"),
    ),
    "bot": ("bot", "chatbot", "virtual agent", "virtual assistant", "机器人", "智能客服"),
    "system": ("system", "系统"),
    "note": ("note", "internal", "internal note", "internal_note", "private note", "private_note", "备注", "内部备注"),
    "tool": ("tool", "function", "action"),
}
"""Values of a role column that need no mapping; `roles` of the settings goes before them."""

UP: tuple[str, ...] = (
    *("up", "1", "+1", "true", "yes", "y", "like", "liked", "good", "positive", "helpful", "thumbs_up", "thumbs up"),
    *("👍", "赞", "有用", "满意", "好评"),
)
DOWN: tuple[str, ...] = (
    *("down", "-1", "false", "no", "n", "dislike", "disliked", "bad", "negative", "not helpful", "unhelpful"),
    *("thumbs_down", "thumbs down", "👎", "踩", "没用", "不满意", "差评"),
)


def role_table(roles: Mapping[str, Sequence[str]], known: Mapping[str, Sequence[str]] = KNOWN_ROLES) -> dict[str, str]:
    """Lower-case value -> role. Raises RecipeError for a role that is none and a value that means two."""
    faults = [f"roles: {role!r} is no role; {nearest(role, ROLES)}" for role in roles if role not in ROLES]
    given: dict[str, str] = {}
    for role, values in roles.items():
        for value in values:
            other = given.setdefault(value.strip().lower(), role)
            if other != role:
                faults.append(f"roles: {value!r} stands under {other} and {role}")
    if faults:
        raise RecipeError(faults)
    return {**{value: role for role, values in known.items() for value in values}, **given}


def read_roles(
    texts: pl.Series, roles: Mapping[str, Sequence[str]], *, given: pl.Series, message: pl.Series
) -> pl.Series:
    """Roles of `texts`, null where the table has none; where `given` is not null it stands.

    Raises InputError where more than half of the rows that are a `message` have none.
    """
    table = role_table(roles)
    frame = pl.DataFrame({"value": texts, "given": given})
    lower = pl.col("value").str.to_lowercase()
    frame = frame.with_columns(
        role=pl.coalesce("given", lower.replace_strict(list(table), list(table.values()), default=None))
    )
    lost = frame.filter(message & pl.col("role").is_null())
    if lost.height * 2 > int(message.sum()):
        counts = lost["value"].value_counts().sort(["count", "value"], descending=[True, False]).head(10)
        shown = ", ".join(f"{_shown(value)} ({count:,})" for value, count in counts.iter_rows())
        raise InputError(
            f"role: {lost.height:,} of {int(message.sum()):,} messages have a role that is mapped to none of "
            f"{', '.join(ROLES)}; found {shown}; map them under `roles`"
        )
    return frame["role"]


def _shown(value: str | None) -> str:
    if value is None:
        return "empty"
    return repr(value) if len(value) <= 20 else f"a value of {len(value)} characters"


def read_ratings(texts: pl.Series, words: Mapping[str, float]) -> tuple[pl.Series, int]:
    """List(Float64): one number for each part between `,`, `;` or `|`; `4/5` and `4 stars` are 4. Null: none read."""
    by_word = {word.strip().lower(): float(number) for word, number in words.items()}
    frame = pl.DataFrame({"rating": texts}).with_row_index("row")
    parts = frame.select("row", pl.col("rating").str.split(";").alias("part")).explode("part", keep_nulls=False)
    parts = parts.with_columns(pl.col("part").str.replace_all("|", ",", literal=True).str.split(",")).explode("part")
    part = pl.col("part").str.strip_chars()
    number = part.str.extract(r"^([+-]?\d+(?:\.\d+)?)(?:\s*(?:/\s*\d+|[^\d\s/.,-]\D*))?$", 1).cast(
        pl.Float64, strict=False
    )
    number = pl.when(number.is_finite()).then(number)
    word = part.str.to_lowercase().replace_strict(
        list(by_word), list(by_word.values()), default=None, return_dtype=pl.Float64
    )
    parts = parts.filter(part != "").with_columns(number=pl.coalesce(word, number))
    lists = parts.drop_nulls("number").group_by("row", maintain_order=True).agg("number")
    ratings = frame.join(lists, on="row", how="left", maintain_order="left")["number"]
    return ratings.alias("ratings"), parts["number"].null_count()


def read_thumbs(texts: pl.Series) -> pl.Series:
    """Int8: 1 up, -1 down, null for anything else: a bare 0 may be a thumb down or no vote."""
    values = [1] * len(UP) + [-1] * len(DOWN)
    return (
        texts.str.to_lowercase().replace_strict([*UP, *DOWN], values, default=None, return_dtype=pl.Int8).alias("thumb")
    )
