"""Small tokenizers of every kind, made in code, and the chat templates of the families of models."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

OWN = {
    "chatml": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
        "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
        "{% for m in rest %}{% if m['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + (system if loop.first else '') + m['content'].strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "mistral": (
        "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
        "{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}{{- bos_token }}"
        "{%- for m in rest %}{%- if m['role'] == 'user' %}{%- if loop.last or loop.nextitem is not defined %}"
        "{{- '[INST]' }}{%- if system is defined %}{{- system + '\n\n' }}{%- endif %}{{- m['content'] + '[/INST]' }}"
        "{%- else %}{{- '[INST]' + m['content'] + '[/INST]' }}{%- if loop.first and system is defined %}"
        "{{- '[SYSTEM_PROMPT]' + system + '[/SYSTEM_PROMPT]' }}{%- endif %}{%- endif %}"
        "{%- else %}{{- m['content'] + eos_token }}{%- endif %}{%- endfor %}"
    ),
    "zephyr": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "glm4": (
        "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
    "repeating": "{% for m in messages %}<|turn|>{{ m['content'] }}<|echo|>{{ m['content'] }}{% endfor %}<|end|>",
}
"""Templates written after those of the families, beside the ones that TRL carries."""

MARKER = re.compile(r"<\|[^|<>\s'\"]+\|>|<｜[^｜<>\s]+｜>|</?[a-z_]{3,20}>|\[/?[A-Za-z_]{3,16}\]|<<?/?[A-Z]+>>?")

COMMON = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<think>", "</think>", "<|im_start|>", "<|im_end|>"]

CORPUS = [
    "Where is my order? It will arrive tomorrow, thank you for your patience. 0123456789",
    "您好，请问有什么可以帮您？ user assistant system tool model human gpt INST SYS",
] * 10


@cache
def templates() -> dict[str, str]:
    """Name -> template: our own, and those in the installed TRL."""
    spec = importlib.util.find_spec("trl")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "chat_templates"
    found = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.jinja"))}
    return {**OWN, **found}


def markers_of(template: str) -> list[str]:
    """The control tokens that a template writes, and those that most tokenizers have."""
    return list(dict.fromkeys([*COMMON, *MARKER.findall(template)]))


@cache
def tokenizer(kind: str, name: str) -> Any:
    """A tokenizer of `kind` with the template called `name`, whose markers are tokens of its own."""
    from transformers import PreTrainedTokenizerFast

    template = templates()[name]
    markers = markers_of(template)
    machine = MACHINES[kind](markers)
    made = PreTrainedTokenizerFast(tokenizer_object=machine, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    plain = [marker for marker in markers if marker not in ("<s>", "</s>", "<unk>")]
    made.add_tokens(plain[::2], special_tokens=True)
    made.add_tokens(plain[1::2], special_tokens=False)
    made.chat_template = template
    return made


def _byte_level(markers: list[str]) -> Any:
    """As GPT-2's, Qwen's, Llama 3's, SmolLM's: bytes, no blanks in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    machine = Tokenizer(models.BPE(ignore_merges=True))
    machine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    machine.decoder = decoders.ByteLevel()
    machine.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=320 + len(markers),
            show_progress=False,
            special_tokens=markers,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return machine


def _llama(markers: list[str]) -> Any:
    """As Llama 2's and Mistral's: a blank in front of every stretch of text, blanks written as U+2581."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    machine = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    machine.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    machine.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse()])
    machine.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=300 + len(markers), show_progress=False, special_tokens=markers)
    )
    return machine


def _metaspace(markers: list[str]) -> Any:
    """As T5's and newer Llama 2's: pieces by likelihood, a blank in front of the first word alone."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted({letter for text in CORPUS for letter in text} | {"\u2581"})
    pieces = [(piece, 0.0) for piece in markers] + [(letter, -5.0) for letter in letters] + [("order", -3.0)]
    machine = Tokenizer(models.Unigram(pieces, unk_id=markers.index("<unk>"), byte_fallback=False))
    machine.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="first")
    machine.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="first")
    return machine


def _wordpiece(markers: list[str]) -> Any:
    """As BERT's: lower case, words and their endings, a token for what is unknown."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    machine = Tokenizer(models.WordPiece(unk_token="<unk>"))
    machine.normalizer = normalizers.BertNormalizer(lowercase=True)
    machine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    machine.decoder = decoders.WordPiece()
    machine.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=300 + len(markers), show_progress=False, special_tokens=markers)
    )
    return machine


MACHINES = {"byte_level": _byte_level, "llama": _llama, "metaspace": _metaspace, "wordpiece": _wordpiece}
