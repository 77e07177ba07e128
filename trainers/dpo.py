"""DPO on pairs: a start model and better and worse answers in, an adapter with the proof of what it learned out.

TRL's DPOTrainer optimises, with any of its losses or a mixture. Here is what it leaves to its caller: prompts and
answers that are never cut apart wrongly, a beta that suits model and loss, the proof that the reference is the start
model, its log-probabilities kept from run to run, continuing after a kill, held-out pairs scored before and after.
Rafailov et al., 2023, Direct Preference Optimization: Your Language Model is Secretly a Reward Model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from prefdata.schema import RecordType
from trainers.adapters import start_model
from trainers.evaluate_pairs import changed, moved_from, summarise_pairs, wins
from trainers.first_loss import SIDED, SMOOTHED, dpo_first_loss
from trainers.job import Stage
from trainers.method import Default, Held, Plan, Reads
from trainers.models import parameters
from trainers.ordering import Order, as_given, by_length
from trainers.reference import chosen_nll, held_logps, reference_options, unproven_for
from trainers.reference_store import ALWAYS, AUTO, kept_logps
from trainers.rows import Rows, encode_rows
from trainers.settings import Settings
from trainers.start import Start
from trainers.training import train
from trainers.vision.collating import seeing

Loss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]

SMALL = 2_000_000_000
"""Parameters below which a model counts as small."""

LEARNING_RATES = {
    ("adapter", "small"): Default(5e-6, "LLaMA-Factory's DPO example with LoRA"),
    ("adapter", "large"): Default(5e-6, "the Zephyr recipe with QLoRA, and LLaMA-Factory's DPO example with LoRA"),
    ("full", "small"): Default(1e-6, "the SmolLM2 recipe, and TRL's default"),
    ("full", "large"): Default(5e-7, "the Zephyr and Tulu 3 recipes"),
}
"""(kind of tuner, size of the model) -> learning rate where the recipe names none."""

BETAS = {
    ("adapter", "small"): Default(0.1, "the DPO paper, TRL's default, and LLaMA-Factory's DPO example with LoRA"),
    ("adapter", "large"): Default(0.1, "the DPO paper, TRL's default, and LLaMA-Factory's DPO example with LoRA"),
    ("full", "small"): Default(0.5, "the SmolLM2 recipe: a small model moves far in few steps"),
    ("full", "large"): Default(0.1, "the DPO paper, and TRL's default"),
}
"""(kind of tuner, size of the model) -> beta where the recipe names none."""

LOSS_BETAS = {
    "nca_pair": Default(0.01, "the NCA paper, section C"),
    "bco_pair": Default(0.01, "the BCO paper, section C"),
    "sppo_hard": Default(0.001, "the SPPO paper: eta of 1000"),
    "discopop": Default(0.05, "the DiscoPOP paper, section B.1"),
    "sigmoid_norm": Default(5.0, "the Tulu 3 recipe: log-probabilities a token are small, so beta is large"),
}
"""Loss -> beta where the recipe names none and the loss means another thing by it."""


@dataclass(frozen=True, kw_only=True)
class DPOSettings(Settings):
    """How to train with DPO."""

    beta: float | None = None
    """How strongly the policy is held to its reference; more holds more. null takes one by loss, model size, tuner."""
    loss_type: Loss | tuple[Loss, ...] = "sigmoid"
    """One of TRL's losses, or a list of several that are added up, such as [sigmoid, sft]."""
    loss_weights: tuple[float, ...] | None = None
    """Weight of each loss of a list; null weighs them alike."""
    label_smoothing: float = 0.0
    """Share of pairs that may be the wrong way round, for robust, aot, aot_unpaired; exo_pair needs it, at 0.001."""
    order: Literal["random", "by_length"] = "random"
    """random, or by_length: pairs of like length in one batch, so that less of it is padding; batches stay mixed."""
    reference_store: str = AUTO
    """Where the reference's log-probabilities are kept for later epochs and runs: auto (beside the pulled models, in
    float32 where it saves time), always, never, or a folder."""

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses, in their order."""
        return (self.loss_type,) if isinstance(self.loss_type, str) else tuple(self.loss_type)

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each loss."""
        return tuple(self.loss_weights or [1.0] * len(self.losses))

    def bounds(self) -> list[tuple[str, bool, str]]:
        smoothed = sorted(SMOOTHED.intersection(self.losses))
        needed = "exo_pair" in self.losses
        return [
            *super().bounds(),
            ("beta", self.beta is None or self.beta > 0, "more than 0"),
            (
                "loss_type",
                bool(self.losses)
                and set(self.losses) <= set(get_args(Loss))
                and len(set(self.losses)) == len(self.losses),
                f"one or more of {', '.join(get_args(Loss))}, each once",
            ),
            (
                "loss_weights",
                len(self.weights) == len(self.losses) and all(weight > 0 for weight in self.weights),
                f"a weight above 0 for each of the losses {', '.join(self.losses)}",
            ),
            (
                "label_smoothing",
                0 <= self.label_smoothing < 0.5 and (self.label_smoothing > 0 or not needed),
                "above 0 and below 0.5: exo_pair needs it, 0.001 in its paper" if needed else "0 or more and below 0.5",
            ),
            (
                "label_smoothing",
                self.label_smoothing == 0 or bool(smoothed),
                f"0: of the losses only {', '.join(sorted(SMOOTHED))} read it",
            ),
            ("reference_store", self.reference_store != "", "auto, always, never, or a folder"),
        ]

    def contradictions(self) -> list[str]:
        faults = []
        other, sided = self.args.get("f_divergence_type", "reverse_kl"), sorted(SIDED.intersection(self.losses))
        if other != "reverse_kl" and sided:
            faults.append(f"args: f_divergence_type {other}: {', '.join(sided)} have no other form than reverse_kl")
        if self.args.get("use_weighting") and {"aot", "aot_unpaired"}.intersection(self.losses):
            faults.append(
                "args: use_weighting: aot and aot_unpaired sort the pairs, which parts them from their weights"
            )
        if self.args.get("ld_alpha") is not None and self.reference_store == ALWAYS:
            faults.append(
                "reference_store: always; with args: ld_alpha log-probabilities depend on it and are not kept"
            )
        return faults


class DPO:
    """DPO on pairs that share their prompt."""

    name = "dpo"
    version = 1
    type = RecordType.PREFERENCE
    config = "trl:DPOConfig"
    trainer = "trl:DPOTrainer"
    settings = DPOSettings
    reserved = frozenset(
        [
            "beta",
            "loss_type",
            "loss_weights",
            "label_smoothing",
            "disable_dropout",
            "sync_ref_model",
            "precompute_ref_log_probs",
            "truncation_mode",
            "pad_token",
            "model_init_kwargs",
        ]
    )
    task = "CAUSAL_LM"
    answers = True
    reference = True
    sees = True

    def encode(self, frame: pl.DataFrame, tokenizer: Any, settings: DPOSettings, *, name: str) -> Rows:
        return encode_rows(
            frame, tokenizer, self.type, max_length=settings.max_length, system=settings.system, name=name
        )

    def arrange(self, rows: Rows, settings: DPOSettings) -> Order:
        if settings.order == "random":
            return as_given(len(rows))
        return by_length(rows.lengths(), rows.ids, batch=settings.per_device_batch, seed=settings.seed)

    def defaults(self, settings: DPOSettings, start: Start) -> dict[str, Default]:
        kind = "full" if settings.tuner == "full" else "adapter"
        cell = (kind, "small" if parameters(start.folder) < SMALL else "large")
        found = {} if settings.learning_rate else {"learning_rate": LEARNING_RATES[cell]}
        if settings.beta is None:
            found["beta"] = LOSS_BETAS.get(settings.losses[0], BETAS[cell])
        return found

    def facts(self, rows: Rows, settings: DPOSettings) -> dict[str, Any]:
        return {}

    def load(self, plan: Plan, dtype: Any) -> Any:
        return start_model(plan, dtype)

    def reads(self, plan: Plan, model: Any) -> Reads:
        settings, used = plan.settings, plan.used() if plan.order.fixed else plan.order.rows
        chosen, rejected = plan.rows.sides["chosen"], plan.rows.sides["rejected"]
        rows = [chosen[at] for at in used] + [rejected[at] for at in used]
        kept = kept_logps(plan, model, rows, reads=2 * plan.rows_read(), what="training pairs")
        dataset = [
            {"prompt": chosen[at].prompt, "chosen": chosen[at].completion, "rejected": rejected[at].completion}
            for at in used
        ]
        if kept is not None:
            for row, good, bad in zip(dataset, kept.logps[: len(used)], kept.logps[len(used) :], strict=True):
                row |= {"ref_chosen_logps": good, "ref_rejected_logps": bad}
        unproven = unproven_for(plan, model, kept)
        given = Reads(
            dataset=dataset,
            arguments={
                "beta": plan.value("beta"),
                "loss_type": list(settings.losses),
                "loss_weights": list(settings.weights),
                "label_smoothing": settings.label_smoothing,
                "max_length": settings.max_length,
                "train_sampling_strategy": "sequential" if plan.order.fixed else "random",
            },
            first_loss=None if unproven else self._first_loss(plan, None if kept is None else kept.logps[: len(used)]),
            unproven=unproven,
            **reference_options(plan, model, kept),
        )
        return seeing(plan, given, [[side[at] for at in used] for side in (chosen, rejected)], kind="pairs")

    def before(self, plan: Plan, model: Any) -> dict[str, list[float]]:
        return held_logps(plan, model, reference=True)

    def after(self, plan: Plan, model: Any, before: dict[str, list[float]]) -> Held:
        held_out, settings = plan.held_out, plan.settings
        assert held_out is not None
        logps = held_logps(plan, model, reference=False)
        beta = plan.value("beta")
        rewards = {
            side: [beta * (new - old) for new, old in zip(logps[side], before[side], strict=True)] for side in logps
        }
        tokens = {side: [len(row.completion_ids) for row in rows] for side, rows in held_out.sides.items()}
        frame = pl.DataFrame(
            {
                "id": held_out.ids,
                "group": held_out.groups,
                **{f"{side}_reward": _rounded(rewards[side]) for side in rewards},
                **{f"{side}_logp_before": _rounded(before[side]) for side in rewards},
                **{f"{side}_logp_after": _rounded(logps[side]) for side in rewards},
                **{f"{side}_tokens": pl.Series(tokens[side], dtype=pl.Int32) for side in rewards},
            }
        )
        options: dict[str, Any] = {"n_bootstrap": settings.n_bootstrap, "seed": settings.seed}
        groups, nothing = held_out.groups, [0.0] * len(held_out)
        after = summarise_pairs(rewards["chosen"], rewards["rejected"], groups, **options)
        longer = wins(tokens["chosen"], tokens["rejected"])
        likelier = [wins(one["chosen"], one["rejected"]) for one in (before, logps)]
        return Held(
            {
                "before": summarise_pairs(nothing, nothing, groups, **options),
                "after": after,
                "change": {
                    "accuracy": moved_from(0.5, after["accuracy"]),
                    "margin": after["margin"],
                    "likelier": changed(*likelier, groups, **options),
                },
                "longer_is_better_accuracy": changed([0.0] * len(longer), longer, groups, **options),
            },
            frame,
        )

    def told(self, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [
            ("accuracy", "share of pairs whose better answer has the higher reward"),
            ("margin", "mean reward, better minus worse answer"),
            ("mean_chosen", "mean reward of better answers"),
            ("mean_rejected", "mean reward of worse answers"),
        ]

    def _first_loss(self, plan: Plan, kept: Sequence[float] | None) -> Any:
        """The loss of the first step, or what tells it of the built trainer where it depends on the first batch."""
        settings = plan.settings
        given: dict[str, Any] = {"beta": plan.value("beta"), "label_smoothing": settings.label_smoothing}
        if "sft" not in settings.losses:
            return dpo_first_loss(settings.losses, settings.weights, **given)

        def of(trainer: Any) -> float | None:
            nll = chosen_nll(plan, trainer, kept)
            return dpo_first_loss(settings.losses, settings.weights, **given, chosen_nll=nll)

        return of


def train_dpo(
    data: pl.DataFrame,
    evaluation: pl.DataFrame | None = None,
    *,
    model: str | Path,
    output_dir: str | Path = "model/dpo",
    settings: DPOSettings | None = None,
    root: Path | None = None,
    pictures: Path | None = None,
    **options: Any,
) -> Stage:
    """The trained stage in `output_dir`; see `trainers.training.train`.

    `data` and `evaluation` are canonical frames of pairs; pairs whose sides are equal are left out and counted.
    `options` are settings by name, where `settings` is not given: `train_dpo(rows, model="smollm2-135m", beta=0.2)`.
    Raises InputError for empty answers.
    """
    return train(
        DPO(),
        data,
        evaluation,
        model=model,
        output_dir=output_dir,
        settings=settings or DPOSettings(**options),
        root=root,
        pictures=pictures,
    )


def _rounded(values: Sequence[float]) -> pl.Series:
    return pl.Series([round(one, 4) for one in values], dtype=pl.Float32)
