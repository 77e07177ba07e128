"""Acceptance rules that targets share: each is an expression over canonical columns, true where a row must not go out.

Their names are the reasons of a refusal; REASONS says each in a sentence, for messages and docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from prefdata.formats import screens
from prefdata.formats.messages import MARK
from prefdata.formats.screens import screened
from prefdata.schema import RecordType

REASONS: Mapping[str, str] = {
    "ambiguous_label": "the label is text or a number; only true and false are labels (--label says which is which)",
    "answer_ends_with_call": "the answer ends with a tool call, and the target wants it to end with text",
    "answer_images": "the answer holds pictures, which the target takes in the prompt only",
    "answer_in_template": "the target looks for the answer's text and would find it in the words of the chat template",
    "answer_not_by_assistant": "the answer does not begin with a turn of the assistant",
    "differing_prompts": "chosen and rejected do not answer the same prompt",
    "earlier_answers": "there are turns of the assistant before the answer, on which the target would train too",
    "empty_answer": "an answer has no text and no tool call",
    "empty_prompt": "there is nothing before the answer",
    "empty_turn": "a turn of the prompt has no text",
    "equal_sides": "chosen and rejected are the same",
    "image_address": "a picture is given as a file; the target takes http(s) and data: addresses only",
    "first_by_assistant": "the conversation begins with the assistant, and the target would train on the words before",
    "image_count": "there are more or fewer pictures than places for them",
    "image_outside_user_turn": "a picture stands in a turn that is not the user's; the target takes it there only",
    "images": "the target takes no pictures with this type",
    "label_missing": "the row has no label",
    "literal_image_tag": "the text holds the literal tag `<image>`, which the target would take for a picture",
    "literal_media_tag": "the text holds the literal tag `<video>` or `<audio>`, which the target would count",
    "margin_not_a_number": "the margin is text or something else that is no number",
    "missing_content": "a message has no content",
    "multi_turn_answer": "an answer has several turns; the target takes one",
    "multi_turn_prompt": "there are several turns before the answer; the target takes one",
    "no_answer": "the conversation does not end with an answer",
    "no_pair": "no two of its answers differ in rank or rating",
    "no_picture": "the row has no picture",
    "not_a_conversation": "a column that should hold messages holds something else",
    "not_alternating": "turns of user and assistant do not alternate",
    "object_replacement_character": "the text of a row with pictures holds U+FFFC, which marks their places",
    "other_feedback": "the row is of another kind of feedback than the type that is read",
    "other_media": "the row has video, audio or objects, which are not held",
    "picture_without_address": "a picture has neither an address nor bytes",
    "picture_not_there": "the file of a stored picture is not there",
    "prompt_ends_with_assistant": "the prompt ends with a turn of the assistant",
    "prompt_in_answer": "the answers repeat the prompt, and it cannot be told apart from them",
    "prompt_not_by_user": "the last turn of the prompt is not the user's; the target takes it as one",
    "repeated_comparison": "the same two answers to the same prompt are compared in an earlier row",
    "repeated_role": "two turns of one side follow each other; the target joins them without a space",
    "second_system_prompt": "a column and a turn give different system prompts",
    "system_not_first": "a system turn stands after the first place",
    "system_prompt": "the target takes no system prompt with this type",
    "text_beside_call": "a turn has text beside its tool call; the target takes one of them",
    "tie": "both answers were rated the same",
    "too_many_images": "the row has more pictures than the target takes in one",
    "tool_call_unanswered": "a tool call has no result after it, or a result no call before it",
    "tool_definitions": "the row defines tools, which the target does not take",
    "tool_results_order": "the results of tools name their calls in another order than that of the calls",
    "tool_turns": "there are tool calls or tool results, which the target does not take",
    "trained_turns": "the turns that are marked as trained on are not the last ones",
    "unknown_part": "a message holds a part that is neither text nor picture",
    "unknown_role": "a message has a role that is not known",
    "unreadable_tool_call": "a turn that should be a tool call is not JSON with a name",
    "unwritable_tools": "the tool definitions are no JSON list, or hold values of several types in one place",
    "worse_chosen": "the chosen answer is rated worse than the rejected one",
}


def _contents(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content"))


def _roles(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("role"))


def _calls(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("tool_calls"))


def empty_answer(side: str) -> pl.Expr:
    """No turn, or its last turn without text and without a tool call. White space alone is empty."""
    last = pl.col(side).list.last()
    blank = last.struct.field("content").fill_null("").str.strip_chars().str.len_bytes() == 0
    return (pl.col(side).list.len() == 0) | pl.col(side).is_null() | (blank & last.struct.field("tool_calls").is_null())


def answer_not_by_assistant(side: str) -> pl.Expr:
    """The first turn of the answer has another role."""
    return pl.col(side).list.first().struct.field("role") != "assistant"


def equal_sides() -> pl.Expr:
    """Both sides of a pair hold the same."""
    last = [pl.col(side).list.last().struct.field("content") for side in ("chosen", "rejected")]
    return screened(
        pl.col("chosen") == pl.col("rejected"),
        ("chosen", "rejected"),
        lambda frame: frame.select(last[0].eq_missing(last[1])).to_series(),
    )


def equal_texts() -> pl.Expr:
    """Both sides of a pair are the same text, blanks around it not counted."""
    left, right = (
        pl.col(side).list.last().struct.field("content").str.strip_chars() for side in ("chosen", "rejected")
    )
    calls = pl.col("chosen").list.last().struct.field("tool_calls").is_null()
    return (left == right) & calls & (pl.col("chosen").list.len() == 1) & (pl.col("rejected").list.len() == 1)


def label_missing() -> pl.Expr:
    """No label: the row abstained."""
    return pl.col("label").is_null()


def empty_prompt() -> pl.Expr:
    """No turn that is not a system prompt."""
    return ~_roles("prompt").list.eval(pl.element() != "system").list.any()


def empty_turn() -> pl.Expr:
    """A turn of the prompt without text and without a tool call."""
    blank = pl.element().struct.field("content").fill_null("").str.len_bytes() == 0
    return pl.col("prompt").list.eval(blank & pl.element().struct.field("tool_calls").is_null()).list.any()


def multi_turn_answer(side: str) -> pl.Expr:
    """More than one turn in an answer."""
    return pl.col(side).list.len() > 1


def multi_turn_prompt() -> pl.Expr:
    """More than one turn before the answer, a system prompt not counted."""
    return _roles("prompt").list.eval(pl.element() != "system").list.sum() > 1


def system_prompt() -> pl.Expr:
    """A system turn anywhere in the prompt."""
    return _roles("prompt").list.contains("system")


def system_not_first() -> pl.Expr:
    """A system turn after the first place."""
    return _roles("prompt").list.slice(1).list.contains("system")


def prompt_ends_with_assistant() -> pl.Expr:
    """The last turn of the prompt is the assistant's own: the answer would go on in it."""
    return _roles("prompt").list.last() == "assistant"


def has_role(side: str, role: str) -> pl.Expr:
    """A turn of this role."""
    return _roles(side).list.contains(role)


def ends_with_user() -> pl.Expr:
    """The last turn of the prompt is the user's."""
    return _roles("prompt").list.last() == "user"


def not_alternating(*, tools: bool = False) -> pl.Expr:
    """After the system prompt, the turns of the prompt are not user, assistant, user, ..., user.

    With `tools`, a result of a tool stands where a user's turn may.
    """
    talk = _roles("prompt").list.eval(pl.element().filter(pl.element() != "system"))
    if tools:
        talk = talk.list.eval(pl.element().replace("tool", "user"))
    expected = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("user")).otherwise(pl.lit("assistant"))
    return (talk.list.len() % 2 == 0) | talk.list.eval(pl.element() != expected).list.any()


def repeated_role() -> pl.Expr:
    """Two turns of the user, or two of the assistant, follow each other in the prompt."""
    same = (pl.element() == pl.element().shift(1)) & pl.element().is_in(["user", "assistant"])
    return _roles("prompt").list.eval(same).list.any()


def first_by_assistant() -> pl.Expr:
    """The conversation begins with the assistant."""
    return _roles("prompt").list.first() == "assistant"


def earlier_answers() -> pl.Expr:
    """A turn of the assistant stands in the prompt."""
    return _roles("prompt").list.contains("assistant")


def answer_ends_with_call(side: str) -> pl.Expr:
    """The last turn of the answer calls tools."""
    return pl.col(side).list.last().struct.field("tool_calls").is_not_null()


TEMPLATE_WORDS = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n<|eot_id|><bos><start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n"
    "<s>[INST] [/INST]</s><|system|>\n<|user|>\n<|assistant|>\n"
)
"""What the usual chat templates say around turns: ChatML, Qwen, Llama 3, Gemma, Mistral, Zephyr."""


def answer_in_template(side: str) -> pl.Expr:
    """The text of the answer stands in TEMPLATE_WORDS."""
    text = pl.col(side).list.last().struct.field("content").str.strip_chars()
    return pl.lit(TEMPLATE_WORDS).str.contains(text, literal=True)


def tool_turns(*sides: str) -> pl.Expr:
    """Tool calls or turns of tools on any side."""
    return pl.any_horizontal([_roles(side).list.contains("tool") | tool_calls(side) for side in sides]).fill_null(False)


def tool_definitions() -> pl.Expr:
    """The row says which tools there are."""
    return pl.col("tools").is_not_null()


def tool_calls(side: str) -> pl.Expr:
    """A turn that calls tools."""
    calls = _calls(side).list.drop_nulls().list.len() > 0
    return screened(calls, (side,), lambda frame: screens.calls_tools(frame, side))


def text_beside_call(*sides: str) -> pl.Expr:
    """A turn that calls tools has text as well."""
    element = pl.element()
    both = element.struct.field("tool_calls").is_not_null() & (element.struct.field("content").str.len_bytes() > 0)
    found = pl.any_horizontal([pl.col(side).list.eval(both).list.any() for side in sides])
    return screened(found, sides, lambda frame: screens.calls_tools(frame, *sides))


def prompt_in_answer(*, text: bool) -> pl.Expr:
    """`chosen` begins with all turns of the prompt.

    With `text`, for sides that a file holds as plain text: the texts of both answers begin with that of the prompt.
    """
    turns = pl.col("chosen").list.head(pl.col("prompt").list.len()) == pl.col("prompt")
    first = [pl.col(side).list.first().struct.field("content") for side in ("prompt", "chosen")]
    repeated = screened(
        turns & (pl.col("prompt").list.len() > 0),
        ("prompt", "chosen"),
        lambda frame: frame.select(first[0].eq_missing(first[1])).to_series(),
    )
    return repeated | _prompt_text_in_answers() if text else repeated


REPEATED = 10
"""Characters from which on a prompt that both answers begin with is no chance ("Hi" and "Hi, ..." is)."""


def _prompt_text_in_answers() -> pl.Expr:
    """The texts of both answers begin with the text of the prompt's last turn."""
    text = pl.col("prompt").list.last().struct.field("content").str.strip_chars()
    begins = [
        pl.col(side).list.first().struct.field("content").str.strip_chars_start().str.starts_with(text)
        for side in ("chosen", "rejected")
    ]
    return (text.str.len_chars() >= REPEATED) & begins[0] & begins[1]


def images() -> pl.Expr:
    """The row has pictures."""
    return pl.col("images").list.len() > 0


def answer_images() -> pl.Expr:
    """A picture stands outside the prompt."""
    return pl.col("images").list.eval(pl.element().struct.field("side") != "prompt").list.any()


def image_count(*sides: str) -> pl.Expr:
    """In a row with pictures, their number is not that of the marks in the text."""
    marks = pl.sum_horizontal(
        [_contents(side).list.eval(pl.element().str.count_matches(MARK, literal=True)).list.sum() for side in sides]
    )
    return screened(
        marks != pl.col("images").list.len(), ("images", *sides), lambda frame: frame.select(images()).to_series()
    )


def literal_image_tag(*sides: str, tag: str = "<image>") -> pl.Expr:
    """A text or a tool call holds what the target reads as the place of a picture (or of other media)."""
    found = pl.element().str.contains(tag, literal=True).fill_null(False)
    told = pl.any_horizontal([one(side).list.eval(found).list.any() for side in sides for one in (_contents, _calls)])
    return screened(told, sides, lambda frame: screens.holds_text(frame, tag, *sides))


def answers(record_type: RecordType) -> dict[str, pl.Expr]:
    """What no target takes: rules that every writer applies to the answers and labels of this type."""
    found: dict[str, pl.Expr] = {}
    if record_type is RecordType.PREFERENCE:
        found["empty_answer"] = empty_answer("chosen") | empty_answer("rejected")
        found["equal_sides"] = equal_sides()
        found["answer_not_by_assistant"] = answer_not_by_assistant("chosen") | answer_not_by_assistant("rejected")
    elif record_type in (RecordType.SFT, RecordType.UNPAIRED):
        found["empty_answer"] = empty_answer("completion")
        found["answer_not_by_assistant"] = answer_not_by_assistant("completion")
    if record_type is RecordType.UNPAIRED:
        found["label_missing"] = label_missing()
    found["empty_prompt"] = empty_prompt()
    return found
