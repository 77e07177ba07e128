"""How likely a language model finds answers, given their prompts: log-probabilities of their tokens, in batches.

Nothing is trained and nothing is generated. A prompt is read once for all of its answers. What the figures mean is left
to those who ask.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from prefdata.errors import InputError, MissingExtraError
from trainers.models import load_model, load_tokenizer, quiet_progress, resolve
from trainers.rendering import encode_chat, messages_of, shared_prefix

PROMPT_TOKENS = 128
"""Of a prompt that are read: its last ones."""
ANSWER_TOKENS = 64
"""Of an answer that are judged: its first ones."""
BATCH_TOKENS = 2_048
"""Read at once; about as fast as more, in less memory."""
BATCH_LOGITS = 40_000_000
"""Figures that the model may give at once, answers' tokens by vocabulary: 160 MB."""


class Likelihood(NamedTuple):
    """Of one answer."""

    total: float
    """Sum of the natural log-probabilities of the tokens judged."""
    tokens: int
    """How many were judged; the end mark of the template is one of them where it was reached."""
    bytes: int
    """Of the text that they stand for, in UTF-8: figures per byte compare across languages and tokenizers."""


class _Encoded(NamedTuple):
    prompt: list[int]
    answers: list[list[int]]
    bytes: list[int]


def folder_of(model: str | Path) -> Path:
    """The folder of the model called `model` (a name of the table, a folder, a hub id), fetched where it must be.

    Raises MissingExtraError where torch or transformers is missing, before anything is fetched.
    """
    if any(find_spec(name) is None for name in ("torch", "transformers")):
        raise MissingExtraError("reading rows with a language model", "train")
    return resolve(model)


def likelihoods(
    folder: Path,
    prompts: Sequence[Sequence[Mapping[str, Any]]],
    answers: Sequence[Sequence[Sequence[Mapping[str, Any]]]],
) -> list[list[Likelihood] | None]:
    """For every prompt (messages) the likelihood of each of its answers (messages), as many for every prompt.

    None where the model's template cannot draw the chat, or an answer has no token. Chats are encoded as in training:
    text cannot forge marks. A model without a template reads the texts, a blank line between turns.
    """
    import torch

    with _unheard():
        tokenizer = load_tokenizer(folder)
        model = load_model(folder)
    model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    rows = [_encoded(tokenizer, prompt, own) for prompt, own in zip(prompts, answers, strict=True)]
    found: list[list[Likelihood] | None] = [None] * len(rows)
    readable = [at for at, row in enumerate(rows) if row is not None]
    readable.sort(key=lambda at: (_size(rows[at]), at))
    with torch.inference_mode(), _unheard():
        for batch in _batches(readable, rows, model.config.get_text_config().vocab_size):
            for at, judged in zip(batch, _judged(model, tokenizer, [rows[at] for at in batch]), strict=True):
                found[at] = judged
    return found


def _encoded(tokenizer: Any, prompt: Any, answers: Any) -> _Encoded | None:
    from jinja2 import TemplateError

    try:
        chats = [_ids(tokenizer, messages_of(prompt), messages_of(answer)) for answer in answers]
    except (InputError, TemplateError):
        return None
    if any(not answer for _, answer in chats):
        return None
    # what opens an answer may belong to the template with one answer and not with another (a mark of reasoning)
    shared = min(len(own) for own, _ in chats)
    start = chats[0][0][:shared]
    if any(own[:shared] != start for own, _ in chats) or not start:
        return None
    own = [(own[shared:] + answer)[:ANSWER_TOKENS] for own, answer in chats]
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in own]
    return _Encoded(start[-PROMPT_TOKENS:], own, [len(text.encode()) for text in texts])


def _ids(tokenizer: Any, prompt: list[Any], answer: list[Any]) -> tuple[list[int], list[int]]:
    """Token ids of the prompt, up to where the answer begins, and of the answer."""
    if tokenizer.chat_template is None:
        texts = ["".join(f"{one['content']}\n\n" for one in prompt), "\n\n".join(one["content"] for one in answer)]
        head, tail = (tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts)
        begin = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None][:1]
        return [*begin, *head], tail
    head = encode_chat(tokenizer, prompt, add_generation_prompt=True)
    whole = encode_chat(tokenizer, [*prompt, *answer])
    size = shared_prefix(head, whole)
    return whole[:size], whole[size:]


def _size(row: _Encoded | None) -> int:
    return len(row.prompt) + sum(len(answer) for answer in row.answers) if row else 0


def _batches(order: Sequence[int], rows: Sequence[_Encoded | None], vocabulary: int) -> Iterator[list[int]]:
    """Rows one after another, as many as BATCH_TOKENS and BATCH_LOGITS allow, padded as they will be."""
    batch: list[int] = []
    width = length = 0
    for at in order:
        row = rows[at]
        assert row is not None
        wider = max(width, len(row.prompt))
        longer = max(length, *(len(answer) for answer in row.answers))
        count = (len(batch) + 1) * len(row.answers)
        full = (len(batch) + 1) * wider + count * longer > BATCH_TOKENS or count * longer * vocabulary > BATCH_LOGITS
        if batch and full:
            yield batch
            batch, wider, longer = [], len(row.prompt), max(len(answer) for answer in row.answers)
        batch.append(at)
        width, length = wider, longer
    if batch:
        yield batch


def _judged(model: Any, tokenizer: Any, rows: Sequence[Any]) -> list[list[Likelihood]]:
    """Prompts padded on the left and read once; then all answers, padded on the right, after their prompts' states."""
    import torch

    pad, times = tokenizer.pad_token_id or 0, len(rows[0].answers)
    device = next(model.parameters()).device
    width = max(len(row.prompt) for row in rows)
    length = max(len(answer) for row in rows for answer in row.answers)
    heads = torch.tensor([[pad] * (width - len(row.prompt)) + row.prompt for row in rows], device=device)
    seen = torch.tensor([[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows], device=device)
    tails = torch.tensor(
        [answer + [pad] * (length - len(answer)) for row in rows for answer in row.answers], device=device
    )
    sizes = torch.tensor([len(answer) for row in rows for answer in row.answers], device=device)
    real = (torch.arange(length, device=device)[None, :] < sizes[:, None]).long()
    first = model(
        input_ids=heads,
        attention_mask=seen,
        position_ids=(seen.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    states = first.past_key_values
    states.batch_repeat_interleave(times)
    seen = seen.repeat_interleave(times, 0)
    second = model(
        input_ids=tails,
        attention_mask=torch.cat([seen, real], 1),
        position_ids=seen.sum(1, keepdim=True) + torch.arange(length, device=device)[None, :],
        past_key_values=states,
        use_cache=True,
    )
    opening = first.logits[:, -1].repeat_interleave(times, 0)[:, None]
    logits = torch.cat([opening, second.logits[:, :-1]], 1).float()
    said = logits.gather(2, tails[:, :, None])[:, :, 0] - logits.logsumexp(2)
    totals = (said * real).sum(1).tolist()
    texts = [size for row in rows for size in row.bytes]
    found = [Likelihood(*one) for one in zip(totals, sizes.tolist(), texts, strict=True)]
    return [found[at : at + times] for at in range(0, len(found), times)]


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Hides what transformers says about choices that are made on purpose here; errors stay."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), quiet_progress():
            warnings.filterwarnings("ignore", module=r"(transformers|torch)(\.|$)")
            yield
    finally:
        logger.setLevel(level)
