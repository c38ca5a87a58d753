"""Stratified split of groups: assign images to splits so that duplicates and groups stay together.

The assignment depends on the seed, on the SHA-256 of the files and on every tie-break here: a change of any of them moves
images between train, val and test for every seed.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from resnets.data.datasets.dataset import IndexedSamples, Sample
from resnets.errors import UserError

TRAIN = "train"
MAX_ROUNDS = 5
NO_CLASS = ""  # of images without a label: they are divided by the same fractions, but need not be in train


@dataclass(frozen=True)
class Cluster:
    """Images that stay together."""

    key: str  # a name that does not depend on file names or on the order in which the files were found
    members: tuple[int, ...]  # the indices of the images
    # Each class with its number of labels: an image counts once for each of its classes, or each of its objects, and one of none
    # for NO_CLASS.
    labels: tuple[tuple[str, int], ...]


def find_clusters(
    sha256s: Sequence[str], labels: Sequence[Collection[str]], groups: Sequence[str | None]
) -> list[Cluster]:
    """Join images with equal bytes and images of one group; transitively.

    Args:
        labels: the classes of each image, or of each of its objects.
    """
    contents, with_group = _numbers(sha256s), [group for group in groups if group is not None]
    numbers = iter(_numbers(with_group))
    clusters = _connected_clusters(
        np.array(contents, dtype=np.int64),
        np.array([0 if group is None else next(numbers) for group in groups], dtype=np.int64),
    )
    members: dict[int, list[int]] = defaultdict(list)
    for index, cluster in enumerate(clusters.tolist()):
        members[cluster].append(index)
    return [
        Cluster(
            key=min(sha256s[index] for index in indices),
            members=tuple(indices),
            labels=tuple(sorted(Counter(name for index in indices for name in labels[index] or (NO_CLASS,)).items())),
        )
        for indices in members.values()
    ]


def cluster_indices(samples: Sequence[Sample]) -> np.ndarray:
    """int64 (N,): the index of each image's cluster."""
    if isinstance(samples, IndexedSamples):
        return _connected_clusters(*samples.contents_and_groups())
    keys = [sample.sha256 or f"path {sample.path}" for sample in samples]
    clusters = find_clusters(keys, [()] * len(samples), [sample.group for sample in samples])
    indices = np.empty(len(samples), dtype=np.int64)
    for cluster_index, cluster in enumerate(clusters):
        indices[list(cluster.members)] = cluster_index
    return indices


def _numbers(keys: Sequence[str]) -> list[int]:
    """Each key as a number from 1; equal keys have equal numbers."""
    known: dict[str, int] = {}
    return [known.setdefault(key, len(known) + 1) for key in keys]


def _connected_clusters(contents: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The cluster of each image: connected components of a graph of images, contents and groups; 0 is no group."""
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    count, (grouped,) = len(contents), np.nonzero(groups)
    content_indices, group_indices = (
        np.unique(values, return_inverse=True)[1] for values in (contents, groups[grouped])
    )
    images = np.concatenate([np.arange(count), grouped])
    nodes = count + np.concatenate([content_indices, count + group_indices])
    edges = coo_array((np.ones(len(images), dtype=bool), (images, nodes)), shape=(3 * count, 3 * count))
    return connected_components(edges, directed=False)[1][:count].astype(np.int64)


def assign_splits(
    clusters: Sequence[Cluster], fractions: Mapping[str, float], *, seed: int, folds: int = 0
) -> dict[int, str]:
    """Assign every image of the clusters to `train`, to a name of `fractions`, or to `fold 1` … `fold K`.

    Single images are divided exactly: the splits have the size that their fractions ask for, rounded, and so has every
    class to less than one image. Larger clusters go, largest first, where they bring the class counts closest to that (the
    idea of scikit-learn's StratifiedGroupKFold). A class that cannot be divided is in train as a whole. With `folds`, what
    the fractions leave is cut into K folds, and train holds the indivisible classes only.

    Returns:
        The split or fold by the index of the image.

    Raises:
        UserError: there are too few images, or too large groups, for every split to get one.
    """
    counts: Counter[str] = Counter()
    divisible: Counter[str] = Counter()
    for cluster in clusters:
        for label, count in cluster.labels:
            counts[label] += count
            divisible[label] += 1
    available = {label: count - 1 if divisible[label] > 1 else 0 for label, count in counts.items()}
    available |= {label: count for label, count in counts.items() if label == NO_CLASS}
    targets: dict[str, dict[str, int]] = {TRAIN: dict(counts)}
    for split, fraction in fractions.items():
        targets[split] = _quotas(counts, fraction, available, f"{seed} {split}")
        for label, quota in targets[split].items():
            available[label] -= quota
            targets[TRAIN][label] -= quota
    if folds:
        targets |= _fold_targets(targets[TRAIN], divisible, folds)
    ordered = sorted(clusters, key=lambda cluster: (-len(cluster.members), _random_key(seed, cluster.key)))
    assigned = _assign_greedily(ordered, counts, targets)
    _repair(clusters, assigned, [name for name in targets if name != TRAIN])
    return {index: assigned[cluster.key] for cluster in clusters for index in cluster.members}


def _quotas(counts: Mapping[str, int], fraction: float, available: Mapping[str, int], salt: str) -> dict[str, int]:
    """Whole numbers near `fraction` of each class that add up to `fraction` of all (largest remainders first)."""
    total = max(round(fraction * sum(counts.values())), 1 if fraction > 0 else 0)
    quotas = {label: min(int(fraction * count), available[label]) for label, count in counts.items()}
    missing = total - sum(quotas.values())
    for label in sorted(counts, key=lambda label: (-(fraction * counts[label] % 1), _random_key(salt, label))):
        if missing > 0 and quotas[label] < available[label]:
            quotas[label] += 1
            missing -= 1
    return quotas


def _fold_targets(left: dict[str, int], divisible: Mapping[str, int], folds: int) -> dict[str, dict[str, int]]:
    """An equal number of images of every divisible class for each fold; they are subtracted from `left`."""
    targets: dict[str, dict[str, int]] = {f"fold {number}": {} for number in range(1, folds + 1)}
    offset = 0  # remainders continue at the fold where those of the class before ended, so that folds are of equal size
    for label in sorted(left):
        if divisible[label] < 2 and label != NO_CLASS:
            continue
        quotient, remainder = divmod(left[label], folds)
        for index, fold in enumerate(targets.values()):
            fold[label] = quotient + ((index - offset) % folds < remainder)
        offset += remainder
        left[label] = 0
    return targets


def _assign_greedily(
    ordered: list[Cluster], counts: Mapping[str, int], targets: Mapping[str, Mapping[str, int]]
) -> dict[str, str]:
    """Each cluster, by its key, to the split where it lowers the squared distance to the targets most; classes weigh alike.

    Where images have several classes, the classes compete, and clusters are moved again while that lowers the distance.
    """
    current: dict[str, Counter[str]] = {split: Counter() for split in targets}
    assigned: dict[str, str] = {}
    several = any(sum(count for _, count in cluster.labels) > len(cluster.members) for cluster in ordered)
    for cluster in ordered * (MAX_ROUNDS if several else 1):
        before = assigned.get(cluster.key)
        if before is not None:
            current[before].subtract(dict(cluster.labels))

        def cost(split: str, cluster: Cluster = cluster) -> float:
            return sum(
                count * (2 * (current[split][label] - targets[split].get(label, 0)) + count) / counts[label]
                for label, count in cluster.labels
            )

        best = min(targets, key=cost)
        if before is not None and cost(before) - cost(best) < 1e-9:  # rounding
            best = before
        assigned[cluster.key] = best
        current[best].update(dict(cluster.labels))
    return assigned


def _repair(clusters: Sequence[Cluster], assigned: dict[str, str], required: Sequence[str]) -> None:
    """Move clusters where large groups left a split empty, or a class without training images."""
    ascending = sorted(clusters, key=lambda cluster: (len(cluster.members), cluster.key))

    def learnable(label: str, without: Cluster | None = None) -> bool:
        """Whether the class has training images whichever fold is held out."""
        splits = {assigned[cluster.key] for cluster in clusters_of[label] if cluster is not without}
        return TRAIN in splits or len({split for split in splits if split.startswith("fold ")}) > 1

    clusters_of: dict[str, list[Cluster]] = defaultdict(list)
    for cluster in ascending:
        for label, _ in cluster.labels:
            if label != NO_CLASS:
                clusters_of[label].append(cluster)
    for label in sorted(clusters_of):
        if not learnable(label):
            assigned[clusters_of[label][0].key] = TRAIN
    for split in required:
        if split in assigned.values():
            continue
        sizes = Counter(assigned.values())
        for cluster in ascending:
            if sizes[assigned[cluster.key]] > 1 and all(
                learnable(label, without=cluster) for label, _ in cluster.labels if label != NO_CLASS
            ):
                assigned[cluster.key] = split
                break
        else:
            raise UserError(
                f"There are too few images for '{split}': duplicates and "
                f"groups stay together, which leaves {len(clusters):,} to divide, and every class needs some in train."
            )


def _random_key(salt: object, name: str) -> str:
    return hashlib.sha256(f"{salt} {name}".encode()).hexdigest()
