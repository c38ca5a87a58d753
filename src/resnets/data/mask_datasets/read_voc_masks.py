"""Read the masks of Pascal VOC's layout: the classes of `SegmentationClass`, without the numbers of objects."""

from __future__ import annotations

from pathlib import Path

from resnets.data.mask_datasets.mask_layout import ClassTable, ImageMaskPair, MaskLayout
from resnets.data.mask_datasets.read_class_names import find_table
from resnets.data.object_datasets.find_annotation_files import by_stem
from resnets.data.object_datasets.read_voc import image_sets
from resnets.errors import UserError

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", Path("ImageSets", "Segmentation")
NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def palette() -> tuple[tuple[int, int, int], ...]:
    """VOC's 256 colors: the bits of the number in turn, from the highest bit of red, green and blue downwards."""
    return tuple(
        tuple(sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3))  # type: ignore[misc]
        for number in range(256)
    )


def recognizes(path: Path) -> bool:
    """Whether it has the folders `JPEGImages` and `SegmentationClass`."""
    return (path / IMAGES).is_dir() and (path / MASKS).is_dir()


def read(path: Path) -> MaskLayout:
    """Read the images of the lists in `ImageSets/Segmentation`, or without lists those that have a mask.

    Without a file that names them, the classes are VOC's 21. The value 255, the border of objects, is ignored.

    Raises:
        UserError: a list names an image that is not there.
    """
    images, masks = by_stem([path / IMAGES]), by_stem([path / MASKS])
    splits = image_sets(path / LISTS)
    listed = sorted(splits or set(images) & set(masks))
    if missing := [name for name in listed if name not in images]:
        raise UserError(f"'{path / LISTS}' lists '{missing[0]}', of which '{path / IMAGES}' has no image.")
    found = [
        ImageMaskPair(str(images[stem]), str(masks[stem]) if stem in masks else None, splits.get(stem))
        for stem in listed
    ]
    unmatched = [str(file) for stem, file in masks.items() if stem not in images]
    return MaskLayout(path, found, find_table([path]) or _voc_table(), unmatched)


def _voc_table() -> ClassTable:
    return ClassTable(dict(enumerate(NAMES)), dict(zip(NAMES, palette(), strict=False)), ignored=(255,))
