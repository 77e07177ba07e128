"""What a small language model makes of the preference, before a large one spends hours: asked for with `--model`.

It reads a sample of the rows: how likely it finds the beginning of each answer, given its prompt, per token. Of pairs
the difference is its margin: the reward difference that DPO would start from, if the reference knew nothing. The
margin joins what the linear model of the family trainability says of rows that it has not seen; where neither tells
the sides apart the loss is likely to stay near ln 2, where they do so nearly always it goes to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prefdata.auditing.check import ANSWERED, PAIRS, UNARY, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity
from prefdata.auditing.once import once
from prefdata.schema import RecordType

if TYPE_CHECKING:
    from prefdata.auditing.statistics import Estimate, Floats, Ints

MIN_ROWS = 40
"""Rows below which nothing is said of the preference."""
TRIVIAL = 0.95
"""Accuracy above which there is nothing left to learn."""
WIDEST = 0.2
"""An interval of accuracy that is wider says that the model read too few rows to call them noise."""

SPREADS = 7.0
"""An answer is told that lies so many spreads (1.48 median deviations) below the median log-probability of a byte.
Of 236 answers of hh-rlhf under smollm2-135m none lies 7 below (the last at 6.3); of the same with their words shuffled
65 %, of Chinese among them 99 %, of wrongly decoded Chinese, random letters and Base64 all."""
LEAST_SPREAD = 0.1
"""Nats a byte: answers that are all alike spread less."""
MIN_TOKENS = 8
"""Of an answer: the mean of fewer says little."""

PRIOR = 1.0
"""Prior precision of the weights by which the two models' figures are joined, each scaled to a mean square of 1."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """The rows that the model read."""

    rows: pl.DataFrame
    """Of the sample: those whose chats its template can draw."""
    means: Floats
    """Mean log-probability of a token, rows by answers."""
    tokens: Ints
    """Tokens judged, rows by answers."""
    bytes: Ints
    """Of the texts judged, rows by answers."""
    unread: int
    """Rows whose chat the template could not draw."""

    @property
    def margin(self) -> Floats:
        """Of pairs chosen less rejected; else of the answer."""
        from numpy import asarray

        return asarray(self.means[:, 0] - self.means[:, 1] if self.means.shape[1] > 1 else self.means[:, 0])


def with_model(check: Check, options: Mapping[str, Any]) -> Check | None:
    """The check for the `model` (name, folder or hub id) of `options`, which reads `model_rows` rows; else None."""
    model = options.get("model")
    if model is None:
        return None
    from trainers.likelihood import folder_of

    folder, most = folder_of(model), int(options.get("model_rows") or 0)
    name = Path(str(model)).name
    return replace(check, find=partial(_FINDS[check.name], folder=folder, name=name, most=most))


def read(data: Audited, *, folder: Path, most: int) -> Read:
    """What the model in `folder` says of at most `most` rows; asked once for a dataset, all checks share it."""
    return once(data).get(f"likelihood {folder} {most}", lambda: _read(data, folder, most))


def _read(data: Audited, folder: Path, most: int) -> Read:
    """Of the rows that the linear model saw, where it saw some, so that both speak of the same."""
    import numpy as np

    from prefdata.auditing.probing import fewer, probe
    from trainers.likelihood import likelihoods

    seen = probe(data) if data.type is not RecordType.PROMPT and data.type is not RecordType.SFT else None
    rows = fewer(seen.rows if seen is not None else data.sample, most)
    answers = [list(one) for one in zip(*(rows[side].to_list() for side in data.answers), strict=True)]
    found = likelihoods(folder, rows["prompt"].to_list(), answers)
    told = [at for at, one in enumerate(found) if one is not None]
    figures = np.array([[tuple(one) for one in found[at] or ()] for at in told], dtype=np.float64)
    total, *sizes = np.moveaxis(figures.reshape(len(told), len(data.answers), 3), 2, 0)
    size, length = (one.astype(np.int64) for one in sizes)
    return Read(
        rows=rows[told],
        means=total / np.maximum(size, 1),
        tokens=size,
        bytes=length,
        unread=len(found) - len(told),
    )


class Opinion(NamedTuple):
    """What the language model, and both models together, tell of the preference."""

    rows: int
    alone: Estimate
    """How often the language model prefers what is preferred; of labelled rows the area under the ROC curve."""
    linear: Estimate | None
    """Held-out accuracy of the linear model on the same rows; of labelled rows balanced."""
    linear_loss: Estimate | None
    together: Estimate
    """Held-out accuracy of both, their figures joined by weights that are fitted to the other folds."""
    loss: Estimate
    """Of both."""
    chance: float
    """The loss of a model that knows the shares of the classes and nothing else."""

    @property
    def noise(self) -> bool:
        """Nothing found, though there are rows enough."""
        return self.together.holds(0.5) and self.together.high - self.together.low <= WIDEST

    @property
    def trivial(self) -> bool:
        """Nearly all told."""
        return self.together.value > TRIVIAL

    def measures(self, name: str, paired: bool) -> dict[str, Any]:
        """For `Found.measures`."""
        told = {
            "model": name,
            "rows": self.rows,
            **self.alone.measures("prefers_chosen" if paired else "auc"),
            "accuracy": round(self.together.value, 4),
            "accuracy_interval": self.together.interval(),
            "loss": round(self.loss.value, 4),
            "loss_interval": self.loss.interval(),
            "loss_at_chance": round(self.chance, 4),
            "expected": "noise" if self.noise else "trivial" if self.trivial else "learnable",
        }
        if self.linear is not None and self.linear_loss is not None:
            told |= {"linear_accuracy": round(self.linear.value, 4), "linear_loss": round(self.linear_loss.value, 4)}
        return told


def opinion(data: Audited, seen: Read) -> Opinion | None:
    """None where the rows are too few, or of one class."""
    import numpy as np

    from prefdata.auditing import probing, statistics

    paired = data.type is RecordType.PREFERENCE
    if seen.rows.height < MIN_ROWS:
        return None
    judging = probing.of_rows(seen.rows, probing.group_of(seen.rows), paired=paired)
    if judging is None:
        return None
    totals = seen.means * seen.tokens
    figures = [seen.margin, totals[:, 0] - totals[:, 1] if paired else totals[:, 0]]
    held = _linear(data, seen.rows["row"])
    if held is not None:
        figures.append(held)
    block = np.column_stack(figures)
    size = np.sqrt((block**2).mean(axis=0)) if paired else block.std(axis=0)
    block = block / np.where(size > 0, size, 1.0) * math.sqrt(probing.WORD_PRIOR / PRIOR)
    joined = judging.judge(block).scores
    if paired:
        alone = statistics.share((seen.margin > 0) + 0.5 * (seen.margin == 0), judging.groups)
    else:
        alone = statistics.auc(seen.margin, judging.label > 0, judging.groups)
    share = 0.5 if paired else float(judging.label.mean())
    return Opinion(
        rows=judging.height,
        alone=alone,
        linear=judging.accuracy(held) if held is not None else None,
        linear_loss=judging.loss(held) if held is not None else None,
        together=judging.accuracy(joined),
        loss=judging.loss(joined),
        chance=-share * math.log(share) - (1 - share) * math.log(1 - share),
    )


def _linear(data: Audited, rows: pl.Series) -> Floats | None:
    """What the linear model said of these rows, fitted to rows of other prompts: log odds."""
    from numpy import searchsorted

    from prefdata.auditing.probing import probe
    from prefdata.auditing.trainability import curve

    seen = probe(data)
    if seen is None:
        return None
    return curve(seen)[-1].scores[searchsorted(seen.rows["row"].to_numpy(), rows.to_numpy())]


def _probe(data: Audited, *, folder: Path, name: str, most: int) -> Found:
    """What the model makes of the preference."""
    seen = read(data, folder=folder, most=most)
    found = opinion(data, seen)
    if found is None:
        return Found()
    more = {"unread": seen.unread} if seen.unread else {}
    return Found(measures={**found.measures(name, len(data.answers) > 1), **more}, severity=Severity.NOTE)


def _noise(data: Audited, *, folder: Path, name: str, most: int) -> Found:
    """Neither model does better than chance, and the interval is narrow."""
    found = opinion(data, read(data, folder=folder, most=most))
    if found is None or not found.noise:
        return Found()
    return Found(measures=found.measures(name, len(data.answers) > 1), severity=Severity.MINOR)


def _trivial(data: Audited, *, folder: Path, name: str, most: int) -> Found:
    """Both models together are above TRIVIAL."""
    found = opinion(data, read(data, folder=folder, most=most))
    if found is None or not found.trivial:
        return Found()
    severity = Severity.MAJOR if found.together.low > TRIVIAL else Severity.MINOR
    return Found(measures=found.measures(name, len(data.answers) > 1), severity=severity)


def _improbable(data: Audited, *, folder: Path, name: str, most: int) -> Found:
    """Rows with an answer that is far less likely than the others, and little likely by itself."""
    import numpy as np

    seen = read(data, folder=folder, most=most)
    known = (seen.tokens >= MIN_TOKENS) & (seen.bytes > 0)
    if not known.any():
        return Found()
    per_byte = seen.means * seen.tokens / np.maximum(seen.bytes, 1)
    median = float(np.median(per_byte[known]))
    spread = 1.4826 * float(np.median(np.abs(per_byte[known] - median)))
    least = median - SPREADS * max(spread, LEAST_SPREAD)
    judged = np.where(known, per_byte, 0.0)
    side, worst = judged.argmin(axis=1), judged.min(axis=1)
    rows = np.flatnonzero(worst < least)
    if not len(rows):
        return Found()
    numbers = seen.rows["row"].gather(rows)
    told = {
        int(number): f"{data.answers[side[at]]}: {-worst[at] / math.log(2):.1f} bits a byte"
        for number, at in zip(numbers, rows, strict=True)
    }
    return Found(
        rows=numbers.sort(),
        measures={
            "model": name,
            "looked_at": seen.rows.height,
            "share_of_looked_at": round(len(rows) / seen.rows.height, 4),
            "median_bits_per_byte": round(-median / math.log(2), 2),
            "told_from_bits_per_byte": round(-least / math.log(2), 2),
        },
        severity=Severity.NOTE,
        beside=told,
    )


_FINDS: Mapping[str, Callable[..., Found]] = {
    "model_probe": _probe,
    "model_sees_noise": _noise,
    "model_sees_trivial": _trivial,
    "improbable_answers": _improbable,
}

MODEL_PROBE = Check(
    name="model_probe",
    family="trainability",
    title="What a small language model makes of the preference",
    why="How often it finds the preferred answer likelier before any training, and what both it and the linear model "
    "tell of rows that they have not seen: an estimate of where the loss will go.",
    cure="Compare with the accuracy on held-out rows that training prints (rewards/accuracies).",
    source="Rafailov et al. 2023, DPO, equation 7; Meng et al. 2024, SimPO (per token)",
    types=PAIRS | UNARY,
    find=lambda data: Found(),
    prepare=with_model,
)

MODEL_SEES_NOISE = Check(
    name="model_sees_noise",
    family="trainability",
    title="Neither a linear model nor a small language model finds anything in the preference",
    why="Together they do no better than chance on prompts that they have not seen. If that is so for the model to be "
    "trained too, the loss stays near ln 2 = 0.693 (DPO) or 0.5 (KTO), or falls only because rows are learnt by heart.",
    cure="Read thirty rows. If you can tell which answer is preferred, the difference is subtle: let it be; "
    "if not, look at how the labels were made (shuffled columns, sides swapped in half of the rows).",
    source="gradients-ai/G.O.D#1151; Yifan-Song793/ETO#14",
    types=PAIRS | UNARY,
    find=lambda data: Found(),
    prepare=with_model,
)

MODEL_SEES_TRIVIAL = Check(
    name="model_sees_trivial",
    family="trainability",
    title="A linear model and a small language model tell nearly all of the preference",
    why="The loss goes to 0 within few steps and the rewards part without end, while the model learns only what "
    "gives the preferred side away.",
    cure="See `shortcuts` for what gives it away. Take harder pairs: rejected answers from a model as good, or of the "
    "same source; fewer epochs and a larger beta.",
    source="gradients-ai/G.O.D#1344; hiyouga/LlamaFactory#5116",
    types=PAIRS | UNARY,
    find=lambda data: Found(),
    prepare=with_model,
)

IMPROBABLE_ANSWERS = Check(
    name="improbable_answers",
    family="trainability",
    title="Answers that a small language model finds wildly improbable",
    why="Garbage, debris of a broken encoding, or a language that the others are not in: training on them costs more "
    "loss than all the others together.",
    cure="Look at these rows; a model that hardly knows a language finds it improbable too.",
    source="Marion et al. 2023, When Less is More (pruning by perplexity)",
    types=ANSWERED,
    find=lambda data: Found(),
    prepare=with_model,
)
