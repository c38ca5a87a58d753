"""95 % intervals: how far a share that was measured on so many pictures can be trusted."""

from __future__ import annotations

import math

from scipy.stats import binomtest

LEVEL = 0.95


def wilson(right: int, count: int) -> tuple[float, float]:
    """The interval of a share, right out of count (Wilson, JASA 22, 1927); (0, 1) when nothing was counted."""
    if count == 0:
        return 0.0, 1.0
    found = binomtest(right, count).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def paired_difference(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """The interval of (share of b) - (share of a), both measured on the same pictures.

    Method 10 of Newcombe, Statistics in Medicine 17, 2635-2650 (1998): Wilson's intervals of the two shares, joined
    with their correlation.

    Args:
        both: pictures that both have right.
        only_a: those that only a has right.
        only_b: those that only b has right.
        neither: those that both have wrong.
    """
    count = both + only_a + only_b + neither
    if count == 0:
        return -1.0, 1.0
    share_a, share_b = (both + only_a) / count, (both + only_b) / count
    low_a, high_a = wilson(both + only_a, count)
    low_b, high_b = wilson(both + only_b, count)
    phi = _correlation(both, only_a, only_b, neither)
    below = _joined(share_b - low_b, high_a - share_a, phi)
    above = _joined(high_b - share_b, share_a - low_a, phi)
    difference = share_b - share_a
    return difference - below, difference + above


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """phi of the 2x2 table, with Newcombe's correction for continuity where it is positive."""
    sides = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if sides == 0:
        return 0.0
    product = float(both * neither - only_a * only_b)
    if product > 0:
        product = max(product - (both + only_a + only_b + neither) / 2, 0.0)
    return product / math.sqrt(sides)
