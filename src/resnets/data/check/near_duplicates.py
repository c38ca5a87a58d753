"""Find near duplicates: images that look the same although their bytes differ (saved again, resized, recolored)."""

from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIDE = 16  # of the gray thumbnails that are compared
BITS = 64  # of the perceptual hash
DISTANCE = 10  # of these bits may differ, at most
CORRELATION = 0.9  # of the two thumbnails, at least
# Vectors find more, but a classifier has similar ones for many images of a class. With those of cifar_resnet20, both limits
# together find 72 % of the known pairs of CIFAR-10, and hardly an image that only looks alike.
SIMILARITY = 0.98  # of two vectors, the cosine of their angle, at least
VECTOR_CORRELATION = 0.8  # of the thumbnails of images with similar vectors, at least
BLANK = 2  # gray levels between the darkest and the brightest cell of an image of one color, at most
BLOCK = 1024


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
    11 bands. Images of a single color are never joined.

    Args:
        vectors: float (N, D), such as embeddings: then images are joined whose vectors have a cosine of at least 0.98 and whose
            thumbnails correlate to at least 0.8. All pairs are compared.
    """
    indices = np.flatnonzero(~is_blank(thumbnails))
    if not len(indices):
        return []
    if vectors is None:
        return _connect(indices, _near(_bits(thumbnails[indices])), _unit(thumbnails[indices]), CORRELATION)
    return _connect(
        indices, _similar(_unit(vectors[indices], centered=False)), _unit(thumbnails[indices]), VECTOR_CORRELATION
    )


def _connect(
    indices: np.ndarray, pairs: Iterable[tuple[np.ndarray, np.ndarray]], cells: np.ndarray, correlation: float
) -> list[list[int]]:
    """The groups of `indices` that are connected by the pairs (first, second) of positions whose cells correlate so much."""
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for first, second in pairs:
        same = np.einsum("ij,ij->i", cells[first], cells[second]) >= correlation
        firsts.append(first[same])
        seconds.append(second[same])
    joined = (np.concatenate(firsts), np.concatenate(seconds))
    graph = coo_array((np.ones(len(joined[0]), bool), joined), shape=(len(indices), len(indices)))
    _, group = connected_components(graph, directed=False)
    ordered = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[ordered])) + 1
    return sorted(indices[members].tolist() for members in np.split(ordered, ends) if len(members) > 1)


def _unit(values: np.ndarray, *, centered: bool = True) -> np.ndarray:
    """float32 (N, D): each divided by its length, after its mean is subtracted if `centered`; zeros stay zeros."""
    flat = values.reshape(len(values), -1).astype(np.float32)
    if centered:
        flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _similar(vectors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (first, second) of vectors of length 1, float32 (N, D), with a cosine of at least SIMILARITY; all are compared."""
    for start in range(0, len(vectors), BLOCK):
        for later in range(start, len(vectors), BLOCK):
            similar = vectors[start : start + BLOCK] @ vectors[later : later + BLOCK].T >= SIMILARITY
            first, second = np.nonzero(np.triu(similar, 1) if start == later else similar)
            yield first + start, second + later


def _bits(thumbnails: np.ndarray) -> np.ndarray:
    """(N, 64) bool, the perceptual hash: which of the 64 lowest frequencies, by the cosine transform, are above their median."""
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
    for band in _bands(bits[first_rows]):
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
