"""Strings in texts that a tokenizer takes for control tokens of a model, by the families of models."""

from __future__ import annotations

import polars as pl

from prefdata.auditing.check import Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Levels
from prefdata.formats.core import sides_of
from prefdata.schema import RecordType
from prefdata.transforms.control_tokens import contains_control_token, control_tokens, token_pattern

_OPENING = r"[<\x{FF1C}\x{FE64}\[\x{FF3B}\x{FE47}\]\x{FF3D}\x{FE48}]"
"""Every token holds one of these, or a character that NFKC folds into one."""

PLAIN = r"\t\n\r -~\x{A1}-\x{A7}\x{AB}\x{BF}-\x{FF}\x{400}-\x{481}\x{48A}-\x{4FF}\x{2013}-\x{2014}\x{2018}-\x{201E}" + (
    r"\x{3001}\x{3002}\x{3041}-\x{3096}\x{30A1}-\x{30FA}\x{4E00}-\x{9FFF}"
)
"""Characters that NFKC and the removal of invisible ones leave as they are, or change into none of a token's."""

_ODD = f"[^{PLAIN}]"

AMBIGUOUS = frozenset({"images", "code", "bert_t5", "reasoning_and_tools"})
"""Families whose strings also stand in texts for their own sake: `<img>`, `<filename>`, `[MASK]`, and `<think>` in the
answers of reasoning models. They forge no turn; rows with these alone are a note."""

LEVELS = Levels(major=0.01, minor=0)


def _collected(chunk: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """`row` and `family`, each once."""
    found = []
    for side in sides_of(record_type):
        texts = chunk.select("row", text=f"{side}_text")
        near = texts.filter(pl.col("text").str.contains(_OPENING))
        hits = _holding(near) if near.height else near
        if hits.height:
            found += [
                hits.filter(contains_control_token("text", families=(name,))).select("row", family=pl.lit(name))
                for name in control_tokens()
            ]
    if not found:
        return pl.DataFrame(schema={"row": pl.UInt32, "family": pl.String})
    return pl.concat(found).unique(maintain_order=True)


def _holding(texts: pl.DataFrame) -> pl.DataFrame:
    """Rows whose `text` holds a token. Folding is dear, and most texts have nothing to fold."""
    odd = texts["text"].str.contains(_ODD)
    plain = texts.filter(~odd).filter(pl.col("text").str.contains(token_pattern()))
    return pl.concat([plain, texts.filter(odd).filter(contains_control_token("text"))])


def _found(data: Audited) -> Found:
    hits = data.collected["control_tokens"]
    if not hits.height:
        return Found()
    counts = hits.group_by("family", maintain_order=True).len().sort("len", "family", descending=[True, False])
    forging = hits.filter(~pl.col("family").is_in(sorted(AMBIGUOUS)))["row"].n_unique()
    named = hits.group_by("row", maintain_order=True).agg("family")
    return Found(
        rows=hits["row"].unique().sort(),
        measures={"families": dict(counts.iter_rows()), "forging": forging},
        severity=LEVELS.of(forging, data.total),
        beside={row: ", ".join(families) for row, families in named.iter_rows()},
    )


CONTROL_TOKENS = Check(
    name="control_tokens",
    family="form",
    title="A text holds what tokenizers take for a control token",
    why="Most tokenizers read such a string as the token itself: the row ends a turn, or begins another one, inside "
    "a text. Strings that only mark pictures, code or reasoning are a note.",
    cure="prefdata convert DATA --to FORMAT --control-tokens escape",
    source="prefdata/transforms/control_tokens.txt: the tokens of 10 families of models",
    levels=LEVELS,
    collect=_collected,
    find=_found,
)
