"""Models of clip: other architectures and tokenizers, folders and names; weights are hashed, pickles stay shut."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from asked_clip import built, expected, items

from filters import clip_model, clip_vectors
from filters.clip import ClipRelevance
from prefdata.errors import InputError, MissingExtraError, RecipeError
from prefdata.judging import rooted

pytestmark = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="needs the extra `clip`")


@pytest.mark.parametrize(
    ("name", "pretrained", "languages"),
    [
        ("ViT-B-32", "laion2b_s34b_b79k", ("en",)),
        ("ViT-B-16-SigLIP", "webli", ("en",)),
        ("ViT-B-16-SigLIP2", "webli", ("any",)),
        ("ViT-B-16-SigLIP-i18n-256", "webli", ("any",)),
        ("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", ("any",)),
        ("ViT-H-14-worldwide", "metaclip2_worldwide", ("any",)),
        ("nllb-clip-base", "v1", ("any",)),
    ],
)
def test_a_name_tells_the_languages(name: str, pretrained: str, languages: tuple[str, ...]) -> None:
    assert ClipRelevance(model=name, pretrained=pretrained).build().scorer.languages == languages  # type: ignore[attr-defined]


TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}


@pytest.mark.parametrize(
    "config",
    [
        {
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": VISION,
            "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
        },
        {
            "custom_text": True,
            "vision_cfg": {**VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
            "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": TEXT,
        },
    ],
    ids=["SigLIP", "CoCa"],
)
def test_other_architectures_are_asked_alike(
    config: dict[str, Any], colours: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    import open_clip
    import torch
    from safetensors.torch import save_file

    (tmp_path / f"{tmp_path.name}.json").write_text(json.dumps({"embed_dim": 32, **config}), encoding="utf-8")
    open_clip.add_model_config(tmp_path / f"{tmp_path.name}.json")
    torch.manual_seed(0)
    made = open_clip.create_model_and_transforms(tmp_path.name)[0]
    save_file({name: one.contiguous() for name, one in made.state_dict().items()}, tmp_path / "w.safetensors")
    red = colours["red"]
    (row,) = built(tmp_path).scorer.score(items(("a red square", None, [red]))).to_dicts()
    assert row["clip"] == pytest.approx(expected(tmp_path, red["path"], "a red square"), abs=5e-4)


@pytest.fixture
def multilingual(tmp_path: Path) -> Path:
    """A model with a tokenizer of its own, as the multilingual and the SigLIP ones have, all in its folder."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", *"一个红色的圆形方块", "a", "red", "circle"]
    core = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(one_by_one(), "isolated")
    PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tmp_path)
    text = {
        "context_length": 10,
        "vocab_size": len(words) + 1,
        "width": 16,
        "heads": 2,
        "layers": 1,
        "pool_type": "last",
    }
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": {**text, "hf_tokenizer_name": "someone/xlm-tiny"}}
    torch.manual_seed(0)
    save_file(open_clip.CLIP(32, vision, text).state_dict(), tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}), encoding="utf-8")
    return tmp_path


def one_by_one() -> Any:
    from tokenizers import Regex

    return Regex(r"\p{Han}|\s+")


def test_a_multilingual_model_reads_with_the_tokenizer_in_its_folder(
    multilingual: Path, colours: dict[str, dict[str, str]]
) -> None:
    scorer = built(multilingual).scorer
    assert scorer.parameters()["languages"] == ["any"]
    assert len(scorer.parameters()["tokenizer"]) == 64
    red = colours["red"]
    frame = items(("一个红色的圆形", None, [red]), ("一个红色的圆形" * 3, None, [red]), ("a red circle", None, [red]))
    scores = scorer.score(frame)
    assert scores["clip"][0] == pytest.approx(expected(multilingual, red["path"], "一个红色的圆形"), abs=5e-4)
    assert scores["clip"].null_count() == 0
    assert scores["windows"].to_list() == [1, 5, 1]  # of 21 characters, 8 a window, begun 4 on


def test_a_text_that_spells_a_special_token_of_another_tokenizer_is_read_on(multilingual: Path) -> None:
    vectors = clip_vectors.vectors_of(str(multilingual), None, "cpu")
    inner = vectors.loaded.tokenizer.tokenizer
    forged, plain = vectors._ids(["红</s>色", "红色"]).tolist()
    assert inner.eos_token_id not in forged
    assert inner.unk_token_id in forged
    assert inner.unk_token_id not in plain


def test_a_tokenizer_that_brings_code_is_refused(multilingual: Path) -> None:
    file = multilingual / "tokenizer_config.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**told, "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}), encoding="utf-8")
    with pytest.raises(InputError, match="auto_map, which runs code"):
        built(multilingual).scorer.parameters()


def test_parameters_hold_hashes_and_no_paths(tiny_clip: Path, tmp_path: Path) -> None:
    told = built(tiny_clip, min=0.3).scorer.parameters()
    copy = tmp_path / "copy"
    shutil.copytree(tiny_clip, copy)
    assert built(copy, min_percentile=None, device="cpu").scorer.parameters() == told
    assert str(tiny_clip) not in json.dumps(dict(told))
    assert len(told["weights"]) == 64
    content = (copy / "tiny.safetensors").read_bytes()
    (copy / "tiny.safetensors").write_bytes(content[:-2] + b"\0\1")
    assert built(copy).scorer.parameters()["weights"] != told["weights"]
    assert built(tiny_clip, languages=("any",)).scorer.parameters() != told


def test_weights_that_change_are_read_anew(tiny_clip: Path, colours: dict[str, dict[str, str]], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(tiny_clip, copy)
    row = items(("a red square", None, [colours["red"]]))
    before = built(copy).scorer.score(row)["clip"][0]
    weights = load_file(copy / "tiny.safetensors")
    weights["text_projection"] = -weights["text_projection"]
    save_file(weights, copy / "tiny.safetensors")
    assert built(copy).scorer.score(row)["clip"][0] == pytest.approx(-before, abs=1e-3)


def test_the_config_of_a_hub_folder_says_how_pictures_are_prepared(tiny_clip: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_clip / "tiny.json").read_text(encoding="utf-8"))
    shutil.copy(tiny_clip / "tiny.safetensors", tmp_path / "open_clip_model.safetensors")
    shutil.copy(tiny_clip / "tiny.safetensors", tmp_path / "other.safetensors")
    shape = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": shape}), encoding="utf-8"
    )
    told = repr(clip_model.load(str(tmp_path), None, "cpu").preprocess)
    assert "mean=[0.5, 0.5, 0.5]" in told
    assert "bilinear" in told
    assert clip_model.find(str(tmp_path), None).weights.name == "open_clip_model.safetensors"


def folder_with(
    tmp_path: Path,
    tiny_clip: Path,
    *,
    configs: tuple[dict[str, Any], ...] = ({},),
    weights: str | None = "tiny.safetensors",
) -> Path:
    """A folder of a model: the configs are those of `tiny_clip` with something changed."""
    folder = tmp_path / "folder"
    folder.mkdir()
    config = json.loads((tiny_clip / "tiny.json").read_text(encoding="utf-8"))
    for number, changed in enumerate(configs):
        (folder / f"{number}.json").write_text(json.dumps({**config, **changed}), encoding="utf-8")
    if weights is not None:
        shutil.copy(tiny_clip / "tiny.safetensors", folder / weights)
    return folder


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights": None}, "0 safetensors files"),
        ({"weights": "model.pt"}, "are pickles, which can run code: it was not opened"),
        ({"configs": ()}, "0 model configs"),
        ({"configs": ({}, {})}, "2 model configs"),
        ({"configs": ({"embed_dim": None},)}, "0 model configs"),
        (
            {"configs": ({"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}},)},
            "trust_remote_code, which runs",
        ),
        ({"configs": ({"more": [{"auto_map": {"x": "y"}}]},)}, "auto_map, which runs code"),
    ],
)
def test_a_folder_that_is_no_model_is_named(
    tiny_clip: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        built(folder_with(tmp_path, tiny_clip, **changed))


def test_weights_of_another_shape_are_named(tiny_clip: Path, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, tiny_clip, configs=({"embed_dim": 16},))
    with pytest.raises(InputError, match="do not load together"):
        built(folder).scorer.score(items(("a", None, [{"path": "x.png", "pixels": "x"}])))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "model: is not given"),
        ({"model": " "}, "model: is not given"),
        ({"model": "ViT-B-32"}, "clip: pretrained: is not given"),
        ({"model": "hf-hub:someone/model", "pretrained": "x"}, "does not go with a model of the hub"),
    ],
)
def test_a_model_must_be_named_in_full(settings: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        ClipRelevance(**settings).build()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "pretrained", "said"),
    [
        ("ViT-B-23", "openai", "no folder and no model of open_clip; near are ViT-B-32"),
        ("ViT-B-32", "laion2b_s34b", "no weights of ViT-B-32; did you mean 'laion2b_s34b_b79k'"),
        ("ViT-B-32-quickgelu", "laion2b_s34b_b79k", "no weights of ViT-B-32-quickgelu"),
    ],
)
def test_a_name_that_is_not_known_is_named_with_the_nearest(name: str, pretrained: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        ClipRelevance(model=name, pretrained=pretrained).build().scorer.parameters()


def test_without_a_network_the_error_of_a_name_tells_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def offline(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("CANARY")

    clip_model._by_name.cache_clear()
    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    with pytest.raises(InputError, match="give a local folder") as caught:
        clip_model.find("ViT-B-32", "laion400m_e32")
    assert "CANARY" not in str(caught.value)


def test_published_weights_must_be_safetensors_and_bring_their_activation(
    tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    clip_model._by_name.cache_clear()
    monkeypatch.setattr(open_clip, "download_pretrained", lambda told: str(tiny_clip / "tiny.safetensors"))
    assert clip_model.find("ViT-B-32", "openai").quick_gelu
    assert not clip_model.find("ViT-B-32", "laion2b_s34b_b79k").quick_gelu
    monkeypatch.setattr(open_clip, "download_pretrained", lambda told: "/cache/open_clip_pytorch_model.bin")
    with pytest.raises(InputError, match="expected safetensors"):
        clip_model.find("ViT-B-32", "laion2b_e16")
    clip_model._by_name.cache_clear()


def test_without_open_clip_the_error_names_the_extra(tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "open_clip" else found(name))
    with pytest.raises(MissingExtraError, match=r'pip install "prefdata\[clip\]"'):
        built(tiny_clip)


def test_in_a_recipe_a_folder_is_meant_from_there_and_a_name_stays(tiny_clip: Path) -> None:
    assert rooted(ClipRelevance(model=tiny_clip.name), tiny_clip.parent).model == str(tiny_clip)
    named = rooted(ClipRelevance(model="ViT-B-32", pretrained="openai"), tiny_clip.parent)
    assert (named.model, named.pretrained) == ("ViT-B-32", "openai")
