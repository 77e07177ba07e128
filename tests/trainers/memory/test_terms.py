"""Every term of a little model, counted by hand."""

from __future__ import annotations

import pytest

from prefdata.errors import RecipeError
from trainers.memory import terms
from trainers.memory.estimate import estimate_step
from trainers.memory.shapes import Shape, from_config
from trainers.memory.terms import Step

LITTLE = from_config(
    {
        "model_type": "llama",
        "vocab_size": 100,
        "hidden_size": 8,
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    name="little",
)
"""Heads of 2, so 8 wide queries, 4 wide keys; a layer has 2*8*8 + 2*8*4 + 3*8*20 + 2*8 = 688 weights."""

FULL = Step(method="sft", tuner="full", batch=3, length=10, scored=4, device="cpu")
LORA = Step(method="sft", tuner="lora", lora_r=2, batch=3, length=10, scored=4, device="cpu")
BF16 = Step(method="sft", tuner="lora", lora_r=2, batch=3, length=10, scored=4, compute_bytes=2)
MIXED = Step(method="sft", tuner="full", batch=3, length=10, scored=4, compute_bytes=2)


def test_parameters_are_counted_by_part() -> None:
    assert LITTLE.linear == 2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * 20 == 672
    assert LITTLE.layer == 672 + 2 * 8 == 688
    assert LITTLE.embedding == 800
    assert LITTLE.parameters == 2 * 688 + 8 + 800 == 2184
    assert LITTLE.adapter(2, layers=2) == 2 * 2 * ((8 + 8) * 2 + (8 + 4) * 2 + (8 + 20) * 3) == 560
    assert LITTLE.adapter(2, layers=1, targets=("q_proj", "v_proj")) == 2 * (16 + 12) == 56
    assert LITTLE.magnitudes(layers=2) == 2 * (8 + 4 + 4 + 8 + 20 + 20 + 8) == 144


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # weights, adapter, gradients, AdamW's moments
        (FULL, (2184 * 4, 0, 2184 * 4, 2184 * 8)),
        (LORA, (2184 * 4, 560 * 4, 560 * 4, 560 * 8)),
        (BF16, (2184 * 2, 560 * 4, 560 * 4, 560 * 8)),  # frozen weights in bfloat16, the adapter in float32
        (MIXED, (2184 * 4, 0, 2184 * 4, 2184 * 8)),  # trained weights stay float32
    ],
)
def test_states_are_those_of_the_tuner(step: Step, expected: tuple[int, ...]) -> None:
    found = (terms.weights, terms.adapter, terms.gradients, terms.optimizer)
    assert tuple(term(LITTLE, step) for term in found) == expected


def test_four_bit_weights_keep_embeddings_and_norms_whole() -> None:
    step = Step(method="sft", tuner="qlora", lora_r=2, batch=1, length=4, scored=4, compute_bytes=2)
    quantised = 2 * 672
    assert terms.weights(LITTLE, step) == int(quantised * (0.5 + 0.127 / 8)) + (2184 - quantised) * 2
    assert terms.adapter(LITTLE, step) == 560 * 2


def test_a_layer_keeps_what_its_backward_pass_needs() -> None:
    tokens = 30
    # two norms (input and scaled, 8 wide), their outputs, q, k, v and attention's output, one number a head, the MLP
    whole = 2 * 8 * 4 + 2 * 8 * 4 + 2 * 8 * 4 + (2 * 8 + 2 * 4) * 4 + 4 * 4 + 4 * 20 * 4
    assert terms.layer_saved(LITTLE, FULL) == tokens * whole
    # a frozen norm keeps its input alone; seven modules keep what passes their rank
    assert terms.layer_saved(LITTLE, LORA) == tokens * (whole - 2 * 8 * 4 + 7 * 2 * 4)
    # five inputs of the hidden width and one of the query's are copied as they are cast
    lora = 2 * 8 * 4 + 5 * 8 * 2 + (3 * 8 + 2 * 4) * 2 + 4 * 4 + 4 * 20 * 2 + 7 * 2 * 2
    assert terms.layer_saved(LITTLE, BF16) == tokens * lora
    mixed = 2 * 8 * 4 + 2 * 8 * 4 + 5 * 8 * 2 + (2 * 8 + 2 * 4) * 2 + 4 * 4 + 4 * 20 * 2
    assert terms.layer_saved(LITTLE, MIXED) == tokens * mixed


def test_padding_costs_a_mask_a_layer_and_repeated_heads() -> None:
    step = Step(method="sft", tuner="full", batch=3, length=10, scored=4, padded=True, device="cpu")
    assert terms.mask(step) == 3 * 10 * 10 * 4
    repeated = 30 * 2 * (8 - 4) * 4
    assert terms.layer_saved(LITTLE, step) - terms.layer_saved(LITTLE, FULL) == repeated + 3 * 10 * 10 * 4


def test_the_head_works_in_one_tile_of_the_vocabulary() -> None:
    tile, copy = 12 * 32768 * 4, 12 * 100 * 4
    assert terms.head_forward(LITTLE, FULL) == tile + 3 * copy
    gradients = 12 * 8 * 4 + 800 * 4
    assert terms.head_backward(LITTLE, FULL) == tile + gradients + int(7.25 * copy)
    assert terms.head_forward(LITTLE, BF16) == 12 * 32768 * 2
    assert terms.head_backward(LITTLE, BF16) == 12 * 32768 * 2 + 12 * 8 * 4 + 12 * 8 * 2
    long = Step(method="sft", tuner="lora", batch=64, length=512, scored=512, compute_bytes=2)
    assert terms.head_forward(LITTLE, long) == 4096 * 32768 * 2


def test_a_reward_model_has_one_output_and_scores_nothing() -> None:
    step = Step(method="reward", tuner="full", batch=3, length=10, scored=4, device="cpu")
    assert terms.held(LITTLE, step) == 2 * 688 + 8 + 800 + 8
    assert (step.sequences, step.tokens) == (6, 60)
    assert (terms.head_forward(LITTLE, step), terms.head_backward(LITTLE, step)) == (0, 0)


def test_what_is_generated_at_once_has_its_keys_and_values_kept() -> None:
    step = Step(method="grpo", tuner="lora", batch=4, length=10, scored=6, generations=8, compute_bytes=2)
    assert terms.cache(LITTLE, step) == 2 * 2 * 4 * 2 * 10 * 8 + 3 * 8 * 100 * 4


def test_the_peak_is_the_states_and_the_largest_phase() -> None:
    found = estimate_step(LITTLE, FULL)
    assert found.states == {"weights": 8736, "optimizer": 17472}
    assert found.live == 8736 + 17472 + max(sum(parts.values()) for parts in found.phases.values())
    assert found.total == found.live + sum(found.assumed.values())
    assert found.phases["optimizer step"] == {"gradients": 8736}
    assert found.phases["gradient of the embedding"] == {"gradients": 8736, "being added": 2 * 3200}


def test_gradients_of_earlier_passes_are_there_during_the_forward_pass() -> None:
    once, more = (
        estimate_step(LITTLE, Step(method="sft", tuner="full", batch=1, length=8, scored=8, accumulation=passes))
        for passes in (1, 2)
    )
    forward = "end of the forward pass"
    assert "gradients" not in once.phases[forward]
    assert more.phases[forward]["gradients"] == 2184 * 4


def test_checkpointing_keeps_the_inputs_of_layers() -> None:
    step = Step(method="sft", tuner="full", batch=3, length=10, scored=4, checkpointing=True, device="cpu")
    assert terms.activations(LITTLE, step) == (2 + 1) * 30 * 8 * 4
    assert terms.activations(LITTLE, FULL) == 2 * terms.layer_saved(LITTLE, FULL) + 30 * 8 * 4


def test_layers_below_the_adapter_keep_nothing() -> None:
    step = Step(method="kto", tuner="lora", lora_layers=1, batch=3, length=10, scored=4, device="cpu")
    assert terms.activations(LITTLE, step) == terms.layer_saved(LITTLE, step) + 30 * 8 * 4
    assert estimate_step(LITTLE, step).states["frozen layers' outputs"] == 1 << 30


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"length": 0}, {"scored": 11}, {"devices": 0}])
def test_a_step_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    given = {"batch": 1, "length": 10, "scored": 4, "devices": 1} | wrong
    with pytest.raises(RecipeError, match="expected all at least 1"):
        Step(method="sft", tuner="lora", **given)


def test_a_second_model_is_counted_where_full_fine_tuning_needs_one() -> None:
    sizes = {
        kind: estimate_step(LITTLE, Step(method="dpo", tuner="full", batch=1, length=8, scored=4, reference=kind))
        for kind in ("copy", "store")
    }
    assert sizes["copy"].states["reference"] == 2184 * 4
    assert "reference" not in sizes["store"].states
    assert isinstance(LITTLE, Shape)
