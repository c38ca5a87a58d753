"""Find near duplicates: images that look the same although their bytes differ (saved again, resized, recolored)."""

from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIDE = 16  # of the gray thumbnails that are compared
BITS = 112
# Chosen on flower_photos and CIFAR-10: nearly all pairs within these limits look like near duplicates.
DISTANCE = 10  # of the 112 bits may differ, at most
CORRELATION = 0.975  # of the two thumbnails, at least
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


def find_near_duplicates(thumbnails: np.ndarray) -> list[list[int]]:
    """Groups of at least two images that look the same, given (N, 16, 16) uint8; single images are left out.

    Two images are joined when the signs of the steps from cell to cell on an 8x8 grid (a difference hash in both
    directions) differ in at most 10 of 112 bits and the thumbnails correlate to at least 0.975. All pairs within that
    distance are found without comparing all pairs: two codes that differ in 10 bits agree in one of 11 bands.
    Images of a single color are never joined.
    """
    indices = np.flatnonzero(~is_blank(thumbnails))
    if not len(indices):
        return []
    cells = thumbnails[indices].reshape(len(indices), SIDE * SIDE).astype(np.float32)
    cells -= cells.mean(axis=1, keepdims=True)
    cells /= np.linalg.norm(cells, axis=1, keepdims=True)
    bits = _bits(thumbnails[indices])
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for first, second in _near(bits):
        same = np.einsum("ij,ij->i", cells[first], cells[second]) >= CORRELATION
        firsts.append(first[same])
        seconds.append(second[same])
    joined = (np.concatenate(firsts), np.concatenate(seconds))
    pairs = coo_array((np.ones(len(joined[0]), bool), joined), shape=(len(indices), len(indices)))
    _, group = connected_components(pairs, directed=False)
    ordered = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[ordered])) + 1
    groups = [indices[members].tolist() for members in np.split(ordered, ends) if len(members) > 1]
    return sorted(groups)


def _bits(thumbnails: np.ndarray) -> np.ndarray:
    """(N, 112) bool."""
    grid = thumbnails.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).astype(np.int32).sum(axis=(2, 4))
    across, down = grid[:, :, 1:] > grid[:, :, :-1], grid[:, 1:] > grid[:, :-1]
    return np.concatenate([across.reshape(len(grid), BITS // 2), down.reshape(len(grid), BITS // 2)], axis=1)


def _near(bits: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (first, second) of rows that differ in at most DISTANCE bits; a pair may be repeated."""
    codes, first_rows, which = np.unique(np.packbits(bits, axis=1), axis=0, return_index=True, return_inverse=True)
    # Frames of a still video have one code; each is compared with the first of them only.
    rest = np.flatnonzero(first_rows[which.reshape(-1)] != np.arange(len(bits)))
    yield first_rows[which.reshape(-1)[rest]], rest
    words = np.zeros((len(codes), 16), dtype=np.uint8)
    words[:, : codes.shape[1]] = codes
    words = words.view(np.uint64)
    for band in _bands(bits[first_rows]):
        ordered = np.argsort(band, kind="stable")
        ends = np.flatnonzero(np.diff(band[ordered], append=band.max() + 1)) + 1
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            for first, second in _near_in(words, ordered[start:end]):
                yield first_rows[first], first_rows[second]


def _bands(bits: np.ndarray) -> Iterator[np.ndarray]:
    """The bits cut into DISTANCE + 1 numbers of about 10 bits, (N,) int64 each.

    In some datasets many bits are nearly constant, such as those of a black border; the informative ones are distributed over
    the bands, so that every band separates the images.
    """
    informative = np.argsort(np.abs(bits.mean(axis=0) - 0.5), kind="stable")
    for band in range(DISTANCE + 1):
        chosen = bits[:, informative[band :: DISTANCE + 1]].astype(np.int64)
        yield chosen @ (1 << np.arange(chosen.shape[1]))


def _near_in(words: np.ndarray, members: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(members) - 1, BLOCK):
        rows = members[start : start + BLOCK]
        for later in range(start, len(members), BLOCK):
            columns = members[later : later + BLOCK]
            different = np.bitwise_count(words[rows, None] ^ words[None, columns]).sum(axis=2)
            near = different <= DISTANCE
            if start == later:
                near = np.triu(near, 1)
            first, second = np.nonzero(near)
            if len(first):
                yield rows[first], columns[second]
