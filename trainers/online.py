"""What GRPO and RLOO share: prompts in, answers sampled while training, rewards of them, held-out prompts answered.

TRL's trainers sample and optimise. Here is what they leave to their caller: rewards by name, a batch that holds whole
groups of answers, rewards tried before the first step, text that cannot forge a control token, the reference, and
checkpoints from which a killed run goes on as it would have.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from prefdata.errors import RecipeError
from prefdata.schema import RecordType
from trainers.adapters import start_model
from trainers.method import Default, Held, Plan, Reads
from trainers.ordering import Order, by_length
from trainers.processes import count
from trainers.rewards import Rewarder, Scorers, build_rewards, look, read_rewards
from trainers.rollouts import TOTAL, compared, draw, forbidden_ids, judged, mean, probed, require_spread
from trainers.rows import Rows, encode_rows
from trainers.settings import Settings
from trainers.start import Start
from trainers.vision.processor import looks_of
from trainers.vision.sampling import asked, guarded

LEARNING_RATES = {
    "adapter": Default(1e-5, "TRL's guide to LoRA for GRPO"),
    "full": Default(1e-6, "TRL's default"),
}
"""Kind of tuner -> learning rate where the recipe names none."""

RESERVED = frozenset(
    [
        "beta",
        "loss_type",
        "num_generations",
        "temperature",
        "max_completion_length",
        "reward_weights",
        "generation_kwargs",
        "disable_dropout",
        "sync_ref_model",
        "model_init_kwargs",
        "remove_unused_columns",
        "shuffle_dataset",
        "log_completions",
        "log_completions_hub_repo",
        "chat_template_kwargs",
    ]
)
"""Arguments that `args` may not hold for a method that samples."""

SAMPLING = ("top_p", "top_k", "min_p", "repetition_penalty", "cache_implementation")
"""Arguments of TRL that shape sampling; what is measured before and after is sampled alike."""


DECIDED = frozenset(["max_new_tokens", "do_sample", "pad_token_id", "bos_token_id", "eos_token_id", "disable_compile"])
"""Arguments of GenerationConfig that other settings or the tokenizer decide."""


VLLM_TOO = frozenset(["min_p", "repetition_penalty", "temperature", "top_k", "top_p"])
"""Arguments of GenerationConfig that vLLM calls the same."""


@dataclass(frozen=True, kw_only=True)
class OnlineSettings(Settings):
    """How to train on answers that the policy samples itself."""

    rewards: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """Rewards by name, each with its weight and settings: {length: {max: 200}, toxicity: {weight: 2.0}}. Names are
    length, format, regex, exact_answer, reward_model, and those of all scorers; `kind` puts one under another name."""
    num_generations: int = 8
    """Answers sampled for each prompt, which are compared with each other."""
    temperature: float = 1.0
    """Of sampling; more makes answers differ more."""
    max_completion_length: int = 256
    """Longest sampled answer, in tokens; what is left of max_length is for the prompt."""
    suppress_special_tokens: bool = True
    """Never sample a special token but the one that ends an answer."""
    generation: dict[str, Any] = field(default_factory=dict)
    """Further arguments of transformers' GenerationConfig."""
    probe_prompts: int = 8
    """Prompts answered before the first step to see whether the rewards differ at all; 0 leaves that out."""
    flat_steps: int = 10
    """Steps in a row without one prompt whose answers differ in reward, after which training stops."""
    evaluation_generations: int = 2
    """Answers sampled for each held-out prompt before and after training."""
    max_evaluation_rows: int | None = 100
    """Held-out prompts answered, chosen by a hash of their id; null answers all."""

    def bounds(self) -> list[tuple[str, bool, str]]:
        return [
            *super().bounds(),
            ("num_generations", self.num_generations >= 2, "at least 2: answers are compared with each other"),
            ("temperature", self.temperature > 0, "more than 0"),
            ("max_completion_length", self.max_completion_length >= 1, "at least 1"),
            ("probe_prompts", self.probe_prompts >= 0, "0 or more"),
            ("flat_steps", self.flat_steps >= 1, "at least 1"),
            ("evaluation_generations", self.evaluation_generations >= 1, "at least 1"),
        ]

    def contradictions(self) -> list[str]:
        faults = [*super().contradictions(), *read_rewards(self.rewards)[1]]
        decided = sorted(DECIDED.intersection(self.generation))
        if decided:
            faults.append(
                f"generation: {', '.join(decided)}; not passed through: max_completion_length and the tokenizer decide"
            )
        if self.args.get("use_vllm"):
            faults += self._beside_vllm()
        if self.max_length - self.max_completion_length < 16:
            faults.append(
                f"max_completion_length: {self.max_completion_length}; expected at most max_length - 16, which is "
                f"{self.max_length - 16}: the prompt needs room"
            )
        return faults

    def _beside_vllm(self) -> list[str]:
        """What vLLM cannot sample by: it would refuse the first sampling, when all is loaded."""
        found = []
        if self.suppress_special_tokens:
            found.append(
                "suppress_special_tokens: true; with args: use_vllm expected false: vLLM has no suppress_tokens, so it "
                "may sample special tokens. Leave use_vllm out to forbid them"
            )
        foreign = sorted(set(self.generation) - VLLM_TOO)
        if foreign:
            found.append(
                f"generation: {', '.join(foreign)}; with args: use_vllm expected none but {', '.join(sorted(VLLM_TOO))}"
                ": vLLM knows no others of GenerationConfig"
            )
        return found

    def micro_batches(self) -> int:
        """Micro-batches of one sampling: TRL's steps_per_generation, which are those of one update unless set."""
        size = self.args.get("generation_batch_size")
        if size is not None:
            return max(int(size) // (self.per_device_batch * count()), 1)
        return int(self.args.get("steps_per_generation") or self.gradient_accumulation)

    def sampled_at_once(self) -> int:
        """Answers of one sampling, over all processes."""
        return self.per_device_batch * count() * self.micro_batches()


class Online:
    """What both methods do alike; each adds its name, its TRL classes and its own settings."""

    type = RecordType.PROMPT
    task = "CAUSAL_LM"
    answers = True
    reference = False
    sees = True
    max_first_kl: float
    """What rounding may make of the first step's KL divergence, as TRL estimates it."""

    def __init__(
        self,
        scorers: Scorers | None = None,
        folders: Mapping[str, str | Path] | None = None,
        root: Path | None = None,
    ) -> None:
        """`scorers` are by the name of their reward; `folders` are those of reward models that settings name.

        `root` is where the start models of reward stages are looked up, as in `trainers.models.resolve`.
        """
        self.root = root
        self.scorers: Scorers = scorers or {}
        self.folders: Mapping[str, str | Path] = folders or {}
        self._built: dict[str, list[Rewarder]] = {}

    def rewarders(self, settings: OnlineSettings) -> list[Rewarder]:
        """The rewards of the settings, built once. Raises RecipeError where there is none, or a name is unknown."""
        if not settings.rewards:
            raise RecipeError("rewards: none; name at least one, as in `rewards: {length: {max: 200}}`")
        key = repr(settings.rewards)
        if key not in self._built:
            self._built[key] = build_rewards(settings.rewards, self.scorers, folders=self.folders, root=self.root)
        return self._built[key]

    def given(self, settings: OnlineSettings) -> list[dict[str, Any]]:
        """What decides the weights beside rows, model and settings: what each reward's numbers depend on."""
        return [{"name": one.__name__, "weight": one.weight, "of": one.identity} for one in self.rewarders(settings)]

    def least_rows(self, settings: OnlineSettings) -> int:
        """Prompts of one sampling; fewer could not train."""
        return settings.sampled_at_once() // settings.num_generations

    def encode(self, frame: pl.DataFrame, tokenizer: Any, settings: OnlineSettings, *, name: str) -> Rows:
        require_whole_groups(settings)
        look(self.rewarders(settings), looks_of(tokenizer), _addresses(frame))
        return encode_rows(
            frame,
            tokenizer,
            self.type,
            max_length=settings.max_length - settings.max_completion_length,
            system=settings.system,
            name=name,
            columns=["answer"],
        )

    def arrange(self, rows: Rows, settings: OnlineSettings) -> Order:
        """Decided beforehand: TRL's sampler draws anew at each pass, and begins again when a killed run goes on."""
        return by_length(rows.lengths(), rows.ids, batch=self.least_rows(settings), seed=settings.seed)

    def defaults(self, settings: OnlineSettings, start: Start) -> dict[str, Default]:
        kind = "full" if settings.tuner == "full" else "adapter"
        return {} if settings.learning_rate else {"learning_rate": LEARNING_RATES[kind]}

    def facts(self, rows: Rows, settings: OnlineSettings) -> dict[str, Any]:
        return {
            "rewards": self.given(settings),
            "sampled_at_once": settings.sampled_at_once(),
            "prompts_at_once": self.least_rows(settings),
        }

    def load(self, plan: Plan, dtype: Any) -> Any:
        return start_model(plan, dtype)

    def reads(self, plan: Plan, model: Any) -> Reads:
        from trainers.reward_watch import RewardWatch

        settings, rows, looks = plan.settings, plan.rows, looks_of(plan.tokenizer)
        side = rows.sides["prompt"]
        rewarders = self.rewarders(settings)
        probe = self._probe(plan, model)
        if probe is not None:
            require_spread(probe)
        suppressed = forbidden_ids(model, plan.tokenizer) if settings.suppress_special_tokens else []
        watch = RewardWatch(
            [one.__name__ for one in rewarders],
            patience=settings.flat_steps,
            max_first_kl=self.max_first_kl if settings.beta else None,
        )

        def built(trainer: Any) -> None:
            if settings.tuner == "full" and settings.beta and plan.start.parents:
                take_weights(trainer.ref_model, plan.start.load(dtype=plan.dtype()))
            trainer.add_callback(watch)

        return Reads(
            dataset=[
                {
                    **({"prompt": side[at].prompt} if looks is None else asked(side[at])),
                    "answer": rows.columns["answer"][at],
                }
                for at in plan.order.rows
            ],
            arguments={
                "beta": settings.beta,
                "num_generations": settings.num_generations,
                "temperature": settings.temperature,
                "max_completion_length": settings.max_completion_length,
                "reward_weights": [one.weight for one in rewarders],
                "generation_kwargs": {**({"suppress_tokens": suppressed} if suppressed else {}), **settings.generation},
                "disable_dropout": True,
                "remove_unused_columns": False,
                "shuffle_dataset": False,
                "save_steps": whole_samplings(settings),
                **self.arguments(settings),
            },
            options={
                "reward_funcs": list(rewarders),
                **({"processing_class": guarded(looks)} if looks is not None else {}),
            },
            after_build=built,
            summary=lambda history: {"probe": probe, **watch.summary(history)},
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        """Of the config class, beyond those that both methods share."""
        return {}

    def before(self, plan: Plan, model: Any) -> dict[str, list[float | None]]:
        return self._measured(plan, model, "start model")

    def after(self, plan: Plan, model: Any, before: dict[str, list[float | None]]) -> Held:
        held_out, settings = plan.held_out, plan.settings
        assert held_out is not None
        found = self._measured(plan, model, "trained model")
        columns = {
            f"{name}_{when}": pl.Series(
                [None if one is None else round(one, 4) for one in values[name]], dtype=pl.Float32
            )
            for name in found
            for when, values in (("before", before), ("after", found))
        }
        metrics = compared(before, found, held_out.groups, n_bootstrap=settings.n_bootstrap, seed=settings.seed)
        return Held(metrics, pl.DataFrame({"id": held_out.ids, "group": held_out.groups, **columns}))

    def told(self, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
        named = [name for name in metrics["after"] if name.startswith("rewards/")]
        shown = [(TOTAL, "mean reward of sampled answers, all rewards weighted")] if TOTAL in metrics["after"] else []
        shown += [(name, f"mean of the reward `{name.partition('/')[2]}`") for name in named]
        return [*shown, ("tokens", "mean length of sampled answers, tokens")]

    def _measured(self, plan: Plan, model: Any, what: str) -> dict[str, list[float | None]]:
        """Name of a measure -> its mean over the answers to each held-out prompt."""
        assert plan.held_out is not None
        drawn, found = self._judged(plan, model, plan.held_out, plan.settings.evaluation_generations, what)
        named = {
            name if name == TOTAL else f"rewards/{name}": [mean(row) for row in rows] for name, rows in found.items()
        }
        return {
            TOTAL: named.pop(TOTAL),
            **named,
            "tokens": [mean([float(len(ids)) for ids in one.ids]) for one in drawn],
            "unfinished": [mean([float(not done) for done in one.finished]) for one in drawn],
        }

    def _probe(self, plan: Plan, model: Any) -> dict[str, Any] | None:
        """What the rewards say of answers of the start model to a few training prompts."""
        settings, rows = plan.settings, plan.rows
        if not settings.probe_prompts:
            return None
        ranked = sorted(range(len(rows)), key=lambda at: _rank(rows.ids[at], settings.seed))
        taken = rows.take(sorted(ranked[: settings.probe_prompts]))
        _, found = self._judged(plan, model, taken, settings.num_generations, "trying the rewards")
        return probed(found)

    def _judged(self, plan: Plan, model: Any, rows: Rows, each: int, what: str) -> Any:
        from trainers.callbacks import progress

        settings, side = plan.settings, rows.sides["prompt"]
        suppressed = forbidden_ids(model, plan.tokenizer) if settings.suppress_special_tokens else []
        options = {
            "temperature": settings.temperature,
            "top_p": 1.0,
            "top_k": 0,
            **{name: settings.args[name] for name in SAMPLING if name in settings.args},
            **({"suppress_tokens": suppressed} if suppressed else {}),
            **settings.generation,
        }
        with progress(f"sampled answers, {what}", len(rows), "prompt") as bar:
            drawn = draw(
                model,
                plan.tokenizer,
                [row.prompt_ids for row in side],
                each=each,
                max_new_tokens=settings.max_completion_length,
                seed=settings.seed,
                options=options,
                bfloat16=plan.machine.bfloat16,
                pictures=[row.pictures for row in side] if looks_of(plan.tokenizer) is not None else (),
                advance=lambda done: bar.update(done),
            )
        return drawn, judged(self.rewarders(settings), [row.prompt for row in side], drawn, rows.columns)


def _addresses(frame: pl.DataFrame) -> list[str]:
    """The pictures that rows name, each once, in order."""
    found = frame.select(pl.col("images").list.eval(pl.element().struct.field("uri")).alias("uri"))
    return found["uri"].explode(empty_as_null=True).drop_nulls().unique(maintain_order=True).to_list()


def split_functions(options: dict[str, Any], scorers: Scorers | None) -> tuple[dict[str, Any], Scorers]:
    """Settings by name with functions among `rewards` taken out of them, and the scorers with those functions added.

    So that from Python `rewards={"short": my_function}` is enough.
    """
    rewards = options.get("rewards")
    if not isinstance(rewards, Mapping) or not any(callable(one) for one in rewards.values()):
        return options, scorers or {}
    functions = {name: one for name, one in rewards.items() if callable(one)}
    plain = {name: None if name in functions else one for name, one in rewards.items()}
    return {**options, "rewards": plain}, {**(scorers or {}), **functions}


def require_whole_groups(settings: OnlineSettings) -> None:
    """Raises RecipeError, with the numbers that fit, unless one sampling holds whole groups of answers."""
    size, group = settings.sampled_at_once(), settings.num_generations
    if size % group == 0:
        return
    fits = [one for one in range(2, size + 1) if size % one == 0]
    step = group // math.gcd(group, settings.per_device_batch * count())
    raise RecipeError(
        f"num_generations: {group} answers to each prompt do not fit into the {size} of one sampling (per_device_batch "
        f"{settings.per_device_batch} x {settings.micro_batches()} micro-batches x {count()} processes); set "
        f"num_generations to one of {', '.join(map(str, fits)) or 'none'}, or gradient_accumulation to a multiple of "
        f"{step}"
    )


def whole_samplings(settings: OnlineSettings) -> int:
    """Updates between checkpoints, raised so that each falls where new answers are sampled.

    TRL keeps no sampled answers in a checkpoint; a run that went on amid them would sample others than an unbroken one.
    """
    period = settings.micro_batches() * int(settings.args.get("num_iterations") or 1)
    unit = period // math.gcd(period, settings.gradient_accumulation)
    return math.ceil((settings.save_steps or 500) / unit) * unit


def take_weights(model: Any, source: Any) -> None:
    """Copies all weights of `source` into `model`: TRL loads its reference by the path in the config, which is that of
    the base model where stages were merged into it."""
    import torch

    own = model.module if hasattr(model, "module") else model
    with torch.no_grad():
        for (name, weight), (other, value) in zip(own.named_parameters(), source.named_parameters(), strict=True):
            if name != other or weight.shape != value.shape:
                raise RecipeError("train: the reference cannot be given the parent stage's weights; use an adapter")
            weight.copy_(value)


def _rank(one: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\x1f{one}".encode(), digest_size=8).digest()
