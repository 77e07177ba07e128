"""KTO on unpaired rows: a start model and labelled answers in, an adapter with the proof of what it learned out.

TRL's KTOTrainer optimises. Here is what it leaves to its caller: the order of rows, class weights, lengths, the proof
that the reference is the start model, continuing after a kill, and held-out rows scored before and after.
Ethayarajh et al., 2024, KTO: Model Alignment as Prospect Theoretic Optimization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from prefdata.balance import Weights, kto_weights
from prefdata.errors import InputError
from prefdata.schema import RecordType
from trainers.adapters import start_model
from trainers.evaluate_pairs import moved_from
from trainers.evaluate_rewards import summarise
from trainers.first_loss import kto_first_loss
from trainers.job import Stage
from trainers.method import Default, Held, Plan, Reads
from trainers.ordering import Order, interleave
from trainers.reference import held_logps, reference_options, unproven_for
from trainers.reference_store import AUTO, kept_logps
from trainers.rendering import Encoded
from trainers.rows import Rows, encode_rows
from trainers.settings import Settings
from trainers.start import Start
from trainers.training import train
from trainers.vision.collating import seeing

LEARNING_RATES = {
    "adapter": Default(5e-6, "LLaMA-Factory's KTO example with LoRA"),
    "full": Default(1e-6, "TRL's KTO page: not above 1e-6 at beta 0.1"),
}
"""Kind of tuner -> learning rate where the recipe names none."""


@dataclass(frozen=True, kw_only=True)
class KTOSettings(Settings):
    """How to train with KTO."""

    beta: float = 0.1
    """How strongly the policy is held to its reference; more holds more."""
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto"
    """kto, or APO-zero without a KL term: for rows whose good answers are better than the model's own."""
    desirable_weight: float | None = None
    """Weight of desirable rows; null for both weights sets them from the counts, between 1:1 and 4:3."""
    undesirable_weight: float | None = None
    """Weight of undesirable rows; see desirable_weight."""
    reference_store: str = AUTO
    """Where the reference's log-probabilities are kept for later epochs and runs: auto (beside the pulled models, in
    float32 where it saves time), always, never, or a folder."""

    def bounds(self) -> list[tuple[str, bool, str]]:
        return [
            *super().bounds(),
            ("beta", self.beta > 0, "more than 0"),
            ("per_device_batch", self.per_device_batch >= 2, "at least 2: KTO estimates its KL term within it"),
            ("reference_store", self.reference_store != "", "auto, always, never, or a folder"),
        ]

    def contradictions(self) -> list[str]:
        if (self.desirable_weight is None) != (self.undesirable_weight is None):
            return ["desirable_weight and undesirable_weight: set both or neither"]
        return []


class KTO:
    """KTO on unpaired rows, read in the order given: labels mixed in every micro-batch."""

    name = "kto"
    version = 2
    type = RecordType.UNPAIRED
    config = "trl:KTOConfig"
    trainer = "trl:KTOTrainer"
    settings = KTOSettings
    reserved = frozenset(
        [
            "beta",
            "loss_type",
            "desirable_weight",
            "undesirable_weight",
            "disable_dropout",
            "sync_ref_model",
            "precompute_ref_log_probs",
            "model_init_kwargs",
        ]
    )
    task = "CAUSAL_LM"
    answers = True
    reference = True
    sees = True

    def encode(self, frame: pl.DataFrame, tokenizer: Any, settings: KTOSettings, *, name: str) -> Rows:
        rows = encode_rows(
            frame, tokenizer, self.type, max_length=settings.max_length, system=settings.system, name=name
        )
        if name == "training rows":
            require_both_labels(rows.labels, name=name)
        return rows

    def arrange(self, rows: Rows, settings: KTOSettings) -> Order:
        return interleave(
            rows.labels,
            rows.lengths(),
            [str(row.completion_ids) for row in rows.sides["completion"]],
            rows.ids,
            batch=settings.per_device_batch,
            seed=settings.seed,
            pictures=[[one.pixels for one in row.pictures] for row in rows.sides["completion"]],
        )

    def defaults(self, settings: KTOSettings, start: Start) -> dict[str, Default]:
        kind = "full" if settings.tuner == "full" else "adapter"
        return {} if settings.learning_rate else {"learning_rate": LEARNING_RATES[kind]}

    def facts(self, rows: Rows, settings: KTOSettings) -> dict[str, Any]:
        return {"weights": class_weights(rows.labels, settings)._asdict()}

    def load(self, plan: Plan, dtype: Any) -> Any:
        return start_model(plan, dtype)

    def reads(self, plan: Plan, model: Any) -> Reads:
        settings, weights = plan.settings, plan.facts["weights"]
        used = plan.used()
        side = [plan.rows.sides["completion"][at] for at in used]
        labels = [plan.rows.labels[at] for at in used]
        estimated = [] if settings.loss_type == "apo_zero_unpaired" else kl_rows(side, plan)
        reads = plan.rows_read() * (2 if estimated else 1)
        kept = kept_logps(plan, model, [*side, *estimated], reads=reads, what="training rows")
        dataset = [
            {"prompt": row.prompt, "completion": row.completion, "label": label}
            for row, label in zip(side, labels, strict=True)
        ]
        if kept is not None:
            for name, logps in (("ref_logps", kept.logps[: len(used)]), ("ref_KL_logps", kept.logps[len(used) :])):
                for row, logp in zip(dataset, logps, strict=False):  # no KL rows, no column
                    row[name] = logp
        unproven = unproven_for(plan, model, kept)
        given = Reads(
            dataset=dataset,
            arguments={
                "beta": settings.beta,
                "loss_type": settings.loss_type,
                "max_length": settings.max_length,
                "desirable_weight": weights["desirable"],
                "undesirable_weight": weights["undesirable"],
                "train_sampling_strategy": "sequential",
            },
            first_loss=None
            if unproven
            else kto_first_loss(labels, weights, batch=plan.batch(), accumulation=settings.gradient_accumulation),
            unproven=unproven,
            **reference_options(plan, model, kept),
        )
        return seeing(plan, given, [side], kind="labelled", kl=bool(estimated))

    def before(self, plan: Plan, model: Any) -> dict[str, list[float]]:
        return held_logps(plan, model, reference=True)

    def after(self, plan: Plan, model: Any, before: dict[str, list[float]]) -> Held:
        held_out, settings = plan.held_out, plan.settings
        assert held_out is not None
        rows = held_out.sides["completion"]
        logps = held_logps(plan, model, reference=False)["completion"]
        rewards = [settings.beta * (new - old) for new, old in zip(logps, before["completion"], strict=True)]
        frame = pl.DataFrame(
            {
                "id": held_out.ids,
                "group": held_out.groups,
                "label": held_out.labels,
                "reward": pl.Series([round(one, 4) for one in rewards], dtype=pl.Float32),
                "tokens": pl.Series([len(row.completion_ids) for row in rows], dtype=pl.Int32),
            }
        )
        if len(set(held_out.labels)) < 2:
            return Held({}, frame)
        options: dict[str, Any] = {"n_bootstrap": settings.n_bootstrap, "seed": settings.seed}
        still = summarise(held_out.labels, [0.0] * len(rewards), held_out.groups, **options)
        found = summarise(held_out.labels, rewards, held_out.groups, **options)
        length = summarise(held_out.labels, [-float(one) for one in frame["tokens"]], held_out.groups, **options)
        after = found.record()
        return Held(
            {
                "before": still.record(),
                "after": after,
                "change": {
                    **{name: moved_from(0.5, after[name]) for name in ("auc", "accuracy")},
                    "margin": after["margin"],
                },
                "shorter_is_better_auc": length.record()["auc"],
            },
            frame,
        )

    def told(self, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [
            ("auc", "share of good/bad pairs ranked right"),
            ("margin", "mean reward, good minus bad"),
            ("accuracy_good", "share of good answers whose reward rose"),
            ("accuracy_bad", "share of bad answers whose reward fell"),
            ("mean_good", "mean reward of good answers"),
            ("mean_bad", "mean reward of bad answers"),
        ]


def train_kto(
    data: pl.DataFrame,
    evaluation: pl.DataFrame | None = None,
    *,
    model: str | Path,
    output_dir: str | Path = "model/kto",
    settings: KTOSettings | None = None,
    root: Path | None = None,
    pictures: Path | None = None,
    **options: Any,
) -> Stage:
    """The trained stage in `output_dir`; see `trainers.training.train`.

    `data` and `evaluation` are canonical unpaired frames; rows whose label is null are left out and counted.
    `options` are settings by name, where `settings` is not given: `train_kto(rows, model="smollm2-135m", beta=0.2)`.
    Raises InputError for one class only or empty completions.
    """
    return train(
        KTO(),
        data,
        evaluation,
        model=model,
        output_dir=output_dir,
        settings=settings or KTOSettings(**options),
        root=root,
        pictures=pictures,
    )


def require_both_labels(labels: Sequence[bool], *, name: str) -> None:
    """Raises InputError naming the counts unless both classes are there: KTO has nothing to push away from."""
    good = sum(labels)
    if good == 0 or good == len(labels):
        raise InputError(
            f"{name}: {good} desirable and {len(labels) - good} undesirable rows; KTO needs both. "
            "Loosen what labels rows (`labels:`), or train on desirable rows alone with SFT"
        )


def class_weights(labels: Sequence[bool], settings: KTOSettings) -> Weights:
    """The weights that the recipe sets, or those that bring the classes to between 1:1 and 4:3."""
    good, bad = sum(labels), len(labels) - sum(labels)
    if settings.desirable_weight is None or settings.undesirable_weight is None:
        found = kto_weights(good, bad)
        assert found is not None  # both labels are there: require_both_labels
        return found
    ratio = settings.desirable_weight * good / (settings.undesirable_weight * bad)
    return Weights(settings.desirable_weight, settings.undesirable_weight, round(ratio, 4))


def kl_rows(rows: Sequence[Encoded], plan: Plan) -> list[Encoded]:
    """Each prompt with the answer of the row before it in its batch, the first with the last one's, cut to max_length.

    What TRL estimates its KL term from; it turns the batch of one device by one and cuts what is too long.
    """
    size, longest = plan.settings.per_device_batch, plan.settings.max_length
    found = []
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        for row, other in zip(batch, [batch[-1], *batch[:-1]], strict=True):
            answer = other.completion_ids[: longest - len(row.prompt_ids)]
            found.append(row._replace(completion=other.completion, completion_ids=answer))
    return found
