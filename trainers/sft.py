"""SFT on answered prompts: a start model and good answers in, a model that says them out, with the proof that it does.

TRL's SFTTrainer optimises. Here is what it leaves to its caller: loss on the assistant's turns of the answer alone,
answers that keep their end token, text that cannot forge a control token, continuing after a kill, held-out rows scored
before and after. It is given the ids as they were encoded here: it would encode every row twice more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl

from prefdata.schema import RecordType
from trainers.adapters import start_model
from trainers.evaluate_loss import compare_losses, rounded
from trainers.evaluate_rewards import completion_logps
from trainers.job import Stage
from trainers.method import Default, Held, Plan, Reads
from trainers.ordering import Order, as_given, by_length
from trainers.packing import require_blind
from trainers.rendering import Encoded
from trainers.rows import Rows, encode_rows
from trainers.settings import Settings
from trainers.start import Start
from trainers.training import train
from trainers.turns import with_untrained
from trainers.vision.collating import seeing
from trainers.vision.processor import looks_of

LEARNING_RATES = {
    "adapter": Default(1e-4, "LLaMA-Factory's and ms-swift's SFT examples with LoRA"),
    "full": Default(2e-5, "TRL's default and the Zephyr recipe"),
}
"""Kind of tuner -> learning rate where the recipe names none."""

SILENT = "no_assistant_turn"
"""Why a row is left out whose answer holds no turn of the assistant."""

UNTRAINED = -100
"""The label that torch's cross-entropy leaves out."""


@dataclass(frozen=True, kw_only=True)
class SFTSettings(Settings):
    """How to train on answered prompts."""

    loss_type: Literal["nll", "dft"] = "nll"
    """nll, or dft (Wu et al., 2025): each token's loss times its probability, so unlikely answers pull less."""
    order: Literal["random", "by_length"] = "random"
    """random, or by_length: rows of like length in one batch, in the same order in each epoch. 1,000 Alpaca rows in
    batches of 8 come to 1.02 tokens with padding a token, and to 1.93 at random."""
    packing: bool = False
    """Put several rows into one sequence of max_length tokens, each blind to the others: many short rows on a GPU."""

    drops_out: ClassVar[bool] = True

    def contradictions(self) -> list[str]:
        if self.packing and self.order == "by_length":
            return ["order: by_length; packed sequences are all of about one length, so set packing or this"]
        return super().contradictions()


class SFT:
    """SFT on rows with one answer each; the prompt is read, not learned."""

    name = "sft"
    version = 1
    type = RecordType.SFT
    config = "trl:SFTConfig"
    trainer = "trl:SFTTrainer"
    settings = SFTSettings
    reserved = frozenset(
        [
            "loss_type",
            "packing",
            "packing_strategy",
            "padding_free",
            "shuffle_dataset",
            "completion_only_loss",
            "assistant_only_loss",
            "chat_template_path",
            "dataset_kwargs",
            "dataset_text_field",
            "eos_token",
            "pad_token",
            "model_init_kwargs",
        ]
    )
    task = "CAUSAL_LM"
    answers = True
    reference = False
    sees = True

    def encode(self, frame: pl.DataFrame, tokenizer: Any, settings: SFTSettings, *, name: str) -> Rows:
        rows = encode_rows(
            frame, tokenizer, self.type, max_length=settings.max_length, system=settings.system, name=name
        )
        side = with_untrained(tokenizer, rows.sides["completion"])
        silent = [row_id for row_id, row in zip(rows.ids, side, strict=True) if not row.trained]
        kept = [at for at, row in enumerate(side) if row.trained]
        rows = replace(rows, sides={"completion": side}, lost={**rows.lost, **({SILENT: silent} if silent else {})})
        return rows.take(kept, reason=SILENT) if silent else rows

    def arrange(self, rows: Rows, settings: SFTSettings) -> Order:
        if settings.order == "random":
            return as_given(len(rows))
        return by_length(rows.lengths(), rows.ids, batch=settings.per_device_batch, seed=settings.seed)

    def defaults(self, settings: SFTSettings, start: Start) -> dict[str, Default]:
        kind = "full" if settings.tuner == "full" else "adapter"
        return {} if settings.learning_rate else {"learning_rate": LEARNING_RATES[kind]}

    def facts(self, rows: Rows, settings: SFTSettings) -> dict[str, Any]:
        side = rows.sides["completion"]
        trained = sum(row.trained for row in side)
        whole = sum(len(row.prompt_ids) + len(row.completion_ids) for row in side)
        return {"tokens": {"all": whole, "trained": trained, "trained_ratio": round(trained / max(whole, 1), 4)}}

    def load(self, plan: Plan, dtype: Any) -> Any:
        return start_model(plan, dtype)

    def reads(self, plan: Plan, model: Any) -> Reads:
        settings = plan.settings
        side = plan.rows.sides["completion"]
        used = plan.used() if plan.order.fixed else plan.order.rows
        if settings.packing:
            require_blind(plan, model)
        reads = Reads(
            dataset=[
                {"input_ids": side[at].prompt_ids + side[at].completion_ids, "labels": labels(side[at])} for at in used
            ],
            arguments={
                "loss_type": settings.loss_type,
                "max_length": settings.max_length,
                "packing": settings.packing,
                "train_sampling_strategy": "sequential" if plan.order.fixed else "random",
            },
        )
        return seeing(plan, reads, [[side[at] for at in used]], kind="answered")

    def before(self, plan: Plan, model: Any) -> dict[str, list[float]]:
        return {"completion": _logps(plan, model, "start model")}

    def after(self, plan: Plan, model: Any, before: dict[str, list[float]]) -> Held:
        held_out, settings = plan.held_out, plan.settings
        assert held_out is not None
        tokens = [row.trained for row in held_out.sides["completion"]]
        logps = _logps(plan, model, "trained model")
        found = compare_losses(
            before["completion"],
            logps,
            tokens,
            held_out.groups,
            n_bootstrap=settings.n_bootstrap,
            seed=settings.seed,
        )
        frame = pl.DataFrame(
            {
                "id": held_out.ids,
                "group": held_out.groups,
                "loss_before": _a_token(before["completion"], tokens),
                "loss_after": _a_token(logps, tokens),
                "tokens": pl.Series(tokens, dtype=pl.Int32),
            }
        )
        metrics = {
            "before": found.before.record(),
            "after": found.after.record(),
            "change": {"loss": rounded(found.change)},
        }
        return Held(metrics, frame)

    def told(self, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [("loss", "loss of held-out answers, nats a token"), ("perplexity", "perplexity of held-out answers")]


def train_sft(
    data: pl.DataFrame,
    evaluation: pl.DataFrame | None = None,
    *,
    model: str | Path,
    output_dir: str | Path = "model/sft",
    settings: SFTSettings | None = None,
    root: Path | None = None,
    pictures: Path | None = None,
    **options: Any,
) -> Stage:
    """The trained stage in `output_dir`; see `trainers.training.train`.

    `data` and `evaluation` are canonical frames of answered prompts. `options` are settings by name, where `settings`
    is not given: `train_sft(rows, model="smollm2-135m", max_steps=100)`. Raises InputError for empty answers.
    """
    return train(
        SFT(),
        data,
        evaluation,
        model=model,
        output_dir=output_dir,
        settings=settings or SFTSettings(**options),
        root=root,
        pictures=pictures,
    )


def labels(row: Encoded) -> list[int]:
    """The ids of the assistant's own turns in the answer, and UNTRAINED for all others."""
    found = [*row.completion_ids]
    for start, end in row.untrained:
        found[start:end] = [UNTRAINED] * (end - start)
    return [UNTRAINED] * len(row.prompt_ids) + found


def _a_token(logps: list[float], tokens: list[int]) -> pl.Series:
    return pl.Series([round(-one / count, 4) for one, count in zip(logps, tokens, strict=True)], dtype=pl.Float32)


def _logps(plan: Plan, model: Any, what: str) -> list[float]:
    from trainers.callbacks import progress

    assert plan.held_out is not None
    rows = plan.held_out.sides["completion"]
    with progress(f"held-out rows, {what}", len(rows), "row") as bar:
        return completion_logps(
            model,
            rows,
            pad_id=plan.tokenizer.pad_token_id,
            looks=looks_of(plan.tokenizer),
            advance=lambda done: bar.update(done),
        )
