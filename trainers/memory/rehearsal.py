"""Two updates of the real trainer on made-up rows of the longest length, to see what they take at most.

The trainer is built as a stage builds it. Weights are random: from the config alone (`made`), or the real start
model's (`measure`). Loads torch; the closed form is in `estimate`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from prefdata.errors import RecipeError
from prefdata.schema import RecordType
from trainers import reference_store
from trainers.adapters import frozen_layers
from trainers.job import Machine, machine, quiet
from trainers.loop import build_trainer, completions_only
from trainers.memory.live import LiveBytes, shapes_only
from trainers.memory.made import PICTURE, drawn, made_rows, with_picture
from trainers.memory.shapes import config_of
from trainers.memory.terms import Step
from trainers.method import Method, Plan
from trainers.reference_store import NEVER
from trainers.rendering import protect
from trainers.start import Start, open_start
from trainers.trunk import SharedTrunk
from trainers.vision.processor import looks_of

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LEAST_PROMPT, LEAST_ANSWER = 32, 8
"""Tokens; markers of a chat template take some of them."""

UPDATES = 2
"""The first makes the optimizer's states; the second is measured."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the second update took at most, in bytes."""

    peak: int
    held: int
    """Live when it began."""
    how: str
    """What was counted, in words."""
    length: int
    scored: int
    """Tokens of every row, and of its answer."""
    pictured: int = 0
    """Tokens of every row that stand for its picture."""


@dataclass(frozen=True, kw_only=True)
class MadeStart(Start):
    """A start model with random weights in the shape of a config; there are no files."""

    config: Mapping[str, Any]

    def tokenizer(self, pictures: Path | None = None) -> Any:
        """Bytes as tokens, so that a text of n letters is n tokens long."""
        return protect(byte_tokenizer())

    def base(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": "", "rounded_to": None}

    def lineage(self) -> list[dict[str, Any]]:
        return []

    def identity(self) -> str:
        return ""

    def load(self, *, dtype: Any = None, quantization_config: Any = None) -> Any:
        return AutoModelForCausalLM.from_config(self.settings_of_model(), dtype=dtype or torch.float32)

    def settings_of_model(self) -> Any:
        """transformers' config, its special tokens those of the byte tokenizer."""
        given = {key: value for key, value in self.config.items() if key not in ("model_type", "dtype", "torch_dtype")}
        special = {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
        return AutoConfig.for_model(self.config["model_type"], **{**given, **special})


def byte_tokenizer() -> Any:
    """A tokenizer of 256 bytes and ChatML's markers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet]
    machine = Tokenizer(models.BPE(vocab={name: at for at, name in enumerate(names)}, merges=[]))
    machine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    machine.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=machine,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def rehearse(
    method: Method,
    settings: Any,
    start: Start,
    *,
    prompt: int,
    completion: int,
    bfloat16: bool,
    fake: bool,
    padded: bool = False,
    as_on_gpu: bool = False,
    device: Literal["cpu", "cuda", "mps"] = "cpu",
    pictured: int = 0,
) -> Measured:
    """The peak of the second update, all rows `prompt` + `completion` tokens long.

    Of a model that reads pictures each prompt holds one, of at most `pictured` tokens.

    Where `padded`, every other row's prompt is shorter. `fake` computes nothing, and `as_on_gpu` then scores as
    Triton's kernels do there: within the tile. On a CUDA device the peak is that of torch's allocator.
    """
    settings = dataclasses.replace(settings, **_rehearsed(settings, prompt, completion))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prefdata-memory-")))
        if getattr(settings, "reference_store", NEVER) != NEVER:
            settings = dataclasses.replace(settings, reference_store=str(folder / "reference"))
        stack.enter_context(quiet())
        if device == "cpu":
            stack.enter_context(completions_only())
        stack.enter_context(_without_reading_the_reference(start))
        transformers.set_seed(0)
        sides = 2 if method.type is RecordType.PREFERENCE else 1
        place = Machine(device=device, bfloat16=bfloat16, threads=torch.get_num_threads())
        plan = _plan(
            method, settings, start, prompt, completion, place=place, padded=padded, folder=folder, pictured=pictured
        )
        live: LiveBytes | AllocatedBytes
        if fake:
            chosen = settings.per_device_batch * sides * completion
            live = stack.enter_context(shapes_only(chosen=chosen, padded=padded))
            stack.enter_context(in_order())
        elif device == "cuda":
            live = AllocatedBytes()
        else:
            live = stack.enter_context(LiveBytes())
        if as_on_gpu:
            stack.enter_context(_kernels_in_place())
        model = plan.method.load(plan, plan.dtype())
        if device != "cpu":
            model.to(device)
        frozen = frozen_layers(plan, model)
        if frozen:
            SharedTrunk(model, frozen)
        reads = plan.method.reads(plan, model)
        trainer, _ = build_trainer(plan, model, reads)
        if reads.after_build is not None:
            reads.after_build(trainer)
        begun = Second(live)
        trainer.add_callback(begun)
        trainer.train()
        what = "live tensors, shapes alone" if fake else live.what
        return Measured(
            peak=live.peak,
            held=begun.held,
            how=what,
            length=prompt + completion,
            scored=completion,
            pictured=max(sum(one.tokens for one in row.pictures) for row in plan.rows.first),
        )


def dry_run(method: Method, settings: Any, model: str | Path, step: Step, *, root: Path | None = None) -> Measured:
    """Two updates on shapes alone, for any text model of transformers whose config is known here.

    Raises RecipeError for QLoRA: bitsandbytes cannot round what has no numbers.
    """
    if step.tuner == "qlora":
        raise RecipeError("--dry-run: shapes alone cannot be rounded to 4 bits; --measure can, on a GPU")
    name, config = config_of(model, root=root)
    if "vision_config" in config:
        raise RecipeError(
            "--dry-run: shapes alone cannot be looked at; --measure can, with the model that reads pictures"
        )
    start = MadeStart(model=name, name=name, folder=Path(name), config=config)
    return _rehearsed_step(method, settings, start, step, fake=True)


def measure(method: Method, settings: Any, model: str | Path, step: Step, *, root: Path | None = None) -> Measured:
    """Two updates for real, on this machine and with the real start model: a GPU where there is one."""
    place = machine(settings.precision)
    start = open_start(model, root=root)
    return _rehearsed_step(method, settings, start, step, fake=False, device=place.device)


def _rehearsed_step(
    method: Method,
    settings: Any,
    start: Start,
    step: Step,
    *,
    fake: bool,
    device: Literal["cpu", "cuda", "mps"] = "cpu",
) -> Measured:
    """A prompt has at least the tokens of its markers, so an answer is never quite the whole row.

    More than two passes before an update take no more than two, except where they decide how much is sampled at once.
    """
    passes = step.accumulation if step.generations else min(step.accumulation, 2)
    prompt = max(step.length - step.scored, LEAST_PROMPT)
    return rehearse(
        method,
        dataclasses.replace(settings, gradient_checkpointing=step.checkpointing, gradient_accumulation=passes),
        start,
        prompt=prompt,
        completion=max(step.length - prompt, LEAST_ANSWER),
        bfloat16=step.compute_bytes == 2,
        fake=fake,
        padded=step.padded,
        as_on_gpu=fake and step.device == "cuda",
        device=device,
        pictured=step.pictured,
    )


def _rehearsed(settings: Any, prompt: int, completion: int) -> dict[str, Any]:
    """What a rehearsal sets otherwise than the stage: two updates, nothing written, answers of full length."""
    changed: dict[str, Any] = {
        "max_steps": UPDATES,
        "save_steps": 0,
        "samples": 0,
        "report_to": (),
        "max_length": prompt + completion,
    }
    if hasattr(settings, "max_completion_length"):
        changed |= {
            "max_completion_length": completion,
            "probe_prompts": 0,
            "rewards": {"length": {"max": completion}},
            "generation": {"min_new_tokens": completion},
        }
    return changed


@contextlib.contextmanager
def _without_reading_the_reference(start: Start) -> Iterator[None]:
    """A store that knows every row already; and TRL's own references, which it would load by a path, from `start`."""
    from trl.trainer import grpo_trainer, rloo_trainer

    def scored(plan: Any, model: Any, keys: Any, rows: Any, what: str) -> dict[str, float]:
        return dict.fromkeys(keys, -1.0)

    def made(path: str, **options: Any) -> Any:
        return start.load(dtype=options.get("dtype"))

    with (
        mock.patch.object(reference_store, "_scored", scored),
        mock.patch.object(grpo_trainer, "create_model_from_path", made),
        mock.patch.object(rloo_trainer, "create_model_from_path", made),
    ):
        yield


@contextlib.contextmanager
def _kernels_in_place() -> Iterator[None]:
    """The head's tile folded in place, as Triton does it; torch's stand-in for other devices makes copies of it."""
    from trl.kernels import chunked_logprob

    def fold(*_: Any, **__: Any) -> None:
        return None

    with (
        mock.patch.object(chunked_logprob, "_forward_tile", fold),
        mock.patch.object(chunked_logprob, "_backward_tile", fold),
    ):
        yield


class AllocatedBytes:
    """The same figures as LiveBytes tells, of torch's allocator on a CUDA device."""

    what = "allocated by torch on the GPU"

    def begin(self) -> None:
        """Forgets the peak so far."""
        torch.cuda.reset_peak_memory_stats()

    @property
    def live(self) -> int:
        return int(torch.cuda.memory_allocated())

    @property
    def peak(self) -> int:
        return int(torch.cuda.max_memory_allocated())


class Second(transformers.TrainerCallback):  # type: ignore[misc]
    """Begins to count when the second update begins."""

    def __init__(self, live: LiveBytes | AllocatedBytes) -> None:
        self.live = live
        self.held = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == UPDATES - 1:
            self.live.begin()
            self.held = self.live.live


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Rows in order: an order cannot be drawn where tensors are shapes alone."""
    from torch.utils.data import SequentialSampler

    with mock.patch.object(
        transformers.Trainer, "_get_train_sampler", lambda self, dataset=None: SequentialSampler(self.train_dataset)
    ):
        yield


def _plan(
    method: Method,
    settings: Any,
    start: Start,
    prompt: int,
    completion: int,
    *,
    place: Machine,
    padded: bool,
    folder: Path,
    pictured: int = 0,
) -> Plan:
    tokenizer = start.tokenizer(folder)
    rows = UPDATES * rows_of_update(settings)
    tokens = drawn(looks_of(tokenizer), folder / PICTURE, room=min(pictured, prompt - LEAST_PROMPT))
    frame = made_rows(method.type, rows, prompt - tokens, completion, tokenizer, padded=padded)
    frame = with_picture(frame) if tokens else frame
    encoded = method.encode(frame, tokenizer, settings, name="training rows")
    return Plan(
        method=method,
        settings=settings,
        defaults=method.defaults(settings, start),
        facts=method.facts(encoded, settings),
        rows=encoded,
        order=method.arrange(encoded, settings),
        held_out=None,
        start=start,
        machine=place,
        tokenizer=tokenizer,
        output_dir=folder,
        key="",
        root=folder,
    )


def rows_of_update(settings: Any) -> int:
    """Rows that one update reads; of prompts as many as groups of answers."""
    rows: int = settings.per_device_batch * settings.gradient_accumulation
    return rows
