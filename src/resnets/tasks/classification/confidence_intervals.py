"""95 % intervals: how far a share that was measured on so many images can be trusted."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import beta, norm, t

LEVEL = 0.95
_DEVIATIONS = float(norm.ppf((1 + LEVEL) / 2))


def wilson(right: float, count: float) -> tuple[float, float]:
    """The interval of a share, right out of count (Wilson, JASA 22, 1927); (0, 1) when nothing was counted.

    Neither needs to be a whole number: fewer images than were counted widen the interval.
    """
    if count == 0:
        return 0.0, 1.0
    share, square = right / count, _DEVIATIONS**2 / count
    middle = (share + square / 2) / (1 + square)
    half = _DEVIATIONS * math.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return (0.0 if right == 0 else low), (1.0 if right == count else high)


def cross_fitted(right: float, choices: np.ndarray, effect: float = 1.0) -> tuple[float, float]:
    """The interval of the accuracy of a cross-fitted choice: Wilson's, widened for what ties the folds to each other.

    The images of one fold are judged by weights that the other folds have chosen, so that the accuracy over all folds
    is not flattered. But it varies more than that of as many independent images: a fold in which some epoch happens to
    look good helps to choose that epoch for all others, where it then happens to look good as well. Only images whose
    answer differs from epoch to epoch can do that. Let d be the share of the images on which two of the chosen epochs
    differ, on the average over the pairs of different ones. Where the answers of an image vary independently from epoch
    to epoch, the variance of all of them is d / 2 for each image; it counts twice here, which is what simulations give
    where no epoch is truly better than another (the worst case). The variance p (1 - p) of a Wilson interval becomes
    p (1 - p) / 0.9 + d / 2. The tenth stands for choices that d cannot see, since all folds made the same one, and for
    that the weights chosen by four folds are not always those chosen by five; alone it widens an interval by 5 %, so
    that what covers 95 % covers no more than 96.1 %.

    `tests/soak/coverage.py` measures the coverage of the printed intervals.

    Args:
        right: how many images are right, each by what the other folds chose.
        choices: bool (F, N), which images are right by the choice of each fold; equal rows are the same choice.
        effect: by how much fewer independent images there are (`design_effect`). The answers that differ from epoch to
            epoch are assumed to be tied to each other within a unit as much as the right ones are.
    """
    count, right = choices.shape[1] / effect, right / effect
    variance = (right + 2) * (count - right + 2) / (count + 4) ** 2  # never 0 (Agresti and Coull, 1998)
    rows = np.unique(choices, axis=0)
    pairs = [np.mean(rows[one] != rows[other]) for one in range(len(rows)) for other in range(one)]
    widening = 1 / 0.9 + (float(np.mean(pairs)) / 2 / variance if pairs else 0.0)
    return wilson(right / widening, count / widening)


def design_effect(right: np.ndarray, units: np.ndarray) -> float:
    """By how much the variance of a share is larger than that of as many independent images (Kish, Survey Sampling, 1965).

    Assumed is that the units are drawn independently, and nothing of the images within one. The variance is that of a
    ratio of sums over units (cluster-robust); with few units it is raised by the square of Student's quantile over the
    normal one. It is at least 1, and at most what it would be if each unit were a single image, many times
    (sum of the squared sizes over the number of images): 5 for units of 5 exact copies. That is taken where the share is 0
    or 1, from which no variance can be estimated. With one image in each unit it is 1.

    Args:
        right: bool (N,).
        units: int64 (N,), the same number for images of the same unit.
    """
    _, members, sizes = np.unique(units, return_inverse=True, return_counts=True)
    most, share, number = float(np.square(sizes).sum() / len(right)), right.mean(), len(sizes)
    if number < 2 or share in (0.0, 1.0):
        return most
    gaps = np.bincount(members, right - share)
    estimated = number / (number - 1) * float(np.square(gaps).sum()) / (len(right) * share * (1 - share))
    few = (float(t.ppf((1 + LEVEL) / 2, number - 1)) / _DEVIATIONS) ** 2
    return min(max(estimated, 1.0) * few, most)


def paired_difference(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """The interval of (share of b) - (share of a), both measured on the same images; it holds 0 exactly where McNemar's
    exact test finds no difference.

    The smallest interval that contains two: method 10 of Newcombe, Statistics in Medicine 17, 2635-2650 (1998), Wilson's
    intervals of the two shares, joined with their correlation; and the exact one of the images that only one of the two has
    right, their number taken as fixed (Clopper and Pearson, Biometrika 26, 1934), which inverts McNemar's exact test. For few
    such images the first alone leaves out 0 where the test shows nothing; where the second leaves out 0 and the first does not,
    the end of the second is taken.

    Args:
        both: images that both have right.
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
    low, high = _exact(only_a, only_b)
    discordant = (only_a + only_b) / count
    low, high = low * discordant, high * discordant
    least, most = min(difference - below, low), max(difference + above, high)
    return (low if least <= 0 < low else least), (high if high < 0 <= most else most)


def _exact(only_a: int, only_b: int) -> tuple[float, float]:
    """The exact interval of 2 theta - 1, theta being the share of b among the images that only one has right."""
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, only_b, only_a + 1)) if only_b else 0.0
    high = float(beta.ppf(1 - tail, only_b + 1, only_a)) if only_a else 1.0
    return 2 * low - 1, 2 * high - 1


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
