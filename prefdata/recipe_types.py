"""Which type a run makes, what can become what, and what of a recipe does not go with a type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefdata import catalogue
from prefdata.balance import Balance
from prefdata.errors import RecipeError
from prefdata.recipe_parts import Entry, Recipe, Source, TrainingStage
from prefdata.schema import RecordType
from prefdata.sides import sides_for
from prefdata.strict_yaml import placed

NAMES: Mapping[str, RecordType] = {
    "sft": RecordType.SFT,
    "preference": RecordType.PREFERENCE,
    "unpaired": RecordType.UNPAIRED,
    "prompt": RecordType.PROMPT,
    "pairs": RecordType.PREFERENCE,
    "prompts": RecordType.PROMPT,
    **{record_type.value: record_type for record_type in RecordType},
}
"""What a type may be called in a recipe; the first four are how it is told."""

REACH: Mapping[RecordType, tuple[RecordType, ...]] = {
    RecordType.PREFERENCE: (RecordType.PREFERENCE, RecordType.UNPAIRED, RecordType.SFT, RecordType.PROMPT),
    RecordType.UNPAIRED: (RecordType.UNPAIRED, RecordType.PREFERENCE, RecordType.SFT, RecordType.PROMPT),
    RecordType.SFT: (RecordType.SFT, RecordType.PROMPT),
    RecordType.PROMPT: (RecordType.PROMPT,),
}
"""What a source of each type can be built into; prefdata.building has the builders."""

OPENS = ("clip", "nsfw", "picture_text")
"""The filters that open the pictures of rows; `image_quality` goes by what was measured when they were looked at."""

PROMPT_FILTERS = ("language",)
"""The filters of a run of prompts that names none: the others judge answers."""


def told(record_type: RecordType) -> str:
    """A type as a recipe calls it."""
    return next(name for name, value in NAMES.items() if value is record_type)


def known_type(source: Source) -> RecordType | None:
    """The type of a source's rows as far as the recipe tells; None where its file has to."""
    if source.layout is not None:
        return RecordType.UNPAIRED
    if source.type is not None or source.format is None or source.format.settings is None:
        return source.type
    reads = source.format.settings.reads
    return next(iter(reads)) if len(reads) == 1 else None


def common_type(types: Mapping[str, RecordType], *, logs: bool) -> RecordType:
    """What a run makes that does not say: unpaired where there is a log, else what all sources are.

    `types`: source -> its type. Raises RecipeError where they differ.
    """
    if logs:
        return RecordType.UNPAIRED
    found = set(types.values())
    if len(found) == 1:
        return found.pop()
    shared = [one for one in REACH if all(one in REACH[given] for given in types.values())]
    listed = ", ".join(f"{name}: {told(one)}" for name, one in types.items())
    write = " or ".join(f"`type: {told(one)}`" for one in shared) or "recipes of their own: no type can be had of all"
    raise RecipeError(f"the sources are of different types ({listed}); write {write}")


def unreachable(source_type: RecordType, record_type: RecordType, image_text: Any = None) -> str | None:
    """Why rows of one type cannot become the other, naming those that can be had; None where they can.

    `image_text` is that section of the recipe: captions of pictures become more than other examples do.
    """
    if record_type in REACH[source_type] or (image_text and image_text.reaches(source_type, record_type)):
        return None
    possible = ", ".join(told(one) for one in REACH[source_type])
    return f"{told(source_type)} rows cannot become {told(record_type)}; they can be: {possible}"


def faults(
    record_type: RecordType,
    *,
    filters: Sequence[Entry],
    export: Sequence[Entry],
    balance: Balance | None,
    stages: Sequence[TrainingStage],
) -> list[tuple[tuple[Any, ...], str]]:
    """What of a recipe does not go with the type that it makes: the place of each fault, and the fault."""
    found: list[tuple[tuple[Any, ...], str]] = []
    for stage in stages:
        given = record_type if stage.data.path is None else stage.data.recipe and stage.data.recipe.type
        fault = unreachable(given, catalogue.method(stage.method).type) if given else None
        if fault is not None:
            found.append(
                (stage.place, f"{stage.method} trains on {told(catalogue.method(stage.method).type)} rows; {fault}")
            )
    if balance is not None and balance.max_ratio is not None and record_type is not RecordType.UNPAIRED:
        found.append((("balance", "max_ratio"), f"{told(record_type)} rows have no labels to balance"))
    for at, entry in enumerate(filters):
        try:
            sides_for(entry.name, entry.settings.sides, record_type)
        except RecipeError as error:
            found += [(("filters", at), fault) for fault in error.faults]
    for at, entry in enumerate(export):
        if record_type not in entry.settings.writes:
            able = [name for name in catalogue.FORMATS if record_type in catalogue.load("format", name).writes]
            found.append((("export", at), f"{entry.name} does not hold {told(record_type)} rows; {', '.join(able)} do"))
    return found


def image_text_faults(image_text: Any, filters: Sequence[Entry]) -> list[tuple[tuple[Any, ...], str]]:
    """What of the section `image_text` does not go with the filters: it names one that looks at pictures."""
    if image_text is None or image_text.relevance is None:
        return []
    names = [entry.name for entry in filters]
    if image_text.relevance in names:
        return []
    held = ", ".join(names) or "none"
    return [(("image_text", "relevance"), f"{image_text.relevance!r} is no filter of this recipe; it has {held}")]


def unstored_faults(pictures: Any, filters: Sequence[Entry]) -> list[tuple[tuple[Any, ...], str]]:
    """The filters that would find no picture to open, since none is stored: they would judge nothing, and say so of
    every row."""
    if pictures is None or pictures.store != "none":
        return []
    return [
        (("filters", at), f"{entry.name} opens pictures, and `pictures: {{store: none}}` keeps none; take encode")
        for at, entry in enumerate(filters)
        if entry.name in OPENS
    ]


def require(recipe: Recipe, record_type: RecordType) -> None:
    """Raises RecipeError where something of the recipe does not go with the type, which its sources told."""
    found = faults(
        record_type, filters=recipe.filters, export=recipe.export, balance=recipe.balance, stages=recipe.stages
    )
    if found:
        raise RecipeError([placed(place) + message for place, message in found])
