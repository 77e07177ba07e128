"""Trains the small open_clip model of the sample: `python scripts/tiny_clip.py [--out FOLDER]`.

It knows coloured shapes, how many and where, and no other thing: a model for tests and the sample recipe, not for
pictures of users. It learns from scenes of its own seed, none of which is in recipes/data/shapes.

Both towers learn one code, which makes it a matter of minutes on one core: a dimension for each colour, shape, number
and position, and one for whatever speaks of none of them. A text's code is what it says; of a picture's embedding each
attribute's dimensions are a classifier's logits. The cosine of the two is how much of what is said is seen.

Written are an open_clip configuration and the weights in half precision. The vocabulary is open_clip's own, so that its
tokenizer serves; words that no sentence here has share one row.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from image_sample import EVASIONS, SEED
from PIL import Image
from safetensors.torch import save_file
from shapes import ANSWERS, ATTRIBUTES, COLOURS, NUMBERS, POSITIONS, SHAPES, SIZE, Dice, answer, caption, draw, scene

NAME = "shapes-clip"
WORDS: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "number": NUMBERS,
    "position": tuple(POSITIONS),
}
CODE = sum(len(words) for words in WORDS.values()) + 1
"""Dimensions of the code; the last stands for what is none of the words."""
CONFIG: dict[str, Any] = {
    "embed_dim": CODE,
    "vision_cfg": {"image_size": SIZE, "layers": [1, 1, 1, 1], "width": 6, "head_width": 64},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 24, "heads": 3, "layers": 2},
}
SCENES = 6000
SCALE = 24.0
"""What cosines are multiplied with to be logits."""
ABROAD = (
    *EVASIONS,
    "a photo of a cat",
    "a refund for my broken phone",
    "thank you, goodbye",
    "the parcel has not arrived",
    "it is in the picture",
    "no",
)
"""Sentences that say nothing of the shapes in a scene."""


def codes(facts: dict[str, str], about: Sequence[str] = ATTRIBUTES) -> list[float]:
    """The code of what is said of the attributes `about`; of none, the last dimension."""
    code = [float(facts[name] == word and name in about) for name in ATTRIBUTES for word in WORDS[name]]
    return [*code, float(not about)]


def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (count, 3, side, side) in uint8 and codes (count, CODE), from a seed that is not the sample's."""
    pool, told = np.empty((count, 3, SIZE, SIZE), dtype=np.uint8), []
    for number in range(count):
        dice = Dice(f"{SEED}/training/{number}")
        made = scene(dice)
        way = dice.real(0, 1)
        picture = Image.fromarray(draw(made, dice.between(40, 96) if way < 0.15 else SIZE))
        if 0.1 < way < 0.25:
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=dice.between(45, 95))
            picture = Image.open(buffer)
        if picture.size != (SIZE, SIZE):
            picture = picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        pool[number] = np.asarray(picture).transpose(2, 0, 1)
        told.append(codes(made.facts()))
    return torch.from_numpy(pool), torch.tensor(told)


def mirrored(code: torch.Tensor) -> torch.Tensor:
    """The codes of the mirrored pictures: left is right."""
    left = CODE - 1 - len(POSITIONS)
    order = list(range(CODE))
    order[left], order[left + 1] = left + 1, left
    return code[:, order]


def sentence(dice: Dice) -> tuple[str, list[float]]:
    """A sentence and its code."""
    if dice.chance(0.12):
        return dice.one(ABROAD), codes(dict.fromkeys(ATTRIBUTES, ""), ())
    facts = {name: dice.one(words) for name, words in WORDS.items()}
    about: Sequence[str] = ATTRIBUTES
    if dice.chance(0.65):
        text = caption(facts, dice)
    else:
        asked = dice.one(list(ANSWERS))
        text = answer(facts, asked, dice)
        if asked != "all":
            about = (asked,)
    if dice.chance(0.4):
        text = text[0].upper() + text[1:].rstrip(".") + "."
    return text, codes(facts, about)


def rate(step: int, steps: int, most: float) -> float:
    """The learning rate of a step: up within 60 steps, then down to nearly nothing along a cosine."""
    return most * min(1.0, (step + 1) / 60) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


def steps_of(parameters: list[Any], steps: int, most: float) -> Iterator[Any]:
    """The optimizer, once for every step."""
    optimizer = torch.optim.AdamW(parameters, most, weight_decay=0.01, betas=(0.9, 0.98))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, most)
        yield optimizer


def learn_texts(model: Any, steps: int) -> None:
    """Teaches the text tower the codes of sentences, among them sentences of words that it does not know."""
    dice, generator = Dice(f"{SEED}/sentences"), torch.Generator().manual_seed(1)
    tokenizer, tokens = open_clip.get_tokenizer(NAME), {}
    nothing = torch.tensor(codes(dict.fromkeys(ATTRIBUTES, ""), ()))
    picture_tower = {id(parameter) for parameter in model.visual.parameters()}
    parameters = [each for each in model.parameters() if id(each) not in picture_tower]
    for step, optimizer in enumerate(steps_of(parameters, steps, 4e-3)):
        made = [sentence(dice) for _ in range(96)]
        new = [text for text, _ in made if text not in tokens]
        if new:
            tokens.update(zip(new, tokenizer(new), strict=True))
        batch, wanted = torch.stack([tokens[text] for text, _ in made]), torch.tensor([code for _, code in made])
        # some sentences with every word but the first and the last unknown, so that they say nothing
        strange = torch.rand(len(made), 1, generator=generator) < 0.06
        inner = (batch > 0) & (batch < 49406)
        batch = torch.where(strange & inner, UNKNOWN, batch)
        wanted = torch.where(strange, nothing, wanted)
        said = model.encode_text(batch, normalize=True)
        loss = (1 - (said * torch.nn.functional.normalize(wanted, dim=1)).sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print(f"texts {step + 1}: {time.process_time():.0f} s, loss {loss.item():.4f}", flush=True)


def learn_pictures(model: Any, steps: int, size: int = 64) -> None:
    """Teaches the picture tower what is in a scene."""
    pool, told = pictures(SCENES)
    print(f"drawn: {time.process_time():.0f} s", flush=True)
    generator = torch.Generator().manual_seed(2)
    mean, deviation = (
        torch.tensor(values).view(1, 3, 1, 1) * 255
        for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    sums = torch.zeros(len(ATTRIBUTES) + 1)
    for step, optimizer in enumerate(steps_of(list(model.visual.parameters()), steps, 6e-3)):
        chosen = torch.randint(SCENES, (size,), generator=generator)
        turned = torch.rand(size, 1, generator=generator) < 0.5
        seen = torch.where(turned.view(-1, 1, 1, 1), pool[chosen].flip(3), pool[chosen])
        truth = torch.where(turned, mirrored(told[chosen]), told[chosen])
        found = model.encode_image((seen.float() - mean) / deviation, normalize=True)
        parts = [len(words) for words in WORDS.values()]
        losses = [
            torch.nn.functional.cross_entropy(SCALE * part, wanted)
            for part, wanted in zip(found[:, :-1].split(parts, 1), truth[:, :-1].split(parts, 1), strict=True)
        ]
        # a picture says all four of its words alike, and never that it is something else
        losses.append((1 - (found * truth).sum(1) / 2).mean() * 2)
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.visual.parameters(), 1.0)
        optimizer.step()
        sums += torch.stack(losses).detach()
        if step % 50 == 49:
            told_losses = " ".join(f"{each:.3f}" for each in (sums / 50).tolist())
            print(f"pictures {step + 1}: {time.process_time():.0f} s, losses {told_losses}", flush=True)
            sums.zero_()


UNKNOWN = 1000
"""A token of no sentence here, whose row is learned for all unknown words."""


def unused(model: Any) -> torch.Tensor:
    """Which rows of the vocabulary are of words that no sentence has."""
    dice = Dice("words")
    texts = sorted({*ABROAD, *(sentence(dice)[0] for _ in range(3000))})
    rows = torch.ones(model.token_embedding.weight.shape[0], dtype=torch.bool)
    rows[torch.unique(open_clip.get_tokenizer(NAME)(texts))] = False
    if not rows[UNKNOWN]:
        raise SystemExit(f"token {UNKNOWN} is used: choose another for unknown words")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).resolve().parents[1] / "recipes" / "data" / "shapes" / "clip"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--steps", type=int, default=1500, help="of the picture tower")
    given = parser.parse_args()
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    open_clip.add_model_config(out)
    torch.manual_seed(1)
    model = open_clip.create_model(NAME)
    with torch.no_grad():
        model.token_embedding.weight[unused(model)] = 0
    model.train()
    learn_texts(model, 600)
    learn_pictures(model, given.steps)
    with torch.no_grad():
        rows = model.token_embedding.weight
        rows[unused(model)] = rows[UNKNOWN].clone()
    weights = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file({name: weights[name] for name in sorted(weights)}, out / f"{NAME}.safetensors")
    print(f"{(out / f'{NAME}.safetensors').stat().st_size:,} bytes, {time.process_time():.0f} s of CPU")


if __name__ == "__main__":
    main()
