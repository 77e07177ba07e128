"""All checks: a new one is a line here."""

from __future__ import annotations

CHECKS = (
    "prefdata.auditing.form:EMPTY_ANSWER",
    "prefdata.auditing.form:EMPTY_PROMPT",
    "prefdata.auditing.form:ANSWER_NOT_BY_ASSISTANT",
    "prefdata.auditing.form:PROMPT_ENDS_WITH_ASSISTANT",
    "prefdata.auditing.form:NOT_ALTERNATING",
    "prefdata.auditing.form:CONTROL_TOKENS",
    "prefdata.auditing.form:BROKEN_CHARACTERS",
    "prefdata.auditing.pairs:EQUAL_SIDES",
    "prefdata.auditing.pairs:SAME_WORDS",
    "prefdata.auditing.pairs:PROMPT_IN_ANSWER",
    "prefdata.auditing.pairs:SMALL_MARGIN",
    "prefdata.auditing.pairs:REVERSED_PAIR",
    "prefdata.auditing.pairs:CYCLE",
    "prefdata.auditing.pairs:CROWDED_PROMPT",
    "prefdata.auditing.unary:CONTRADICTORY_LABELS",
    "prefdata.auditing.unary:CLASS_BALANCE",
    "prefdata.auditing.unary:LABEL_RUNS",
    "prefdata.auditing.duplicates:EXACT_DUPLICATES",
    "prefdata.auditing.duplicates:SPLIT_LEAK",
    "prefdata.auditing.near:NEAR_DUPLICATES",
    "prefdata.auditing.near:NEAR_PROMPTS",
    "prefdata.auditing.near:NEAR_EQUAL_SIDES",
    "prefdata.auditing.near:NEAR_CONTRADICTION",
    "prefdata.auditing.near:NEAR_SPLIT_LEAK",
    "prefdata.auditing.content:REFUSALS",
    "prefdata.auditing.content:SELF_NAMES",
    "prefdata.auditing.content:TEMPLATE_LEAKS",
    "prefdata.auditing.content:PLACEHOLDERS",
    "prefdata.auditing.content:BOILERPLATE",
    "prefdata.auditing.content:LINKS",
    "prefdata.auditing.toxic:TOXIC_ANSWERS",
)
"""`module:NAME` of every check, in the order in which they are read about."""
