from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.errors import RecipeError
from trainers.callbacks import CanaryError, FirstLoss
from trainers.dpo import DPOSettings, train_dpo
from trainers.first_loss import dpo_first_loss, dpo_value, kto_first_loss

pytestmark = pytest.mark.usefixtures("one_thread")

STEP: dict[str, Any] = {
    "learning_rate": 1e-3,
    "lora_r": 2,
    "lora_alpha": 4,
    "per_device_batch": 4,
    "gradient_accumulation": 2,
    "max_steps": 1,
    "max_length": 128,
    "save_steps": 0,
    "samples": 0,
    "report_to": (),
}

VALUES = [
    ("sigmoid", 0.0, 0.6931),
    ("hinge", 0.0, 1.0),
    ("ipo", 0.0, 25.0),
    ("exo_pair", 0.001, 2.7612),
    ("nca_pair", 0.0, 1.3863),
    ("robust", 0.1, 0.6931),
    ("bco_pair", 0.0, 1.3863),
    ("sppo_hard", 0.0, 50.0),
    ("aot", 0.2, 0.6931),
    ("aot_unpaired", 0.2, 0.6931),
    ("apo_zero", 0.0, 1.0),
    ("apo_down", 0.0, 1.0),
    ("discopop", 0.0, 0.8466),
    ("sigmoid_norm", 0.0, 0.6931),
]


@pytest.mark.parametrize(("loss", "smoothing", "expected"), VALUES)
def test_each_loss_begins_where_a_log_ratio_of_zero_puts_it(loss: str, smoothing: float, expected: float) -> None:
    assert round(dpo_value(loss, beta=0.1, label_smoothing=smoothing), 4) == expected


def test_a_mixture_is_the_weighted_sum_and_sft_needs_the_first_batch() -> None:
    both = dpo_first_loss(["sigmoid", "ipo"], [0.5, 2.0], beta=0.5)
    assert both is not None
    assert math.isclose(both, 0.5 * math.log(2) + 2.0 * 1.0)
    assert dpo_first_loss(["sigmoid", "sft"], [1.0, 1.0], beta=0.1) is None
    known = dpo_first_loss(["sigmoid", "sft"], [1.0, 0.5], beta=0.1, chosen_nll=3.0)
    assert known is not None
    assert math.isclose(known, math.log(2) + 1.5)


class Bench:
    """TRL's own trainer with a policy that equals its reference, or with one that does not, and one batch of pairs."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        trainer.model.train()
        self.batch = next(iter(trainer.get_train_dataloader()))
        self.chosen_nll = self.begin(["sft"], [1.0], 0.1, 0.0)[0]
        self.trainer.log({})

    def begin(self, losses: list[str], weights: list[float], beta: float, smoothing: float) -> tuple[float, Any]:
        """The first step's loss, and the log that TRL makes of it."""
        trainer = self.trainer
        trainer.loss_types, trainer.loss_weights = losses, weights
        trainer.beta, trainer.label_smoothing = beta, smoothing
        loss = trainer.compute_loss(trainer.model, self.batch).item()
        return loss, lambda: trainer.log({"loss": loss})


@pytest.fixture(scope="module")
def benches(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, support_pairs: pl.DataFrame
) -> dict[str, Bench]:
    import torch
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from trainers.job import quiet
    from trainers.models import load_model, load_tokenizer

    rows = support_pairs.select("prompt", "chosen", "rejected").to_dicts()
    for row in rows:
        for side in row.values():
            for message in side:
                del message["tool_calls"]
    made = {}
    for name, moved in (("same", 0.0), ("other", 0.2)):
        reference = load_model(tiny_model)
        torch.manual_seed(1)
        for weight in reference.parameters():
            weight.data.add_(moved * weight.data.std() * torch.randn_like(weight))
        with quiet():
            trainer = DPOTrainer(
                model=load_model(tiny_model),
                ref_model=reference,
                args=DPOConfig(
                    output_dir=str(tmp_path_factory.mktemp("bench")),
                    use_cpu=True,
                    bf16=False,
                    gradient_checkpointing=False,
                    per_device_train_batch_size=8,
                    report_to="none",
                    disable_tqdm=True,
                ),
                train_dataset=Dataset.from_list(rows),
                processing_class=load_tokenizer(tiny_model),
            )
        trainer.state.global_step = 1
        made[name] = Bench(trainer)
    return made


MIXTURES = [
    *[([loss], [1.0], smoothing) for loss, smoothing, _ in VALUES],
    (["sft"], [1.0], 0.0),
    (["sigmoid", "sft"], [1.0, 0.5], 0.0),
    (["sigmoid", "bco_pair", "sft"], [0.8, 0.2, 1.0], 0.0),
    (["robust", "exo_pair"], [1.0, 0.1], 0.01),
]


@pytest.mark.train
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # TRL's own call, huggingface/trl
@pytest.mark.parametrize(("losses", "weights", "smoothing"), MIXTURES, ids=str)
def test_trl_begins_at_the_loss_that_was_told_and_any_other_reference_is_noticed(
    benches: dict[str, Bench], losses: list[str], weights: list[float], smoothing: float
) -> None:
    beta = 0.5
    same, other = benches["same"], benches["other"]
    expected = dpo_first_loss(losses, weights, beta=beta, label_smoothing=smoothing, chosen_nll=same.chosen_nll)
    assert expected is not None
    found, log = same.begin(losses, weights, beta, smoothing)
    assert abs(found - expected) <= 1e-5 * expected
    watch = FirstLoss(expected, 0.05 * beta)
    same.trainer.add_callback(watch)
    other.trainer.add_callback(watch)
    try:
        log()
        _, log = other.begin(losses, weights, beta, smoothing)
        with pytest.raises(CanaryError, match="the reference model is not the model that training starts from"):
            log()
    finally:
        same.trainer.remove_callback(watch)
        other.trainer.remove_callback(watch)


@pytest.mark.train
@pytest.mark.parametrize(
    ("loss_type", "options", "store"),
    [
        (("sigmoid", "sft"), {"loss_weights": (1.0, 0.5)}, "never"),
        (("ipo", "sft"), {"loss_weights": (1.0, 0.5)}, "always"),
        ("sigmoid", {"args": {"use_weighting": True}}, "always"),
        ("exo_pair", {"label_smoothing": 0.001, "args": {"f_divergence_type": "js_divergence"}}, "never"),
    ],
    ids=str,
)
def test_a_stage_says_what_its_first_loss_was_to_be(
    tiny_model: Path, tmp_path: Path, support_pairs: pl.DataFrame, loss_type: Any, options: dict[str, Any], store: str
) -> None:
    settings = DPOSettings(**STEP, loss_type=loss_type, reference_store=store, beta=0.1, **options)
    canary = train_dpo(support_pairs, None, model=tiny_model, output_dir=tmp_path, settings=settings).record["canary"]
    if "use_weighting" in options.get("args", {}):
        assert canary == {"unproven": "use_weighting multiplies the loss by what the policy finds of each pair"}
    else:
        assert abs(canary["found"] - canary["expected"]) <= 2e-5 * canary["expected"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss_type": "exo_pair"}, "label_smoothing: 0.0; expected above 0 and below 0.5: exo_pair needs it"),
        ({"loss_type": "robust", "label_smoothing": 0.5}, "label_smoothing: 0.5; expected 0 or more and below 0.5"),
        ({"label_smoothing": 0.1}, "only aot, aot_unpaired, exo_pair, robust read it"),
        ({"loss_type": ("sigmoid", "sft"), "loss_weights": (1.0,)}, "a weight above 0 for each of the losses sigmoid"),
        ({"loss_type": ("sigmoid", "sigmoid")}, "each once"),
        ({"loss_type": "sigmoyd"}, "expected one or more of sigmoid, hinge"),
        ({"loss_type": ()}, "expected one or more of"),
        ({"beta": 0.0}, "beta: 0.0; expected more than 0"),
        (
            {"loss_type": "aot", "args": {"f_divergence_type": "forward_kl"}},
            "f_divergence_type forward_kl: aot have no other form",
        ),
        ({"loss_type": "aot", "args": {"use_weighting": True}}, "use_weighting: aot and aot_unpaired sort the pairs"),
        ({"reference_store": "always", "args": {"ld_alpha": 0.5}}, "with args: ld_alpha"),
    ],
)
def test_settings_that_a_loss_cannot_have_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        DPOSettings(**values)
    assert message in str(error.value)


def test_kto_begins_at_half_the_mean_weight_of_the_first_update() -> None:
    labels, weights = [True, False, False, False, True, True], {"desirable": 2.0, "undesirable": 1.0}
    assert kto_first_loss(labels, weights, batch=2, accumulation=2) == 0.5 * (1.5 + 1.0) / 2
    assert kto_first_loss(labels, weights, batch=4, accumulation=2) == 0.5 * (1.25 + 2.0) / 2
