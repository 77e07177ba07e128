"""Polars expressions over a MESSAGES column: the text that scorers, groupings and reports look at.

Every function takes the name of a column or an expression of dtype MESSAGES and gives an expression; nothing is
evaluated here. A null list of messages gives null, an empty list gives "" or 0; a null content counts as "".
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl


def contents(messages: pl.Expr | str, *, roles: Collection[str] | None = None) -> pl.Expr:
    """The messages' contents as List(String), in order; only those of `roles` where given."""
    message = pl.element()
    if roles is not None:
        message = message.filter(message.struct.field("role").is_in(sorted(roles)))
    return _column(messages).list.eval(message.struct.field("content").fill_null(""))


def last_text(messages: pl.Expr | str, *, role: str) -> pl.Expr:
    """The content of the last message of `role`, "" where there is none."""
    column = _column(messages)
    return pl.when(column.is_not_null()).then(contents(column, roles=[role]).list.last().fill_null(""))


def last_user_text(messages: pl.Expr | str) -> pl.Expr:
    """The content of the last user message: in a prompt of a support log, the last customer turn."""
    return last_text(messages, role="user")


def joined_text(messages: pl.Expr | str, *, separator: str = "\n", roles: Collection[str] | None = None) -> pl.Expr:
    """All contents as one text, `separator` between them; only those of `roles` where given."""
    return contents(messages, roles=roles).list.join(separator)


def message_count(messages: pl.Expr | str, *, roles: Collection[str] | None = None) -> pl.Expr:
    """How many messages there are, UInt32; only those of `roles` where given."""
    return contents(messages, roles=roles).list.len().cast(pl.UInt32)


def char_count(messages: pl.Expr | str, *, roles: Collection[str] | None = None) -> pl.Expr:
    """Characters (code points, not bytes) of all contents together, UInt32."""
    lengths = contents(messages, roles=roles).list.eval(pl.element().str.len_chars())
    return lengths.list.sum().cast(pl.UInt32)


def _column(messages: pl.Expr | str) -> pl.Expr:
    return pl.col(messages) if isinstance(messages, str) else messages
