"""Class weights for training on unpaired preferences, from the counts of the classes."""

from __future__ import annotations

from typing import NamedTuple

LOW, HIGH = 1.0, 4 / 3
"""Bounds of the weighted ratio desirable : undesirable. Ethayarajh et al., 2024, equation 8."""

MIDDLE = (LOW + HIGH) / 2

DECIMALS = 4


class Weights(NamedTuple):
    """KTO's two class weights, and the weighted ratio desirable : undesirable that they come to."""

    desirable: float
    undesirable: float
    ratio: float


def kto_weights(desirable: int, undesirable: int) -> Weights | None:
    """Weights that put desirable : undesirable between 1:1 and 4:3, raising only the rarer class.

    Counts already in the range get 1 and 1, others the middle of it. None where a class is missing: KTO needs both.
    """
    if desirable <= 0 or undesirable <= 0:
        return None
    ratio = desirable / undesirable
    if LOW <= ratio <= HIGH:
        return Weights(1.0, 1.0, round(ratio, DECIMALS))
    if ratio > HIGH:
        raised = round(ratio / MIDDLE, DECIMALS)
        return Weights(1.0, raised, round(ratio / raised, DECIMALS))
    raised = round(MIDDLE / ratio, DECIMALS)
    return Weights(raised, 1.0, round(raised * ratio, DECIMALS))
