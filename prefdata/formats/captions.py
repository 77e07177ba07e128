"""Pictures with a text each: captions, answers to questions about a picture, labelled answers. Reading only.

A column of pictures (addresses, or Hugging Face's `{"bytes", "path"}`), one of texts, and where there is one a question
and a label. The prompt is the question with the picture before it, the answer is the text; with a label rows are
unpaired. Several captions of a picture (a list, or columns `caption_0`, `caption_1`) are as many rows of one group.
Found so are Hugging Face's imagefolder (`file_name` in metadata.csv or metadata.jsonl), folders of pictures with a .txt
beside each, WebDataset tars of pictures with .txt or .json, and Parquet with embedded pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from prefdata.errors import RecipeError, nearest
from prefdata.formats import placeholders
from prefdata.formats.core import PLACES, Match, Outcome, pieces, refuse, set_aside
from prefdata.formats.messages import MARK, message
from prefdata.formats.read_only import ReadOnly
from prefdata.formats.shapes import boolean_label
from prefdata.schema import RecordType, stable_hash

QUESTION = "Describe the picture."

KNOWN: Mapping[str, tuple[str, ...]] = {
    "image": (
        *("image", "images", "image_path", "img", "img_path", "picture", "picture_path", "photo"),
        *("file_name", "filename", "file_path", "filepath", "path", "url", "image_url", "jpg", "jpeg", "png", "webp"),
    ),
    "text": (
        *("text", "caption", "captions", "txt", "description", "sentence", "sentences", "alt_text"),
        *("answer", "answers", "completion", "response"),
    ),
    "question": ("question", "prompt", "instruction"),
    "label": ("label",),
    "id": ("id", "__key__"),
    "group": (),
}
"""What a row has -> names of columns that are looked for, the first that is there."""

NUMBERED = re.compile(r"^(?:caption|sentence|text)_?\d+$")
"""Columns of several captions."""

OTHERS = frozenset(
    {"messages", "conversations", "conversation", "chosen", "rejected", "rejected_response", "input", "history"}
)
"""Columns by which a row is something else."""

ADDRESS = r"(?i)^data:image/|^https?://|\.(?:png|jpe?g|gif|webp|bmp|tiff?)$"
"""What the address of a picture looks like."""

LOOKED_AT = 50
"""Rows by which a column is taken for pictures; embedded ones are large."""

_BOOLEANS = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}


@dataclass(frozen=True, kw_only=True)
class Captions(ReadOnly):
    """Pictures with captions, answers or labelled answers."""

    name: ClassVar[str] = "captions"
    reads: ClassVar[frozenset[RecordType]] = frozenset({RecordType.SFT, RecordType.UNPAIRED})

    question: str = QUESTION
    """What the caption answers, where the row asks nothing itself."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What a row has -> the file's column: image, text, question, label, id, group. Usual names need no entry."""
    labels: Mapping[str, bool] | None = None
    """What labels other than true and false mean, e.g. {"helpful": true, "not helpful": false}."""

    def __post_init__(self) -> None:
        faults = [f"columns.{name}: {nearest(name, KNOWN)}" for name in self.columns if name not in KNOWN]
        if not self.question.strip():
            faults.append("question: expected a text, since a prompt without words trains on nothing asked")
        if faults:
            raise RecipeError(faults)

    def recognise(self, sample: pl.DataFrame) -> Sequence[Match]:
        """By a column of pictures (image, file_name, ...) and one of texts (text, caption, answer, ...); with label."""
        used = self._used(sample)
        texts = self._texts(sample, used)
        if OTHERS & set(sample.columns) or "image" not in used or not texts:
            return []
        if not _pictures(sample[used["image"]]) or (used.get("question") and self._unasked(sample, used["question"])):
            return []
        told = f"columns {', '.join([used['image'], *texts])}: pictures and texts"
        if "label" in used:
            return [Match(RecordType.UNPAIRED, (f"{told}, {used['label']}",))]
        return [Match(RecordType.SFT, (told,))]

    def decode(self, rows: pl.DataFrame, record_type: RecordType) -> Outcome:
        """A row without a picture or without a text is refused; of several captions the blank ones make no row."""
        used = self._used(rows)
        texts = self._texts(rows, used)
        if "question" in used and self._unasked(rows, used["question"]):
            raise RecipeError(f"columns.question: {used['question']} holds {rows.schema[used['question']]}, no texts")
        missing = [name for name in ("image", "text") if name not in used and not (name == "text" and texts)]
        if record_type is RecordType.UNPAIRED and "label" not in used:
            missing.append("label")
        if missing:
            names = ", ".join(name for name in rows.columns if name not in PLACES)
            raise RecipeError(f"columns: {record_type} needs {' and '.join(missing)}; the file has {names}")
        label = used.get("label") if record_type is RecordType.UNPAIRED else None
        asked = used.get("question")
        taken = [used["image"], *texts, *([asked] if asked else []), *([label] if label else [])]
        taken += [used[name] for name in ("id", "group") if name in used]
        frame = set_aside(rows, taken)
        captions, several = _captions(rows, texts)
        captions = _beside(rows, captions, texts)
        uris = placeholders.uris_of(rows[used["image"]])
        frame = frame.with_columns(captions, uris.alias("_uris"))
        refusals: dict[str, pl.Expr] = {
            "no_picture": pl.col("_uris").list.len().fill_null(0) == 0,
            "picture_without_address": pl.col("_uris").list.eval(pl.element().fill_null("") == "").list.any(),
            "empty_answer": pl.col("_captions").list.len() == 0,
            "object_replacement_character": pl.col("_captions").list.eval(pl.element().str.contains(MARK)).list.any(),
        }
        frame, refusals["image_count"] = self._prompted(frame, asked)
        if label:
            frame, refusals["ambiguous_label"] = self._labelled(frame, label)
        result = refuse(frame, refusals)
        found = self._given(result.rows, used)
        found = found.explode("_captions", empty_as_null=True).with_columns(
            completion=message("assistant", pl.col("_captions"))
        )
        given = [name for name in ("id", "group") if name in found.columns]
        out = pieces(found, record_type).hstack(found.select(given).get_columns())
        unmade = {"empty_answer": several} if several else {}
        unmade_of = unmade if found.height != result.rows.height or several else None
        return Outcome(out, result.refused, unmade_of, frozenset({"group"} - used.keys()))

    def _used(self, rows: pl.DataFrame) -> dict[str, str]:
        """What a row has -> column. Raises RecipeError for a column that is said and not there."""
        names = [name for name in rows.columns if name not in PLACES]
        faults = [
            f"columns.{name}: no column {column!r}; the file has {', '.join(names)}"
            for name, column in self.columns.items()
            if column not in names
        ]
        if faults:
            raise RecipeError(faults)
        said = set(self.columns.values())
        found = dict(self.columns)
        for name, known in KNOWN.items():
            column = next((one for one in known if one in names and one not in said and one not in found.values()), "")
            if column and name not in found:
                found[name] = column
        return found

    def _unasked(self, rows: pl.DataFrame, column: str) -> bool:
        """Whether a column cannot be the question: messages, say, which another format reads."""
        return rows.schema[column].is_nested()

    def _texts(self, rows: pl.DataFrame, used: Mapping[str, str]) -> list[str]:
        """The columns of texts: one of strings or of lists of them, or several that are numbered."""
        column = used.get("text")
        if column is not None:
            return [column] if rows.schema[column] in (pl.String, pl.List(pl.String), pl.Null) else []
        return [name for name in rows.columns if NUMBERED.match(name) and rows.schema[name] == pl.String]

    def _prompted(self, frame: pl.DataFrame, asked: str | None) -> tuple[pl.DataFrame, pl.Expr]:
        """`frame` with `prompt` and `images`: the pictures at the tags of the question, else before it."""
        question = pl.lit(self.question)
        if asked:
            text = pl.col(asked).cast(pl.String)
            question = pl.when(text.str.strip_chars() != "").then(text).otherwise(question)
        frame = frame.with_columns(prompt=message("user", question))
        frame, wrong = placeholders.tags_to_marks(frame, frame["_uris"], sides={"prompt": "prompt"}, lead=True)
        return frame, pl.lit(wrong)

    def _labelled(self, frame: pl.DataFrame, column: str) -> tuple[pl.DataFrame, pl.Expr]:
        if frame.schema[column] == pl.String:
            text = pl.col(column).str.strip_chars()
            frame = frame.with_columns(pl.when(text != "").then(text).alias(column))
        return boolean_label(frame, column, labels={**_BOOLEANS, **(self.labels or {})})

    def _given(self, frame: pl.DataFrame, used: Mapping[str, str]) -> pl.DataFrame:
        """`frame` with `id` where the file has one, and `group`, the file's own or the picture."""
        made: list[pl.Series] = []
        if "group" in used:
            made.append(frame[used["group"]].cast(pl.String).alias("group"))
        else:
            shown = frame.select(pl.col("_uris").list.join("\n")).to_series()
            made.append(stable_hash([shown], purpose="picture").alias("group"))
        if "id" in used and not frame[used["id"]].dtype.is_nested():
            made.append(frame[used["id"]].cast(pl.String).alias("id"))
        return frame.with_columns(made)


def _captions(rows: pl.DataFrame, names: Iterable[str]) -> tuple[pl.Series, int]:
    """The captions of every row that are not blank (List(String)), and how many others are blank beside one."""
    listed: list[Any] = [
        pl.col(name) if rows.schema[name] == pl.List(pl.String) else pl.concat_list(pl.col(name).cast(pl.String))
        for name in names
    ]
    every = rows.select(_captions=pl.concat_list(listed)).to_series()
    said = pl.element().is_not_null() & (pl.element().str.strip_chars() != "")
    filled = every.to_frame().select(pl.col("_captions").list.eval(pl.element().filter(said))).to_series()
    lost = every.list.len().fill_null(0) - filled.list.len().fill_null(0)
    return filled.fill_null(pl.Series([[]], dtype=pl.List(pl.String))), int(lost.filter(filled.list.len() > 0).sum())


def _beside(rows: pl.DataFrame, captions: pl.Series, names: Sequence[str]) -> pl.Series:
    """The captions; where a row has none, what stands in the text file of its sample, if rows are those of a tar."""
    if "__key__" not in rows.columns or "txt" in names or rows.schema.get("txt") != pl.String:
        return captions
    beside = pl.when(pl.col("txt").str.strip_chars() != "").then(pl.concat_list("txt"))
    frame = rows.select("txt").with_columns(captions.alias("_captions"))
    mine = pl.col("_captions")
    return frame.select(
        _captions=pl.when(mine.list.len() == 0).then(beside.fill_null(mine)).otherwise(mine)
    ).to_series()


def _pictures(values: pl.Series) -> bool:
    """Whether a column holds pictures: their bytes, or addresses that look like it in most rows."""
    uris = placeholders.uris_of(values.head(LOOKED_AT)).explode(empty_as_null=True).drop_nulls()
    return len(uris) > 0 and int(uris.str.contains(ADDRESS).sum()) * 2 > len(uris)
