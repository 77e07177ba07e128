"""How bad it is that records gave no row, by the reason."""

from __future__ import annotations

from prefdata.auditing.finding import Levels

BROKEN = Levels(critical=0.2, major=0.005, minor=0)
"""What should have been a row."""

LEFT_OUT = Levels(minor=0.05)
"""What is sound and yet gives none: most of what it costs is rows."""

SOUND = frozenset(
    {
        "abstained",
        "ancestor_deleted",
        "ancestor_not_reviewed",
        "deleted",
        "low_agreement",
        "low_confidence",
        "margin_below_min",
        "neutral_rating",
        "no_pair",
        "no_rank",
        "no_rating",
        "not_reviewed",
        "other_feedback",
        "repeated_comparison",
        "not_drawn",
        "only_answer",
        "repeated",
        "split_votes",
        "tie",
        "tied_rank",
        "tied_rating",
        "tied_verdict",
        "undesirable",
    }
)
"""Reasons of records that say nothing wrong: ties, deleted messages, comparisons made twice."""


def levels(reason: str) -> Levels:
    """The levels of a finding of the family `reading`."""
    return LEFT_OUT if reason in SOUND else BROKEN
