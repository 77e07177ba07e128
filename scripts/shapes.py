"""Scenes of coloured shapes: what is in them, their pixels, and the sentences that are true of them.

A scene is a number of shapes of one kind and colour in one half of a pale ground. Pixels are computed here, with whole
numbers from a four times finer grid, so that they hang on no drawing library; choices use only `random()` of a seeded
generator, whose sequence Python promises.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1] / "recipes" / "data"))

from dice import Dice

Colour = tuple[int, int, int]
Flags = NDArray[np.bool_]

COLOURS: dict[str, Colour] = {
    "red": (208, 32, 36),
    "yellow": (236, 204, 24),
    "green": (28, 148, 60),
    "blue": (36, 76, 208),
    "purple": (136, 44, 168),
    "black": (24, 24, 28),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
PLURALS = {shape: f"{shape}es" if shape == "cross" else f"{shape}s" for shape in SHAPES}
NUMBERS = ("one", "two", "three", "four")
POSITIONS = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
ATTRIBUTES = ("colour", "shape", "number", "position")

TIPS = ((0.0, -1.0), (0.951057, -0.309017), (-0.951057, -0.309017), (0.587785, 0.809017), (-0.587785, 0.809017))
"""Where a star's points are, first to the right, then down."""

SIZE = 64
"""Pixels of a side of a picture."""
GRID = 4
"""Fine points along a side of a pixel."""

TEMPLATES = (
    "{n} {c} {s} {p}",
    "a picture of {n} {c} {s} {p}",
    "{n} {c} {s} {p} of the picture",
    "there {are} {n} {c} {s} {p}",
    "{p} there {are} {n} {c} {s}",
    "this picture shows {n} {c} {s} {p}",
)
QUESTIONS = {
    "colour": ("What colour are the shapes?", "Which colour do you see?"),
    "shape": ("Which shapes are in the picture?", "What kind of shapes are these?"),
    "number": ("How many shapes are there?", "How many shapes can you count?"),
    "position": ("Where in the picture are the shapes?", "On which side are the shapes?"),
    "all": ("What is in this picture?", "Please describe the picture."),
}
ANSWERS = {
    "colour": ("The {shapes} {are} {c}.", "The colour is {c}."),
    "shape": ("The picture shows {s}.", "The shapes are {ss}."),
    "number": ("There {are} {n} {shapes}.", "I count {n} {shapes}."),
    "position": ("The {shapes} {are} {p}.", "They are {p} of the picture."),
    "all": ("There {are} {n} {c} {s} {p}.", "The picture shows {n} {c} {s} {p}."),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is in a picture, and all that its pixels depend on. Lengths are fractions of a side."""

    colour: str
    shape: str
    number: int
    position: str
    tone: Colour
    """The colour as it is painted here: the named one, a little off."""
    radius: float
    places: tuple[tuple[float, float], ...]
    """Centres across and along the half: `number` of them."""
    ground: Colour
    discs: tuple[tuple[float, float, float, Colour], ...]
    """Pale discs of the ground: x, y, radius, colour."""

    def facts(self) -> dict[str, str]:
        """Attribute -> its word."""
        return {
            "colour": self.colour,
            "shape": self.shape,
            "number": NUMBERS[self.number - 1],
            "position": self.position,
        }


def scene(dice: Dice, **fixed: Any) -> Scene:
    """A scene made by chance; `fixed` attributes are taken as given."""
    colour = fixed.get("colour") or dice.one(list(COLOURS))
    number = fixed.get("number") or dice.between(1, len(NUMBERS))
    shape = fixed.get("shape") or dice.one(SHAPES)
    position = fixed.get("position") or dice.one(list(POSITIONS))
    radius = dice.real(0.085, 0.1) if number > 2 else dice.real(0.09, 0.16)
    step = 0.92 / number
    places = []
    for slot in range(number):
        # a lone shape stays out of the corners, where left is also top
        free = max(step / 2 - radius, 0.0) if number > 1 else 0.16
        along = 0.04 + step * (slot + 0.5) + dice.real(-free, free)
        places.append((dice.real(0.03 + radius, 0.48 - radius), along))
    return Scene(
        colour=colour,
        shape=shape,
        number=number,
        position=position,
        tone=_tone(colour, dice),
        radius=radius,
        places=tuple(places),
        ground=_pale(dice),
        discs=tuple(
            (dice.real(0.0, 1.0), dice.real(0.0, 1.0), dice.real(0.2, 0.5), _pale(dice))
            for _ in range(dice.between(2, 3))
        ),
    )


def changed(original: Scene, attribute: str, dice: Dice) -> Scene:
    """The same scene on the same ground, another in one attribute only."""
    if attribute == "colour":
        colour = dice.one([name for name in COLOURS if name != original.colour])
        return dataclasses.replace(original, colour=colour, tone=_tone(colour, dice))
    if attribute == "shape":
        return dataclasses.replace(original, shape=dice.one([name for name in SHAPES if name != original.shape]))
    if attribute == "position":
        return dataclasses.replace(
            original, position=dice.one([name for name in POSITIONS if name != original.position])
        )
    if original.number == 1:
        raise ValueError("one shape cannot be fewer")
    leave = dice.between(0, original.number - 1)
    places = tuple(place for slot, place in enumerate(original.places) if slot != leave)
    return dataclasses.replace(original, number=original.number - 1, places=places)


def _tone(colour: str, dice: Dice) -> Colour:
    return _colour([channel + dice.between(-16, 16) for channel in COLOURS[colour]])


def _pale(dice: Dice) -> Colour:
    base = dice.between(196, 240)
    return _colour([base + dice.between(-14, 14) for _ in range(3)])


def _colour(channels: Sequence[int]) -> Colour:
    red, green, blue = (max(0, min(255, channel)) for channel in channels)
    return red, green, blue


def draw(scene: Scene, size: int = SIZE) -> NDArray[np.uint8]:
    """The pixels, (size, size, 3)."""
    pixels = np.empty((size, size, 3), dtype=np.int64)
    pixels[:] = scene.ground
    for centre_x, centre_y, radius, colour in scene.discs:
        _paint(pixels, "circle", (centre_x, centre_y, radius), colour)
    for across, along in scene.places:
        far = across if scene.position in ("left", "top") else 1.0 - across
        centre_x, centre_y = (far, along) if scene.position in ("left", "right") else (along, far)
        _paint(pixels, scene.shape, (centre_x, centre_y, scene.radius), scene.tone)
    return pixels.astype(np.uint8)


def _paint(pixels: NDArray[np.int64], shape: str, place: tuple[float, float, float], colour: Colour) -> None:
    """Paints a shape into `pixels`; a pixel on its edge takes of its colour what part of the fine points is inside."""
    size = pixels.shape[0]
    centre_x, centre_y, radius = place
    fine, cuts = [], []
    for centre in (centre_x, centre_y):
        low = max(0, int((centre - radius) * size) - 1)
        high = min(size, int((centre + radius) * size) + 2)
        grid = (np.arange(low * GRID, high * GRID, dtype=np.float64) + 0.5) / (size * GRID)
        fine.append((grid - centre) / radius)
        cuts.append(slice(low, high))
    mask = _inside(shape, fine[0][None, :], fine[1][:, None])
    height, width = (cut.stop - cut.start for cut in (cuts[1], cuts[0]))
    cover = mask.reshape(height, GRID, width, GRID).sum(axis=(1, 3))[:, :, None]
    part = pixels[cuts[1], cuts[0]]
    whole = GRID * GRID
    pixels[cuts[1], cuts[0]] = (part * (whole - cover) + np.array(colour) * cover + whole // 2) // whole


def _inside(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Flags:
    """Which points are in a shape around 0 that reaches to 1."""
    if shape == "circle":
        return x * x + y * y <= 1.0
    if shape == "square":
        return (np.abs(x) <= 0.88) & (np.abs(y) <= 0.88)
    if shape == "triangle":
        return (y <= 0.85) & (np.abs(x) <= (y + 1.0) * 0.55)
    if shape == "cross":
        return ((np.abs(x) <= 0.34) & (np.abs(y) <= 1.0)) | ((np.abs(y) <= 0.34) & (np.abs(x) <= 1.0))
    # a star of five points: a point is in it that lies within four of its five lines or more
    lines = sum((right * x + down * y <= 0.309).astype(np.int64) for right, down in TIPS)
    return (lines >= 4) & (x * x + y * y <= 1.01)


def _slots(facts: dict[str, str]) -> dict[str, str]:
    single = facts["number"] == "one"
    plural = PLURALS[facts["shape"]]
    return {
        "n": facts["number"],
        "c": facts["colour"],
        "s": facts["shape"] if single else plural,
        "ss": plural,
        "p": POSITIONS[facts["position"]],
        "are": "is" if single else "are",
        "shapes": "shape" if single else "shapes",
    }


def caption(facts: dict[str, str], dice: Dice) -> str:
    """A caption that says all four attributes."""
    return dice.one(TEMPLATES).format(**_slots(facts))


def question(about: str, dice: Dice) -> str:
    """A question about an attribute, or about `all` of them."""
    return dice.one(QUESTIONS[about])


def answer(facts: dict[str, str], about: str, dice: Dice) -> str:
    """A sentence that says the attribute asked about; it is true of every scene of these facts."""
    return dice.one(ANSWERS[about]).format(**_slots(facts))


def other(facts: dict[str, str], attribute: str, dice: Dice) -> dict[str, str]:
    """The facts with another word for one attribute."""
    words = {"colour": list(COLOURS), "shape": SHAPES, "number": NUMBERS, "position": list(POSITIONS)}[attribute]
    return {**facts, attribute: dice.one([word for word in words if word != facts[attribute]])}
