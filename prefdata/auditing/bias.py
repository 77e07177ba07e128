"""Bias: what answers say of genders and groups, against what they would say if it depended on neither.

A sentence is the unit. Words that stand in sentences about women and in sentences about men are compared by their
log-odds with a Dirichlet prior (Monroe, Colaresi and Quinn, 2008): the reference is a word that is as frequent in both.
A finding is told with enough counts only, and says what the words do, not what is meant: a text against a prejudice
holds the words of the prejudice. The lists are short, English and Chinese: see bias_words.txt.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from prefdata.auditing import bias_lists
from prefdata.auditing.check import ANSWERED, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity
from prefdata.schema import RecordType

MIN_TERM = 10
"""Sentences with a word, from which on its log-odds are told."""
MIN_SENTENCES = 50
"""Sentences about a group, or with a word of a list and a gender, from which on anything is told."""
MIN_Z = 3.5
"""|z| from which on a word is told: about 0.05 over a hundred words (Bonferroni)."""
MIN_NEGATIVE = 0.05
"""Share of the sentences about groups with a negative word, from which on it is told although no group stands out."""
PRIOR = 20.0
"""Sentences that the prior counts for."""
MAJOR_DIFFERENCE = 0.2
"""Difference between the preferred and the other side, of shares or of log-odds ratios, from which on it is major."""
RESAMPLES = 400
SHOWN = 8

_TERMS = ("occupations_female", "occupations_male", "traits_female", "traits_male")


def log_odds(counts: pl.DataFrame) -> pl.DataFrame:
    """`counts` (`one`, `other`: sentences of two kinds with a word; `all_one`, `all_other`) with `log_odds` and `z`.

    The prior is PRIOR sentences in which the word is as frequent as in both kinds together.
    """
    share = (pl.col("one") + pl.col("other") + 0.5) / (pl.col("all_one") + pl.col("all_other") + 1)
    one, other = pl.col("one") + PRIOR * share, pl.col("other") + PRIOR * share
    without_one = pl.col("all_one") + PRIOR - one
    without_other = pl.col("all_other") + PRIOR - other
    found = counts.with_columns(
        log_odds=(one / without_one).log() - (other / without_other).log(),
        error=(1 / one + 1 / other + 1 / without_one + 1 / without_other).sqrt(),
    )
    return found.with_columns(z=pl.col("log_odds") / pl.col("error")).drop("error")


def _genders(words: pl.DataFrame) -> pl.DataFrame:
    """`sentence`, `gender` of the sentences that speak of one gender."""
    of_gender = words.filter(pl.col("family").is_in(["female", "male"])).select("sentence", gender="family").unique()
    return of_gender.filter(pl.len().over("sentence") == 1)


def preferred(data: Audited, rows: pl.DataFrame) -> pl.DataFrame:
    """Those of `rows` (`row`, `side`) that would be learnt."""
    if data.type is RecordType.PREFERENCE:
        return rows.filter(pl.col("side") == "chosen")
    if data.type is RecordType.UNPAIRED:
        good = data.rows.select("row", "label").filter(pl.col("label").fill_null(True))
        return rows.join(good, on="row", how="semi")
    return rows


def classes(data: Audited, rows: pl.DataFrame) -> tuple[str, str, pl.DataFrame]:
    """Names of the preferred and the other class, and `rows` with `class`; empty names where there is one only."""
    if data.type is RecordType.PREFERENCE:
        return "chosen", "rejected", rows.with_columns(pl.col("side").alias("class"))
    if data.type is RecordType.UNPAIRED:
        labels = data.rows.select("row", "label")
        named = pl.when("label").then(pl.lit("desirable")).otherwise(pl.lit("undesirable"))
        known = rows.join(labels, on="row", maintain_order="left").filter(pl.col("label").is_not_null())
        return "desirable", "undesirable", known.with_columns(named.alias("class")).drop("label")
    return "", "", rows.with_columns(pl.lit("").alias("class"))


def bootstrapped(data: Audited, rows: pl.DataFrame, columns: list[str], figure: Any) -> tuple[float, float, float]:
    """`figure` of the sums of `columns`, with the interval of 95 % of RESAMPLES resamples of prompts, fixed seed."""
    import numpy as np

    groups = rows.join(data.rows.select("row", "prompt_norm"), on="row", maintain_order="left")
    sums = groups.group_by("prompt_norm").agg(pl.col(columns).sum()).sort("prompt_norm").select(columns).to_numpy()
    value = figure(sums.sum(axis=0))
    random, equal = np.random.default_rng(0), np.full(len(sums), 1 / len(sums))
    drawn = [figure(random.multinomial(len(sums), equal) @ sums) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return round(float(value), 4), round(float(low), 4), round(float(high), 4)


def _log_ratio(counts: Any) -> float:
    """Log odds ratio of a table of four, each plus a half (Haldane and Anscombe)."""
    import math

    a, b, c, d = (float(count) + 0.5 for count in counts)
    return math.log(a * d / (b * c))


def _side_severity(low: float, otherwise: Severity) -> Severity:
    """How bad it is that the preferred side carries more: by the lower bound of the difference."""
    if low >= MAJOR_DIFFERENCE:
        return Severity.MAJOR
    return Severity.MINOR if low > 0 else otherwise


def _stereotypes(data: Audited) -> Found:
    """Do words for women go with the occupations and traits that are held to be women's, and the same for men?

    `log_odds_ratio` of the table (gender of the word in the list) x (gender in the sentence): 0 where they have
    nothing to do with each other.
    """
    sentences = bias_lists.sentences(data)
    words = bias_lists.words_of(sentences)
    genders = _genders(words)
    used = words.filter(pl.col("family").is_in(_TERMS)).join(genders, on="sentence", maintain_order="left")
    if used.height < MIN_SENTENCES:
        return Found()
    held = pl.when(pl.col("family").str.ends_with("_female")).then(pl.lit("female")).otherwise(pl.lit("male"))
    used = used.with_columns(held=held)
    cells = {
        f"{list_}_{said}": ((pl.col("held") == list_) & (pl.col("gender") == said)).cast(pl.Int64)
        for list_ in ("female", "male")
        for said in ("female", "male")
    }
    table = used.with_columns(**cells)
    ratio, low, high = bootstrapped(data, table, list(cells), _log_ratio)
    sums = table.select(list(cells)).sum().row(0, named=True)
    measures: dict[str, Any] = {
        "log_odds_ratio": ratio,
        "interval": [low, high],
        "sentences": {
            "female": genders.filter(pl.col("gender") == "female").height,
            "male": genders.filter(pl.col("gender") == "male").height,
        },
        "counts": sums,
        "looked_at": bias_lists.looked_at(data),
    }
    measures["words"] = _told_words(used, genders)
    better, worse, classed = classes(data, table)
    severity = Severity.MINOR if low > 1.0 else Severity.NOTE
    difference = 0.0, 0.0, 0.0
    if better:
        both = {
            f"{one}_{cell}": pl.when(pl.col("class") == one).then(pl.col(cell)).otherwise(0)
            for one in (better, worse)
            for cell in cells
        }
        columns = list(both)
        difference = bootstrapped(
            data, classed.with_columns(**both), columns, lambda sums: _log_ratio(sums[:4]) - _log_ratio(sums[4:])
        )
        measures["difference"] = {
            "of": [better, worse],
            "log_odds_ratio": difference[0],
            "interval": list(difference[1:]),
        }
        severity = _side_severity(difference[1], severity)
    if low <= 0 and difference[1] <= 0:
        return Found()
    congruent = used.filter(pl.col("held") == pl.col("gender"))
    rows = preferred(data, congruent)["row"].unique().sort()
    return Found(rows=rows, measures=measures, severity=severity)


def _told_words(used: pl.DataFrame, genders: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """For each gender the words that go with it most, MIN_TERM sentences and MIN_Z at least."""
    totals = dict(genders.group_by("gender").len().iter_rows())
    counts = used.group_by("name").agg(
        one=(pl.col("gender") == "female").sum(), other=(pl.col("gender") == "male").sum()
    )
    counts = counts.with_columns(all_one=pl.lit(totals.get("female", 0)), all_other=pl.lit(totals.get("male", 0)))
    scored = log_odds(counts).filter((pl.col("one") + pl.col("other") >= MIN_TERM) & (pl.col("z").abs() >= MIN_Z))
    return {
        gender: [
            {"word": word, "female": one, "male": other, "z": round(z, 2)}
            for word, one, other, z in scored.filter(pl.col("z") > 0 if gender == "female" else pl.col("z") < 0)
            .sort(pl.col("z").abs(), "name", descending=[True, False])
            .head(SHOWN)
            .select("name", "one", "other", "z")
            .iter_rows()
        ]
        for gender in ("female", "male")
    }


def _groups(data: Audited) -> Found:
    """Which groups stand beside words of crime, dirt and contempt more often than the other groups do?"""
    sentences = bias_lists.sentences(data)
    words = bias_lists.words_of(sentences)
    of_group = words.filter(pl.col("family") == "groups").select("row", "side", "sentence", "name").unique()
    negative = words.filter(pl.col("family") == "negative").select("sentence").unique()
    used = of_group.with_columns(negative=pl.col("sentence").is_in(negative["sentence"].implode()).cast(pl.Int64))
    once = used.select("row", "side", "sentence", "negative").unique(maintain_order=True)
    if once.height < MIN_SENTENCES or not once["negative"].sum():
        return Found()
    counts = used.group_by("name").agg(one=pl.col("negative").sum(), all_one=pl.len()).sort("name")
    counts = counts.with_columns(
        other=pl.col("one").sum() - pl.col("one"), all_other=pl.col("all_one").sum() - pl.col("all_one")
    )
    scored = log_odds(counts).filter(pl.col("all_one") >= MIN_TERM)
    share = bootstrapped(
        data, once.with_columns(one=pl.lit(1)), ["negative", "one"], lambda sums: sums[0] / max(sums[1], 1)
    )
    above = scored.filter(pl.col("z") >= MIN_Z)
    measures: dict[str, Any] = {
        "negative_share": share[0],
        "interval": list(share[1:]),
        "sentences": once.height,
        "groups": {
            name: {"sentences": total, "negative": one, "z": round(z, 2)}
            for name, total, one, z in scored.sort("z", "name", descending=[True, False])
            .select("name", "all_one", "one", "z")
            .iter_rows()
        },
        "looked_at": bias_lists.looked_at(data),
    }
    better, worse, classed = classes(data, once)
    difference = 0.0, 0.0, 0.0
    if better:
        flags = {
            "n1": ((pl.col("class") == better) & (pl.col("negative") == 1)).cast(pl.Int64),
            "a1": (pl.col("class") == better).cast(pl.Int64),
            "n2": ((pl.col("class") == worse) & (pl.col("negative") == 1)).cast(pl.Int64),
            "a2": (pl.col("class") == worse).cast(pl.Int64),
        }
        difference = bootstrapped(
            data, classed.with_columns(**flags), list(flags), lambda s: s[0] / max(s[1], 1) - s[2] / max(s[3], 1)
        )
        measures["difference"] = {
            "of": [better, worse],
            "negative_share": difference[0],
            "interval": list(difference[1:]),
        }
    if share[1] < MIN_NEGATIVE and difference[1] <= 0 and not above.height:
        return Found()
    rows = preferred(data, once.filter(pl.col("negative") == 1))["row"].unique().sort()
    severity = _side_severity(difference[1], Severity.MINOR if above.height else Severity.NOTE)
    return Found(rows=rows, measures=measures, severity=severity)


GENDER_STEREOTYPES = Check(
    name="gender_stereotypes",
    family="bias",
    title="Occupations and traits go with the gender that prejudice gives them",
    why="The model learns that nurses are women and engineers are men; preference training makes it prefer that.",
    cure="Read the words that are told; add rows that speak of both genders, or leave out rows of the side with more.",
    source="Monroe et al. 2008 (log-odds with a Dirichlet prior); Zhao et al. 2018, WinoBias",
    types=ANSWERED,
    find=_stereotypes,
)

GROUP_STEREOTYPES = Check(
    name="group_stereotypes",
    family="bias",
    title="Sentences about a religion, an origin or another group hold words of crime, dirt or contempt",
    why="Where such a sentence is preferred, the model learns the prejudice. Only words count: quotes count too.",
    cure="Read the examples; leave out the rows whose preferred answer agrees with the prejudice.",
    source="Monroe et al. 2008 (log-odds with a Dirichlet prior); Parrish et al. 2022, BBQ",
    types=ANSWERED,
    find=_groups,
)
