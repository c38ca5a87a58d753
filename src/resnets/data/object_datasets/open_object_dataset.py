"""Open a dataset of images with objects by its location, in any of the formats that are read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from resnets.data.datasets import builtin, generate_shapes, open_dataset, walk_folders
from resnets.data.datasets.dataset import Dataset, UnusedFiles, text_order_note
from resnets.data.datasets.read_multilabel import CLASSES_FILE
from resnets.data.loading.thread_pool import call_with_timeout
from resnets.data.object_datasets import (
    read_coco,
    read_instance_masks,
    read_object_table,
    read_shapes,
    read_voc,
    read_yolo,
)
from resnets.data.object_datasets.annotation_faults import ACTIONS, ERRORS, NOTES, TITLES, AnnotationFault
from resnets.data.object_datasets.check_annotations import check_annotations
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize
from resnets.progress import log

READERS: tuple[ModuleType, ...] = (
    read_shapes,
    read_coco,
    read_yolo,
    read_voc,
    read_object_table,
    read_instance_masks,
)
SHOWN = 5  # cases of a kind of error


def recognizes(location: str | Path) -> bool:
    """Whether the data are laid out as annotations of objects; no image is read.

    False for what has classes of images as well, and can be read for detection if that is asked for: `shapes`, whose images
    are in class folders, and `digit-scenes`, which have a `_classes.csv`.
    """
    path = Path(location).expanduser()
    return not call_with_timeout(_has_classes, path) and recognizes_objects(path)


def recognizes_objects(location: str | Path) -> bool:
    """Whether `read` can read the data, which may have classes of images as well; no image is read."""
    return call_with_timeout(_find_reader, Path(location).expanduser()) is not None


def read(location: str | Path, *, on_inaccessible: str = "error") -> Dataset:
    """Read images with objects: each `Sample` has an `ImageObjects` as its target, and the class of each object as its labels.

    The size of each image is read from its header, and its objects are compared with it (`check_annotations`). What is
    repaired is logged, one line for each kind.

    Args:
        location: a file or folder that `recognizes` is true for, a folder that `resnets data get` wrote, or `shapes` or
            `digit-scenes`, which are built in. A folder or file of that name takes precedence.
        on_inaccessible: "error"; or "skip" to leave out folders that cannot be listed, images that are not annotated, and objects
            that have no class or no box in their image.

    Raises:
        UserError: there are no such data, they are in none of the formats, or their annotations have errors.
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    dataset, faults = read_and_check(location)
    if on_inaccessible == "error":
        walk_folders.refuse_inaccessible(dataset.unused)
        _refuse_errors(dataset, [fault for fault in faults if fault.kind in ERRORS])
    if not dataset.class_names:
        raise UserError(f"'{dataset.root}' has no object in any of its images.")
    if message := walk_folders.describe_unused(dataset.unused):
        log(message)
    for warning in (*dataset.layout_warnings, *summarize(faults)):
        log(f"warning: {warning}")
    if note := text_order_note(dataset.class_names):
        log(note)
    return dataset


def read_and_check(location: str | Path) -> tuple[Dataset, list[AnnotationFault]]:
    """The dataset without what is wrong with it, and all faults; nothing is logged. Raises as `read`, but for annotations."""
    path = Path(location).expanduser()
    if str(location) in ("shapes", "digit-scenes") and not path.exists():
        path = builtin.cached_folder(str(location))
    reader = call_with_timeout(_find_reader, path)
    if reader is None:
        raise UserError(_unknown_message(path))
    dataset, faults = check_annotations(reader.read(path))
    _list_unused_images(dataset, [fault.path for fault in faults])
    return dataset, faults


def summarize(faults: Sequence[AnnotationFault]) -> list[str]:
    """A line for each kind of error and warning, with its number and an example."""
    counts = Counter(fault.kind for fault in faults if fault.kind not in NOTES)
    first = {fault.kind: fault for fault in reversed(faults)}
    return [f"{TITLES[kind]}: {count:,} (first: {first[kind]}): {ACTIONS[kind]}" for kind, count in counts.items()]


def _refuse_errors(dataset: Dataset, errors: Sequence[AnnotationFault]) -> None:
    if not errors:
        return
    by_kind: dict[str, list[AnnotationFault]] = defaultdict(list)
    for fault in errors:
        by_kind[fault.kind].append(fault)
    text = "; ".join(
        f"{TITLES[kind]}: {format_list(found, SHOWN, quote=False, separator='; ')}" for kind, found in by_kind.items()
    )
    negative = (
        " An image that shows no object needs an empty annotation, such as an empty label file."
        if "not-annotated" in by_kind
        else ""
    )
    raise UserError(
        f"'{dataset.root}' has {pluralize(len(errors), 'error')} in its annotations. {text}. Correct them, or leave them "
        f"out with `on_bad=skip`.{negative}"
    )


def _find_reader(path: Path) -> ModuleType | None:
    return next((reader for reader in READERS if reader.recognizes(path)), None)


def _has_classes(path: Path) -> bool:
    if generate_shapes.annotation_paths(path):
        return True
    return any(path.glob(f"*/{CLASSES_FILE}")) or (path / CLASSES_FILE).is_file()


def _list_unused_images(dataset: Dataset, left_out: Sequence[str]) -> None:
    """Add the images beside those of the dataset that it does not have to `dataset.unused`."""
    used = {Path(path) for path in (*left_out, *(sample.path for sample in dataset.samples))}
    for folder in sorted({path.parent for path in used}):
        listing = walk_folders.list_folder(folder, UnusedFiles())
        dataset.unused.files += [str(path) for path in listing.images if path not in used]


def _unknown_message(path: Path) -> str:
    if not path.exists():
        return open_dataset.describe_missing(path)
    formats = "COCO's JSON, YOLO's data.yaml, Pascal VOC's XML, a table with the columns path, label, x1, y1, x2 and y2, or masks"
    return f"'{path}' has no boxes in a known format: {formats}."
