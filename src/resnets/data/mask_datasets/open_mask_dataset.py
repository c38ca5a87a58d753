"""Open a dataset of images with a class for each pixel by its location, in any of the layouts that are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from resnets.data.datasets import builtin, open_dataset, walk_folders
from resnets.data.datasets.dataset import Dataset, Sample, labels_of
from resnets.data.loading.thread_pool import call_with_timeout
from resnets.data.mask_datasets import (
    check_mask_values,
    infer_classes,
    mask_faults,
    read_cityscapes,
    read_mask_folders,
    read_mask_table,
    read_voc_masks,
    scan_masks,
)
from resnets.data.mask_datasets.image_mask import BACKGROUND, ImageMask
from resnets.data.mask_datasets.mask_classes import MaskClasses, make_classes, parse_values
from resnets.data.mask_datasets.mask_layout import ImageMaskPair, MaskLayout
from resnets.data.object_datasets import annotation_faults, open_object_dataset
from resnets.data.object_datasets.annotation_faults import AnnotationFault
from resnets.data.object_datasets.objects import ImageObjects
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize
from resnets.progress import log

READERS: tuple[ModuleType, ...] = (read_mask_table, read_voc_masks, read_cityscapes, read_mask_folders)
ERRORS = {**annotation_faults.ERRORS, **mask_faults.ERRORS}
TITLES = {**annotation_faults.TITLES, **mask_faults.TITLES}
ACTIONS = {**annotation_faults.ACTIONS, **mask_faults.ACTIONS}
NOTES = {**annotation_faults.NOTES, **mask_faults.NOTES}
SHOWN = 3  # cases of a kind of error


def recognizes(location: str | Path) -> bool:
    """Whether the data are laid out as label masks; no image is read.

    False for what `open_object_dataset` reads, which can be read for segmentation if that is asked for.
    """
    path = Path(location).expanduser()
    return call_with_timeout(_find_reader, path) is not None and not open_object_dataset.recognizes(path)


def read(
    location: str | Path, *, on_inaccessible: str = "error", values: Sequence[str] = (), tolerance: int = 0
) -> Dataset:
    """Read images with masks: each `Sample` has an `ImageMask` as its target, and the classes in it as its labels.

    `class_names` has the classes that occur, in the order of the data, and `listed_classes` all of them. Each mask is read once,
    and what is found is logged, one line for each kind.

    Args:
        location: a folder or file in one of the layouts of label masks; else one that `open_object_dataset` reads, whose
            objects have masks or polygons, and are drawn on a class `background`; or `shapes`, which is built in.
        on_inaccessible: "error"; or "skip" to leave out folders that cannot be listed and images without a mask that can be
            used, and to ignore pixels of unknown values.
        values: what the values mean, each VALUE=NAME, instead of what the data say; see `parse_values`.
        tolerance: as `MaskClasses.tolerance`.

    Raises:
        UserError: there are no such data, they are in none of the layouts, or their masks have errors.
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    dataset, faults = read_and_check(location, values=values, tolerance=tolerance)
    errors = [fault for fault in faults if fault.kind in ERRORS]
    if on_inaccessible == "error":
        walk_folders.refuse_inaccessible(dataset.unused)
        _refuse(dataset, errors)
    else:
        _refuse(dataset, [fault for fault in errors if fault.kind in mask_faults.QUESTIONS])
    if not dataset.class_names:
        raise UserError(f"'{dataset.root}' has no pixel of a class in any of its masks.")
    if message := walk_folders.describe_unused(dataset.unused):
        log(message)
    for warning in (*dataset.layout_warnings, *_summarize(faults)):
        log(f"warning: {warning}")
    return dataset


def read_and_check(
    location: str | Path, *, values: Sequence[str] = (), tolerance: int = 0
) -> tuple[Dataset, list[AnnotationFault]]:
    """The dataset without what is wrong with it, and all faults; nothing is logged. Raises as `read`, but for the masks."""
    path = Path(location).expanduser()
    if str(location) == "shapes" and not path.exists():
        path = builtin.cached_folder("shapes")
    given = parse_values(values, tolerance) if values else None
    reader = call_with_timeout(_find_reader, path)
    if reader is not None:
        return _read_files(reader.read(path), given, tolerance)
    if given or tolerance:
        raise UserError(
            f"'{path}' has no masks with values in files, for which `mask_values` and `mask_value_tolerance` are."
        )
    if not open_object_dataset.recognizes_objects(path):
        raise UserError(_unknown_message(path))
    return _read_objects(path)


def _find_reader(path: Path) -> ModuleType | None:
    return next((reader for reader in READERS if reader.recognizes(path)), None)


def _read_files(layout: MaskLayout, given: MaskClasses | None, tolerance: int) -> tuple[Dataset, list[AnnotationFault]]:
    faults = [AnnotationFault(each.image, 0, "no-mask", "") for each in layout.images if each.mask is None]
    faults += [AnnotationFault(mask, 0, "no-image", "") for mask in layout.unmatched]
    images = [each for each in layout.images if each.mask is not None]
    if not images:
        raise UserError(f"'{layout.root}' has no image with a mask.")
    color_coded = _are_color_coded(images, layout, given)
    if tolerance and given is None and layout.table is None:
        raise UserError(f"`mask_value_tolerance={tolerance}` needs `mask_values`, the values that are meant.")
    scans = scan_masks.scan_masks(images, color_coded=color_coded)
    inferred = infer_classes.infer_classes(
        images, scans, layout.table, given, color_coded=color_coded, tolerance=tolerance
    )
    faults += [AnnotationFault(str(layout.root), 0, *each) for each in inferred.faults]
    samples: list[Sample] = []
    for image, scan in zip(images, scans, strict=True):
        sample, found = check_mask_values.check_mask(image, scan, inferred.classes)
        faults += found
        samples += [] if sample is None else [sample]
    samples, warnings = _without_empty_test(samples)
    if warnings:  # which say already that these masks have no class
        kept = {sample.path for sample in samples}
        faults = [fault for fault in faults if fault.kind != "empty-mask" or fault.path in kept]
    faults += check_mask_values.check_dataset(layout.root, samples, inferred.classes.names)
    shares = check_mask_values.class_shares(scans, inferred.classes)
    faults += check_mask_values.share_faults(layout.root, samples, shares, inferred.classes.names)
    return _dataset(layout.root, samples, inferred.classes.names, (*layout.warnings, *warnings)), faults


def _are_color_coded(images: Sequence[ImageMaskPair], layout: MaskLayout, given: MaskClasses | None) -> bool:
    told = given or layout.table
    return scan_masks.have_colors(images) if told is None else told.color_coded


def _without_empty_test(samples: list[Sample]) -> tuple[list[Sample], list[str]]:
    """Without the images of a test split whose masks are published without any class, and a warning."""
    test = [sample for sample in samples if sample.split == "test"]
    if not test or len(test) == len(samples) or labels_of(test):
        return samples, []
    note = f"the masks of the {pluralize(len(test), 'test image')} have no class, as where they are not published: left out"
    return [sample for sample in samples if sample.split != "test"], [note]


def _read_objects(path: Path) -> tuple[Dataset, list[AnnotationFault]]:
    dataset, faults = open_object_dataset.read_and_check(path)
    names = tuple(dict.fromkeys((BACKGROUND, *dataset.listed_classes, *dataset.class_names)))
    classes = make_classes(dict(enumerate(names)))
    samples = []
    for sample in dataset.samples:
        target: ImageObjects = sample.target
        if target.size is None:  # the image cannot be read, which `data.check` finds
            continue
        for number, each in enumerate(target.objects, 1):
            if each.mask is None:
                faults.append(AnnotationFault(sample.path, number, "no-outline", f"'{each.label}'"))
        labels = tuple(dict.fromkeys((BACKGROUND, *(each.label for each in target.objects if each.mask is not None))))
        mask = ImageMask(classes, target.size, objects=target.objects)
        samples.append(replace(sample, labels=labels, target=mask))
    faults += check_mask_values.check_dataset(dataset.root, samples, names)
    return replace(_dataset(dataset.root, samples, names, dataset.layout_warnings), unused=dataset.unused), faults


def _dataset(root: Path, samples: Sequence[Sample], names: Sequence[str], warnings: Sequence[str]) -> Dataset:
    present = labels_of(samples)
    return Dataset(
        root=root,
        samples=tuple(samples),
        class_names=tuple(name for name in names if name in present),
        listed_classes=tuple(names),
        layout_warnings=tuple(warnings),
    )


def _summarize(faults: Sequence[AnnotationFault]) -> list[str]:
    """A line for each kind of error and warning, with its number and an example."""
    by_kind: dict[str, list[AnnotationFault]] = defaultdict(list)
    for fault in faults:
        if fault.kind not in NOTES:
            by_kind[fault.kind].append(fault)
    return [f"{TITLES[kind]}: {len(found):,} (first: {found[0]}): {ACTIONS[kind]}" for kind, found in by_kind.items()]


def _refuse(dataset: Dataset, errors: Sequence[AnnotationFault]) -> None:
    if not errors:
        return
    by_kind: dict[str, list[AnnotationFault]] = defaultdict(list)
    for fault in errors:
        by_kind[fault.kind].append(fault)
    text = " ".join(
        f"{TITLES[kind].capitalize()}: {format_list(found, SHOWN, quote=False, separator='; ')} ({ACTIONS[kind]})."
        for kind, found in by_kind.items()
    )
    raise UserError(f"'{dataset.root}' has {pluralize(len(errors), 'error')} in its masks. {text}")


def _unknown_message(path: Path) -> str:
    if not path.exists():
        return open_dataset.describe_missing(path)
    layouts = (
        "folders 'images' and 'masks' with files of the same names, Pascal VOC's or Cityscapes' folders, a table with the "
        "columns path and mask, or outlines of objects, such as COCO's"
    )
    return f"'{path}' has no masks in a known layout: {layouts}."
