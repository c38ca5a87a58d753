"""Open a dataset of images with objects by its location, in any of the formats that are read."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from resnets.data.datasets import builtin, generate_shapes, walk_folders
from resnets.data.datasets.dataset import Dataset, UnusedFiles, text_order_note
from resnets.data.datasets.read_multilabel import CLASSES_FILE
from resnets.data.loading.thread_pool import call_with_timeout
from resnets.data.object_datasets import read_coco, read_shapes
from resnets.errors import UserError
from resnets.message_format import format_list
from resnets.progress import log

READERS: tuple[ModuleType, ...] = (read_shapes, read_coco)


def recognizes(location: str | Path) -> bool:
    """Whether the data are laid out as annotations of objects; no image is read.

    False for what has classes of images as well, and can be read for detection if that is asked for: `shapes`, whose images
    are in class folders, and `digit-scenes`, which have a `_classes.csv`.
    """
    path = Path(location).expanduser()
    return not call_with_timeout(_has_classes, path) and call_with_timeout(_find_reader, path) is not None


def read(location: str | Path, *, on_inaccessible: str = "error") -> Dataset:
    """Read images with objects: each `Sample` has an `ImageObjects` as its target, and the class of each object as its labels.

    Args:
        location: a file or folder that `recognizes` is true for, a folder that `resnets data get` wrote, or `shapes` or
            `digit-scenes`, which are built in. A folder or file of that name takes precedence.
        on_inaccessible: "error", or "skip" for folders that cannot be listed.

    Raises:
        UserError: there are no such data, or they are in none of the formats.
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    path = Path(location).expanduser()
    if str(location) in ("shapes", "digit-scenes") and not path.exists():
        path = builtin.cached_folder(str(location))
    reader = call_with_timeout(_find_reader, path)
    if reader is None:
        raise UserError(_unknown_message(path))
    dataset: Dataset = reader.read(path)
    _list_unused_images(dataset)
    if on_inaccessible == "error":
        walk_folders.refuse_inaccessible(dataset.unused)
    if message := walk_folders.describe_unused(dataset.unused):
        log(message)
    for warning in dataset.layout_warnings:
        log(f"warning: {warning}")
    if dataset.unused_classes:
        log(f"left out {format_list(dataset.unused_classes)}: no object is of this class")
    if note := text_order_note(dataset.class_names):
        log(note)
    return dataset


def _find_reader(path: Path) -> ModuleType | None:
    return next((reader for reader in READERS if reader.recognizes(path)), None)


def _has_classes(path: Path) -> bool:
    if generate_shapes.annotation_paths(path):
        return True
    return any(path.glob(f"*/{CLASSES_FILE}")) or (path / CLASSES_FILE).is_file()


def _list_unused_images(dataset: Dataset) -> None:
    """Add the images beside those of the dataset that it does not have to `dataset.unused`."""
    used = {Path(sample.path) for sample in dataset.samples}
    for folder in sorted({path.parent for path in used}):
        listing = walk_folders.list_folder(folder, UnusedFiles())
        dataset.unused.files += [str(path) for path in listing.images if path not in used]


def _unknown_message(path: Path) -> str:
    if not path.exists():
        return f"No data at '{path}': {path.absolute()} does not exist."
    return f"'{path}' has no boxes in a known format: COCO JSON."
