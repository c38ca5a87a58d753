"""The mask of one image, in a file or drawn from the outlines of its objects, as class indices."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnets.data.datasets.dataset import Dataset
from resnets.data.image.decode_mask import decode_mask
from resnets.data.mask_datasets.mask_classes import IGNORE, UNKNOWN, MaskClasses
from resnets.data.object_datasets.objects import ImageObjects, Object
from resnets.errors import UserError
from resnets.message_format import format_list

BACKGROUND = "background"


@dataclass(frozen=True)
class ImageMask:
    """The class of each pixel of one image: what `Sample.target` is for segmentation.

    Attributes:
        classes: of the dataset.
        size: (height, width) in pixels of the upright image, which the mask has too.
        file: the mask, if it is in a file.
        objects: else the objects, which are drawn on the background, the first class. An object without a mask is
            ignored within its box.
    """

    classes: MaskClasses
    size: tuple[int, int]
    file: str | None = None
    objects: tuple[Object, ...] = ()

    def read(self, class_names: Sequence[str]) -> np.ndarray:
        """uint8 (height, width): the index in `class_names` of each pixel's class, 255 where it is ignored.

        Raises:
            DecodeError: the file cannot be read.
            UserError: the mask has another size than the image, or a class that `class_names` does not have.
        """
        found = self.indices()
        target = {name: index for index, name in enumerate(class_names)}
        table = np.full(256, IGNORE, np.uint8)
        table[: len(self.classes.names)] = [target.get(name, UNKNOWN) for name in self.classes.names]
        found = table[found]
        if (found == UNKNOWN).any():
            missing = [name for name in self.classes.names if name not in target]
            where = f"The mask '{self.file}'" if self.file else "A mask"
            raise UserError(
                f"{where} has pixels of {format_list(missing)}, which a model of {format_list(class_names)} lacks."
            )
        return found

    def indices(self) -> np.ndarray:
        """uint8 (height, width): indices in the classes of the dataset, IGNORE, and UNKNOWN for values that no class has."""
        if self.file is None:
            return self._drawn()
        found = self.classes.indices(read_values(self.file, color_coded=self.classes.color_coded))
        if found.shape != self.size:
            raise UserError(
                f"The mask '{self.file}' has {found.shape[1]}x{found.shape[0]} pixels, and its image "
                f"{self.size[1]}x{self.size[0]}."
            )
        return found

    def digest(self) -> str:
        """SHA-256 of the mask and of the classes of its values, by which a split file recognizes a changed annotation."""
        digest = hashlib.sha256(repr(self.classes).encode("utf-8"))
        if self.file is None:
            digest.update(ImageObjects(self.objects).digest().encode("ascii"))
        else:
            with open(self.file, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def _drawn(self) -> np.ndarray:
        height, width = self.size
        mask = np.zeros(self.size, np.uint8)
        index = {name: number for number, name in enumerate(self.classes.names)}
        with_masks = [each for each in self.objects if each.mask is not None]
        for each in self.objects:
            if each.mask is None:
                x1, y1, x2, y2 = each.box
                mask[max(int(y1), 0) : int(np.ceil(y2)), max(int(x1), 0) : int(np.ceil(x2))] = IGNORE
        decoded = [each.mask.decode(height, width) for each in with_masks if each.mask is not None]
        areas = [-int(each.sum()) for each in decoded]
        for number in np.argsort(
            areas, kind="stable"
        ):  # the largest first, so that no object is hidden by a larger one
            mask[decoded[number]] = index[with_masks[number].label]
        return mask


def has_masks(dataset: Dataset) -> bool:
    """Whether the images have masks; then all of them have one."""
    return len(dataset.samples) > 0 and isinstance(dataset.samples[0].target, ImageMask)


def read_values(file: str, *, color_coded: bool) -> np.ndarray:
    """The value of each pixel of a mask, (H, W): a number, or a color as a number of 24 bits.

    A file with colors of which all are gray has numbers, too. A file with a palette has the numbers of its entries.

    Raises:
        DecodeError: the file cannot be read, or has colors where numbers are expected.
    """
    pixels = decode_mask(file, as_colors=color_coded)
    if color_coded:
        channels = pixels.astype(np.int32)
        return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    return pixels
