"""A start model of a few thousand weights, made in code: every trainer test runs offline in seconds."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefdata.schema import MESSAGES, RecordType, conform

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "Where is my order? It will arrive tomorrow, thank you for your patience.",
    "That is not my problem. Read the page and stop asking.",
    "您好，请问有什么可以帮您？ user assistant system tool 0123456789",
] * 20


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is kept in the home of who runs the tests: no model, no log-probabilities of a reference."""
    before = os.environ.get("PREFDATA_HOME")
    os.environ["PREFDATA_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    os.environ.pop("PREFDATA_HOME")
    if before is not None:
        os.environ["PREFDATA_HOME"] = before


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a random two-layer Llama, a byte-level tokenizer of 400 tokens and a ChatML template."""
    torch = pytest.importorskip("torch", reason="needs the extra `train`")
    pytest.importorskip("trl", reason="needs the extra `train`")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    gc.freeze()  # the collection that begins every run would walk over all that was imported
    folder = tmp_path_factory.mktemp("tiny")
    machine = Tokenizer(models.BPE())
    machine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    machine.decoder = decoders.ByteLevel()
    machine.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            show_progress=False,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=machine, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_tokens(["<think>"], special_tokens=False)
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    yield folder
    gc.unfreeze()


@pytest.fixture(scope="session")
def build_vlm() -> Any:
    """What makes random models of the LLaVA kind: `build` of scripts/tiny_vlm.py."""
    pytest.importorskip("trl", reason="needs the extra `train`")
    pytest.importorskip("PIL", reason="needs the extra `images`")
    script = Path(__file__).parents[2] / "scripts" / "tiny_vlm.py"
    spec = importlib.util.spec_from_file_location("tiny_vlm_script", script)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made.build


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory, build_vlm: Any) -> Path:
    """A folder with a random LLaVA of two layers, its tokenizer and its processor; a picture is four tokens."""
    words = ["What colour is it? It is red. It is blue. a large green circle, a small yellow square 0123456789"] * 20
    folder: Path = build_vlm(tmp_path_factory.mktemp("tiny_vlm"), [*words, *CORPUS])
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Fixed threads, so that two runs of one test are the same sums in the same order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def unpaired(rows: list[tuple[str, str, bool | None]], *, prefix: str = "r") -> pl.DataFrame:
    """A canonical unpaired frame of (customer's turn, reply, label)."""

    def turn(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": text, "tool_calls": None}

    frame = pl.DataFrame(
        [
            {
                "id": f"{prefix}{at:03d}",
                "source": "test",
                "group": f"{prefix}{at // 2:03d}",
                "prompt": [turn("user", customer)],
                "completion": [turn("assistant", reply)],
                "label": label,
            }
            for at, (customer, reply, label) in enumerate(rows)
        ],
        schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "label": pl.Boolean},
    )
    return conform(frame, RecordType.UNPAIRED)


def pairs(rows: list[tuple[str, str, str]], *, prefix: str = "r") -> pl.DataFrame:
    """A canonical frame of pairs of (customer's turn, better reply, worse reply)."""

    def turn(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": text, "tool_calls": None}

    frame = pl.DataFrame(
        [
            {
                "id": f"{prefix}{at:03d}",
                "source": "test",
                "group": f"{prefix}{at // 2:03d}",
                "prompt": [turn("user", customer)],
                "chosen": [turn("assistant", better)],
                "rejected": [turn("assistant", worse)],
            }
            for at, (customer, better, worse) in enumerate(rows)
        ],
        schema_overrides={"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES},
    )
    return conform(frame, RecordType.PREFERENCE)


@pytest.fixture(scope="session")
def support_pairs() -> pl.DataFrame:
    """16 pairs: a kind reply over a rude one."""
    return pairs(
        [
            (f"Where is order {n}?", f"It will arrive tomorrow, thank you. {n}", f"Not my problem, stop asking. {n}")
            for n in range(16)
        ]
    )


@pytest.fixture(scope="session")
def held_out_pairs() -> pl.DataFrame:
    """10 pairs of the same kind about other orders."""
    return pairs(
        [
            (f"Where is order {n}?", f"It will arrive tomorrow, thank you. {n}", f"Not my problem, stop asking. {n}")
            for n in range(50, 60)
        ],
        prefix="e",
    )


@pytest.fixture
def support_rows() -> pl.DataFrame:
    """24 rows: 12 kind replies that are desirable, 12 rude ones that are not."""
    kind = [(f"Where is order {n}?", f"It will arrive tomorrow, thank you. {n}", True) for n in range(12)]
    rude = [(f"Where is order {n}?", f"Not my problem, stop asking. {n}", False) for n in range(12)]
    return unpaired(kind + rude)


@pytest.fixture
def held_out_rows() -> pl.DataFrame:
    """10 rows of the same two kinds about other orders."""
    kind = [(f"Where is order {n}?", f"It will arrive tomorrow, thank you. {n}", True) for n in range(50, 55)]
    rude = [(f"Where is order {n}?", f"Not my problem, stop asking. {n}", False) for n in range(50, 55)]
    return unpaired(kind + rude, prefix="e")


class Forge:
    """A process that waits for runs of training."""

    def __init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FSDP_", "ACCELERATE_"))}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forge.py"))],
            env={**kept, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        folder: Path,
        jobs: Sequence[dict[str, Any]],
        *,
        processes: int = 1,
        environment: dict[str, str] | None = None,
        kill_at: str | None = None,
        kill_after: float | None = None,
        output: Path | None = None,
    ) -> list[int]:
        """Exit code of each process, or minus the signal that ended it.

        `kill_at` is "module:attribute:n": SIGKILL to itself where that function is called the n-th time. `kill_after`
        is in seconds of training.
        """
        request = {
            "folder": str(folder),
            "jobs": list(jobs),
            "processes": processes,
            "environment": environment or {},
            "kill_at": kill_at,
            "kill_after": kill_after,
            "output": str(output or folder / "output.txt"),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        found: list[int] = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        self.process.communicate("", timeout=60)


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    """Runs training in processes of its own: several together, or killed."""
    made = Forge()
    yield made
    made.close()


@pytest.fixture
def jobs_folder(
    tmp_path: Path,
    support_rows: pl.DataFrame,
    held_out_rows: pl.DataFrame,
    support_pairs: pl.DataFrame,
    held_out_pairs: pl.DataFrame,
) -> Path:
    """A folder with rows for every method: kto.parquet, kto_held_out.parquet, dpo.parquet, ..."""
    made = {"kto": (support_rows, held_out_rows), "dpo": (support_pairs, held_out_pairs)}
    made["reward"] = made["dpo"]
    for name, rows, held_out in [(name, *both) for name, both in made.items()]:
        rows.write_parquet(tmp_path / f"{name}.parquet")
        held_out.write_parquet(tmp_path / f"{name}_held_out.parquet")
    for name, frame in [("", support_pairs), ("_held_out", held_out_pairs)]:
        answered = frame.drop("rejected", "margin").rename({"chosen": "completion"})
        conform(answered, RecordType.SFT).write_parquet(tmp_path / f"sft{name}.parquet")
        asked = conform(answered.drop("completion"), RecordType.PROMPT)
        asked.write_parquet(tmp_path / f"grpo{name}.parquet")
        asked.write_parquet(tmp_path / f"rloo{name}.parquet")
    return tmp_path
