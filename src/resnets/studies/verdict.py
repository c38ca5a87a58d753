"""The verdict of a study: the interval of its statistic, compared with the bound that the claim sets.

All intervals of one study together are wrong with a probability of at most `ALPHA`: a study of seeds may be looked at with 3, 5
and 8 seeds, and each look has its part (`LOOKS`); several subjects, such as networks, divide the part of a look.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from resnets.errors import UserError

ALPHA = 0.05
LOOKS = {3: 0.01, 5: 0.01, 8: 0.03}  # number of seeds -> probability of an error at this look; their sum is ALPHA
SHOWN, NOT_SHOWN, OPPOSITE, UNDECIDED = "shown", "not shown", "opposite", "undecided"


class Interval(NamedTuple):
    """A mean or a difference of means, and its interval, from `num_values` values."""

    effect: float
    low: float
    high: float
    num_values: int


@dataclass(frozen=True)
class Rule:
    """What decides, written down before the study runs.

    Attributes:
        direction: "greater" or "less": the side of `bound` on which the statistic is if the claim is true.
        bound: the value that the statistic has, or passes, if the claim is false.
        smallest_effect: the smallest distance from `bound` that matters; "not shown" excludes it.
        least_count: the number of values below which nothing is decided.
        undecided_if: what else leaves a subject undecided, whatever its interval.
    """

    direction: str
    bound: float
    smallest_effect: float
    least_count: int
    undecided_if: str = ""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one subject. `reason` says why it is undecided; `confidence` is that of the interval."""

    word: str
    interval: Interval
    confidence: float
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The verdict for JSON; a number that is not finite is null."""
        numbers = {key: value if math.isfinite(value) else None for key, value in self.interval._asdict().items()}
        return asdict(self) | {"interval": numbers}


def alpha_of(seeds: int) -> float:
    """The probability of an error at the look with so many seeds.

    Raises:
        UserError: there is no look with so many.
    """
    if seeds not in LOOKS:
        raise UserError(f"`seeds` is 3, 5 or 8, between which a study may be extended; received {seeds}.")
    return LOOKS[seeds]


def mean_interval(values: np.ndarray, alpha: float) -> Interval:
    """The t interval of the mean of paired differences (n,), one for each seed or image."""
    count = len(values)
    if count < 2:
        return Interval(float(np.mean(values)) if count else math.nan, -math.inf, math.inf, count)
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(count)
    half = _t_quantile(alpha, count - 1) * error
    return Interval(mean, mean - half, mean + half, count)


def difference_interval(a: np.ndarray, b: np.ndarray, alpha: float) -> Interval:
    """Welch's interval of mean(a) - mean(b) for values that are not paired, such as those of the layers of two networks."""
    count, effect = min(len(a), len(b)), float(np.mean(a) - np.mean(b)) if len(a) and len(b) else math.nan
    if count < 2:
        return Interval(effect, -math.inf, math.inf, count)
    parts = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    total = float(sum(parts))
    if total == 0:
        return Interval(effect, effect, effect, count)
    # Welch and Satterthwaite: the degrees of freedom of two samples with different variances.
    freedom = total**2 / float(parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    half = _t_quantile(alpha, freedom) * math.sqrt(total)
    return Interval(effect, effect - half, effect + half, count)


def judge(interval: Interval, rule: Rule, alpha: float, obstacle: str = "") -> Verdict:
    """The verdict of an interval.

    *shown*: all of the interval is on the claim's side of the bound. *opposite*: all of it is on the other side. *not shown*:
    the bound is inside, and an effect as large as the smallest that matters is outside. *undecided*: all else.

    Args:
        obstacle: a reason why nothing can be decided, such as a control that failed.
    """
    sign = 1 if rule.direction == "greater" else -1
    near, far = sorted((sign * (interval.low - rule.bound), sign * (interval.high - rule.bound)))
    if not obstacle and not all(map(math.isfinite, interval)):
        obstacle = f"{interval.num_values} values give no interval"
    if not obstacle and interval.num_values < rule.least_count:
        obstacle = f"{interval.num_values} values are too few; at least {rule.least_count} are needed"
    if obstacle:
        return Verdict(UNDECIDED, interval, 1 - alpha, obstacle)
    if near > 0:
        return Verdict(SHOWN, interval, 1 - alpha)
    if far < 0:
        return Verdict(OPPOSITE, interval, 1 - alpha)
    if far < rule.smallest_effect:
        return Verdict(NOT_SHOWN, interval, 1 - alpha)
    wide = f"the interval includes both no effect and one of {rule.smallest_effect:g}, the smallest that matters"
    return Verdict(UNDECIDED, interval, 1 - alpha, wide)


def _t_quantile(alpha: float, freedom: float) -> float:
    from scipy.stats import t  # half a second of imports

    return float(t.ppf(1 - alpha / 2, freedom))
