"""Read the layout of Cityscapes, whose numbers of labels become the 19 classes of its evaluation."""

from __future__ import annotations

from pathlib import Path

from resnets.data.datasets.dataset import SPLITS, UnusedFiles
from resnets.data.datasets.walk_folders import list_folder
from resnets.data.mask_datasets.mask_classes import Color
from resnets.data.mask_datasets.mask_layout import ClassTable, ImageMaskPair, MaskLayout
from resnets.errors import UserError

IMAGES, FINE, COARSE = "leftImg8bit", "gtFine", "gtCoarse"
# Of each of the 19 classes in the order of `trainIds`: its number in `labelIds`, and its color (cityscapesScripts, labels.py).
CLASSES: dict[str, tuple[int, Color]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
NUM_LABELS = 34  # and the license plate, -1, which a file has as 255
COLORS = {name: color for name, (_, color) in CLASSES.items()}
LABEL_IDS = ClassTable(
    {number: name for name, (number, _) in CLASSES.items()},
    COLORS,
    ignored=(*(set(range(NUM_LABELS)) - {number for number, _ in CLASSES.values()}), 255),
)
# Whatever is read, the server takes the numbers of the labels.
TRAIN_IDS = ClassTable(
    dict(enumerate(CLASSES)), COLORS, ignored=(255,), written={name: number for name, (number, _) in CLASSES.items()}
)
KINDS = (("labelTrainIds", TRAIN_IDS), ("labelIds", LABEL_IDS))  # in order of preference


def recognizes(path: Path) -> bool:
    """Whether it has the folders `leftImg8bit`, and `gtFine` or `gtCoarse`."""
    return (path / IMAGES).is_dir() and ((path / FINE).is_dir() or (path / COARSE).is_dir())


def read(path: Path) -> MaskLayout:
    """Read the images of `leftImg8bit/SPLIT/CITY`; each city is a group.

    The masks are the `labelTrainIds` if there are some, else the `labelIds`, whose numbers are those of the labels. The
    published masks of the test split are empty; images with such masks are left out by `open_mask_dataset`.

    Raises:
        UserError: there are no masks, such as only those with colors, in which car and license plate are alike.
    """
    truth = path / (FINE if (path / FINE).is_dir() else COARSE)
    images = _files(path / IMAGES, f"_{IMAGES}")
    found_kinds = ((_files(truth, f"_{truth.name}_{kind}"), table) for kind, table in KINDS)
    masks, table = next(((files, table) for files, table in found_kinds if files), ({}, TRAIN_IDS))
    if not masks:
        names = " or ".join(f"*_{truth.name}_{kind}.png" for kind, _ in KINDS)
        raise UserError(
            f"'{truth}' has no masks {names}. Those with colors cannot be used: there, a car has the color of its license "
            "plate, and several labels are black."
        )
    found = [
        ImageMaskPair(str(image), str(masks[key]) if key in masks else None, key[0], key[1])
        for key, image in images.items()
    ]
    return MaskLayout(path, found, table, [str(masks[key]) for key in masks if key not in images])


def _files(folder: Path, end: str) -> dict[tuple[str, str, str], Path]:
    """The images below `folder/SPLIT/CITY` whose stems have this end, by split, city and stem."""
    return {
        (split, city.name, file.stem.removesuffix(end)): file
        for split in SPLITS
        if (folder / split).is_dir()
        for city in list_folder(folder / split, UnusedFiles()).folders
        for file in list_folder(city, UnusedFiles()).images
        if file.stem.endswith(end)
    }
