"""Pictures of rows: whether each opens, stands where the row says, and how much of the row's length it takes.

Every picture was opened and measured by the model's own processor when the rows were encoded (`trainers.vision`); here
it is told what came of it. Vision tools of the field open them when their batch comes up, hours into a run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from trainers.preflight.finding import Check, Finding, Levels, Severity
from trainers.preflight.seen import Seen, text_of
from trainers.processes import sharded
from trainers.rendering import encode_sides_of
from trainers.rows import read
from trainers.vision.blocks import MARK
from trainers.vision.processor import BROKEN, Looks, Picture, PictureError

ASPECT = 200
"""Qwen's processors raise beyond this ratio of a picture's sides (`smart_resize` of transformers)."""

NO_LIMIT = 1 << 60

REFUSED = re.compile(r" \(([a-z_]+)\)$")
"""How the address of a picture ends that the gate refused, where rows are examined outside a run."""

PLACEHOLDER = re.compile(
    r"<(?:image|img|video|image_soft_token|start_of_image|image_placeholder|fake_token_around_image|global-img)>"
    r"|<\|(?:image(?:_pad|_\d{1,3})?|video_pad|vision_(?:start|end|pad)|vision_bos|vision_eos)\|>|\[IMG(?:_END|_BREAK)?\]"
)
"""What tools and models write where a picture stands; none of it is one in a text."""

NOT_READ = Check(
    name="pictures_not_read",
    family="pictures",
    title="Rows have pictures, and this model reads text only",
    why="The answers speak of what the model never sees: it learns to make things up.",
    cure="Leave the rows with pictures out, or train a model that reads them",
    threads=("huggingface/trl#2091",),
    levels=Levels(critical=0.5, major=0),
)
NONE_GIVEN = Check(
    name="no_pictures",
    family="pictures",
    title="A vision-language model is given no row with a picture",
    why="It is trained as a text model: what it answers about pictures drifts, and nothing here would show it.",
    cure="Name the column of pictures (--column image=...), or start from a text model of the same family",
    threads=("hiyouga/LlamaFactory#5648",),
)
MIXED = Check(
    name="rows_without_pictures",
    family="pictures",
    title="Some rows have pictures and some have none",
    why="One process is fine with it. Where weights are shared out (ZeRO-3, FSDP), a batch without pictures on one of "
    "them leaves the vision tower out, and the others wait for it for ever.",
    cure="One kind of rows a stage, or DDP or ZeRO-2 on several devices",
    threads=(
        "QwenLM/Qwen3-VL#126",
        "deepspeedai/DeepSpeed#7170",
        "modelscope/ms-swift#3213",
        "hiyouga/LlamaFactory#5648",
    ),
)
LEFT_IN_TEXT = Check(
    name="picture_tags_in_text",
    family="pictures",
    title="A text spells a tag or token that stands for a picture",
    why="Here it stays text, which the model learns to read and write. Other trainers take it for one picture more "
    "than there are and stop in the middle of a run, or leave a picture out.",
    cure="Give the pictures in a column of their own, so that tags become places; or take the tags out",
    threads=("hiyouga/LlamaFactory#8734", "hiyouga/LlamaFactory#7696", "huggingface/trl#5904"),
    levels=Levels(major=0.05, minor=0),
)
MARK_ALONE = Check(
    name="mark_without_picture",
    family="pictures",
    title="A text has the mark of a picture (U+FFFC), and the row lists none",
    why="The picture was lost on the way, by a copy out of a word processor or a column that was not read; the "
    "question asks about nothing.",
    cure="Name the column of pictures when the rows are read, or take the marks out",
    levels=Levels(major=0.05, minor=0),
)
CUT = Check(
    name="pictures_cut",
    family="pictures",
    title="Pictures go with the older turns that are cut so that the row fits",
    why="The answer may speak of a picture that is not shown any more.",
    cure="max_length: {enough}  # the longest of them whole; or smaller pictures",
    threads=("StarsfieldAI/R1-V#161", "Liuziyu77/Visual-RFT#73"),
    levels=Levels(critical=0.5, major=0.02, minor=0),
)
CROWDED = Check(
    name="pictures_fill_max_length",
    family="pictures",
    title="Rows are dropped because their pictures leave no room for the text",
    why="The processor makes so many tokens of them that the row does not fit into max_length. TRL cuts them, and "
    "stops there: image features and image tokens do not match.",
    cure="max_length: {enough}; or fewer pixels (max_side in `pictures:`, max_pixels of the processor)",
    threads=("hiyouga/LlamaFactory#6911", "hiyouga/LlamaFactory#9119", "huggingface/trl#5904", "StarsfieldAI/R1-V#161"),
    levels=Levels(critical=0.5, major=0.02, minor=0),
)
NARROW = Check(
    name="picture_too_narrow",
    family="pictures",
    title=f"A picture is more than {ASPECT} times as long as it is wide, and the processor refuses it",
    why="Qwen's processors raise on it when its batch comes up; the row is dropped here.",
    cure="Cut such pictures or leave them out: the filter image_quality has bounds for their sides",
    threads=("2U1/Qwen-VL-Series-Finetune#133",),
    levels=Levels(critical=0.5, major=0.05, minor=0),
)
LINES = Check(
    name="picture_a_few_pixels_wide",
    family="pictures",
    title="A picture is fewer pixels high or wide than the processor makes one token of",
    why="It is blown up to the size of a token, so hardly anything is seen on it: icons, tracking pixels.",
    cure="Leave them out: the filter image_quality has bounds for their sides",
    threads=("ollama/ollama#11297",),
    levels=Levels(major=0.2, minor=0),
)

LOST = Levels(critical=0.1, major=0)

REASONS: Mapping[str, Check] = {
    "picture_missing": Check(
        name="picture_missing",
        family="pictures",
        title="A picture is not there, or was refused when it was looked at: the row is dropped",
        why="Other trainers open pictures when their batch comes up: one missing file ends a run after hours.",
        cure="Name the folder that pictures are in (pictures: root in a recipe), or put the files there",
        threads=("huggingface/trl#2091",),
        levels=LOST,
    ),
    "picture_broken": Check(
        name="picture_broken",
        family="pictures",
        title="A picture cannot be decoded whole, or the processor refuses it: the row is dropped",
        why="A truncated file opens and fails only where its pixels are read, in the middle of a run.",
        cure="Read the rows through the gate (prefdata run), which tells what is wrong with each file",
        levels=LOST,
    ),
    "pictures_misplaced": Check(
        name="pictures_misplaced",
        family="pictures",
        title="The places in the text and the pictures of the row do not fit each other: the row is dropped",
        why="With more places than pictures, or fewer, every later picture answers another question.",
        cure="prefdata convert DATA refuses such rows and says which; mend them at the source",
        threads=("hiyouga/LlamaFactory#8734", "hiyouga/LlamaFactory#7696"),
        levels=LOST,
    ),
    "picture_in_answer": Check(
        name="picture_in_answer",
        family="pictures",
        title="An answer shows a picture: the row is dropped",
        why="These models read pictures and write text; a picture that they are to answer with cannot be learned.",
        cure="Leave such rows out, or take the picture out of the answer",
        levels=LOST,
    ),
}
"""Reason of a dropped row -> what is said of it."""


def look(seen: Seen) -> Iterator[Finding]:
    """Findings about the pictures of the rows."""
    shown = _with_pictures(seen)
    yield from _texts(seen, shown)
    if seen.looks is None:
        if shown:
            yield NOT_READ.found(list(shown), seen.total)
        return
    if not shown:
        if seen.total:
            yield NONE_GIVEN.found([], seen.total, severity=Severity.MAJOR)
        return
    if len(shown) < seen.total:
        severity = Severity.MAJOR if sharded() else Severity.NOTE
        assert seen.frame is not None
        bare = [one for one in seen.frame["id"].to_list() if one not in shown]
        yield MIXED.found(bare, seen.total, severity=severity, with_pictures=len(shown))
    yield from _dropped(seen, seen.looks, shown)
    yield from _sizes(seen, seen.looks)


def figures(seen: Seen) -> dict[str, Any]:
    """How many pictures the rows have that are trained on, and how many tokens they take; nothing without any."""
    counts = [one.tokens for row in seen.rows.first for one in row.pictures]
    if not counts:
        return {}
    ranked = sorted(counts)
    whole = sum(seen.lengths)
    return {
        "pictures": {
            "count": len(counts),
            "rows": sum(bool(row.pictures) for row in seen.rows.first),
            "tokens_p50": ranked[len(ranked) // 2],
            "tokens_most": ranked[-1],
            "share_of_tokens": round(sum(counts) / max(whole, 1), 4),
        }
    }


def placed(seen: Seen, row: str) -> list[dict[str, Any]]:
    """The pictures of a row in order: address, size and tokens, or why it cannot be shown."""
    uris = _with_pictures(seen).get(row, [])
    if seen.looks is None:
        return [{"uri": uri, "reason": "text model"} for uri in uris]
    return [_told(seen.looks, uri) for uri in uris]


def _told(looks: Looks, uri: str) -> dict[str, Any]:
    found = _picture(looks, uri)
    if isinstance(found, PictureError):
        return {"uri": uri, "reason": found.reason}
    return {"uri": uri, "width": found.width, "height": found.height, "tokens": found.tokens}


def _picture(looks: Looks, uri: str) -> Picture | PictureError:
    try:
        return looks.picture(uri)
    except PictureError as error:
        return error


def _with_pictures(seen: Seen) -> dict[str, list[str]]:
    """Id of each row of the frame that has pictures -> their addresses."""
    if seen.frame is None or seen.frame.schema.get("images") in (None, pl.Null()):
        return {}
    found = seen.frame.select("id", "images").filter(pl.col("images").list.len() > 0)
    return {one: [image["uri"] or "" for image in images] for one, images in found.iter_rows()}


def _texts(seen: Seen, shown: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    tagged, alone = [], []
    for one, *sides in zip(seen.rows.ids, *seen.rows.sides.values(), strict=True):
        texts = [_said(turn) for turn in (*sides[0].prompt, *(turn for row in sides for turn in row.completion))]
        if any(PLACEHOLDER.search(text) for text in texts):
            tagged.append(one)
        if one not in shown and any(MARK in text for text in texts):
            alone.append(one)
    if tagged:
        yield LEFT_IN_TEXT.found(tagged, len(seen.rows))
    if alone:
        yield MARK_ALONE.found(alone, len(seen.rows))


def _said(message: Mapping[str, Any]) -> str:
    return text_of([message])


def _dropped(seen: Seen, looks: Looks, shown: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Findings about rows that were left out for their pictures."""
    total = seen.total
    for reason, check in REASONS.items():
        ids = list(seen.rows.lost.get(reason, ()))
        if reason == BROKEN:
            narrow = [one for one in ids if any(map(partial(_narrow, looks), shown.get(one, ())))]
            if narrow:
                yield NARROW.found(narrow, total)
            ids = [one for one in ids if one not in set(narrow)]
        if ids:
            refused = Counter(said[1] for one in ids for uri in shown.get(one, ()) if (said := REFUSED.search(uri)))
            yield check.found(ids, total, **({"refused": dict(refused.most_common())} if refused else {}))
    taken = {
        one: sum(known.tokens for known in (_picture(looks, uri) for uri in shown[one]) if isinstance(known, Picture))
        for one in seen.rows.lost.get("too_long", ())
        if one in shown
    }
    limit: int = seen.settings.max_length
    crowded = [one for one, tokens in taken.items() if tokens > limit // 2]
    if crowded:
        most = max(taken[one] for one in crowded)
        yield CROWDED.found(
            crowded, total, max_length=limit, most_picture_tokens=most, enough=_round(most + limit // 2)
        )


def _sizes(seen: Seen, looks: Looks) -> Iterator[Finding]:
    """Findings about rows that are trained on."""
    shown = _with_pictures(seen)
    cut, small = [], []
    edge = _token_side(looks)
    for one, row in zip(seen.rows.ids, seen.rows.first, strict=True):
        if len(row.pictures) < len(shown.get(one, ())):
            cut.append(one)
        if any(min(known.width, known.height) < edge for known in row.pictures):
            small.append(one)
    if cut:
        yield CUT.found(cut, len(seen.rows), enough=_round(_longest(seen, looks, cut)))
    if small:
        yield LINES.found(small, len(seen.rows), pixels=edge)


def _longest(seen: Seen, looks: Looks, ids: Sequence[str]) -> int:
    """Tokens of the longest of these rows uncut."""
    assert seen.frame is not None
    given = seen.frame.filter(pl.col("id").is_in(list(ids))).iter_rows(named=True)
    asked = [one for one in (read(row, seen.answers, looks) for row in given) if not isinstance(one, str)]
    whole = encode_sides_of(seen.tokenizer, asked, max_length=NO_LIMIT, system=seen.settings.system)
    sides = [one for row in whole if isinstance(row, list) for one in row]
    return max((len(one.prompt_ids) + len(one.completion_ids) for one in sides), default=0)


def _narrow(looks: Looks, uri: str) -> bool:
    """Whether a picture that the processor refused is sound, and only too long for its width."""
    if not isinstance(_picture(looks, uri), PictureError):
        return False
    try:
        width, height = looks.open(uri).size
    except PictureError:
        return False
    return max(width, height) > ASPECT * min(width, height)


def _token_side(looks: Looks) -> int:
    """Pixels of the side of what the processor makes one token of; 0 where it does not say."""
    pictures = looks.processor.image_processor
    size = getattr(pictures, "patch_size", None) or getattr(looks.processor, "patch_size", None)
    size = size.get("height") if isinstance(size, Mapping) else size
    return int(size or 0) * int(getattr(pictures, "merge_size", None) or 1)


def _round(tokens: int) -> int:
    """The next multiple of 64."""
    return -(-tokens // 64) * 64
