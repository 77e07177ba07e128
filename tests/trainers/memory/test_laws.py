"""Laws that hold for every model and step."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.memory.devices import Memory
from trainers.memory.estimate import estimate_step
from trainers.memory.shapes import KNOWN, Shape, shape_of
from trainers.memory.suggest import suggest
from trainers.memory.terms import Step

SHAPES = st.sampled_from(sorted(KNOWN)).map(shape_of)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    method = draw(st.sampled_from(["sft", "dpo", "kto", "reward", "grpo"]))
    tuner = draw(st.sampled_from(["full", "lora", "dora"]))
    length = draw(st.integers(16, 4096))
    batch = draw(st.sampled_from([2, 4, 8]))
    accumulation = draw(st.sampled_from([1, 4]))
    copied = tuner == "full" and method in ("dpo", "kto", "grpo")
    return Step(
        method=method,
        tuner=tuner,
        batch=batch,
        length=length,
        scored=draw(st.integers(1, length)),
        padded=draw(st.booleans()),
        compute_bytes=draw(st.sampled_from([2, 4])),
        accumulation=accumulation,
        checkpointing=draw(st.booleans()),
        reference="copy" if copied else "none",
        generations=batch * accumulation if method == "grpo" else 0,
        device=draw(st.sampled_from(["cpu", "cuda"])),
    )


def total(shape: Shape, step: Step, **changes: object) -> int:
    return estimate_step(shape, dataclasses.replace(step, **changes)).total  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(SHAPES, steps())
def test_more_of_anything_never_takes_less(shape: Shape, step: Step) -> None:
    now = total(shape, step)
    assert total(shape, step, batch=step.batch * 2) >= now
    assert total(shape, step, length=step.length + 64) >= now
    assert total(shape, step, scored=max(step.scored // 2, 1)) <= now
    assert total(shape, step, accumulation=8) >= total(shape, step, accumulation=1)
    assert total(shape, step, padded=True) >= total(shape, step, padded=False)


@settings(max_examples=60, deadline=None)
@given(SHAPES, steps())
def test_an_adapter_never_takes_more_than_all_weights(shape: Shape, step: Step) -> None:
    full = total(shape, step, tuner="full")
    lora = total(shape, step, tuner="lora", reference="none")
    assert lora < full
    assert total(shape, step, tuner="qlora", reference="none", compute_bytes=2) < total(
        shape, step, tuner="lora", reference="none", compute_bytes=2
    )


@settings(max_examples=60, deadline=None)
@given(SHAPES, steps())
def test_sharding_divides_states(shape: Shape, step: Step) -> None:
    whole = estimate_step(shape, step).states
    four = estimate_step(shape, dataclasses.replace(step, devices=4, sharding="fsdp2")).states
    zero = estimate_step(shape, dataclasses.replace(step, devices=4, sharding="zero2")).states
    for name in ("weights", "optimizer", "reference", "adapter"):
        if name in whole:
            assert four[name] == -(-whole[name] // 4)
    if not step.mixed:
        assert zero["weights"] == whole["weights"]
    assert zero["optimizer"] == -(-whole["optimizer"] // 4)


@settings(max_examples=60, deadline=None)
@given(SHAPES, steps(), st.integers(8, 200))
def test_suggestions_go_down_to_what_fits(shape: Shape, step: Step, gib: int) -> None:
    memory = Memory(name="g", bytes=gib << 30)
    found = suggest(shape, step, memory)
    if estimate_step(shape, step).total <= memory.bytes:
        assert found == []
        return
    down = [one.estimate.total for one in found if not one.change.endswith("fits again")]
    assert down == sorted(down, reverse=True)
    assert [one.fits for one in found] == [one.estimate.total <= memory.bytes for one in found]
    assert not found or found[-1].fits or not any(one.fits for one in found)
    assert all(one.estimate.step.batch >= (2 if step.method == "kto" else 1) for one in found)
