"""Which images go to which part, when copies and groups must stay together and every class be shared out fairly."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from resnets.data.datasets.dataset import Sample, Stored
from resnets.errors import UserError

TRAIN = "train"


@dataclass(frozen=True)
class Unit:
    """Images that must stay together: numbers of the images, and how many of them each class has."""

    key: str  # does not depend on names or on the order in which the files were found
    members: tuple[int, ...]
    labels: tuple[tuple[str, int], ...]


def units(hashes: Sequence[str], labels: Sequence[str], groups: Sequence[str | None]) -> list[Unit]:
    """Join images with the same bytes, and images of the same group, as far as that reaches."""
    above = list(range(len(hashes)))

    def top(number: int) -> int:
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, (digest, group) in enumerate(zip(hashes, groups, strict=True)):
        for mark in [("bytes", digest), *([("group", group)] if group is not None else [])]:
            above[top(number)] = top(first.setdefault(mark, number))
    members: dict[int, list[int]] = defaultdict(list)
    for number in range(len(hashes)):
        members[top(number)].append(number)
    return [
        Unit(
            key=min(hashes[number] for number in together),
            members=tuple(together),
            labels=tuple(sorted(Counter(labels[number] for number in together).items())),
        )
        for together in members.values()
    ]


def numbered(samples: Sequence[Sample]) -> np.ndarray:
    """int64 (N,), the number of the unit of each image; stored images of which nothing is known are one each."""
    if isinstance(samples, Stored):
        known = samples.contents()
        return np.arange(len(samples)) if known is None else _joined(*known)
    marks = [each.sha256 or f"path {each.path}" for each in samples]
    numbers = np.empty(len(samples), dtype=np.int64)
    for number, unit in enumerate(
        units(marks, [str(each.label) for each in samples], [each.group for each in samples])
    ):
        numbers[list(unit.members)] = number
    return numbers


def _joined(contents: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """As `units`, for so many images that each is a number only."""
    count, (grouped,) = len(contents), np.nonzero(groups)
    files, groups_in_order = (np.unique(each, return_inverse=True)[1] for each in (contents, groups[grouped]))
    # A graph of the images, their contents and their groups.
    images = np.concatenate([np.arange(count), grouped])
    marks = count + np.concatenate([files, count + groups_in_order])
    edges = coo_array((np.ones(len(images), dtype=bool), (images, marks)), shape=(3 * count, 3 * count))
    return connected_components(edges, directed=False)[1][:count].astype(np.int64)


def allot(pool: Sequence[Unit], fractions: Mapping[str, float], *, seed: int, folds: int = 0) -> dict[int, str]:
    """Give every image of the pool a bin: `train`, a name of `fractions`, or `fold 1` … `fold K`.

    Single images are shared out exactly: the parts have the size that their fractions ask for, rounded, and so has
    every class to less than one image. Larger units go, largest first, where they bring the class counts nearest to
    that (the idea of scikit-learn's StratifiedGroupKFold). A class that cannot be divided is in train as a whole. With
    `folds`, what the fractions leave is cut into K folds, and train holds the indivisible classes only.

    Raises:
        UserError: there are too few images, or too large groups, for every part to get one.
    """
    counts: Counter[str] = Counter()
    divisible: Counter[str] = Counter()
    for unit in pool:
        for label, count in unit.labels:
            counts[label] += count
            divisible[label] += 1
    room = {label: count - 1 if divisible[label] > 1 else 0 for label, count in counts.items()}
    targets: dict[str, dict[str, int]] = {TRAIN: dict(counts)}
    for part, fraction in fractions.items():
        targets[part] = _quotas(counts, fraction, room, f"{seed} {part}")
        for label, quota in targets[part].items():
            room[label] -= quota
            targets[TRAIN][label] -= quota
    if folds:
        targets |= _fold_targets(targets[TRAIN], divisible, folds)
    given = _greedy(sorted(pool, key=lambda unit: (-len(unit.members), _key(seed, unit.key))), counts, targets)
    _mend(pool, given, [bin_ for bin_ in targets if bin_ != TRAIN])
    return {
        number: bin_
        for unit, bin_ in zip(pool, (given[unit.key] for unit in pool), strict=True)
        for number in unit.members
    }


def _quotas(counts: Mapping[str, int], fraction: float, room: Mapping[str, int], salt: str) -> dict[str, int]:
    """Whole numbers near `fraction` of each class that add up to `fraction` of all (largest remainders first)."""
    total = max(round(fraction * sum(counts.values())), 1 if fraction > 0 else 0)
    quotas = {label: min(int(fraction * count), room[label]) for label, count in counts.items()}
    missing = total - sum(quotas.values())
    for label in sorted(counts, key=lambda each: (-(fraction * counts[each] % 1), _key(salt, each))):
        if missing > 0 and quotas[label] < room[label]:
            quotas[label] += 1
            missing -= 1
    return quotas


def _fold_targets(left: dict[str, int], divisible: Mapping[str, int], folds: int) -> dict[str, dict[str, int]]:
    """An equal share of every divisible class for each fold; they are taken out of `left`."""
    targets: dict[str, dict[str, int]] = {f"fold {number}": {} for number in range(1, folds + 1)}
    dealt = 0  # the remainders of one class go on where those of the class before ended, so that all folds are as large
    for label in sorted(left):
        if divisible[label] < 2:
            continue
        share, rest = divmod(left[label], folds)
        for turn, fold in enumerate(targets.values()):
            fold[label] = share + ((turn - dealt) % folds < rest)
        dealt += rest
        left[label] = 0
    return targets


def _greedy(
    ordered: Sequence[Unit], counts: Mapping[str, int], targets: Mapping[str, Mapping[str, int]]
) -> dict[str, str]:
    """Each unit to the bin where it lowers the squared distance to the targets most; classes weigh alike."""
    have: dict[str, Counter[str]] = {bin_: Counter() for bin_ in targets}
    given: dict[str, str] = {}
    for unit in ordered:

        def rise(bin_: str, unit: Unit = unit) -> float:
            return sum(
                count * (2 * (have[bin_][label] - targets[bin_].get(label, 0)) + count) / counts[label]
                for label, count in unit.labels
            )

        best = min(targets, key=rise)
        given[unit.key] = best
        have[best].update(dict(unit.labels))
    return given


def _mend(pool: Sequence[Unit], given: dict[str, str], wanted: Sequence[str]) -> None:
    """Move units where large groups left a part empty, or a class without anything to learn from."""
    small = sorted(pool, key=lambda unit: (len(unit.members), unit.key))

    def learnable(label: str, without: Unit | None = None) -> bool:
        """Whether the class has images to train on whichever fold is held out."""
        places = {given[unit.key] for unit in holders[label] if unit is not without}
        return TRAIN in places or len({place for place in places if place.startswith("fold ")}) > 1

    holders: dict[str, list[Unit]] = defaultdict(list)
    for unit in small:
        for label, _ in unit.labels:
            holders[label].append(unit)
    for label in sorted(holders):
        if not learnable(label):
            given[holders[label][0].key] = TRAIN
    for bin_ in wanted:
        if bin_ in given.values():
            continue
        sizes = Counter(given.values())
        for unit in small:
            if sizes[given[unit.key]] > 1 and all(learnable(label, without=unit) for label, _ in unit.labels):
                given[unit.key] = bin_
                break
        else:
            raise UserError(
                f"There are too few images for a part '{bin_}': copies and groups stay together, which leaves "
                f"{len(pool):,} to divide, and every class needs some in train."
            )


def _key(salt: object, name: str) -> str:
    return hashlib.sha256(f"{salt} {name}".encode()).hexdigest()
