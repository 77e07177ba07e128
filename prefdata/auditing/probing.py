"""The linear models behind shortcuts and trainability: how well marks of the answers predict what is preferred.

A model never sees the group of a row that it judges: rows are split into folds by prompt, and each row is judged by a
model fitted to the other folds. For pairs a row is the difference chosen - rejected, and the model has no intercept,
so that which side comes first can say nothing: every pair is counted in both orders, which is what flipping signs at
random comes to on average. The area is then how often the margins of two pairs add up to more than 0.

Import this module where it is used, inside functions: it needs numpy and scipy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

from prefdata.auditing import bags, statistics
from prefdata.auditing.bags import Bag, bag
from prefdata.auditing.dataset import Audited
from prefdata.auditing.linear import Design
from prefdata.auditing.once import Once, once
from prefdata.auditing.statistics import Estimate, Floats, Ints
from prefdata.schema import RecordType

MAX_PAIRS = 6_000
MAX_LABELLED = 10_000
"""Rows that are looked at; more would cost seconds and hardly narrow the intervals."""
MAX_CHARS = 10_000_000
"""Characters of answers that are looked at: some 5,000 pairs of 1 KB a side."""
MIN_ROWS = 40
MIN_CLASS = 10
MIN_GROUPS = 10
"""Below them nothing is said: a fold would have too little to fit or to judge."""
FOLDS = 5
SOURCES = (
    "source",
    "dataset",
    "datasource",
    "data_source",
    "subset",
    "category",
    "domain",
    "channel",
    "agent",
    "model",
)
MOST_SOURCES = 200
_INFLATION = statistics.cross_validated(FOLDS)

RARE = 5
"""Texts in which a word must stand to be looked at."""
WORD_PRIOR = 60.0
"""Prior precision of the weight of a word's log count. 30 to 100 were best on hh-rlhf, auto-j and dpo_en alike."""
MARK_PRIOR = 1.0
"""Prior precision of the weight of a mark, scaled to unit variance."""
OPENING_PRIOR = 5.0
"""Prior precision of the weight of an opening or an ending."""


class Judged(NamedTuple):
    """What models said of the rows that they had not seen."""

    scores: Floats
    """Log odds of being preferred: of chosen against rejected, or of the label true."""
    auc: Estimate
    fitted: int
    """Rows that a model was fitted to, on average."""


@dataclass(kw_only=True)
class Probe:
    """Rows of a dataset as a linear model sees them."""

    paired: bool
    rows: pl.DataFrame
    groups: Ints
    """Rows of one prompt have the same number."""
    label: Floats
    """1 for desirable and 0 for undesirable rows; 1 for every pair."""
    fold: Ints
    made: Once = field(default_factory=Once)
    """Blocks, and what models said, that several checks ask for."""

    @property
    def height(self) -> int:
        """Rows that are looked at."""
        return len(self.label)

    @property
    def prompt_count(self) -> int:
        """Groups of rows that are kept together."""
        return int(self.groups.max()) + 1

    @property
    def answers(self) -> pl.Series:
        """The texts that are judged; for pairs all chosen, then all rejected."""
        if self.paired:
            return pl.concat([self.rows["chosen_text"], self.rows["rejected_text"].alias("chosen_text")])
        return self.rows["completion_text"]

    @property
    def words(self) -> Bag:
        """Of the answers, all words."""
        return self.made.get("words", lambda: bag(self.answers))

    @property
    def often(self) -> Bag:
        """Of the answers, words that are not rare."""
        return self.made.get("often", lambda: self.words.often(RARE))

    @property
    def asked(self) -> Bag:
        """Of the prompts' last user turns, all words."""
        return self.made.get("asked", lambda: bag(self.rows["turn_text"]))

    @property
    def prompts(self) -> Bag:
        """Of the prompts' last user turns, words that are not rare."""
        return self.made.get("prompts", lambda: self.asked.often(RARE))

    @property
    def reply_words(self) -> Any:
        """The answers' words, as logarithms of their counts: sparse, rows by words."""
        return self.made.get("reply_words", lambda: self.contrast(self.often.counts.log1p()).tocsr())

    def surface(self, name: str) -> Floats:
        """Marks of the answers, by the name of their function in `surface`."""
        from prefdata.auditing import surface

        seen = self.words if name in ("script", "emoji") else self.answers
        return self.made.get(name, lambda: getattr(surface, name)(seen))

    def taken_up(self) -> Floats:
        """How many of an answer's words the last user turn has, and how many of that turn's words the answer has: two
        shares, answers by 2."""
        prompts, words = self.asked, self.words
        place = prompts.words.to_frame("word").join(
            words.words.to_frame("word").with_row_index("column"), on="word", how="left", maintain_order="left"
        )["column"]
        both = np.flatnonzero(place.is_not_null().to_numpy())
        asked = (prompts.counts[:, both] > 0).astype(np.float64)
        if self.paired:
            asked = sparse.vstack([asked, asked])
        said = (words.counts[:, place.drop_nulls().to_numpy()] > 0).astype(np.float64)
        shared = np.asarray(said.multiply(asked).sum(axis=1)).reshape(-1)
        own = np.maximum(1, np.diff(words.counts.indptr))
        theirs = np.maximum(1, np.tile(np.diff(prompts.counts.indptr), 2 if self.paired else 1))
        return np.column_stack([shared / own, shared / theirs])

    def contrast(self, block: Any) -> Any:
        """A block over the answers as a block over the rows: the difference of the sides, where there are two."""
        return block[: self.height] - block[self.height :] if self.paired else block

    def marks(self, block: Floats, prior: float = MARK_PRIOR) -> Any:
        """A dense block over the answers, scaled so that `prior` is the prior precision where WORD_PRIOR is used."""
        return self.contrast(scaled(block) * math.sqrt(WORD_PRIOR / prior))

    def judged(self, name: str, block: Any, *, keep: float = 1.0) -> Judged:
        """What models of `block` (rows by columns, see `contrast`) say of the rows; kept under `name`."""
        return self.made.get(f"judged {name}", lambda: self.judge(block, keep=keep))

    def judge(self, block: Any, *, keep: float = 1.0) -> Judged:
        """As `judged`; models are fitted to a part `keep` of the groups of the other folds."""
        scores, fitted = np.zeros(self.height), 0
        design = Design(block, prior=WORD_PRIOR, intercept=not self.paired)
        drawn = np.random.default_rng(1).permutation(self.prompt_count)[self.groups]
        few = drawn < keep * (drawn.max() + 1)
        for one in range(FOLDS):
            inside, judged = (self.fold != one) & few, self.fold == one
            fitted += int(inside.sum())
            scores[judged] = design.scores(design.fit(self.label, inside), judged)
        return Judged(scores, self.area(scores), fitted // FOLDS)

    def area(self, scores: Floats) -> Estimate:
        """The area under the ROC curve of scores of the rows, compared inside folds."""
        if not self.paired:
            return statistics.auc(scores, self.label > 0, self.groups, self.fold, inflation=_INFLATION)
        both = np.concatenate([self.label, 1 - self.label]) > 0
        groups, fold = np.tile(self.groups, 2), np.tile(self.fold, 2)
        return statistics.auc(np.concatenate([scores, -scores]), both, groups, fold, inflation=_INFLATION)

    def accuracy(self, scores: Floats) -> Estimate:
        """The share of pairs whose chosen side scores higher; of labelled rows the mean of both classes' shares that
        are on their side of 0 (balanced accuracy; its interval by Zou and Donner, 2008)."""
        if self.paired:
            return statistics.share((scores > 0) + 0.5 * (scores == 0), self.groups, inflation=_INFLATION)
        good = self.label > 0
        right = (scores > 0) + 0.5 * (scores == 0)
        one, two = (
            statistics.share(np.where(wanted, right[rows], 1 - right[rows]), self.groups[rows], inflation=_INFLATION)
            for wanted, rows in ((True, good), (False, ~good))
        )
        value = (one.value + two.value) / 2
        below = math.hypot(one.value - one.low, two.value - two.low) / 2
        above = math.hypot(one.high - one.value, two.high - two.value) / 2
        return Estimate(value, value - below, value + above)

    def loss(self, scores: Floats) -> Estimate:
        """The mean logistic loss of scores: ln 2 where they say nothing of pairs."""
        sign = 2 * self.label - 1
        return statistics.mean(np.logaddexp(0.0, -sign * scores), self.groups, inflation=_INFLATION)


def probe(data: Audited) -> Probe | None:
    """The rows of `data` that are looked at, None where they are too few. Kept for as long as `data` is."""
    return once(data).get("probe", lambda: _probe(data))


def scaled(block: Floats) -> Floats:
    """Columns divided by their standard deviation; constant ones become 0."""
    spread = block.std(axis=0)
    varies = spread > 1e-9 * np.abs(block).max(axis=0, initial=0.0)  # a mean that is rounded leaves a spread of 1e-17
    return np.asarray(np.where(varies, block / np.where(varies, spread, 1.0), 0.0), dtype=np.float64)


def _probe(data: Audited) -> Probe | None:
    paired = data.type is RecordType.PREFERENCE
    rows = data.sample
    if not rows.height:
        return None
    if paired:
        rows = rows.filter(pl.col("chosen_text") != pl.col("rejected_text"))
    else:
        rows = rows.filter(pl.col("label").is_not_null())
    if not rows.height:
        return None
    chars = rows.select(pl.sum_horizontal(pl.col(f"{side}_chars").clip(0, bags.MAX_CHARS) for side in data.answers))
    average = max(1.0, float(chars.to_series().mean() or 1.0))  # type: ignore[arg-type]
    rows = fewer(rows, min(MAX_PAIRS if paired else MAX_LABELLED, int(MAX_CHARS / average)))
    return of_rows(rows, group_of(rows), paired=paired)


def of_rows(rows: pl.DataFrame, groups: Ints, *, paired: bool) -> Probe | None:
    """Pairs, or rows that all have a label; None where they are too few, or of too few prompts."""
    if rows.height < MIN_ROWS or groups.max() + 1 < MIN_GROUPS:
        return None
    label = np.ones(rows.height) if paired else rows["label"].cast(pl.Float64).to_numpy()
    if not paired and min(label.sum(), (1 - label).sum()) < MIN_CLASS:
        return None
    return Probe(paired=paired, rows=rows, groups=groups, label=label, fold=statistics.folds(groups, FOLDS))


def sources(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """Columns that say where rows come from: `source`, and those of `meta` that are called as in SOURCES; only those
    that have between two and MOST_SOURCES values, in at least half of the rows."""
    found = {"source": rows["source"].cast(pl.String)} if "source" in rows.columns else {}
    if "meta" in rows.columns and rows["meta"].null_count() < rows.height:
        for name in SOURCES:
            found.setdefault(name, rows["meta"].str.json_path_match(f"$.{name}"))
    return {
        name: values
        for name, values in found.items()
        if 2 * values.null_count() <= len(values) and 2 <= values.drop_nulls().n_unique() <= MOST_SOURCES
    }


def fewer(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most `most` rows, scattered by their numbers: every n-th would follow a rhythm of labels in the file."""
    if rows.height <= most:
        return rows
    scattered = (pl.col("row").cast(pl.UInt64) * 2_654_435_761 % 2**32).alias("at")
    return rows.with_columns(scattered).sort("at", "row").head(most).sort("row").drop("at")


def group_of(rows: pl.DataFrame) -> Ints:
    """A number for the rows that must stay together.

    By `group` where the dataset names one; else by the first turn of the user, which the rows of one conversation
    share, or by the prompt where that turn is too short or too common to mean one conversation. Pairs of the same two
    answers stay together too: a copied pair would be known by heart.
    """
    if "group" in rows.columns:
        named = pl.coalesce(pl.col("group").cast(pl.String), pl.col("prompt_norm").cast(pl.String))
        groups = statistics.codes(rows.select(named).to_series())
    else:
        users = pl.element().filter(pl.element().struct.field("role") == "user").struct.field("content")
        first = pl.col("prompt").list.eval(users).list.first().fill_null("").str.to_lowercase().str.strip_chars()
        turns = rows.select(first.alias("first"), pl.col("prompt_norm").cast(pl.String).alias("prompt"))
        many = pl.len().over("first") > max(20.0, 0.02 * rows.height)
        plain = many | (pl.col("first").str.len_chars() < 12)
        groups = statistics.codes(turns.select(pl.when(plain).then("prompt").otherwise("first").alias("g"))["g"])
    if "chosen_norm" not in rows.columns:
        return groups
    return statistics.joined(
        groups, statistics.codes(rows.select(pl.struct("chosen_norm", "rejected_norm"))["chosen_norm"])
    )
