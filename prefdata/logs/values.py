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

MAX_ROLE_CHARS = 20
"""A value of a role column that is longer is never shown."""

UP: tuple[str, ...] = (
    *("up", "1", "+1", "true", "yes", "y", "like", "liked", "good", "positive", "helpful", "thumbs_up", "thumbs up"),
    *("👍", "赞", "有用", "满意", "好评"),
)
DOWN: tuple[str, ...] = (
    *("down", "-1", "false", "no", "n", "dislike", "disliked", "bad", "negative", "not helpful", "unhelpful"),
    *("thumbs_down", "thumbs down", "👎", "踩", "没用", "不满意", "差评"),
)


def role_faults(roles: Mapping[str, Sequence[str]]) -> list[str]:
    """A role that is none, a value that is empty or means two roles, each told as `setting: fault`."""
    faults = [f"roles.{role}: {role!r} is no role; {nearest(role, ROLES)}" for role in roles if role not in ROLES]
    given: dict[str, str] = {}
    for role, values in roles.items():
        for value in values:
            other = given.setdefault(value.strip().lower(), role)
            if not value.strip():
                faults.append(f"roles.{role}: a value is empty")
            elif other != role:
                faults.append(f"roles.{role}: {value!r} stands under {other} and {role}")
    return faults


def role_table(roles: Mapping[str, Sequence[str]], known: Mapping[str, Sequence[str]] = KNOWN_ROLES) -> dict[str, str]:
    """Lower-case value -> role; what is given goes before what is known. Raises RecipeError as `role_faults` says."""
    if faults := role_faults(roles):
        raise RecipeError(faults)
    given = {value.strip().lower(): role for role, values in roles.items() for value in values}
    return {**{value: role for role, values in known.items() for value in values}, **given}


def read_roles(
    texts: pl.Series,
    roles: Mapping[str, Sequence[str]],
    *,
    given: pl.Series,
    message: pl.Series,
    where: str = "role",
) -> tuple[pl.Series, dict[str, int]]:
    """Roles of `texts`, null where the table has none, and the ten commonest values of messages without a role.

    Where `given` is not null it stands. Raises InputError where more than half of the rows that are a `message` have no
    role; `where` names the column in it.
    """
    table = role_table(roles)
    frame = pl.DataFrame({"value": texts, "given": given})
    lower = pl.col("value").str.to_lowercase()
    frame = frame.with_columns(
        role=pl.coalesce("given", lower.replace_strict(list(table), list(table.values()), default=None))
    )
    lost = frame.filter(message & pl.col("role").is_null())
    unknown = _showable(lost["value"])
    if lost.height * 2 > int(message.sum()):
        shown = ", ".join(
            f"{value if value.startswith('(') else repr(value)} ({count:,})" for value, count in unknown.items()
        )
        raise InputError(
            f"{where}: {lost.height:,} of {int(message.sum()):,} messages have a role that is mapped to none of "
            f"{', '.join(ROLES)}; found {shown}; map them under `roles`"
        )
    return frame["role"], unknown


def _showable(values: pl.Series) -> dict[str, int]:
    """The ten commonest values -> how often; what may be more than the name of a role is told in brackets, not shown.

    A column that is no role column may hold names of persons, addresses or the messages themselves.
    """
    value = pl.col("value")
    told = (
        pl.when(value.is_null() | (value == ""))
        .then(pl.lit("(empty)"))
        .when(value.str.len_chars() > MAX_ROLE_CHARS)
        .then(pl.lit(f"(longer than {MAX_ROLE_CHARS} characters)"))
        .when(value.str.contains(r"[\p{C}\p{Zl}\p{Zp}]"))
        .then(pl.lit("(unprintable)"))
        .when(value.str.contains(r"@|\d.*\d.*\d.*\d.*\d"))
        .then(pl.lit("(an address or a number)"))
        .otherwise(value)
    )
    counts = values.alias("value").to_frame().select(told.alias("value")).group_by("value").len("count")
    return dict(counts.sort(["count", "value"], descending=[True, False]).head(10).iter_rows())


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
