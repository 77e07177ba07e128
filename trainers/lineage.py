"""Whether a start model has learnt to answer chats, and the refusal to prefer answers of one that has not.

DPO, KTO, GRPO and RLOO move probability between answers that the model gives already; on a model that never saw an SFT
stage they have next to nothing to move, and the reference they are held to is no assistant. The evidence is what the
model says of itself: finished SFT stages in its lineage, its chat template, its card, its name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from prefdata.errors import RecipeError
from trainers.models import MANIFEST, MODELS
from trainers.start import Start

INSIST = "no_sft"
"""What `insist` must hold for a preference stage on a model that has seen no SFT stage."""

NEEDS_SFT = frozenset(["dpo", "kto", "grpo", "rloo"])
"""Methods that prefer among answers which a model must be able to give."""

TUNED_TAGS = frozenset(["chat", "conversational", "instruct", "instruction-tuned", "sft", "dpo", "kto", "rlhf", "grpo"])
BASE_TAGS = frozenset(["base", "base-model", "pretrained", "pretraining", "foundation"])
"""Tags in the front matter of a model card."""

TUNED_NAME = re.compile(r"(?i)(?:^|[-_.])(?:instruct|chat|it|sft|dpo|rlhf|assistant)(?:$|[-_.@])")
BASE_NAME = re.compile(r"(?i)(?:[-_.](?:base|pt|pretrain(?:ed)?)(?:$|[-_.@]))|^qwen(?:1\.5|2|2\.5)-(?:math-)?[\d.]+b$")
"""Names that say what a model is. Base models of Qwen 1.5 to 2.5 ship a chat template, so their template proves
nothing; from Qwen 3 on it is the base model that carries the word."""


class Evidence(NamedTuple):
    """What is known of a start model."""

    tuned: bool | None
    """Whether it answers chats; None where nothing tells."""
    because: str
    """Reads on after "the model is taken for tuned/a base model because ..."."""


def evidence(start: Start, tokenizer: Any) -> Evidence:
    """What the strongest sign says: SFT stages, then the template, the manifest, the card, the name.

    `tokenizer` as it came with the model, before a template was given to it. A chat template alone is the convention by
    which tuned models are told, but some base models ship one: without another sign `tuned` is None then.
    """
    methods = [one["method"] for one in start.lineage()]
    if "sft" in methods:
        return Evidence(True, f"stage {methods.index('sft') + 1} of its lineage is SFT")
    if start.stage is not None and "chat" in start.stage.record:
        known = start.stage.record["chat"]
        return Evidence(known["tuned"], known["because"])
    if not tokenizer.chat_template:
        return Evidence(False, "its tokenizer has no chat template")
    folder = start.folder
    kind = _manifest(folder).get("kind")
    if kind in ("base", "instruct", "chat"):
        return Evidence(kind != "base", f"its manifest says {kind}")
    name = MODELS[start.model].huggingface if start.model in MODELS else start.name
    tags = _tags(folder)
    for tuned, telling in ((False, BASE_TAGS), (True, TUNED_TAGS)):
        if tags & telling:
            return Evidence(tuned, f"the tags of its card name {', '.join(sorted(tags & telling))}")
    own = name.rpartition("/")[2]
    if TUNED_NAME.search(own):
        return Evidence(True, f"its name is {own}")
    if BASE_NAME.search(own):
        return Evidence(False, f"its name, {own}, is that of a base model")
    return Evidence(None, "it has a chat template, and nothing else tells")


def require(method: str, start: Start, found: Evidence, insist: tuple[str, ...]) -> None:
    """Raises RecipeError for a preference stage on a base model, unless `insist` holds `no_sft`."""
    if method not in NEEDS_SFT or found.tuned is not False or INSIST in insist:
        return
    raise RecipeError(refusal(method, start.name, found.because))


def refusal(method: str, model: str, because: str) -> str:
    """Why a preference stage is refused, and the two ways on."""
    return (
        f"{method} on {model}, which has seen no SFT stage ({because}): it does not answer yet, so there is nothing to "
        f"prefer among. Put an `sft` stage before it (the chosen or good answers will do), or start from the "
        f"instruction-tuned model; to do it all the same, write `insist: [{INSIST}]`"
    )


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _tags(folder: Path) -> frozenset[str]:
    """Tags of the front matter of README.md, in lower case; none where it has none or cannot be read."""
    import yaml

    file = folder / "README.md"
    if not file.is_file():
        return frozenset()
    parts = file.read_text(encoding="utf-8", errors="replace")[:65_536].split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return frozenset()
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return frozenset()
    tags = front.get("tags") if isinstance(front, dict) else None
    return frozenset(str(one).lower() for one in tags) if isinstance(tags, list) else frozenset()
