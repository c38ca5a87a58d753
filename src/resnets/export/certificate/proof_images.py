"""The images by which an exported file is compared with its checkpoint."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from resnets.data.image.open_image_file import DecodeError, open_image_file
from resnets.data.split import lineage
from resnets.errors import UserError
from resnets.message_format import pluralize
from resnets.tasks.inputs import image_paths
from resnets.tasks.inputs.read_image import ImageInput
from resnets.weights.checkpoint import Checkpoint

MOST_REAL = 16
COUNT = 20  # with the generated ones, of which there are at least 4, since gray images cannot show swapped channels


@dataclass(frozen=True)
class ProofImages:
    """Real images, and after them generated ones.

    Attributes:
        images: paths, or arrays (H, W, 3).
        real: the number of the real ones.
        origin: of these, in words.
        yours: whether they are those of the user.
        digests: the SHA-256 of each image.
    """

    images: tuple[ImageInput, ...]
    real: int
    origin: str
    yours: bool
    digests: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """That of the list of the digests."""
        return hashlib.sha256("\n".join(self.digests).encode()).hexdigest()

    @property
    def names(self) -> list[str]:
        """The name of each image without its folders, which are those of this machine; of one in memory what it is."""
        return [
            ("crop of a photograph" if index < self.real else "generated")
            if isinstance(image, np.ndarray)
            else PurePath(str(image)).name
            for index, image in enumerate(self.images)
        ]

    def in_words(self) -> str:
        return f"{self.origin}, and {pluralize(len(self.images) - self.real, 'generated image')}"

    def to_dict(self) -> dict[str, Any]:
        counts = {"count": len(self.images), "real": self.real, "generated": len(self.images) - self.real}
        listed = [{"name": name, "sha256": digest} for name, digest in zip(self.names, self.digests, strict=True)]
        origin = _without_folders(self.origin)
        return {**counts, "origin": origin, "yours": self.yours, "sha256": self.sha256, "images": listed}


def _without_folders(text: str) -> str:
    """The text with only the last part of each path in quotes, since folders are those of this machine."""
    return re.sub(r"'([^']*[/\\][^']*)'", lambda found: f"'{PurePath(found[1]).name}'", text)


def choose(paths: Sequence[str], file: Path, checkpoint: Checkpoint) -> ProofImages:
    """Images at `paths` if there are any, else of the val split of the checkpoint's run, else of scikit-learn.

    Args:
        file: that of the checkpoint.

    Raises:
        UserError: there are no images at `paths`.
    """
    if paths:
        found = image_paths.find_images(paths, sys.stdin)
        chosen = _spread(found)
        return with_generated(chosen, f"{len(chosen)} of {pluralize(len(found), 'image')} that you named", yours=True)
    val, gap = lineage.unchanged_images(file, checkpoint.provenance, "val", MOST_REAL)
    if val:
        return with_generated(val, f"{pluralize(len(val), 'image')} of the val split of its run", yours=True)
    return of_scikit_learn(f" ({gap})")


def of_scikit_learn(why: str = "") -> ProofImages:
    """Images that prove less, since they are not those of the user."""
    origin = f"{MOST_REAL} crops of two photographs of scikit-learn{why}"
    return with_generated(photographs(MOST_REAL), origin, yours=False)


def _spread(values: Sequence[Any]) -> list[Any]:
    """At most MOST_REAL of them, evenly distributed, since folders are sorted by class."""
    return [values[index] for index in np.linspace(0, len(values) - 1, min(len(values), MOST_REAL)).round().astype(int)]


def with_generated(real: Sequence[ImageInput], origin: str, *, yours: bool) -> ProofImages:
    """These, and generated ones. Raises UserError where one cannot be read."""
    images = (*real, *generated(COUNT - len(real)))
    return ProofImages(images, len(real), origin, yours, tuple(_sha256(image) for image in images))


def _sha256(image: ImageInput) -> str:
    """That of the bytes of its file, which may be in a shard, or of the pixels of an image in memory."""
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    if isinstance(image, np.ndarray):
        return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()
    try:
        with open_image_file(str(image)) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except DecodeError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"'{image}' cannot be read: {error.strerror}.") from None


def photographs(count: int) -> list[np.ndarray]:
    """Crops of the two photographs of scikit-learn, at odd sizes, uint8 (H, W, 3)."""
    from sklearn.datasets import load_sample_images  # not at the top: importing it takes a second

    found = load_sample_images().images
    random = np.random.default_rng(0)
    crops = []
    for index in range(count):
        photograph = found[index % 2]
        height, width = 2 * random.integers(60, 200, 2) + 1
        top, left = (int(random.integers(0, side)) for side in np.subtract(photograph.shape[:2], (height, width)))
        crops.append(np.ascontiguousarray(photograph[top : top + height, left : left + width]))
    return crops


def generated(count: int) -> list[np.ndarray]:
    """Smooth images of all colors at odd sizes, uint8 (H, W, 3)."""
    random = np.random.default_rng(1)
    images = []
    for _ in range(count):
        few = Image.fromarray(random.integers(0, 256, (5, 4, 3), dtype=np.uint8))
        height, width = 2 * random.integers(40, 160, 2) + 1
        images.append(np.asarray(few.resize((int(width), int(height)), Image.Resampling.BICUBIC)))
    return images
