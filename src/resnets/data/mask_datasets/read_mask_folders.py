"""Read folders of images beside folders of masks, whose files have the same names; CamVid, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from resnets.data.datasets.class_folders import IMAGE_FOLDERS
from resnets.data.datasets.dataset import UnusedFiles, split_from_name
from resnets.data.datasets.walk_folders import list_folders, walk_images
from resnets.data.mask_datasets.mask_layout import ClassTable, ImageMaskPair, MaskLayout
from resnets.data.mask_datasets.read_class_names import find_table
from resnets.data.mask_datasets.scan_masks import have_colors

IMAGES = (*IMAGE_FOLDERS, "701_stillsraw_full")  # the last of each are those of CamVid
MASKS = ("masks", "mask", "labels", "label", "annotations", "labeledapproved_full")
AFTER_SPLIT = ("annot", "_labels", "_masks", "_annot")  # of a folder of masks: `train`, `trainannot`
SUFFIXES = ("_mask", "_L", "_gt", "_seg")  # of the name of a mask, after that of its image
# The names of CamVid's four sequences, which are the beginnings of those of its frames.
_CAMVID = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_\w+")
_CAMVID_NAMES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)
CAMVID = ClassTable(dict(enumerate(_CAMVID_NAMES)), ignored=(len(_CAMVID_NAMES),))  # SegNet's 11 classes


class _Place(NamedTuple):
    split: str | None
    images: Path
    masks: Path


def recognizes(path: Path) -> bool:
    """Whether it has folders of images and of masks of which at least one has the name of an image; none is read."""
    return path.is_dir() and any(True for place in _places(path) for each in _pairs(place)[0] if each.mask)


def image_folders(path: Path) -> list[Path]:
    """The folders of images that have folders of masks beside them."""
    return [place.images for place in _places(path)]


def read(path: Path) -> MaskLayout:
    """Read the folders `images` and `masks`, also in folders for train, val and test or with these inside; or a folder of
    images for each split beside that of its masks, such as `train` and `trainannot`.

    The mask of `a.jpg` is `a.png`, or `a_mask.png`, `a_L.png`, `a_gt.png` or `a_seg.png`. Names are compared as a whole. Frames
    of CamVid are groups by their sequence, and without a file that names the classes, CamVid's 11 are taken.
    """
    images: list[ImageMaskPair] = []
    unmatched: list[str] = []
    places = list(_places(path))
    for place in places:
        found, others = _pairs(place)
        images += found
        unmatched += others
    table = find_table([path, *(place.masks for place in places)])
    sequences = [_CAMVID.fullmatch(Path(each.image).stem) for each in images]
    if all(sequences):
        table = table or (None if have_colors([each for each in images if each.mask]) else CAMVID)
        images = [each._replace(group=match[1]) for each, match in zip(images, sequences, strict=True) if match]
    return MaskLayout(path, images, table, unmatched)


def _places(path: Path) -> Iterator[_Place]:
    folders = list_folders(path)
    by_name = {folder.name.lower(): folder for folder in folders}
    yield from _beside(None, by_name)
    for folder in folders:
        if split := split_from_name(folder.name):
            for end in AFTER_SPLIT:
                if masks := by_name.get(folder.name.lower() + end):
                    yield _Place(split, folder, masks)
            inside = list_folders(folder)
            yield from _beside(split, {each.name.lower(): each for each in inside})


def _beside(split: str | None, by_name: dict[str, Path]) -> Iterator[_Place]:
    images = next((by_name[name] for name in IMAGES if name in by_name), None)
    masks = next((by_name[name] for name in MASKS if name in by_name), None)
    if images and masks:
        yield _Place(split, images, masks)


def _pairs(place: _Place) -> tuple[list[ImageMaskPair], list[str]]:
    """The images of a place with their masks, and the masks that belong to none."""
    images = [(_key(place.images, file), file) for file in walk_images(place.images, UnusedFiles())]
    files = {_key(place.masks, file): file for file in walk_images(place.masks, UnusedFiles())}
    keys = {key for key, _ in images}
    masks = {key: file for key, file in files.items() if key in keys}
    for (folder, stem), file in files.items():
        for end in SUFFIXES:
            key = folder, stem.removesuffix(end)
            if stem.endswith(end) and key in keys:
                masks.setdefault(key, file)
    found = [
        ImageMaskPair(
            str(file), str(masks[key]) if key in masks else None, place.split or split_from_name(key[0].split("/")[0])
        )
        for key, file in images
    ]
    used = set(masks.values())
    return found, [str(file) for file in files.values() if file not in used]


def _key(root: Path, file: Path) -> tuple[str, str]:
    """The folder below the root, with `/`, and the name without suffix."""
    return file.parent.relative_to(root).as_posix(), file.stem
