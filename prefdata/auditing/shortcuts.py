"""Shortcuts: how much of the preference is told by marks that have nothing to do with how good an answer is.

A baseline is a linear model that sees one kind of mark and nothing else. Where it does well on prompts that it has not
seen, training can do well the same way. All figures are cross-validated by prompt (see `probing`), on a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from prefdata.auditing.check import PAIRS, UNARY, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.probing import Judged, Probe
    from prefdata.auditing.statistics import Estimate

MAJOR_AUC, MINOR_AUC = 0.8, 0.7
"""Areas from which a baseline is major or minor, where its interval lies above 0.5."""
MAJOR_D, MINOR_D = 0.8, 0.5
"""Cohen's large and medium effect."""
MAJOR_WINS, MINOR_WINS = 0.75, 0.65
"""Shares of pairs won by the longer side (or by the shorter one)."""
SHARED = ("position", "source", "prompt_words")
"""What both answers of a pair share: at chance whatever the data."""
MIN_MARKED = 20
"""Rows in which a mark must stand on one side, or tell the sides apart, for its baseline to be judged."""
MIN_SOURCE = 50
"""Rows of a source from which its length bias is told apart."""
MOST_SOURCES = 20
MOST_ROWS = 200_000
"""Rows whose lengths are compared."""
BLOCK = 500
"""Neighbouring rows that are taken together to see whether their order tells the label."""
TELLING = 10
"""Words that are named for each label."""
TOLD_BY = 20
"""Prompts in whose answers a word must stand to be named: fewer might say who or what the rows are about."""


def baselines(probe: Probe) -> Mapping[str, Judged | int]:
    """Baseline -> what it came to; for one whose marks are too rare, in how many rows they stand."""
    found: dict[str, Judged | int] = {}
    for name, block in _blocks(probe).items():
        columns = block()
        marked = _marked(columns)
        found[name] = probe.judged(name, columns) if marked >= MIN_MARKED else marked
    return found


def _blocks(probe: Probe) -> dict[str, Callable[[], Any]]:
    """Baseline -> the block that it sees."""
    from scipy import sparse

    from prefdata.auditing import surface
    from prefdata.auditing.probing import OPENING_PRIOR, WORD_PRIOR, sources

    opening = math.sqrt(WORD_PRIOR / OPENING_PRIOR)
    blocks: dict[str, Callable[[], Any]] = {
        "length": lambda: probe.marks(probe.surface("length")),
        "language": lambda: probe.marks(probe.surface("script")),
        "markdown": lambda: probe.marks(probe.surface("markdown")),
        "emoji": lambda: probe.marks(probe.surface("emoji")),
        "refusal": lambda: probe.marks(probe.surface("refusal")),
        "first_words": lambda: probe.contrast(surface.first_words(probe.answers) * opening),
        "ending": lambda: probe.contrast(surface.ending(probe.answers) * opening),
        "reply_words": lambda: probe.reply_words,
    }
    if not probe.paired:
        blocks["prompt_words"] = lambda: probe.prompts.counts.log1p().tocsr()
        if named := sources(probe.rows):
            blocks["source"] = lambda: sparse.hstack([surface.one_hot(one) for one in named.values()]).tocsr() * opening
    return blocks


def _marked(block: Any) -> int:
    """Rows with anything in them."""
    import numpy as np
    from scipy import sparse

    return int((np.diff(block.indptr) > 0).sum() if sparse.issparse(block) else (block != 0).any(axis=1).sum())


def position(rows: pl.DataFrame, total: int) -> Judged | None:
    """How well the place in the file tells the label: its twentieth of the rows, and odd against even numbers.

    `rows`: `row`, `label`, `prompt_norm`; `total`: rows of the file.
    """
    import numpy as np

    from prefdata.auditing import probing, statistics

    rows = rows.select("row", "label", "prompt_norm").drop_nulls("label")
    step = max(1, math.ceil(rows.height / probing.MAX_LABELLED))
    rows = rows.filter(pl.col("row") // BLOCK % step == 0) if step > 1 else rows
    found = probing.of_rows(rows, statistics.codes(rows["prompt_norm"]), paired=False)
    if found is None:
        return None
    number = rows["row"].to_numpy().astype(np.int64)
    places = np.minimum(19, number * 20 // total)
    block = np.column_stack([number % 2, *(places == place for place in range(20))]).astype(np.float64)
    return found.judge(found.marks(block))


def _shortcuts(data: Audited) -> Found:
    """The table of baselines, the surest first, and `auc` of the first; as bad as the worst of them."""
    from prefdata.auditing.probing import probe

    found = probe(data)
    if found is None:
        return Found()
    judged = dict(baselines(found))
    if not found.paired and (place := position(data.rows, data.total)) is not None:
        judged["position"] = place
    seen = {name: one for name, one in judged.items() if not isinstance(one, int)}
    told: dict[str, Any] = {}
    for name, one in sorted(seen.items(), key=lambda item: -item[1].auc.value):
        told[name] = one.auc.measures("auc")
        if found.paired:
            told[name]["accuracy"] = round(found.accuracy(one.scores).value, 4)
    worst = next(iter(told), None)
    measures: dict[str, Any] = {"rows": found.height, "prompts": found.prompt_count, "worst": worst}
    if worst is not None:
        measures |= seen[worst].auc.measures("auc")
    measures["baselines"] = told | {name: {"marked": one} for name, one in judged.items() if isinstance(one, int)}
    if found.paired:
        measures["at_chance"] = list(SHARED)
    severity = min((_severity(one.auc) for one in seen.values()), key=lambda level: level.rank, default=Severity.NOTE)
    return Found(measures=measures, severity=severity)


def _style(data: Audited) -> Found:
    """The bag of words of the answers alone, where it tells more than it should, and the words that tell most."""
    from prefdata.auditing.probing import probe

    found = probe(data)
    if found is None:
        return Found()
    judged = found.judged("reply_words", found.reply_words)
    severity = _severity(judged.auc)
    if severity is Severity.NOTE:
        return Found()
    return Found(measures={**judged.auc.measures("auc"), "rows": found.height, **_telling(found)}, severity=severity)


def _telling(probe: Probe) -> dict[str, Any]:
    """Words that stand more often in the answers of one kind than of the other and that the model weighs the same way:
    word -> [preferred answers, other answers] in which it stands, the surest first."""
    import numpy as np
    from scipy import sparse

    from prefdata.auditing.linear import fit
    from prefdata.auditing.probing import WORD_PRIOR

    bag, height = probe.often, probe.height
    weights, _ = fit(probe.reply_words, probe.label, prior=WORD_PRIOR, intercept=not probe.paired)
    stands = (bag.counts > 0).astype(np.float64).tocsr()
    good = np.repeat([1.0, 0.0], height) if probe.paired else probe.label
    preferred, other = np.asarray(stands.T @ good), np.asarray(stands.T @ (1 - good))
    share, answers = (preferred + other) / len(good), np.array([good.sum(), (1 - good).sum()])
    spread = np.sqrt(np.maximum(share * (1 - share), 1e-9) * (1 / answers).sum())
    sure = (preferred / answers[0] - other / answers[1]) / spread
    of_prompt = np.tile(probe.groups, 2) if probe.paired else probe.groups
    member = sparse.csr_matrix((np.ones(len(of_prompt)), (of_prompt, np.arange(len(of_prompt)))))
    prompts = np.asarray(((member @ stands) > 0).sum(axis=0)).reshape(-1)
    named_at_all = bag.words.str.contains(r"^[^\p{N}]+$").to_numpy() & (prompts >= TOLD_BY) & (sure * weights > 0)
    told = np.where(named_at_all, sure, 0.0)
    order = np.argsort(told, kind="stable")
    sides = ("chosen", "rejected") if probe.paired else ("desirable", "undesirable")

    def named(columns: Any) -> dict[str, list[int]]:
        return {bag.words[int(one)]: [int(preferred[one]), int(other[one])] for one in columns if told[one]}

    up = [one for one in order[::-1][:TELLING] if told[one] > 0]
    down = [one for one in order[:TELLING] if told[one] < 0]
    return {f"words_of_{sides[0]}": named(up), f"words_of_{sides[1]}": named(down)}


def _length(data: Audited) -> Found:
    """Length against preference, over the rows as a whole and by source."""
    from prefdata.auditing import probing

    paired = data.type is RecordType.PREFERENCE
    rows = _comparable(probing.fewer(data.rows, MOST_ROWS), paired=paired)
    if rows is None:
        return Found()
    measures, severity = _length_of(rows, paired=paired)
    for name, values in probing.sources(data.sample).items():
        own = _by_source(data.sample.with_columns(values.alias("from")), paired=paired)
        if own:
            measures["source"], measures["by_source"] = name, {one: told for one, (told, _) in own.items()}
            if severity is Severity.NOTE and any(level is Severity.MAJOR for _, level in own.values()):
                severity = Severity.MINOR
            break
    return Found(measures=measures, severity=severity)


def _by_source(rows: pl.DataFrame, *, paired: bool) -> dict[str, tuple[dict[str, Any], Severity]]:
    """The most frequent values of `from` -> what `_length_of` says of their rows."""
    counts = rows["from"].drop_nulls().value_counts(name="count").filter(pl.col("count") >= MIN_SOURCE)
    names = counts.sort("count", "from", descending=[True, False]).head(MOST_SOURCES)["from"]
    parts = {name: _comparable(rows.filter(pl.col("from") == name), paired=paired) for name in names}
    return {name: _length_of(part, paired=paired) for name, part in parts.items() if part is not None}


def _comparable(rows: pl.DataFrame, *, paired: bool) -> pl.DataFrame | None:
    """Rows with two different sides, or with a label; None where they are too few or of one class."""
    from prefdata.auditing.probing import MIN_ROWS

    differs = pl.col("chosen_hash") != pl.col("rejected_hash") if paired else pl.col("label").is_not_null()
    rows = rows.filter(differs)
    return None if rows.height < MIN_ROWS or (not paired and rows["label"].n_unique() < 2) else rows


def _length_of(rows: pl.DataFrame, *, paired: bool) -> tuple[dict[str, Any], Severity]:
    import numpy as np

    from prefdata.auditing import statistics

    groups = statistics.codes(rows["prompt_norm"])
    if paired:
        chosen, rejected = (rows[f"{side}_chars"].to_numpy().astype(np.float64) for side in ("chosen", "rejected"))
        good, lengths = np.repeat([True, False], rows.height), np.concatenate([chosen, rejected])
        effect = statistics.cohen_d(lengths, good, np.tile(groups, 2))
        wins = statistics.share((chosen > rejected) + 0.5 * (chosen == rejected), groups)
        name = "longer_wins"
    else:
        good, lengths = rows["label"].to_numpy().astype(bool), rows["completion_chars"].to_numpy().astype(np.float64)
        effect = statistics.cohen_d(lengths, good, groups)
        wins = statistics.auc(lengths, good, groups)
        name = "auc"
    measures = {
        "rows": rows.height,
        "cohen_d": statistics.rounded(effect.value),
        "cohen_d_interval": effect.interval() if math.isfinite(effect.low) else None,
        name: statistics.rounded(wins.value),
        "interval": wins.interval(),
        "median_preferred": float(np.median(lengths[good])),
        "median_other": float(np.median(lengths[~good])),
    }
    return measures, _length_severity(effect, wins)


def _severity(auc: Estimate) -> Severity:
    if auc.low <= 0.5 or auc.value < MINOR_AUC:
        return Severity.NOTE
    return Severity.MAJOR if auc.value >= MAJOR_AUC else Severity.MINOR


def _length_severity(effect: Estimate, wins: Estimate) -> Severity:
    """By whichever says more; either way round."""
    strength = abs(effect.value) if not effect.holds(0.0) else 0.0
    won = max(wins.value, 1 - wins.value) if not wins.holds(0.5) else 0.5
    if strength >= MAJOR_D or won >= MAJOR_WINS:
        return Severity.MAJOR
    return Severity.MINOR if strength >= MINOR_D or won >= MINOR_WINS else Severity.NOTE


SHORTCUTS = Check(
    name="shortcuts",
    family="shortcuts",
    title="How well marks of the surface alone predict the preference",
    why="What a linear model can tell from one kind of mark, training can learn instead of what makes an answer good: "
    "length, language, markdown, emoji, refusals, first words, ending, words of the reply, order, source.",
    cure="Add pairs in which both answers carry the mark, or balance it: sample rows until its AUC is near 0.5.",
    source="allenai/reward-bench#267; hiyouga/LlamaFactory#5116; Gururangan et al. 2018, Annotation artifacts",
    types=PAIRS | UNARY,
    find=_shortcuts,
)

TEACHES_STYLE = Check(
    name="teaches_style",
    family="shortcuts",
    title="The words of the answers alone tell which is preferred: this set teaches style",
    why="A model that never sees the prompt predicts the preference; training rewards a way of writing, and the reward "
    "rises while the answers get no better.",
    cure="Look at the words named here; take both answers of a pair from one model, or leave out the source that "
    "carries them.",
    source="allenai/reward-bench#267; Poliak et al. 2018, Hypothesis only baselines",
    types=PAIRS | UNARY,
    find=_style,
)

LENGTH_BIAS = Check(
    name="length_bias",
    family="shortcuts",
    title="Length against preference",
    why="Where the longer answer mostly wins, DPO makes answers longer rather than better.",
    cure="Add pairs whose shorter answer is preferred; or train with a length penalty: loss_type: sigmoid_norm (TRL), "
    "SimPO, or `ld_alpha`.",
    source="Singhal et al. 2023, A long way to go; eric-mitchell/direct-preference-optimization#35",
    types=PAIRS | UNARY,
    find=_length,
)
