"""What every builder gives back: rows of a type, and an account of all that did not become one.

A builder looks at candidates: a side of a pair, a turn of a conversation, two answers to one prompt. Each candidate is
a row or stands in `unmade` with every reason that holds. Results are sorted, so that the order of the input has no
influence, and ids are hashes of the ids that a row was made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from prefdata.errors import InputError
from prefdata.schema import IMAGE, MESSAGES, SCHEMAS, RecordType, conform, stable_hash

UNMADE = pl.Schema({"id": pl.String(), "other": pl.String(), "part": pl.String(), "reasons": pl.List(pl.String())})
"""`id`: the row of the input; `other`: the row it would have been paired with, null where there was none; `part`: which
side or turn of it, null for the whole."""

REASONS: dict[str, str] = {
    "abstained": "the row has no label",
    "ancestor_deleted": "a message before it was deleted",
    "ancestor_not_reviewed": "a message before it did not pass review",
    "asks_for_more": "the customer asks for something further, not for the same again",
    "asks_something_else": "the customer's turns in between do not all ask the same",
    "both_chosen_and_rejected": "one pair chooses this answer and another rejects it",
    "conflicting_answers": "the same prompt stands with different reference answers",
    "conflicting_labels": "the same answer to the same prompt stands with both labels",
    "contradicts_relevance": "the answer was called helpful, but does not fit its picture",
    "crowded_prompt": "the customer's turn has more replies of this label than are compared",
    "deleted": "the message was deleted",
    "differ_only_in_facts": "the answers differ in numbers and pseudonyms only",
    "empty_completion": "an answer without text, tool call or picture",
    "ends_in_tool_result": "the turn ends in a tool's result, the agent never spoke",
    "equal_sides": "both answers are the same",
    "foreign_facts": "the answer names a number or pseudonym of its own conversation that the prompt does not hold",
    "kind_not_drawn": "other changes of this caption are taken",
    "low_agreement": "fewer annotators than min_agreement agree",
    "low_confidence": "the label's confidence is below min_confidence",
    "low_relevance": "the text does not fit its picture well enough",
    "margin_below_min": "the ratings are closer than min_margin",
    "may_be_true": "what the other picture's caption says may be true of this picture",
    "near_empty_draft": "the draft is too short to be an answer",
    "near_equal_replies": "nearly the same reply under both labels: it is the customers who differ",
    "near_is_relevant": "the other picture's caption, or the changed text, fits this picture about as well",
    "neutral_rating": "the rating is neither clearly above nor clearly below the threshold",
    "no_agent_turn": "the conversation has no agent's turn",
    "no_certain_word": "no word of the text states such an attribute for certain",
    "no_customer_turn": "the prompt has no customer's turn",
    "no_failed_before": "no undesirable reply of the session is answered by it",
    "no_later_desirable": "no desirable reply follows in the session",
    "no_near_picture": "no other picture has a caption that is near",
    "no_opposite_reply": "no reply of the other label to a near-identical customer turn",
    "no_path": "the message hangs on no root",
    "no_picture": "the prompt has no picture",
    "no_prompt": "nothing that a customer said stands before it",
    "no_rank": "the answer has no rank",
    "no_rating": "the answer has no rating",
    "no_session": "the row names no session and turn",
    "not_drawn": "the policy pairs other answers of this prompt",
    "not_one_text": "the answer is not one text",
    "not_reviewed": "the message did not pass review",
    "only_answer": "the prompt has one answer only",
    "only_form_changed": "the sent text differs in white space, punctuation or case only",
    "other_context": "what was said before differs too much",
    "over_cap": "a row or prompt of it is used in better pairs as often as allowed",
    "over_cap_customer": "the customer has as many rows as allowed",
    "over_cap_prompt": "the prompt has as many rows as allowed",
    "over_cap_source": "the source has as many rows as allowed",
    "over_share": "the source has more rows than its weight asks for",
    "prompt_repeated": "the same prompt is there already",
    "prompts_differ": "answers under one key have different prompts",
    "relevance_between_bands": "the relevance is neither high nor low enough for a label",
    "repeated": "the same answer to the same prompt is there already, with the same label",
    "rewritten": "draft and sent text have too little in common",
    "same_session": "both replies are of one session",
    "short_turn": "the customer's turn is too short to mean the same after other words",
    "split_votes": "as many annotators for one answer as for the other",
    "surplus_label": "the label has more rows than the balance allows",
    "swap_is_true": "every change of the text says what is said of the picture elsewhere",
    "tied_rank": "both answers have the same rank",
    "tied_rating": "both answers have the same rating",
    "tied_relevance": "both answers fit the picture equally well",
    "tied_verdict": "the verdict is a tie",
    "too_long": "longer than max_chars",
    "unchanged": "the draft was sent as it was",
    "undesirable": "the row's label is false",
    "unjudged_relevance": "how well it fits its picture is not known",
    "unknown_verdict": "the verdict is none of a, b, tie",
}
"""Why a candidate is no row: "not made because ..."."""


class Built(NamedTuple):
    """Rows of one type, sorted by id, and UNMADE: together every candidate."""

    rows: pl.DataFrame
    unmade: pl.DataFrame

    def counts(self) -> dict[str, int]:
        """How many candidates each reason kept from being a row; one with two reasons counts under both."""
        found = self.unmade.explode("reasons").group_by("reasons").len().sort("reasons")
        return dict(zip(found["reasons"].to_list(), found["len"].to_list(), strict=True))


def finish(rows: pl.DataFrame, record_type: RecordType, unmade: Iterable[pl.DataFrame]) -> Built:
    """`rows` with the columns they lack as nulls, checked and sorted by id, beside the sorted account."""
    names = SCHEMAS[record_type].names()
    checked = conform(rows.select(name for name in rows.columns if name in names), record_type)
    return Built(checked.sort("id"), account(*unmade))


def account(*parts: pl.DataFrame) -> pl.DataFrame:
    """Several UNMADE frames, columns possibly missing, as one, sorted."""
    full = [
        part.select(
            pl.col(name).cast(dtype) if name in part.columns else pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in UNMADE.items()
        )
        for part in parts
        if part.height
    ]
    return pl.concat([UNMADE.to_frame(), *full]).sort("id", "other", "part", nulls_last=False)


def sift(frame: pl.DataFrame, rules: Mapping[str, pl.Expr]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of which no rule is true, and the others as UNMADE with all their reasons, sorted by name.

    A rule that is null for a row does not keep it out.
    """
    names = sorted(rules)
    unknown = [name for name in names if name not in REASONS]
    if unknown:
        raise KeyError(f"reasons without a sentence: {', '.join(unknown)}")
    marked = frame.with_columns(
        pl.concat_list([pl.when(rules[name].fill_null(False)).then(pl.lit(name)) for name in names])
        .list.drop_nulls()
        .alias("reasons")
    )
    sound = pl.col("reasons").list.len() == 0
    return marked.filter(sound).drop("reasons"), marked.filter(~sound).select(
        name for name in UNMADE if name in marked.columns
    )


def need(frame: pl.DataFrame, columns: Mapping[str, pl.DataType | None], *, what: str) -> None:
    """Raises InputError with every column that `frame` lacks or has in another dtype; None stands for any."""
    faults = []
    for name, dtype in columns.items():
        found = frame.schema.get(name)
        if found is None:
            faults.append(f"{name}: missing" + (f", expected {dtype}" if dtype is not None else ""))
        elif dtype is not None and found != dtype:
            faults.append(f"{name}: {found}, expected {dtype}")
    if not faults and "id" in columns and (frame["id"].is_duplicated().any() or frame["id"].null_count()):
        faults.append("id: null or shared by several rows")
    if faults:
        raise InputError(f"{what}: " + "; ".join(faults))


def optional(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """`frame` with those columns of `schema` that it lacks, as nulls."""
    missing = {name: dtype for name, dtype in schema.items() if name not in frame.columns}
    return frame.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in missing.items())


def derived_ids(frame: pl.DataFrame, columns: Sequence[str], *, purpose: str) -> pl.Series:
    """Ids of rows that are made of the rows or sides named in `columns`."""
    return stable_hash([frame[name] for name in columns], purpose=purpose).rename("id")


def content_keys(frame: pl.DataFrame, columns: Sequence[str], *, purpose: str = "content") -> pl.Series:
    """A hash of the exact content of `columns` of any dtype, row by row."""
    texts = [
        frame[name] if frame.schema[name] == pl.String else frame.select(pl.struct(name).struct.json_encode())[name]
        for name in columns
    ]
    return stable_hash(texts, purpose=purpose)


def json_object(**fields: pl.Expr) -> pl.Expr:
    """JSON text of an object; a key whose value is null is left out. See `raw_json` for values that are JSON."""
    parts = [
        pl.when(value.is_not_null()).then(
            pl.struct(value.alias(name)).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
        )
        for name, value in fields.items()
    ]
    return pl.lit("{") + pl.concat_list(parts).list.drop_nulls().list.join(",") + pl.lit("}")


def with_json(text: pl.Expr, **values: pl.Expr) -> pl.Expr:
    """The JSON object `text` with more keys whose values are JSON text already; null values are left out."""
    for name, value in values.items():
        body = text.str.strip_suffix("}")
        comma = pl.when(body == "{").then(pl.lit("")).otherwise(pl.lit(","))
        text = pl.when(value.is_null()).then(text).otherwise(body + comma + pl.lit(f'"{name}":') + value + pl.lit("}"))
    return text


def sameness(side: str) -> pl.Expr:
    """Text that is equal where two sides say the same: roles, contents without outer white space, tool calls."""
    turn = pl.element().struct
    return (
        pl.col(side)
        .list.eval(
            turn.field("role")
            + pl.lit("\x1f")
            + turn.field("content").fill_null("").str.strip_chars()
            + pl.lit("\x1f")
            + turn.field("tool_calls").fill_null("")
        )
        .list.join("\x1e")
    )


def is_empty(side: str, *, images: str | None = None) -> pl.Expr:
    """Whether a side has neither text nor tool call, nor a picture in the column `images`."""
    turn = pl.element().struct
    says = (turn.field("content").fill_null("").str.strip_chars() != "") | turn.field("tool_calls").is_not_null()
    spoken = pl.col(side).list.eval(says).list.any().fill_null(False)
    if images is not None:
        sides = _pictures(images).list.eval(pl.element().struct.field("side"))
        spoken = spoken | sides.list.contains(side).fill_null(False)
    return ~spoken


def moved_images(column: str, sides: Mapping[str, str]) -> pl.Expr:
    """The pictures of the named sides, each side under its new name; null where none is left."""
    picture = pl.element().struct
    kept = _pictures(column).list.eval(
        pl.struct(
            uri=picture.field("uri"),
            side=picture.field("side").replace_strict(dict(sides), default=None, return_dtype=pl.String),
            message=picture.field("message"),
            part=picture.field("part"),
        ).filter(picture.field("side").is_in(sorted(sides)))
    )
    return pl.when(kept.list.len() > 0).then(kept).cast(pl.List(IMAGE))


def _pictures(column: str) -> pl.Expr:
    """The column with its dtype: polars 2.1 makes List(Null) of a list column that is null throughout in `reverse`."""
    return pl.col(column).cast(pl.List(IMAGE))


def one_message(column: str, role: str) -> pl.Expr:
    """A String column as messages: one of `role`; null stays null."""
    message = pl.struct(role=pl.lit(role), content=pl.col(column), tool_calls=pl.lit(None, pl.String))
    return pl.when(pl.col(column).is_not_null()).then(pl.concat_list(message)).cast(MESSAGES).alias(column)


def as_messages(frame: pl.DataFrame, sides: Mapping[str, str], *, what: str) -> pl.DataFrame:
    """`frame` with the sides (name -> role of plain text) as messages, whether they are text or messages already."""
    faults = [
        f"{side}: {frame.schema.get(side) or 'missing'}, expected {MESSAGES} or String"
        for side in sides
        if frame.schema.get(side) not in (pl.String, MESSAGES)
    ]
    if faults:
        raise InputError(f"{what}: " + "; ".join(faults))
    return frame.with_columns(one_message(side, sides[side]) for side in sides if frame.schema[side] == pl.String)
