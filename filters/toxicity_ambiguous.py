"""What keeps English words with an innocent sense from condemning a polite sentence: names, tools, cut-off words.

The linear model knows "cock" as an insult only, so that a cock pheasant scores .999. A word of AMBIGUOUS counts in full
where it is thrown at somebody (ADDRESSED), where it does not stand alone, or where the rest is not polite itself. These
are word lists, not an understanding: "the cock called again" passes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from filters.toxicity_english import TOKEN, Model

PERSONS = (
    "dicks?|cocks?|hoe|jerks?|pigs?|rats?|donkeys?|worms?|fools?|nerds?|dummy|pricks?|tits?|coons?|scum|trash|garbage"
    "|rubbish|queers?|gay|dykes?|fatty|crackers?|nuts?|monkeys?|fat|dirty|smelly|sick|mental|butts?|cum"
)
"""Ambiguous words that insult where they name a person."""

AMBIGUOUS = (
    rf"{PERSONS}|hell|homosexual|sex|penis|vagina|anus|anal|semen|nipples?|nips|breasts?|naked|wet|lick|mouth|throat"
    "|screw|blow|balls|holes?|buzz|skull|wool|canyon|clouds|chambers|vine|tires|goats?|kill|die|shoot|shut|stinks?"
    "|smell|suck|sucking|sucked|spic|chink|negro|mum|mom|ho|hos|ck|sh|ing"
)
"""Words that alone lift a polite sentence ("Your ... has been shipped today") to .45 and more, and may stand there."""

_VERY = "fat|big|little|old|dirty|lazy|ugly|dumb|stupid|damn|silly|poor|absolute|total|complete|bloody|fucking|real"
ADDRESSED = "|".join(
    (
        rf"\b(?:you|u|ya)(?: (?:{_VERY}))* (?:{PERSONS})\b",
        r"\b(?:you|u|ya|he|she|they|customers?|callers?)(?:['’](?:re|s)|re| are| is| r| were| was| ?r an?)"
        r"(?: being| acting like)?"
        rf"(?: (?:just|really|all|so|such|nothing but|a|an|the|one|bit|of|piece|{_VERY}))* (?:{AMBIGUOUS}|ass|arse)\b",
        rf"\b(?:such|what|like|be|being) an? (?:\w+ )?(?:{PERSONS}|ass|arse)\b|piece of (?:trash|garbage|rubbish)",
        r"\bto hell|rot in hell|\bthe hell\b|hell no|shut (?:up|it|your|ur|the hell)|\bshut ?up|suck (?:it|my|a|on)\b",
        r"\b(?:you|u) (?:suck|stink)|screw (?:you|u|off|yourself)\b|blow me\b",
        r"kill (?:you|u|ya|yourself|urself|him|her|them|myself|all|everyone)\b",
        r"(?:go|should|must|please|just|and|hope you|wish you|you|will|can) die\b|^\W*die\b",
        rf"\b(?:your|ur) (?:{_VERY})? ?(?:dick|cock|butt|mouth|fat|dirty)\b|\bmy (?:dick|cock|butt|balls)\b",
        r"\b(?:fat|dirty|smelly|sick|mental|garbage|trash|rubbish) (?:\w+ )?(?:customers?|wom[ae]n|m[ae]n|people|person"
        r"|pigs?|cows?|foreigners?|immigrants?|bag|case)\b",
        r"talk(?:ing)? (?:rubbish|garbage|trash)|dick ?head|\bthis fool\b",
    )
)
"""Where such a word is thrown at somebody."""

TEMPERED = 0.79
"""What a score is multiplied by that rests on one ambiguous word alone: below the rule's .8, above what is polite."""

MAX_POLITE = 0.5
"""The sentence without its ambiguous word scores at most this."""

_ELLIPSIS_END = r"(?:\.{3,}|…)[.…]*\s*(?:https?://\S+\s*)*$"
_WEIGHED = 8.0
"""Weight times idf from which a word counts as held against a text."""


def without_cut_off_word(texts: pl.Series, model: Model) -> pl.Series:
    """The texts without a last word that is cut off before "..." ("as we ass... https://t.co/x"), if it could go on.

    Only words that are held against a text and begin a harmless one (assist) are taken away: "you idiot..." stays, and
    so does a word that is thrown at somebody.
    """
    ends = texts.str.contains(_ELLIPSIS_END).fill_null(False).arg_true()
    if ends.is_empty():
        return texts
    words = "|".join(cut_off_words(model))
    cut = texts.gather(ends)
    shorter = cut.str.replace(rf"(?i)\b(?:{words}){_ELLIPSIS_END}", " ")
    return texts.clone().scatter(ends, shorter.zip_with(~cut.str.contains(rf"(?i){ADDRESSED}"), cut))


@lru_cache(maxsize=2)
def _cut_off_words(sha256: str, terms: tuple[str, ...], weights: tuple[float, ...]) -> tuple[str, ...]:
    harmless = [term for term, weight in zip(terms, weights) if weight <= 0]
    starts = {term[:size] for term in harmless for size in range(2, len(term))}
    return tuple(sorted(term for term, weight in zip(terms, weights) if weight >= _WEIGHED and term in starts))


def cut_off_words(model: Model) -> tuple[str, ...]:
    """Words of the model that count against a text and with which a harmless word of it begins, sorted."""
    known = model.terms.filter(pl.col("place") >= 0)
    places = known["place"].to_numpy()
    weights = (model.weights.mean(axis=0) * model.idf)[places]
    return _cut_off_words(model.sha256, tuple(known["word"]), tuple(weights.tolist()))


def tempered(texts: pl.Series, model: Model, probabilities: Callable[[pl.Series, Model], Any]) -> Any:
    """`probabilities` of the texts, less where they rest on a name or on one ambiguous word in a polite sentence."""
    scores = probabilities(texts, model)
    frame = pl.DataFrame({"row": np.arange(texts.len()), "text": texts})
    words = (
        pl.col("text")
        .str.to_lowercase()
        .str.extract_all(TOKEN)
        .list.eval(pl.element().filter(pl.element().str.contains(rf"^(?:{AMBIGUOUS})$")))
    )
    found = (
        frame.filter(pl.col("text").str.contains(rf"(?i)\b(?:{AMBIGUOUS})\b"))
        .filter(~pl.col("text").str.contains(rf"(?i){ADDRESSED}"))
        .with_columns(text=_without_names(pl.col("text")))
        .with_columns(
            words=words.list.unique().list.len(), rest=pl.col("text").str.replace_all(rf"(?i)\b(?:{AMBIGUOUS})\b", " ")
        )
    )
    if found.is_empty():
        return scores
    rows = found["row"].to_numpy()
    named, rest = probabilities(found["text"], model), probabilities(found["rest"], model)
    polite = (rest <= MAX_POLITE) & (found["words"] == 1).to_numpy()
    scores[rows] = np.fmin(scores[rows], np.where(polite, TEMPERED * named, named))
    return scores


def _without_names(text: pl.Expr) -> pl.Expr:
    """`text` without ambiguous words that are written as part of a name: Dick Smith, Moby Dick, Gay Street."""
    capitalised = rf"(?:{'|'.join(word[0].upper() + word[1:] for word in AMBIGUOUS.split('|'))})"
    return text.str.replace_all(rf"\b{capitalised}( [A-Z][a-z])", "$1").str.replace_all(
        rf"([a-z,;] [A-Z][a-z]+ ){capitalised}\b", "$1"
    )
