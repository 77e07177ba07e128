"""A reward model on pairs: a start model with a score head, trained so that the better answer gets the higher number.

TRL's RewardTrainer optimises: -log sigmoid(chosen - rejected - margin), Bradley and Terry, 1952. Here is what it leaves
to its caller: rows that fit, of which it would drop the others, a head that starts at 0, held-out pairs scored before
and after and against length alone, and the model loaded again to score answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from prefdata.errors import InputError
from prefdata.schema import RecordType
from trainers.adapters import start_model
from trainers.evaluate_pairs import changed, moved_from, summarise_pairs, wins
from trainers.heads import SCORE, whole_precision, with_score_head
from trainers.job import Stage
from trainers.method import Default, Held, Plan, Reads
from trainers.ordering import Order, as_given, by_length
from trainers.rows import Rows, encode_rows
from trainers.scoring import RewardScorer, load_reward, scores
from trainers.settings import Settings
from trainers.start import Start
from trainers.training import train

__all__ = ["Reward", "RewardScorer", "RewardSettings", "load_reward", "train_reward"]

LEARNING_RATES = {
    "adapter": Default(1e-4, "TRL's default and LLaMA-Factory's reward example with LoRA"),
    "full": Default(9e-6, "OpenRLHF's reward script"),
}
"""Kind of tuner -> learning rate where the recipe names none."""


@dataclass(frozen=True, kw_only=True)
class RewardSettings(Settings):
    """How to train a reward model."""

    margin_weight: float = 1.0
    """What a row's `margin` is multiplied by before the rewards must differ by it; 0 reads no margins. A row without
    one has the margin 0."""
    order: Literal["random", "by_length"] = "random"
    """random, or by_length: rows of like length in one batch, so that less of it is padding; batches stay mixed."""

    def bounds(self) -> list[tuple[str, bool, str]]:
        targets = {name.rpartition(".")[2] for name in self.lora_targets or ()}
        return [
            *super().bounds(),
            ("margin_weight", self.margin_weight >= 0, "0 or more"),
            ("lora_targets", SCORE not in targets, f"not {SCORE}: the head is trained whole beside the adapter"),
        ]


class Reward:
    """Reward modelling on rows with two answers; every pair is cut so that both sides fit."""

    name = "reward"
    version = 1
    type = RecordType.PREFERENCE
    config = "trl:RewardConfig"
    trainer = "trl:RewardTrainer"
    settings = RewardSettings
    reserved = frozenset(
        [
            "chat_template_path",
            "eos_token",
            "pad_token",
            "model_init_kwargs",
            "dataset_num_proc",
        ]
    )
    task = "SEQ_CLS"
    answers = False
    reference = False

    def encode(self, frame: pl.DataFrame, tokenizer: Any, settings: RewardSettings, *, name: str) -> Rows:
        rows = encode_rows(
            frame,
            tokenizer,
            self.type,
            max_length=settings.max_length,
            system=settings.system,
            name=name,
            columns=["margin"],
        )
        below = [one for one in rows.columns["margin"] if one is not None and one < 0]
        if below and settings.margin_weight:
            raise InputError(
                f"{name}: margin below 0 in {len(below)} of {len(rows)} rows, whose rejected answer would be the "
                "better one; swap their sides, or set margin_weight: 0"
            )
        return rows

    def arrange(self, rows: Rows, settings: RewardSettings) -> Order:
        if settings.order == "random":
            return as_given(len(rows))
        return by_length(rows.lengths(), rows.ids, batch=settings.per_device_batch, seed=settings.seed)

    def defaults(self, settings: RewardSettings, start: Start) -> dict[str, Default]:
        kind = "full" if settings.tuner == "full" else "adapter"
        return {} if settings.learning_rate else {"learning_rate": LEARNING_RATES[kind]}

    def facts(self, rows: Rows, settings: RewardSettings) -> dict[str, Any]:
        given = [one for one in rows.columns["margin"] if one is not None]
        used = bool(given) and settings.margin_weight > 0
        mean = sum(given) / len(given) * settings.margin_weight if used else 0.0
        return {"margins": {"rows": len(given) if used else 0, "mean": round(mean, 4)}}

    def load(self, plan: Plan, dtype: Any) -> Any:
        return with_score_head(start_model(plan, dtype), pad_id=plan.tokenizer.pad_token_id)

    def reads(self, plan: Plan, model: Any) -> Reads:
        rows, settings = plan.rows, plan.settings
        dataset: list[dict[str, Any]] = [
            {"chosen_ids": _ids(rows.sides["chosen"][at]), "rejected_ids": _ids(rows.sides["rejected"][at])}
            for at in plan.order.rows
        ]
        if plan.facts["margins"]["rows"]:
            for row, at in zip(dataset, plan.order.rows, strict=True):
                row["margin"] = settings.margin_weight * (rows.columns["margin"][at] or 0.0)
        return Reads(
            dataset=dataset,
            arguments={
                "max_length": settings.max_length,
                "train_sampling_strategy": "sequential" if settings.order == "by_length" else "random",
            },
            after_build=lambda trainer: whole_precision(trainer.model),
        )

    def before(self, plan: Plan, model: Any) -> dict[str, list[float]]:
        if not getattr(model, SCORE).weight.any():
            assert plan.held_out is not None
            return {side: [0.0] * len(plan.held_out) for side in ("chosen", "rejected")}
        return _scores(plan, model, "start model")

    def after(self, plan: Plan, model: Any, before: dict[str, list[float]]) -> Held:
        held_out, settings = plan.held_out, plan.settings
        assert held_out is not None
        found = _scores(plan, model, "trained model")
        tokens = {side: [len(row.completion_ids) for row in rows] for side, rows in held_out.sides.items()}
        frame = pl.DataFrame(
            {
                "id": held_out.ids,
                "group": held_out.groups,
                "chosen": pl.Series([round(one, 4) for one in found["chosen"]], dtype=pl.Float32),
                "rejected": pl.Series([round(one, 4) for one in found["rejected"]], dtype=pl.Float32),
                "chosen_tokens": pl.Series(tokens["chosen"], dtype=pl.Int32),
                "rejected_tokens": pl.Series(tokens["rejected"], dtype=pl.Int32),
            }
        )
        return Held(
            compare_pairs(
                before,
                found,
                tokens,
                held_out.groups,
                n_bootstrap=settings.n_bootstrap,
                seed=settings.seed,
            ),
            frame,
        )

    def told(self, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [
            ("accuracy", "share of pairs ranked right"),
            ("margin", "mean reward, chosen minus rejected"),
        ]


def train_reward(
    data: pl.DataFrame,
    evaluation: pl.DataFrame | None = None,
    *,
    model: str | Path,
    output_dir: str | Path = "model/reward",
    settings: RewardSettings | None = None,
    root: Path | None = None,
    pictures: Path | None = None,
    **options: Any,
) -> Stage:
    """The trained stage in `output_dir`; see `trainers.training.train`. `load_reward` reads it again.

    `data` and `evaluation` are canonical frames of pairs. `options` are settings by name, where `settings` is not
    given: `train_reward(pairs, model="smollm2-135m", max_steps=200)`. Raises InputError for empty answers.
    """
    return train(
        Reward(),
        data,
        evaluation,
        model=model,
        output_dir=output_dir,
        settings=settings or RewardSettings(**options),
        root=root,
        pictures=pictures,
    )


def compare_pairs(
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    tokens: Mapping[str, Sequence[int]],
    groups: Sequence[str],
    *,
    n_bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """What two models say of the same pairs, with intervals over resamples of whole groups. A tie counts half.

    All three mappings hold `chosen` and `rejected`. `change` is paired: accuracy and margin after minus before,
    `over_half` the accuracy minus .5, `over_length` minus that of always taking the longer or the shorter answer,
    whichever of the two is right more often.
    """
    options: dict[str, Any] = {"n_bootstrap": n_bootstrap, "seed": seed}
    old, new, length = ([one[side] for side in ("chosen", "rejected")] for one in (before, after, tokens))
    found = summarise_pairs(*new, groups, **options)
    by_length = summarise_pairs([float(one) for one in length[0]], [float(one) for one in length[1]], groups, **options)
    longer = wins([float(one) for one in length[0]], [float(one) for one in length[1]])
    best = longer if by_length["accuracy"]["value"] >= 0.5 else [1 - one for one in longer]
    margins = [[good - bad for good, bad in zip(*sides, strict=True)] for sides in (old, new)]
    return {
        "before": summarise_pairs(*old, groups, **options),
        "after": found,
        "change": {
            "accuracy": changed(wins(*old), wins(*new), groups, **options),
            "margin": changed(*margins, groups, **options),
            "over_half": moved_from(0.5, found["accuracy"]),
            "over_length": changed(best, wins(*new), groups, **options),
        },
        "longer_is_better_accuracy": by_length["accuracy"],
    }


def _ids(row: Any) -> list[int]:
    ids: list[int] = row.prompt_ids + row.completion_ids
    return ids


def _scores(plan: Plan, model: Any, what: str) -> dict[str, list[float]]:
    from trainers.callbacks import progress

    assert plan.held_out is not None
    sides = plan.held_out.sides
    with progress(f"held-out pairs, {what}", 2 * len(plan.held_out), "answer") as bar:
        return {
            side: scores(
                model,
                [_ids(row) for row in rows],
                pad_id=plan.tokenizer.pad_token_id,
                bfloat16=plan.machine.bfloat16,
                advance=lambda done: bar.update(done),
            )
            for side, rows in sides.items()
        }
