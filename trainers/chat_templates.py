"""Chat templates for models that bring none: a base model needs one before it can be trained on chats.

A template is only given where every control token of it is one token of the model's vocabulary already; no token is
added and no embedding grows. What a model brings itself is never replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefdata.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Template:
    """A chat template and the tokens that it is made of."""

    text: str
    tokens: tuple[str, ...]
    """Control tokens that the vocabulary must hold."""
    end: str | None
    """The token that ends a turn; null is the model's own end token."""


TEMPLATES: dict[str, Template] = {
    "chatml": Template(
        text=(
            "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
            "'<|im_end|>' + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
        ),
        tokens=("<|im_start|>", "<|im_end|>"),
        end="<|im_end|>",
    ),
    "llama3": Template(
        text=(
            "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
            "'<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
        ),
        tokens=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        end="<|eot_id|>",
    ),
    "plain": Template(
        text=(
            "{{ bos_token or '' }}{% for message in messages %}{{ message['role'] | capitalize + ':\\n' + "
            "message['content'] + (eos_token if message['role'] == 'assistant' else '') + '\\n\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"
        ),
        tokens=(),
        end=None,
    ),
}
"""Name -> template. ChatML is that of Qwen and SmolLM2, llama3 that of Meta's Llama 3; plain has roles in words and the
model's own end token after each answer, for vocabularies without turn tokens."""

DEFAULT = "chatml"
"""What SFT takes by itself where the vocabulary has its tokens: base models of the Qwen family and others do."""


def given(tokenizer: Any, name: str | None, *, default: bool = False, model: str = "the model") -> str | None:
    """Gives `tokenizer` the template called `name` where it has none; the name of the template given, or None.

    With `default` a null `name` is DEFAULT where that fits. Raises InputError where there is no template to be had,
    where the vocabulary lacks a token of the one that was named, and where the model has another one of its own.
    """
    if tokenizer.chat_template:
        if name is None or tokenizer.chat_template == TEMPLATES[name].text:
            return None
        raise InputError(f"chat_template: {name}, but {model} has a chat template of its own; leave the setting out")
    if name is None and default and not missing(tokenizer, DEFAULT):
        name = DEFAULT
    if name is None:
        fitting = [one for one in TEMPLATES if not missing(tokenizer, one)]
        raise InputError(
            f"{model} has no chat template, so chats cannot be written as it reads them; set `chat_template:` to "
            f"{' or '.join(fitting)} (whose tokens its vocabulary has), or start from the instruction-tuned model"
        )
    lacking = missing(tokenizer, name)
    if lacking:
        raise InputError(
            f"chat_template: {name} needs {', '.join(lacking)}, which the vocabulary of {model} does not hold as one "
            f"token; {'plain needs none' if name != 'plain' else 'an end token is needed'}"
        )
    template = TEMPLATES[name]
    tokenizer.chat_template = template.text
    if template.end is not None:
        tokenizer.eos_token = template.end
    return name


def missing(tokenizer: Any, name: str) -> list[str]:
    """Tokens of a template that the vocabulary lacks."""
    template = TEMPLATES[name]
    known = set(tokenizer.added_tokens_decoder)
    vocabulary = tokenizer.get_vocab()
    lacking = [token for token in template.tokens if vocabulary.get(token) not in known]
    if template.end is None and tokenizer.eos_token is None:
        lacking.append("an end token")
    return lacking
