"""What plain TRL would do with the same rows: the start kept and the rest cut off, forged markers read, order as given.

As TRL 1.16 does in DPOTrainer, KTOTrainer, SFTTrainer and RewardTrainer; tools built on it (LLaMA-Factory, ms-swift,
Axolotl) differ in details and share most of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from prefdata.balance import HIGH, LOW
from prefdata.schema import RecordType
from trainers.control import control_of
from trainers.preflight.finding import Check, Finding, Levels, Severity
from trainers.preflight.labels import in_batches, longest_run, single_class
from trainers.preflight.lengths import figures as length_figures
from trainers.preflight.pictures import REASONS as SHOWN_REASONS
from trainers.preflight.seen import Seen
from trainers.preflight.texts import forging
from trainers.rendering import Encoded, TemplateError, encode_sides_of, messages_of, plain_chats, shared_prefix
from trainers.rows import ANSWERS

NO_LIMIT = 1 << 60
DROPS_LONG = frozenset({"reward"})
"""Methods of which TRL drops rows with a side over max_length; the others cut."""

DROPPED = Check(
    name="row_dropped",
    family="rows",
    view="trl",
    title="TRL drops the row without a word",
    why="Its prompt alone fills max_length (or, for a reward model, a side is longer): nothing of the answer is left. "
    "When all rows go this way the error is `num_samples=0`.",
    cure="max_length: {enough}  # {covers}; or let prefdata train: it cuts older turns instead",
    threads=("modelscope/ms-swift#5712", "huggingface/trl#3382"),
    levels=Levels(critical=0.5, major=0.05, minor=0),
)
END_CUT = Check(
    name="end_token_cut",
    family="answers",
    view="trl",
    title="TRL cuts the end of an answer off, its end token with it",
    why="The model is trained on answers that stop in the middle and never end: it learns not to stop.",
    cure="max_length: {enough}  # {covers}; or let prefdata train: it never cuts an answer",
    threads=("huggingface/trl#3382", "huggingface/trl#1623", "hiyouga/LlamaFactory#4617"),
    levels=Levels(critical=0.3, major=0.02, minor=0),
)
ONE_SIDE = Check(
    name="one_side_cut",
    family="answers",
    view="trl",
    title="TRL cuts one side of a pair and not the other",
    why="A whole answer is compared with a stump: what is learned is to prefer whole answers.",
    cure="max_length: {enough}  # {covers}; or leave such pairs out",
    threads=("hiyouga/LlamaFactory#4617", "huggingface/trl#3382"),
    levels=Levels(critical=0.3, major=0.02, minor=0),
)
EQUAL_CUT = Check(
    name="equal_after_truncation",
    family="answers",
    view="trl",
    title="Nothing is left by which the sides of a pair differ",
    why="They differ beyond max_length only: the loss of the pair is ln 2 for ever, its gradient 0.",
    cure="max_length: {enough}  # {covers}; or leave such pairs out",
    threads=("Yifan-Song793/ETO#14",),
    levels=Levels(critical=0.3, major=0.005, minor=0),
)
EQUAL = Check(
    name="equal_sides_trained",
    family="answers",
    view="trl",
    title="TRL trains on pairs whose sides are equal",
    why="They have no gradient and lower the accuracy: it is a strict `greater than`.",
    cure="prefdata convert DATA --to trl leaves them out",
    threads=("Yifan-Song793/ETO#14",),
    levels=Levels(major=0.05, minor=0),
)
FORGED = Check(
    name="text_becomes_control_tokens",
    family="texts",
    view="trl",
    title="TRL reads control tokens out of texts",
    why="It renders text and markers into one string: what a customer wrote ends turns and opens others, and answers "
    "are trained with it.",
    cure="prefdata convert DATA --to trl --control-tokens escape; or let prefdata train: they stay text",
    levels=Levels(critical=0.2, major=0),
)
DIFFER = Check(
    name="ids_differ_from_plain",
    family="texts",
    title="The ids of the row differ from those that a plain template gives",
    why="Edges of texts are stripped here, forged control tokens stay text; elsewhere the rows are the same ids.",
    cure="Nothing; to compare runs with TRL's, strip the texts first",
)
ORDER = Check(
    name="labels_in_blocks",
    family="batches",
    view="trl",
    title="TRL reads KTO rows in the order of the file, and labels stand in blocks there",
    why="KTO's sampler is sequential: micro-batches of one label have no margin, and their KL term comes from answers "
    "of one kind. Paired data, which TRL unpairs by the thousand, always ends like this.",
    cure="prefdata convert DATA --to trl interleaves labels; or let prefdata train",
    threads=("huggingface/trl#1911", "modelscope/ms-swift#2941"),
    levels=Levels(critical=0.8, major=0.3, minor=0.05),
)
PAIRED = Check(
    name="pairs_for_kto",
    family="batches",
    view="trl",
    title="Pairs are given to KTO",
    why="TRL unpairs them in batches of 1,000 rows: 1,000 desirable ones, then 1,000 undesirable ones, read in order. "
    "Micro-batches hold one label only, the loss stays at 0.5 and no margins are logged.",
    cure="prefdata convert DATA --to trl --type unpaired, or train DPO",
    threads=("huggingface/trl#1911",),
)
TAIL = Check(
    name="tail_batch_of_one",
    family="batches",
    view="trl",
    title="The last micro-batch has one row",
    why="TRL pairs its prompt with its own answer: the KL estimate of that step is the reward itself.",
    cure="Leave one row out, or another per_device_batch; prefdata leaves short batches out",
    threads=("huggingface/trl#1911",),
)
TWINS = Check(
    name="equal_answers_in_a_batch",
    family="batches",
    view="trl",
    title="Answers of one micro-batch are equal, in TRL's order",
    why="A prompt is paired with an answer like its own to estimate the KL term.",
    cure="Drop duplicates; or let prefdata train: it moves them apart",
    threads=("huggingface/trl#1911",),
    levels=Levels(major=0.2, minor=0.02),
)
PICTURES = Check(
    name="pictures_opened_late",
    family="pictures",
    view="trl",
    title="TRL stops when it comes to a row whose pictures it cannot show",
    why="Its collator opens pictures when their batch comes up: a file that is not there or broken, one that the "
    "processor refuses, more or fewer pictures than places end the run in the middle.",
    cure="prefdata run reads the rows through its gate and leaves them out; or mend them at the source",
    threads=("hiyouga/LlamaFactory#8734", "hiyouga/LlamaFactory#6911", "2U1/Qwen-VL-Series-Finetune#133"),
)
TOKENS = Check(
    name="text_becomes_a_picture",
    family="pictures",
    view="trl",
    title="TRL takes a token spelled in a text for one picture more, and stops",
    why="Its processor widens every spelling of the token for a picture: more places than pictures end the run there.",
    cure="prefdata convert DATA --to trl --control-tokens escape; or let prefdata train: they stay text",
    threads=("hiyouga/LlamaFactory#8734", "hiyouga/LlamaFactory#7696"),
)
WEIGHTS = Check(
    name="weights_of_one",
    family="labels",
    view="trl",
    title="TRL weighs both classes 1.0, and the counts are uneven",
    why="Weighted counts outside 1:1 to 4:3 pull KTO to one side (equation 8 of its paper). TRL warns once.",
    cure="desirable_weight={desirable}, undesirable_weight={undesirable} in KTOConfig; prefdata sets them itself",
    threads=("huggingface/trl#1447",),
)


class Side(NamedTuple):
    """An answer with its prompt, as TRL makes them: uncut."""

    prompt: list[int]
    answer: list[int]


class Plain(NamedTuple):
    """Rows as TRL makes them."""

    ids: list[str]
    sides: list[list[Side]]
    """Of each row, its answers; or, for prompts, the prompt with an empty answer."""
    labels: list[bool]
    differ: list[str]
    """Ids of the rows whose token ids are not ours, cutting aside."""
    forged: list[str]
    """Ids of those in which a text became a control token."""


def plain(seen: Seen) -> Plain:
    """All rows of the frame as TRL encodes them, but those that the template refuses and those without a label.

    What our rows hold already is not encoded again, unless a text of the row spells a control token or has blanks at
    its edges. Rows with pictures are taken as they are here, since TRL's processor does the same of sound ones.
    """
    assert seen.frame is not None
    control = control_of(seen.tokenizer)
    answers = ANSWERS[seen.type]
    known = {one: at for at, one in enumerate(seen.rows.ids)}
    system = seen.settings.system
    frame = seen.frame
    if "label" in frame.columns:
        frame = frame.filter(frame["label"].is_not_null())
    labels = frame["label"].to_list() if "label" in frame.columns else []
    found: list[list[Side] | None] = []
    anew: list[tuple[int, list[dict[str, Any]], list[list[dict[str, Any]]]]] = []
    for at, row in enumerate(frame.select("id", "prompt", "images", *answers).iter_rows(named=True)):
        place = known.get(row["id"])
        texts = [turn["content"] or "" for side in ("prompt", *answers) for turn in row[side]]
        odd = any(text != text.strip() or _spells(control, text) for text in texts)
        ours = [side[place] for side in seen.rows.sides.values()] if place is not None else []
        if row["images"] and seen.looks is not None:
            found.append([Side(one.prompt_ids, one.completion_ids) for one in ours] or None)
            continue
        if ours and not odd and not ours[0].turns_cut:
            found.append([Side(one.prompt_ids, one.completion_ids) for one in ours])
            continue
        found.append(None)
        anew.append((at, messages_of(row["prompt"]), [messages_of(row[side]) for side in answers]))
    differ, forged = _encoded(seen, anew, found, system)
    ids = frame["id"].to_list()
    kept = [at for at, sides in enumerate(found) if sides is not None]
    return Plain(
        [ids[at] for at in kept],
        [found[at] or [] for at in kept],
        [bool(labels[at]) for at in kept] if labels else [],
        [ids[at] for at in differ],
        [ids[at] for at in forged],
    )


def look(seen: Seen, rows: Plain) -> Iterator[Finding]:
    """Findings about rows as TRL would train them."""
    limit, total = seen.settings.max_length, len(rows.ids)
    if not total:
        return
    yield from _pictures(seen)
    batch = seen.settings.per_device_batch
    if seen.type is RecordType.PREFERENCE and seen.method == "kto":
        yield PAIRED.found([], total, severity=Severity.CRITICAL)
    if rows.forged:
        yield FORGED.found(rows.forged, total)
    if seen.type is not RecordType.PROMPT:
        yield from _cut(seen, rows, limit, total)
    if seen.method == "kto" and rows.labels and len(set(rows.labels)) == 2:
        yield from _batches(seen, rows, batch)


def _pictures(seen: Seen) -> Iterator[Finding]:
    """Rows at which TRL would stop: of KTO, which reads them in order, after how many updates."""
    if seen.looks is None or seen.frame is None:
        return
    stopping = {one for reason in SHOWN_REASONS for one in seen.rows.lost.get(reason, ())}
    order = seen.frame["id"].to_list()
    found = [one for one in order if one in stopping]
    if found:
        batch = seen.settings.per_device_batch * seen.settings.gradient_accumulation
        told = {"updates_before": order.index(found[0]) // batch} if seen.method == "kto" else {}
        yield PICTURES.found(found, len(order), severity=Severity.CRITICAL, **told)
    with_pictures = {one for one, row in zip(seen.rows.ids, seen.rows.first, strict=True) if row.pictures}
    spelled = [one for one in forging(seen, seen.looks.token)[0] if one in with_pictures]
    if spelled:
        yield TOKENS.found(spelled, len(order), severity=Severity.CRITICAL)


def differing(rows: Plain) -> Iterator[Finding]:
    """How many rows have other ids than the plain template gives: texts with blanks at their edges, forged markers."""
    if rows.differ:
        blanks = len(rows.differ) - len(rows.forged)
        yield DIFFER.found(rows.differ, len(rows.ids), forged=len(rows.forged), blanks_at_edges=blanks)


def figures(seen: Seen, rows: Plain) -> dict[str, Any]:
    """Lengths of the whole rows, and what TRL would train of them at max_length."""
    limit = seen.settings.max_length
    lengths = [max(len(one.prompt) + len(one.answer) for one in sides) for sides in rows.sides]
    trained = sum(max(0, min(len(one.answer), limit - len(one.prompt))) for sides in rows.sides for one in sides)
    answers = sum(len(one.answer) for sides in rows.sides for one in sides)
    return {
        "lengths": length_figures(lengths, limit),
        "answer_tokens_trained": round(trained / max(answers, 1), 4),
        "ids_differ": len(rows.differ),
        "rows": len(rows.ids),
    }


def _cut(seen: Seen, rows: Plain, limit: int, total: int) -> Iterator[Finding]:
    lengths = [[len(one.prompt) + len(one.answer) for one in sides] for sides in rows.sides]
    told = length_figures([max(one) for one in lengths], limit)
    p99, longest = told["p99"], told["longest"]
    enough: dict[str, Any] = (
        {"enough": p99, "covers": "99 % of the rows"} if p99 > limit else {"enough": longest, "covers": "all rows"}
    )
    if seen.method in DROPS_LONG:
        gone = [max(one) > limit for one in lengths]
    else:
        gone = [len(sides[0].prompt) >= limit for sides in rows.sides]
    cut = [[size > limit and not lost for size in one] for one, lost in zip(lengths, gone, strict=True)]
    pair = seen.type is RecordType.PREFERENCE
    left = [[one.answer[: max(0, limit - len(one.prompt))] for one in sides] for sides in rows.sides]
    whole = [pair and sides[0].answer == sides[1].answer for sides in rows.sides]
    same = [
        pair and not lost and not equal and one[0] == one[1] for one, lost, equal in zip(left, gone, whole, strict=True)
    ]
    for check, flags in (
        (DROPPED, gone),
        (END_CUT, [any(one) for one in cut]),
        (ONE_SIDE, [pair and any(one) and not all(one) for one in cut]),
        (EQUAL_CUT, same),
        (EQUAL, whole),
    ):
        ids = [one for one, flag in zip(rows.ids, flags, strict=True) if flag]
        if ids:
            yield check.found(ids, total, max_length=limit, **enough)


def _batches(seen: Seen, rows: Plain, batch: int) -> Iterator[Finding]:
    total = len(rows.ids)
    count = -(-total // batch)
    good = sum(rows.labels)
    single, mixed = single_class(rows.labels, batch), good / total
    # so many come by chance where labels are in random order
    chance = mixed**batch + (1 - mixed) ** batch
    if single / count > max(2 * chance, 0.02):
        yield ORDER.found(
            [], count, count=single, longest_run=longest_run(rows.labels), per_device_batch=batch, batches=count
        )
    if total % batch == 1:
        yield TAIL.found([rows.ids[-1]], total, severity=Severity.MINOR, per_device_batch=batch)
    twins = in_batches(range(total), [str(sides[0].answer) for sides in rows.sides], batch)
    if twins:
        yield TWINS.found([rows.ids[at] for at in twins], total)
    ratio = good / max(total - good, 1)
    if not LOW <= ratio <= HIGH:
        from prefdata.balance import kto_weights

        weights = kto_weights(good, total - good)
        assert weights is not None
        severity = Severity.MAJOR if not 0.5 <= ratio <= 2 * HIGH else Severity.MINOR
        told: dict[str, Any] = {"desirable": weights.desirable, "undesirable": weights.undesirable}
        yield WEIGHTS.found([], total, severity=severity, ratio=round(ratio, 3), **told)


def _encoded(
    seen: Seen,
    anew: Sequence[tuple[int, list[dict[str, Any]], list[list[dict[str, Any]]]]],
    found: list[list[Side] | None],
    system: str | None,
) -> tuple[list[int], list[int]]:
    """Fills `found`; positions of the rows whose ids are not ours, and of those in which a text became a marker."""
    control = control_of(seen.tokenizer)
    jobs: list[tuple[list[dict[str, Any]], bool]] = []
    for _, prompt, answers in anew:
        asked = _asked(prompt, system)
        jobs += [([*asked, *answer], False) for answer in answers]
        jobs.append((asked, True))
    ids = iter(plain_chats(seen.tokenizer, jobs))
    ours = encode_sides_of(
        seen.tokenizer, [(prompt, answers) for _, prompt, answers in anew], max_length=NO_LIMIT, system=system
    )
    differ, forged = [], []
    for (at, _, answers), own in zip(anew, ours, strict=True):
        *whole, asked_ids = [next(ids) for _ in range(len(answers) + 1)]
        if isinstance(asked_ids, TemplateError) or any(isinstance(one, TemplateError) for one in whole):
            continue
        sides = [one for one in whole if not isinstance(one, TemplateError)] or [asked_ids]
        size = min(shared_prefix(asked_ids, one) for one in sides)
        found[at] = [Side(one[:size], one[size:]) for one in sides]
        if isinstance(own, TemplateError) or own is None:
            differ.append(at)
            forged.append(at)
        elif _joined(own) != sides:
            differ.append(at)
            if [control.sequence(one) for one in _joined(own)] != [control.sequence(one) for one in sides]:
                forged.append(at)
    return differ, forged


def _joined(own: Sequence[Encoded]) -> list[list[int]]:
    return [one.prompt_ids + one.completion_ids for one in own]


def _asked(prompt: list[dict[str, Any]], system: str | None) -> list[dict[str, Any]]:
    if system is None or any(turn["role"] == "system" for turn in prompt):
        return prompt
    return [{"role": "system", "content": system}, *prompt]


def _spells(control: Any, text: str) -> bool:
    return control.spellings is not None and control.spellings.search(text) is not None
