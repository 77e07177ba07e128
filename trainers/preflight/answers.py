"""What is trained on: the tokens of the answers, how they end, and whether the prompt stands in them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from trainers.preflight.finding import Check, Finding, Levels, Severity
from trainers.preflight.seen import Seen, text_of
from trainers.rendering import Encoded

REPEATED_CHARS = 20
"""Shorter turns of a customer ("yes", "thank you") also begin an answer by chance."""

WITHOUT_END = Check(
    name="answer_without_end",
    family="answers",
    title="Answers do not end with an end token",
    why="Nothing teaches the model to stop: it goes on after its answer, usually with a customer's turn of its own.",
    cure="Take the chat template of the model's own release; it must close the assistant's turn with its end token",
    threads=("huggingface/trl#1623", "huggingface/alignment-handbook#127", "unslothai/unsloth#416"),
    levels=Levels(critical=0.5, major=0.01, minor=0),
)
OTHER_END = Check(
    name="other_end_token",
    family="template",
    title="The template ends answers with another token than the tokenizer's end token",
    why="The model learns to end with one token, and generation waits for another one: it never stops by itself.",
    cure="Set eos_token of the tokenizer, or eos_token_id in generation_config.json, to the token that ends turns",
    threads=("huggingface/alignment-handbook#127", "huggingface/trl#3091", "huggingface/open-r1#492"),
)
NOTHING_TRAINED = Check(
    name="nothing_trained",
    family="answers",
    title="No token of an answer is trained on",
    why="The loss of such a row is 0 or NaN, and it takes a place in its batch for nothing.",
    cure="Leave the rows out, or raise max_length",
    threads=("huggingface/trl#4879", "Yifan-Song793/ETO#14", "QwenLM/Qwen3#1522"),
    levels=Levels(critical=0.5, major=0),
)
ALL_TRAINED = Check(
    name="everything_trained",
    family="answers",
    title="Every token of a row is trained on, the prompt included",
    why="The model learns to write the customer's turns and the system prompt, not only to answer them.",
    cure="Give prompt and answer apart; a template whose prompt is no beginning of the whole chat cannot be masked",
    threads=("huggingface/trl#4879", "huggingface/trl#4147"),
    levels=Levels(critical=0.5, major=0),
)
HOLDS_PROMPT = Check(
    name="answer_begins_with_prompt_turns",
    family="answers",
    title="An answer begins with a turn that is not the assistant's",
    why="The prompt is given and stands in the answer again, or the split between them is wrong: the question is read "
    "twice, and most methods learn the customer's words.",
    cure="prefdata convert DATA --to trl (it parts prompt and answers), or cut the shared turns off the answers",
    threads=("huggingface/trl#1858", "huggingface/trl#6472"),
    levels=Levels(critical=0.1, major=0),
)
OTHER_TURNS = Check(
    name="answer_holds_other_turns",
    family="answers",
    title="An answer holds turns of the customer or of the system",
    why="All tokens of an answer are trained on: the model learns to speak for the customer too.",
    cure="End the answer with the first turn of the assistant, or make one row of each",
    threads=("huggingface/trl#1858",),
    levels=Levels(major=0.05, minor=0),
)
REPEATED = Check(
    name="prompt_repeated_in_answer",
    family="answers",
    title="An answer begins with the customer's last turn, word for word",
    why="The model learns to say the question again before it answers; often the prompt was pasted into the answer.",
    cure="Cut the prompt off the answers",
    threads=("huggingface/trl#6079", "huggingface/trl#1858"),
    levels=Levels(critical=0.5, major=0.02, minor=0),
)
LAST_TURN = Check(
    name="last_turn_not_the_assistants",
    family="answers",
    title="An answer does not end with a turn of the assistant",
    why="What is learned last is what the customer says.",
    cure="Drop what stands behind the assistant's last turn",
    threads=("huggingface/smol-course#260",),
    levels=Levels(critical=0.5, major=0.01, minor=0),
)


def look(seen: Seen) -> Iterator[Finding]:
    """Findings about the answers."""
    total = len(seen.rows)
    if not seen.answers or not total:
        return
    ends: Counter[int] = Counter()

    def endless(row: Encoded) -> bool:
        end = seen.end(row)
        if end is None or end not in seen.control:
            return True
        ends[end] += 1
        return False

    def repeated(row: Encoded) -> bool:
        said = text_of(row.prompt[-1:]).strip()
        return len(said) >= REPEATED_CHARS and text_of(row.completion).lstrip().startswith(said)

    tests: list[tuple[Check, Callable[[Encoded], bool]]] = [
        (WITHOUT_END, endless),
        (NOTHING_TRAINED, lambda row: not row.trained),
        (ALL_TRAINED, lambda row: bool(row.prompt) and not row.prompt_ids),
        (HOLDS_PROMPT, lambda row: row.completion[0]["role"] in ("user", "system")),
        (
            OTHER_TURNS,
            lambda row: (
                row.completion[0]["role"] not in ("user", "system")
                and not row.untrained
                and any(turn["role"] in ("user", "system") for turn in row.completion)
            ),
        ),
        (LAST_TURN, lambda row: row.completion[-1]["role"] != "assistant"),
        (REPEATED, repeated),
    ]
    for check, test in tests:
        ids = seen.any_side(test)
        if ids:
            yield check.found(ids, total)
    if ends:
        common, number = ends.most_common(1)[0]
        eos = seen.tokenizer.eos_token_id
        if common != eos and number >= 0.5 * ends.total():
            yield OTHER_END.found(
                [],
                total,
                severity=Severity.MINOR if eos is not None else Severity.MAJOR,
                answers_end_with=seen.tokenizer.convert_ids_to_tokens(common),
                eos_token=seen.tokenizer.eos_token,
            )


def trained_share(seen: Seen) -> dict[str, float]:
    """Share of the tokens that are trained on: of all, and the least and most of a row."""
    shares, trained, whole = [], 0, 0
    for side in seen.answers:
        for row in seen.rows.sides[side]:
            size = len(row.prompt_ids) + len(row.completion_ids)
            trained += row.trained
            whole += size
            shares.append(row.trained / max(size, 1))
    if not shares:
        return {}
    return {
        "of_all": round(trained / max(whole, 1), 4),
        "least": round(min(shares), 4),
        "most": round(max(shares), 4),
    }
