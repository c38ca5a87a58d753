"""Read masks with the number of an object in each pixel, 0 for the background: Penn-Fudan's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.datasets.dataset import Dataset, Sample, UnusedFiles, build_dataset
from resnets.data.datasets.walk_folders import list_folder
from resnets.data.image.open_image_file import DecodeError, open_image_file
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.object_datasets import object_masks
from resnets.data.object_datasets.find_annotation_files import by_stem
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample
from resnets.errors import UserError

# The folders of images and masks, and the only class.
LAYOUTS = (("PNGImages", "PedMasks", "pedestrian"), ("images", "instance_masks", "object"))
_SUFFIX = "_mask"


def recognizes(path: Path) -> bool:
    """Whether the folder has the folders `PNGImages` and `PedMasks`, or `images` and `instance_masks`."""
    return any((path / images).is_dir() and (path / masks).is_dir() for images, masks, _ in LAYOUTS)


def read(path: Path) -> Dataset:
    """Read the folder: of the image `a.png`, the mask is `a.png` or `a_mask.png`. All objects are of one class.

    Raises:
        UserError: a mask cannot be read.
    """
    images, folder, label = next(each for each in LAYOUTS if (path / each[0]).is_dir() and (path / each[1]).is_dir())
    masks = {stem.removesuffix(_SUFFIX): file for stem, file in by_stem([path / folder]).items()}
    paths = list_folder(path / images, UnusedFiles()).images
    if not paths:
        raise UserError(f"'{path / images}' has no images.")

    def read_sample(image: Path) -> Sample:
        mask = masks.get(image.stem)
        return make_sample(str(image), None if mask is None else _objects(mask, label))

    return build_dataset(path, ordered_map(read_sample, paths, workers=None, ahead=64))


def _objects(file: Path, label: str) -> ImageObjects:
    try:
        with open_image_file(file) as stream, Image.open(stream) as image:
            if image.mode not in ("L", "P", "I", "I;16"):
                raise ValueError(f"its mode is {image.mode}, and not one number for each pixel")
            numbers = np.asarray(image)
    except DecodeError as error:
        raise UserError(f"The mask {error}") from error
    except Exception as error:  # Pillow's readers raise exceptions of many kinds
        raise UserError(f"The mask '{file}' cannot be read: {' '.join(str(error).split())[:200]}.") from error
    objects = []
    for number in np.unique(numbers).tolist():
        if number:
            mask = object_masks.encode(numbers == number)
            objects.append(Object(label, mask.box(), mask))
    return ImageObjects(tuple(objects), (numbers.shape[0], numbers.shape[1]))
