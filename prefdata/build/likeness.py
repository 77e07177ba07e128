"""How alike two texts are, and which facts they state: the measures by which builders match and refuse pairs.

Tokens are words, single CJK characters and symbols, after pseudonyms became their type (`<EMAIL_3>` -> `<email>`), NFKC
and lower case: as in prefdata.dedup, which finds candidates; here given pairs are measured.
"""

from __future__ import annotations

import polars as pl

PSEUDONYM = r"<([A-Z][A-Z_]*?)_[0-9]+>"
_CJK = r"\u{3005}-\u{3007}\u{3041}-\u{30FF}\u{3400}-\u{4DBF}\u{4E00}-\u{9FFF}\u{F900}-\u{FAFF}\u{20000}-\u{3FFFF}"
_WORD = rf"[\w&&[^_{_CJK}]]"
_TOKEN = rf"<[a-z_]+>|{_WORD}+(?:['’]{_WORD}+)*|[{_CJK}]|\p{{So}}"

_NUMBER = r"[A-Za-z0-9-]*[0-9](?:[A-Za-z0-9.,:/-]*[A-Za-z0-9])?"
FACT = rf"<[A-Z][A-Z_]*_[0-9]+>|{_NUMBER}"
"""A numbered pseudonym, or a number with what is written to it: "A-1001", "24", "2024-03-01", "1,000.50"."""

_IDENTIFIER = r"\b[A-Za-z]{0,4}[-#]?[0-9](?:[-]?[A-Za-z0-9]){3,}\b"
"""An order number and its like; short numbers ("2 days", "500 dollars") say what is asked and stay."""


def plain(text: pl.Expr) -> pl.Expr:
    """The text as it is compared."""
    typed = text.fill_null("").str.replace_all(PSEUDONYM, "<${1}>")
    return typed.str.normalize("NFKC").str.to_lowercase()


def tokens(text: pl.Expr) -> pl.Expr:
    """List(String) of the tokens of a text, in order."""
    return plain(text).str.extract_all(_TOKEN)


def marks(text: pl.Expr) -> pl.Expr:
    """List(String), each once: the tokens of a text and its pairs of neighbours; what `jaccard` compares."""
    return marks_of(tokens(text))


def marks_of(words: pl.Expr) -> pl.Expr:
    """`marks` of a column of `tokens`: cheaper, as polars evaluates `words` as often as it stands here."""
    # pairs from the first word on and pairs from the second word on: together all neighbours
    joined = words.list.join(" ")
    neighbours = [part.str.extract_all(r"\S+ \S+") for part in (joined, joined.str.replace(r"^\S+ ", ""))]
    return pl.concat_list(words, *neighbours).list.unique()


def jaccard(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Float64 in [0, 1] of two lists of `marks`: what both have over what either has; two empty ones are equal, 1."""
    common = left.list.set_intersection(right).list.len().cast(pl.Float64)
    union = left.list.len() + right.list.len() - common
    return pl.when(union > 0).then(common / union).otherwise(1.0)


_FRAME = """
the and for you your yours our that this these those what which who whom whose where when why how can could would will
shall should may might must does did have has had was were are been being not don't doesn't didn't isn't please thank
thanks hello hey dear okay yes just still again already now then there here with from about into any some all very
really know tell want need like help get got let their them they his her its i'm i've it's that's what's where's
answer answered wait waiting waited ask asked asking said told reply replied
good great fine nice cool perfect sounds sure yeah yup yep alright right correct works work looks
"""
_FRAME_CJK = (
    "请问|麻烦|帮我|帮忙|一下|可以|能不能|有没有|什么时候|什么|哪些|哪里|哪儿|哪个|多少|怎么|告诉我|我想|想要|知道|谢谢"
    "|到底|好的|那么|回答|回复|[您你我它这那的了吗呢啊呀吧哦嗯是有在要想请问再又还就都也啥哪]"
)
"""Words that stand in requests and assents of any kind; they say nothing about what is asked."""

_MORE = r"\b(?:else|other|others|another|more|next|different|instead|alternatives?)\b|还有|别的|其他|其它|另外|换一"


def content_words(text: pl.Expr) -> pl.Expr:
    """List(String), each once: what a turn is about, without the words that frame any request.

    Words of three characters and more; of Chinese, pairs of neighbouring characters.
    """
    telling = pl.element().str.contains(rf"^[{_CJK}] [{_CJK}]$") | (
        (pl.element().str.len_chars() >= 3) & ~pl.element().str.contains(rf"\s|^[{_CJK}]")
    )
    frame = pl.lit(_FRAME.split(), dtype=pl.List(pl.String))
    # what stands on both sides of a Chinese frame word is no pair: a letter keeps it apart
    meant = text.str.replace_all(_FRAME_CJK, " x ")
    return marks(meant).list.eval(pl.element().filter(telling)).list.set_difference(frame)


def asks_for_more(text: pl.Expr) -> pl.Expr:
    """Whether a turn asks for a further thing ("anything else?"): what it means hangs on what was already offered."""
    return plain(text).str.contains(_MORE)


def overlap(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Float64 in [0, 1] of two lists of `content_words`: the share of the shorter that both have.

    A single word is no question: below two words it is 1 where both are the same, else 0.
    """
    common = left.list.set_intersection(right).list.len().cast(pl.Float64)
    shorter = pl.min_horizontal(left.list.len(), right.list.len())
    longer = pl.max_horizontal(left.list.len(), right.list.len())
    same = (common == longer) & (longer > 0)
    return pl.when(shorter >= 2).then(common / shorter).otherwise(same.cast(pl.Float64))


def length_ratio(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Float64 in [0, 1]: the shorter text's characters over the longer's; 1 where both are empty."""
    one, other = left.str.len_chars(), right.str.len_chars()
    longer = pl.max_horizontal(one, other)
    return pl.when(longer > 0).then(pl.min_horizontal(one, other) / longer).otherwise(1.0)


def facts(text: pl.Expr) -> pl.Expr:
    """List(String), each once: the numbers and pseudonyms that a text states."""
    return text.fill_null("").str.extract_all(FACT).list.unique()


def foreign_facts(answer: pl.Expr, own: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Whether `answer` states a fact of the prompt it was given to (`own`) that the prompt `other` does not hold.

    All three are lists of `facts`. What no prompt holds (an opening hour, a policy) the agent knew: it is not foreign.
    """
    return answer.list.set_intersection(own).list.set_difference(other).list.len() > 0


def without_facts(text: pl.Expr) -> pl.Expr:
    """The tokens of a text as one text, each fact replaced by `<fact>`: equal where texts differ in facts only."""
    return tokens(text.fill_null("").str.replace_all(FACT, " <fact> ")).list.join(" ")


def without_form(text: pl.Expr) -> pl.Expr:
    """The text without white space, punctuation and case: equal where texts differ in form only.

    Punctuation between digits stays: 10.5 is not 105.
    """
    kept = text.fill_null("").str.normalize("NFKC").str.to_lowercase()
    for _ in range(2):  # matches do not overlap: 1.2.3 needs two passes
        kept = kept.str.replace_all(r"([0-9])([.,:/-])([0-9])", "${1}\ue000$2\ue000${3}")
    for mark in (".", ",", ":", "/", "-"):
        kept = kept.str.replace_all(f"\ue000{mark}\ue000", chr(0xE001 + ".,:/-".index(mark)), literal=True)
    return kept.str.replace_all(r"[\p{P}\p{Z}\s]", "")


def question(text: pl.Expr, *, mask_identifiers: bool) -> pl.Expr:
    """A customer's turn as its tokens with one space between; with `mask_identifiers` an order number is `<number>`."""
    if mask_identifiers:
        text = text.fill_null("").str.replace_all(_IDENTIFIER, "<number>")
    return tokens(text).list.join(" ")
