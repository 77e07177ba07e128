"""toxicity, detoxify: the real class on a tiny checkpoint, and the ways in which it would fail without care."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from filters.toxicity import Toxicity
from filters.toxicity_detoxify import _model, localized_checkpoint, predict
from prefdata.errors import InputError
from prefdata.judging import RowFilter

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(importlib.util.find_spec("detoxify") is None, reason="needs the extra `detoxify`"),
]

CLASSES = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
COLUMNS = ["toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack"]


class Tiny:
    """A checkpoint as published: it names a model of the hub; its folder of configuration stands beside it."""

    def __init__(self, folder: Path) -> None:
        import torch  # here, so that collecting the tests does not load it
        import transformers

        self.checkpoint, self.config = folder / "tiny.ckpt", folder / "hf"
        self.config.mkdir()
        letters = [chr(code) for code in range(33, 127)]
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
        (self.config / "vocab.txt").write_text("\n".join([*vocabulary, "you", "are", "nice"]), encoding="utf-8")
        tokenizer = transformers.BertTokenizer(
            vocab=str(self.config / "vocab.txt"), do_lower_case=True, model_max_length=64
        )
        tokenizer.save_pretrained(self.config)
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=len(vocabulary) + 3,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            num_labels=len(CLASSES),
            initializer_range=0.5,  # scores that differ from text to text
        )
        config.save_pretrained(self.config)
        self.model = transformers.BertForSequenceClassification(config).eval()
        self.tokenizer = tokenizer
        self.save(self.content())

    def content(self) -> dict[str, Any]:
        return {
            "config": {
                "dataset": {"args": {"classes": CLASSES}},
                "arch": {
                    "args": {
                        "model_type": "bert-base-uncased",
                        "model_name": "BertForSequenceClassification",
                        "tokenizer_name": "BertTokenizer",
                        "num_classes": len(CLASSES),
                    }
                },
            },
            "state_dict": self.model.state_dict(),
        }

    def save(self, content: Any) -> None:
        import torch

        torch.save(content, self.checkpoint)
        self.sha256 = hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()

    def filter(self, **changed: Any) -> RowFilter:
        given = {"checkpoint": str(self.checkpoint), "sha256": self.sha256, "config": str(self.config)}
        return Toxicity(model="detoxify", **{**given, **changed}).build()

    def expected(self, text: str) -> list[float]:
        """The raw model's own scores, rounded as they are kept."""
        import torch

        with torch.no_grad():
            logits = self.model(**self.tokenizer(text, return_tensors="pt", truncation=True))[0]
        return [round(value, 4) for value in torch.sigmoid(logits)[0].tolist()]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("detoxify"))


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Tiny]:
    yield Tiny(tmp_path)
    _model.cache_clear()


def score(row_filter: RowFilter, texts: list[str | None]) -> pl.DataFrame:
    return row_filter.scorer.score(pl.DataFrame({"text": texts}, schema={"text": pl.String}))


def test_a_published_checkpoint_scores_without_a_hub(tiny: Tiny) -> None:
    texts: list[str | None] = ["you are nice", "", "x" * 300, "you!", "are you ok"]
    scores = score(tiny.filter(batch_rows=2), texts)
    assert scores.columns == COLUMNS
    assert scores.dtypes == [pl.Float32] * 6
    for text, row in zip(texts, scores.rows(), strict=True):
        assert row == pytest.approx(tiny.expected(str(text)), abs=1e-4)


@pytest.mark.parametrize("batch_rows", [1, 2, 32])
def test_the_size_of_a_batch_changes_no_score(tiny: Tiny, batch_rows: int) -> None:
    texts: list[str | None] = [f"text {'so ' * (number % 5)}{number}" for number in range(11)]
    assert score(tiny.filter(batch_rows=batch_rows), texts).equals(score(tiny.filter(batch_rows=5), texts))


def test_null_is_unjudged_and_no_text_is_no_error(tiny: Tiny) -> None:
    rows = score(tiny.filter(), [None, "you", None])
    assert rows["toxicity"].is_null().to_list() == [True, False, True]
    empty = score(tiny.filter(), [])
    assert empty.columns == COLUMNS
    assert empty.height == 0


def test_one_text_gives_a_list(tiny: Tiny) -> None:
    class Bare:
        class_names = ("toxicity", "threat")

        def predict(self, texts: list[str]) -> dict[str, Any]:
            if not texts:
                raise IndexError
            return (
                {"toxicity": 0.25, "threat": 0.5} if len(texts) == 1 else {"toxicity": [0.25] * 2, "threat": [0.5] * 2}
            )

    assert predict(Bare(), []) == {"toxicity": [], "threat": []}
    assert predict(Bare(), ["a"]) == {"toxicity": [0.25], "threat": [0.5]}
    assert predict(Bare(), ["a", "b"]) == {"toxicity": [0.25, 0.25], "threat": [0.5, 0.5]}


def test_pseudonyms_say_nothing(tiny: Tiny) -> None:
    with_them, without = score(tiny.filter(), ["you are <EMAIL_1>", "you are  "]).rows()
    assert with_them == without


def test_the_rule_is_that_of_the_embedded_model(tiny: Tiny) -> None:
    assert tiny.filter().rules == Toxicity().build().rules


def test_a_file_with_another_hash_is_never_opened(broken: Tiny, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (Path.touch, (marker,))

    known = broken.sha256
    broken.save(Evil())
    with pytest.raises(InputError, match="it was not opened"):
        score(broken.filter(sha256=known), ["hi"])
    assert not marker.exists()


def test_code_in_a_checkpoint_does_not_run_though_the_hash_is_right(broken: Tiny, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (Path.touch, (marker,))

    broken.save({**broken.content(), "extra": Evil()})
    with pytest.raises(InputError, match="holds more than tensors and plain values"):
        score(broken.filter(), ["hi"])
    assert not marker.exists()


def test_a_hash_may_be_in_capitals(tiny: Tiny) -> None:
    assert score(tiny.filter(sha256=tiny.sha256.upper()), ["you"]).height == 1
    assert tiny.filter(sha256=tiny.sha256.upper()).scorer.parameters() == tiny.filter().scorer.parameters()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {}}, "no Detoxify checkpoint"),
        ([1, 2], "no Detoxify checkpoint"),
        ("name", "names no classifier"),
    ],
)
def test_another_kind_of_file_is_named(broken: Tiny, content: Any, said: str) -> None:
    if content == "name":
        content = broken.content()
        content["config"]["arch"]["args"]["model_name"] = "AutoModel"
    broken.save(content)
    with pytest.raises(InputError, match=said):
        score(broken.filter(), ["hi"])


def test_a_damaged_file_is_named(broken: Tiny) -> None:
    broken.checkpoint.write_bytes(broken.checkpoint.read_bytes()[:5000])
    broken.sha256 = hashlib.sha256(broken.checkpoint.read_bytes()).hexdigest()
    with pytest.raises(InputError, match="damaged"):
        score(broken.filter(), ["hi"])


def test_a_missing_file_and_a_missing_folder_are_named(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.ckpt: no such file"):
        score(tiny.filter(checkpoint=str(tmp_path / "nothing.ckpt")), ["hi"])
    with pytest.raises(InputError, match=r"config\.json"):
        score(tiny.filter(config=str(tmp_path)), ["hi"])


def test_the_copy_names_the_local_folder_and_holds_nothing_else(tiny: Tiny, tmp_path: Path) -> None:
    copy = localized_checkpoint(tiny.checkpoint, sha256=tiny.sha256, config=tiny.config, folder=tmp_path)
    import torch

    loaded = torch.load(copy, weights_only=True)
    assert sorted(loaded) == ["config", "state_dict"]
    assert loaded["config"]["arch"]["args"]["model_type"] == str(tiny.config)
    assert hashlib.sha256(tiny.checkpoint.read_bytes()).hexdigest() == tiny.sha256


def test_without_a_network_the_error_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def offline(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(InputError, match="local `checkpoint` with its `sha256`"):
        score(Toxicity(model="detoxify", weights="original").build(), ["hi"])


def test_parameters_hold_hashes_and_no_paths(tiny: Tiny) -> None:
    parameters = tiny.filter(batch_rows=7).scorer.parameters()
    assert parameters == tiny.filter().scorer.parameters()
    assert str(tiny.config) not in json.dumps(dict(parameters))
    assert parameters["sha256"] == tiny.sha256


def test_the_columns_take_part_in_a_decision(tiny: Tiny, reasons: Callable[..., list[list[str]]]) -> None:
    text = "you are nice"
    at = float(tiny.expected(text)[0])
    assert reasons(tiny.filter(max_toxicity=min(1.0, at + 1e-4)), [("hi", text)]) == [[]]
    assert reasons(tiny.filter(max_toxicity=max(0.0, at - 2e-4)), [("hi", text)]) == [["reply_toxic"]]
