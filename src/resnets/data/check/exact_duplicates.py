"""Find exact duplicates: files with equal bytes."""

from collections import defaultdict
from collections.abc import Iterable


def find_exact_duplicates(sha256s: Iterable[str | None]) -> list[list[int]]:
    """Groups of at least two files with the same SHA-256, as indices in order. Files without one are left out."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, sha256 in enumerate(sha256s):
        if sha256:
            groups[sha256].append(index)
    return [indices for indices in groups.values() if len(indices) > 1]
