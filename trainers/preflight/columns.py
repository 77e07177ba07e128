"""What TRL makes of a file's own columns, before any template is used: types, roles, nulls. Nothing is tokenised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from prefdata.schema import ROLES
from trainers.preflight.finding import Check, Finding, Levels, Severity

MEDIA = ("images", "image", "videos", "video", "audios", "audio")
ANSWER_COLUMNS = ("chosen", "rejected", "completion")

LABELS = Check(
    name="labels_not_boolean",
    family="columns",
    view="trl",
    title="The column `label` does not hold true and false",
    why='TRL raises a TypeError on texts; other tools take "false" for true, or drop the rows.',
    cure="prefdata convert DATA --to trl --label good=true --label bad=false",
    threads=("modelscope/ms-swift#1513", "modelscope/ms-swift#2941", "hiyouga/LlamaFactory#3803"),
)
EMPTY_MEDIA = Check(
    name="empty_media_columns",
    family="columns",
    view="trl",
    title="A column of pictures is there and empty in every row",
    why="TRL takes the set for one of pictures and refuses a text model.",
    cure="prefdata convert DATA --to trl drops such columns",
    threads=("huggingface/trl#2091",),
)
FOREIGN_ROLES = Check(
    name="foreign_roles",
    family="columns",
    view="trl",
    title="Roles are not system, user, assistant and tool",
    why="TRL hands them to the template as they are: it writes `<|im_start|>human`, which no model was trained on.",
    cure="prefdata convert DATA --to trl maps them",
    threads=("huggingface/smol-course#260", "NVIDIA-NeMo/Megatron-Bridge#5078"),
)
MIXED = Check(
    name="text_and_messages_mixed",
    family="columns",
    view="trl",
    title="`prompt` is text and the answers are messages, or the other way round",
    why="TRL crashes in the middle of tokenising, with another error in each process.",
    cure="prefdata convert DATA --to trl",
    threads=("huggingface/trl#1858",),
)
NO_PROMPT = Check(
    name="no_prompt_column",
    family="columns",
    view="trl",
    title="There is no column `prompt`",
    why="TRL takes what both answers begin with for the prompt. On texts that is letter by letter: an opening that "
    "both answers share moves into the prompt, and one answer that begins the other is cut one letter short.",
    cure="prefdata convert DATA --to trl parts prompt and answers at turns",
    threads=("huggingface/trl#6079", "huggingface/trl#6472", "huggingface/trl#6703", "huggingface/trl#6960"),
)
REPEATED = Check(
    name="prompt_in_both",
    family="columns",
    view="trl",
    title="The prompt is given, and the answers begin with it again",
    why="TRL puts both together: the prompt stands twice, and its second copy is trained on.",
    cure="prefdata convert DATA --to trl takes it out of the answers",
    threads=("huggingface/trl#1858",),
    levels=Levels(critical=0.1, major=0),
)
NULL_CONTENT = Check(
    name="null_content",
    family="columns",
    view="trl",
    title="Messages without content",
    why="Arrow fills missing keys with null, and templates end with a Jinja error in the middle of tokenising.",
    cure="prefdata convert DATA --to trl",
    levels=Levels(critical=0.01, major=0),
)


def look(frame: pl.DataFrame) -> Iterator[Finding]:
    """Findings about the columns of a file in which TRL would find its own: prompt, chosen, rejected, ..."""
    total, schema = frame.height, frame.schema
    if not total:
        return
    answers = [name for name in ANSWER_COLUMNS if name in schema]
    places = frame.select(pl.format("{}:{}", "_file", "_line")).to_series()
    empty = [name for name in MEDIA if name in schema and frame[name].null_count() == total]
    if empty:
        yield EMPTY_MEDIA.found([], total, severity=Severity.MAJOR, columns=empty)
    if "completion" in answers and "label" in schema and schema["label"] in (pl.String, pl.Float64):
        values = frame["label"].unique().sort().head(5).cast(pl.String).to_list()
        severity = Severity.CRITICAL if schema["label"] == pl.String else Severity.NOTE
        yield LABELS.found([], total, severity=severity, kind=str(schema["label"]), values=len(values))
    if not answers:
        return
    texts = schema.get("chosen") == pl.String
    if "prompt" not in schema and {"chosen", "rejected"} <= set(answers) and (texts or _messages(schema["chosen"])):
        yield NO_PROMPT.found([], total, severity=Severity.MAJOR if texts else Severity.MINOR, texts=texts)
    elif "prompt" in schema:
        kinds = {_messages(schema[name]) for name in ("prompt", *answers)}
        if len(kinds) > 1:
            yield MIXED.found([], total, severity=Severity.CRITICAL)
        else:
            again = _again(frame, answers, messages=kinds == {True})
            if again.any():
                yield REPEATED.found(places.filter(again).to_list(), total)
    for name in ("prompt", *answers):
        if name in schema and _messages(schema[name]):
            yield from _roles(frame, name, places)


def _messages(dtype: Any) -> bool:
    return isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)


def _fields(dtype: Any) -> list[str]:
    return [field.name for field in dtype.inner.fields]


def _again(frame: pl.DataFrame, answers: list[str], *, messages: bool) -> pl.Series:
    """Whether an answer begins with the prompt: as text, or its first turn is the prompt's."""
    if messages:
        if not all("content" in _fields(frame.schema[name]) for name in ("prompt", *answers)):
            return pl.repeat(False, frame.height, eager=True)
        first = pl.col("prompt").list.first().struct.field("content")
        tests = [
            (pl.col(name).list.first().struct.field("content") == first) & (pl.col(name).list.len() > 1)
            for name in answers
        ]
    else:
        long = pl.col("prompt").str.strip_chars().str.len_chars() >= 10
        tests = [long & pl.col(name).str.starts_with(pl.col("prompt").str.strip_chars()) for name in answers]
    return frame.select(pl.any_horizontal(tests).fill_null(False)).to_series()


def _roles(frame: pl.DataFrame, name: str, places: pl.Series) -> Iterator[Finding]:
    fields = _fields(frame.schema[name])
    if "role" in fields:
        element = pl.element().struct.field("role")
        odd = frame.select(pl.col(name).list.eval(element.is_in(ROLES).not_()).list.any().fill_null(False)).to_series()
        if odd.any():
            found = frame.filter(odd).select(pl.col(name).list.eval(element)).explode(name)[name]
            foreign = sorted(set(found.drop_nulls().to_list()) - set(ROLES))[:5]
            ids = places.filter(odd).to_list()
            yield FOREIGN_ROLES.found(ids, frame.height, severity=Severity.CRITICAL, column=name, roles=len(foreign))
    if "content" in fields:
        content = pl.element().struct.field("content").is_null()
        none = frame.select(pl.col(name).list.eval(content).list.any().fill_null(False)).to_series()
        if none.any():
            yield NULL_CONTENT.found(places.filter(none).to_list(), frame.height, column=name)
