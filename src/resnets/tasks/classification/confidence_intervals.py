"""95 % confidence intervals of accuracies and of their difference."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # scipy.stats has the same by other names, and takes a second to import

LEVEL = 0.95
HALVINGS = 50  # of the interval between an estimate and -1 or 1: its ends are exact to the last digits of a float64
_DEVIATIONS = float(special.ndtri((1 + LEVEL) / 2))


def wilson(num_correct: float, count: float) -> tuple[float, float]:
    """The interval of the proportion num_correct / count (Wilson, JASA 22, 1927); (0, 1) where count is 0.

    Neither needs to be a whole number: an effective count below the real one widens the interval.
    """
    if count == 0:
        return 0.0, 1.0
    proportion, square = num_correct / count, _DEVIATIONS**2 / count
    middle = (proportion + square / 2) / (1 + square)
    half = _DEVIATIONS * math.sqrt(proportion * (1 - proportion) / count + square / (4 * count)) / (1 + square)
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return (0.0 if num_correct == 0 else low), (1.0 if num_correct == count else high)


def cross_fitted(num_correct: float, choices: np.ndarray, effect: float = 1.0) -> tuple[float, float]:
    """The interval of the accuracy of a cross-fitted choice: Wilson's, widened for the dependence between the folds.

    The images of one fold are evaluated with the weights that were selected on the other folds, so that the accuracy over all
    folds is unbiased. But it varies more than that of as many independent images: a fold in which some epoch looks good by
    chance helps to select that epoch for all others, where it then looks good by chance as well. Only images whose prediction
    differs between epochs can do that. Let d be the fraction of images on which two of the selected epochs differ, on
    average over the pairs of different ones. Where the predictions for an image vary independently from epoch to epoch, the
    variance of all of them is d / 2 for each image; it counts twice here, which is what simulations give where no epoch is
    truly better than another (the worst case). The variance p (1 - p) of a Wilson interval becomes p (1 - p) / 0.9 + d / 2.
    The tenth accounts for selections that d does not show, since all folds made the same one, and for the difference between
    weights selected on four folds and on five; alone it widens an interval by 5 %, so that a coverage of 95 % becomes at most
    96.1 %.

    `tests/soak/coverage.py` measures the coverage of the printed intervals.

    Args:
        num_correct: number of images that are right, each by the choice of the other folds.
        choices: bool (F, N), which images are right by the choice of each fold; equal rows are the same choice.
        effect: the factor by which the number of independent images is smaller (`design_effect`). The predictions that
            differ between epochs are assumed to depend on each other within a cluster as much as the right ones do.
    """
    count, num_correct = choices.shape[1] / effect, num_correct / effect
    variance = (num_correct + 2) * (count - num_correct + 2) / (count + 4) ** 2  # never 0 (Agresti and Coull, 1998)
    rows = np.unique(choices, axis=0)
    pairs = [np.mean(rows[one] != rows[other]) for one in range(len(rows)) for other in range(one)]
    widening = 1 / 0.9 + (float(np.mean(pairs)) / 2 / variance if pairs else 0.0)
    return wilson(num_correct / widening, count / widening)


def design_effect(correct: np.ndarray, clusters: np.ndarray) -> float:
    """The factor of the variance of an accuracy over that of as many independent images (Kish, Survey Sampling, 1965).

    The clusters are assumed to be drawn independently; nothing is assumed about the images within one. The variance is that of
    a ratio of sums over clusters (cluster-robust); with few clusters it is multiplied by the square of Student's quantile over
    the normal one. The factor is at least 1, and at most that of clusters which are one image repeated (sum of the squared sizes
    over the number of images): 5 for clusters of 5 exact copies. The maximum is taken where the accuracy is 0 or 1, from which no
    variance can be estimated. With one image in each cluster it is 1.

    Args:
        correct: bool (N,).
        clusters: int64 (N,), the same number for images of the same cluster.
    """
    _, members, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    maximum, accuracy, num_clusters = float(np.square(sizes).sum() / len(correct)), correct.mean(), len(sizes)
    if num_clusters < 2 or accuracy in (0.0, 1.0):
        return maximum
    squares = float(np.square(np.bincount(members, correct - accuracy)).sum())
    estimate = num_clusters / (num_clusters - 1) * squares / (len(correct) * accuracy * (1 - accuracy))
    few_clusters = (float(special.stdtrit(num_clusters - 1, (1 + LEVEL) / 2)) / _DEVIATIONS) ** 2
    return min(max(estimate, 1.0) * few_clusters, maximum)


def paired_difference(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """The interval of (accuracy of b) - (accuracy of a) on the same images; it contains 0 exactly where McNemar's exact test
    finds no difference.

    The smallest interval that contains two: method 10 of Newcombe, Statistics in Medicine 17, 2635-2650 (1998), Wilson's
    intervals of the two accuracies, joined with their correlation; and the exact one of the images that only one of the two has
    right, their number taken as fixed (Clopper and Pearson, Biometrika 26, 1934), which inverts McNemar's exact test. For few
    such images the first alone excludes 0 where the test shows nothing; where the second excludes 0 and the first does not, the
    end of the second is taken.

    Args:
        both: images that both have right.
        only_a: those that only a has right.
        only_b: those that only b has right.
        neither: those that both have wrong.
    """
    count = both + only_a + only_b + neither
    if count == 0:
        return -1.0, 1.0
    accuracy_a, accuracy_b = (both + only_a) / count, (both + only_b) / count
    low_a, high_a = wilson(both + only_a, count)
    low_b, high_b = wilson(both + only_b, count)
    phi = _correlation(both, only_a, only_b, neither)
    below = _joined(accuracy_b - low_b, high_a - accuracy_a, phi)
    above = _joined(high_b - accuracy_b, accuracy_a - low_a, phi)
    difference = accuracy_b - accuracy_a
    low, high = _exact(only_a, only_b)
    discordant = (only_a + only_b) / count
    low, high = low * discordant, high * discordant
    least, most = min(difference - below, low), max(difference + above, high)
    return (low if least <= 0 < low else least), (high if high < 0 <= most else most)


def paired_score(only_a: ArrayLike, only_b: ArrayLike, count: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The score interval of (accuracy of b) - (accuracy of a) on the same images (Tango, Statistics in Medicine 17, 891-908,
    1998): the differences that the score test does not reject. Unlike Wald's, it holds its level for few discordant images, and
    is not empty where there are none.

    Args:
        only_a: images that only a has right; numbers or arrays of one shape, as the others.
        only_b: those that only b has right.
        count: all images, at least 1.

    Returns:
        The lower and the upper ends, float64.
    """
    won, lost, total = (np.asarray(each, dtype=np.float64) for each in (only_b, only_a, count))
    estimate = (won - lost) / total
    # The statistic decreases with the difference: the ends are where it is the normal quantile, and its negative.
    ends = []
    for outer, quantile in ((-1.0, _DEVIATIONS), (1.0, -_DEVIATIONS)):
        inner, far = estimate.copy(), np.full_like(estimate, outer)
        for _ in range(HALVINGS):
            middle = (inner + far) / 2
            accepted = np.abs(score_statistic(lost, won, total, middle)) < abs(quantile)
            inner, far = np.where(accepted, middle, inner), np.where(accepted, far, middle)
        ends.append(far)
    return ends[0], ends[1]


def score_statistic(only_a: ArrayLike, only_b: ArrayLike, count: ArrayLike, difference: ArrayLike) -> np.ndarray:
    """Tango's statistic of the hypothesis that (accuracy of b) - (accuracy of a) is `difference`, in standard deviations.

    The variance is that of the most likely probabilities for which the hypothesis holds, not of the observed ones.
    """
    lost, won, total, delta = (np.asarray(each, dtype=np.float64) for each in (only_a, only_b, count, difference))
    # The likelihood is maximal where 2 n q^2 + linear q + constant = 0; q is the probability that only a is right.
    linear = (2 * total + lost - won) * delta - lost - won
    constant = -lost * delta * (1 - delta)
    root = np.sqrt(np.maximum(linear**2 - 8 * total * constant, 0.0))
    only_a_right = np.maximum((root - linear) / (4 * total), np.maximum(-delta, 0.0))
    variance = total * np.maximum(2 * only_a_right + delta * (1 - delta), 0.0)
    distance = won - lost - total * delta
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / np.sqrt(variance))


def _exact(only_a: int, only_b: int) -> tuple[float, float]:
    """The exact interval of 2 theta - 1, where theta is the fraction of b among the images that only one has right."""
    tail = (1 - LEVEL) / 2
    low = float(special.betaincinv(only_b, only_a + 1, tail)) if only_b else 0.0
    high = float(special.betaincinv(only_b + 1, only_a, 1 - tail)) if only_a else 1.0
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
