"""Find near duplicates: images that look the same although their bytes differ (saved again, resized, recolored)."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from resnets.progress import progress_bar

SIDE = 16  # of the gray thumbnails that are compared
BITS = 64  # of the perceptual hash
DISTANCE = 10  # of these bits may differ, at most
CORRELATION = 0.9  # of the two thumbnails, at least
# Vectors find other pairs, too, but a classifier has similar ones for many images of a class: hence both limits.
SIMILARITY = 0.98  # of two vectors, the cosine of their angle, at least
VECTOR_CORRELATION = 0.8  # of the thumbnails of images with similar vectors, at least
BLANK = 2  # gray levels between the darkest and the brightest cell of an image of one color, at most
BLOCK = 1024
MAX_PAIRS = 2**22  # that are kept before they are reduced to one for each image

_Pairs = tuple[np.ndarray, np.ndarray]  # first and second positions, (n,) each


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (16, 16) uint8: the mean lightness of 256 cells, whatever the shape of the image."""
    gray = Image.fromarray(image).convert("L")
    return np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX))


def is_blank(thumbnails: np.ndarray) -> np.ndarray:
    """(N, 16, 16) uint8 -> (N,) bool: whether an image has a single color."""
    cells = thumbnails.reshape(len(thumbnails), SIDE * SIDE)
    return cells.max(axis=1, initial=0).astype(int) - cells.min(axis=1, initial=255) <= BLANK


def find_near_duplicates(thumbnails: np.ndarray, vectors: np.ndarray | None = None) -> list[list[int]]:
    """Groups of at least two images that look the same, given (N, 16, 16) uint8; single images are left out.

    Two images are joined when their perceptual hashes differ in at most 10 of 64 bits and the thumbnails correlate to at least
    0.9. All pairs within that distance are found without comparing all pairs: two hashes that differ in 10 bits agree in one of
    11 bands. A band has 6 bits, so of random hashes a fifth of all pairs is compared, and the time grows with the square of N.
    Images of a single color are never joined.

    Args:
        vectors: float (N, D), such as embeddings: images are then joined, too, whose vectors have a cosine of at least 0.98 and
            whose thumbnails correlate to at least 0.8. All pairs are compared. An image with a vector of zeros has no such pair.
    """
    indices = np.flatnonzero(~is_blank(thumbnails))
    if not len(indices):
        return []
    cells = _unit(thumbnails[indices])
    pairs = _correlated(_near(_bits(thumbnails[indices])), cells, CORRELATION)
    if vectors is not None:
        similar = _similar(_unit(vectors[indices], centered=False))
        pairs = itertools.chain(pairs, _correlated(similar, cells, VECTOR_CORRELATION))
    return _connect(indices, pairs)


def _correlated(pairs: Iterable[_Pairs], cells: np.ndarray, correlation: float) -> Iterator[_Pairs]:
    """Those of the pairs of positions whose cells correlate so much."""
    for firsts, seconds in pairs:
        for start in range(0, len(firsts), BLOCK * 16):
            first, second = (each[start : start + BLOCK * 16] for each in (firsts, seconds))
            same = np.einsum("ij,ij->i", cells[first], cells[second]) >= correlation
            yield first[same], second[same]


def _connect(indices: np.ndarray, pairs: Iterable[_Pairs]) -> list[list[int]]:
    """The groups of `indices` that are connected by pairs of positions."""
    limit = max(MAX_PAIRS, 2 * len(indices))
    kept, count = [np.empty((2, 0), np.int64)], 0
    for pair in pairs:
        kept.append(np.stack(pair))
        count += len(pair[0])
        if count > limit:  # as many frames of a camera that does not move have
            kept = [_spanning_pairs(_components(kept, len(indices)))]
            count = kept[0].shape[1]
    group = _components(kept, len(indices))
    ordered = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[ordered])) + 1
    return sorted(indices[members].tolist() for members in np.split(ordered, ends) if len(members) > 1)


def _components(pairs: Sequence[np.ndarray], count: int) -> np.ndarray:
    """(count,): the number of the group of each position, by pairs (2, n) each."""
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    group: np.ndarray = connected_components(graph, directed=False)[1]
    return group


def _spanning_pairs(group: np.ndarray) -> np.ndarray:
    """(2, n): the pairs of the first position of each group and every other one of it."""
    _, first, which = np.unique(group, return_index=True, return_inverse=True)
    pairs = np.stack([first[which], np.arange(len(group))])
    spanning: np.ndarray = pairs[:, pairs[0] != pairs[1]]
    return spanning


def _unit(values: np.ndarray, *, centered: bool = True) -> np.ndarray:
    """float32 (N, D): each divided by its length, after its mean is subtracted if `centered`; zeros stay zeros."""
    flat = values.reshape(len(values), -1).astype(np.float32)
    if centered:
        flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _similar(vectors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (first, second) of vectors of length 1, float32 (N, D), with a cosine of at least SIMILARITY; all are compared."""
    for start in progress_bar(range(0, len(vectors), BLOCK), description="comparing vectors", unit="blocks"):
        for later in range(start, len(vectors), BLOCK):
            similar = vectors[start : start + BLOCK] @ vectors[later : later + BLOCK].T >= SIMILARITY
            first, second = np.nonzero(np.triu(similar, 1) if start == later else similar)
            yield first + start, second + later


def _bits(thumbnails: np.ndarray) -> np.ndarray:
    """(N, 64) bool, the perceptual hash: which of the 64 lowest frequencies, by the cosine transform, are above their median."""
    from scipy.fft import dctn

    low = dctn(thumbnails.astype(np.float32), axes=(1, 2))[:, :8, :8].reshape(len(thumbnails), BITS)
    above: np.ndarray = low > np.median(low, axis=1, keepdims=True)
    return above


def _near(bits: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (first, second) of rows that differ in at most DISTANCE bits; a pair may be repeated."""
    words = np.packbits(bits, axis=1).view(np.uint64).reshape(-1)
    codes, first_rows, which = np.unique(words, return_index=True, return_inverse=True)
    # Frames of a still video have one code; each is compared with the first of them only.
    rest = np.flatnonzero(first_rows[which] != np.arange(len(bits)))
    yield first_rows[which[rest]], rest
    bands = progress_bar(_bands(bits[first_rows]), description="comparing hashes", total=DISTANCE + 1, unit="bands")
    for band in bands:
        ordered = np.argsort(band, kind="stable")
        ends = np.flatnonzero(np.diff(band[ordered], append=band.max() + 1)) + 1
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            for first, second in _near_in(codes, ordered[start:end]):
                yield first_rows[first], first_rows[second]


def _bands(bits: np.ndarray) -> Iterator[np.ndarray]:
    """The bits cut into DISTANCE + 1 numbers of about 6 bits, (N,) int64 each.

    In some datasets many bits are nearly constant, such as those of a black border; the informative ones are distributed over
    the bands, so that every band separates the images.
    """
    informative = np.argsort(np.abs(bits.mean(axis=0) - 0.5), kind="stable")
    for band in range(DISTANCE + 1):
        chosen = bits[:, informative[band :: DISTANCE + 1]].astype(np.int64)
        yield chosen @ (1 << np.arange(chosen.shape[1]))


def _near_in(codes: np.ndarray, members: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(members) - 1, BLOCK):
        rows = members[start : start + BLOCK]
        for later in range(start, len(members), BLOCK):
            columns = members[later : later + BLOCK]
            near = np.bitwise_count(codes[rows, None] ^ codes[None, columns]) <= DISTANCE
            if start == later:
                near = np.triu(near, 1)
            first, second = np.nonzero(near)
            if len(first):
                yield rows[first], columns[second]
