"""How much of one turn's words comes back in another, whole-column, for English and Chinese."""

from __future__ import annotations

import polars as pl

from prefdata.logs.lexicons import entries

MIN_WORDS = 3
"""A turn of fewer words that carry meaning is too short to tell a repetition from a short answer; two, where it has
exactly the words of the one before."""
SHORT = 5
"""Turns of fewer words have to repeat nearly all."""
STRICT = 0.8
"""Share of the words in common that a short or a Chinese turn needs."""
MAX_NEW = 0.2
"""Share of words that a longer turn may add and still be a repetition, where it keeps all the old ones."""
_CHINESE_FRAME = (
    "请问|麻烦|帮我|帮忙|一下|可以|能不能|有没有|什么时候|什么|哪些|哪里|哪儿|哪个|多少|怎么|告诉我|我想|想要|知道|谢谢"
    "|好的|那么|[您你我它这那的了吗呢啊呀吧哦嗯是有在要想请问再又还就都也啥哪]"
)
"""Chinese words that carry no meaning of their own, left out when turns are compared."""


def words(text: pl.Expr) -> pl.Expr:
    """List(String) of the distinct words of `text` that carry meaning: Latin words and Chinese character pairs."""
    lower = text.str.to_lowercase()
    latin = lower.str.extract_all(r"[a-z0-9][a-z0-9']*")
    meant = lower.str.replace_all(_CHINESE_FRAME, " ")
    shifted = meant.str.replace_all(r"(^|\P{Han})\p{Han}", "${1} ")
    han = pl.concat_list(meant.str.extract_all(r"\p{Han}{1,2}"), shifted.str.extract_all(r"\p{Han}{2}"))
    content = latin.list.set_difference(pl.lit(list(entries("stop_words")), dtype=pl.List(pl.String)))
    return pl.concat_list(content, han).list.unique()


def repeated(before: pl.Expr, after: pl.Expr, *, least: float) -> pl.Expr:
    """How far `after` says the same as `before`: the shorter turn's share of words in common, 0 below `least`.

    A turn that brings a word of its own asks something else in the same frame ("what is the price", "what is the
    address"): it counts as a repetition only where it brings none, or a few (MAX_NEW) beside all the old ones.
    Short and Chinese turns, of which the frame is the greater part, may add none and need a share of STRICT. Null where
    a text is null.
    """
    left, right = words(before), words(after)
    common = left.list.set_intersection(right).list.len()
    shorter = pl.min_horizontal(left.list.len(), right.list.len())
    share = common / shorter
    new = right.list.set_difference(left).list.len()
    dropped = left.list.set_difference(right).list.len()
    strict = (shorter < SHORT) | after.str.contains(r"\p{Han}")
    same = (new == 0) | (~strict & (new <= MAX_NEW * right.list.len()) & (dropped == 0))
    enough = share >= pl.when(strict).then(max(least, STRICT)).otherwise(least)
    # a bare rest of the sentence (one of two things asked) is a choice, not a repetition
    whole = right.list.len() >= 0.5 * left.list.len()
    known = before.is_not_null() & after.is_not_null()
    spoken = enough & same & whole & ((shorter >= MIN_WORDS) | ((shorter >= 2) & (new == 0) & (dropped == 0)))
    return pl.when(known).then(pl.when(spoken).then(share).otherwise(0.0))
