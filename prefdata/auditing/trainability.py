"""Trainability: what a linear model learns of the preference in seconds, before a large one spends hours.

The model sees the words of the answers, the marks of `surface`, how far an answer takes up the prompt's words, and of
labelled rows the prompt's words; it is fitted to a quarter, a half and all of what it may see, and judged on prompts
that it has not seen (see `probing`). A large model can learn more than that, seldom less: held-out accuracy near 0.5
is a warning, near 1 it is a fact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from prefdata.auditing.check import PAIRS, UNARY, Check
from prefdata.auditing.dataset import Audited
from prefdata.auditing.finding import Found, Severity

if TYPE_CHECKING:
    from prefdata.auditing.probing import Judged, Probe

SIZES = (0.25, 0.5, 1.0)
"""Parts of the prompts that models are fitted to."""
TRIVIAL = 0.95
"""Held-out accuracy above which there is nothing left to learn."""
WIDEST = 0.2
"""An interval of accuracy (of labelled rows: AUC) that is wider than this says that there are too few rows to call them
noise."""


def curve(probe: Probe) -> list[Judged]:
    """What models fitted to each of SIZES say."""
    block = everything(probe)
    return [probe.judged(f"everything_{size}", block, keep=size) for size in SIZES]


def everything(probe: Probe) -> Any:
    """All that the model sees: sparse, rows by columns."""
    return probe.made.get("everything", lambda: _everything(probe))


def _everything(probe: Probe) -> Any:
    from scipy import sparse

    marks = [probe.surface(name) for name in ("length", "script", "markdown", "emoji", "refusal")]
    own = [probe.marks(block, prior=MARK_PRIOR) for block in (*marks, probe.taken_up())]
    blocks = [probe.reply_words, *(sparse.csr_matrix(block) for block in own)]
    if not probe.paired:
        blocks.append(probe.prompts.counts.log1p())
    return sparse.hstack(blocks, format="csr")


MARK_PRIOR = 4.0
"""Prior precision of a mark's weight, beside all the others."""


def _chance(probe: Probe) -> float:
    """The loss of a model that knows the share of the classes and nothing else: ln 2 for pairs."""
    share = 0.5 if probe.paired else float(probe.label.mean())
    return -share * math.log(share) - (1 - share) * math.log(1 - share)


def _figures(probe: Probe, judged: Judged) -> dict[str, Any]:
    accuracy, loss = probe.accuracy(judged.scores), probe.loss(judged.scores)
    return {
        "fitted_rows": judged.fitted,
        "accuracy": round(accuracy.value, 4),
        "accuracy_interval": accuracy.interval(),
        "auc": round(judged.auc.value, 4),
        "auc_interval": judged.auc.interval(),
        "loss": round(loss.value, 4),
        "loss_interval": loss.interval(),
    }


def _learnt(data: Audited) -> Found:
    """The learning curve."""
    from prefdata.auditing.probing import probe

    found = probe(data)
    if found is None:
        return Found()
    steps = [_figures(found, judged) for judged in curve(found)]
    measures = {"rows": found.height, "prompts": found.prompt_count, "loss_at_chance": round(_chance(found), 4)}
    return Found(measures={**measures, **steps[-1], "curve": steps}, severity=Severity.NOTE)


def _noise(data: Audited) -> Found:
    """Nothing found, though there are rows enough: the interval holds chance, and is narrow."""
    from prefdata.auditing.probing import probe

    found = probe(data)
    if found is None:
        return Found()
    judged = curve(found)[-1]
    sign = found.accuracy(judged.scores) if found.paired else judged.auc
    if not sign.holds(0.5) or sign.high - sign.low > WIDEST:
        return Found()
    measures = {"rows": found.height, **_figures(found, judged), "loss_at_chance": round(_chance(found), 4)}
    return Found(measures=measures, severity=Severity.MINOR)


def _trivial(data: Audited) -> Found:
    """Nearly all told: accuracy above TRIVIAL."""
    from prefdata.auditing.probing import probe

    found = probe(data)
    if found is None:
        return Found()
    judged = curve(found)[-1]
    accuracy = found.accuracy(judged.scores)
    if accuracy.value <= TRIVIAL:
        return Found()
    measures = {"rows": found.height, **_figures(found, judged), "loss_at_chance": round(_chance(found), 4)}
    return Found(measures=measures, severity=Severity.MAJOR if accuracy.low > TRIVIAL else Severity.MINOR)


LINEAR_PROBE = Check(
    name="linear_probe",
    family="trainability",
    title="What a linear model learns of the preference",
    why="Held-out accuracy and loss of a model that is fitted in seconds: a floor for what training should reach, and "
    "whether more rows would help.",
    cure="Compare with the accuracy on held-out rows that training prints (rewards/accuracies).",
    source="gradients-ai/G.O.D#1344",
    types=PAIRS | UNARY,
    find=_learnt,
)

LOOKS_LIKE_NOISE = Check(
    name="looks_like_noise",
    family="trainability",
    title="A linear model finds nothing in the preference",
    why="On prompts that it has not seen it does no better than chance. If that is so for a large model too, the loss "
    "stays near ln 2 = 0.693 (DPO) or 0.5 (KTO), or falls only because rows are learnt by heart.",
    cure="Read thirty rows. If you can tell which answer is preferred, the difference is subtle: let it be; "
    "if not, look at how the labels were made (shuffled columns, sides swapped in half of the rows).",
    source="gradients-ai/G.O.D#1151; Yifan-Song793/ETO#14",
    types=PAIRS | UNARY,
    find=_noise,
)

TRIVIAL_PREFERENCE = Check(
    name="trivial_preference",
    family="trainability",
    title="A linear model tells nearly all of the preference",
    why="The loss goes to 0 within few steps and the rewards part without end, while the model learns only what "
    "gives the preferred side away.",
    cure="See `shortcuts` for what gives it away. Take harder pairs: rejected answers from a model as good, or of the "
    "same source; fewer epochs and a larger beta.",
    source="gradients-ai/G.O.D#1344; hiyouga/LlamaFactory#5116",
    types=PAIRS | UNARY,
    find=_trivial,
)
