"""`resnets.check`, `resnets.split` and `convert_objects`: what is wrong with a dataset, its split, and other formats."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resnets import atomic_write
from resnets.data.check import check as data_check
from resnets.data.check import html_page
from resnets.data.check.check import CheckReport
from resnets.data.check.check_mask_pixels import check_pixels
from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.mask_datasets import open_mask_dataset
from resnets.data.object_datasets import convert, open_object_dataset
from resnets.data.object_datasets.annotation_faults import AnnotationFault
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import write_split
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize
from resnets.progress import log
from resnets.tasks.embeddings import index_file

_TASKS = ("classification", "multilabel", "detection", "segmentation")


@dataclass(frozen=True)
class SplitResult:
    """The split of a dataset.

    Attributes:
        out: the file that it was written to, if any.
        counts: number of images of each split: {"train": 80, "val": 20}.
        samples: the images, each with its `path`, `label` and `split`.
    """

    out: str | None
    counts: dict[str, int]
    samples: Sequence[Sample] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The file and the numbers of images, for JSON."""
        return {"out": self.out, "images": self.counts}


def check(
    data: str | Path,
    *,
    workers: int | None = None,
    html: str | Path | None = None,
    task: str | None = None,
    mask_values: Sequence[str] = (),
    mask_value_tolerance: int = 0,
    vectors: str | Path | None = None,
) -> CheckReport:
    """Read every image of a dataset, and find what would make a training fail or its result wrong.

    Args:
        data: a folder of class folders, a .csv or .jsonl file, shards, "digits", "digit-scenes" or "shapes"; images with
            objects in a format of `convert_objects`; or images with label masks.
        workers: number of threads that read; None for one per processor.
        html: a file for a page with the images in question.
        task: "detection" or "segmentation", where data could be for another task as well; None for what they are laid out for.
        mask_values: what the values of masks mean, each as "255=person"; empty for what the data say.
        mask_value_tolerance: how much a value of a mask may differ from these.
        vectors: a file that `embed` wrote for these images: near duplicates are then found by its vectors, which finds more.

    Returns:
        The report: `.problems`, sorted by level (errors, warnings, notes); `.has_errors`; `.summary`, a sentence; `.to_dict()`.

    Raises:
        UserError: there is no such dataset, or `html` cannot be written.
    """
    if html is not None:
        atomic_write.check_file_writable(html)
    kind = _kind(data, task, mask_values)
    faults: list[AnnotationFault] = []
    if kind == "segmentation":
        dataset, faults = open_mask_dataset.read_and_check(data, values=mask_values, tolerance=mask_value_tolerance)
        faults += check_pixels(dataset, workers=workers)
    elif kind == "detection":
        dataset, faults = open_object_dataset.read_and_check(data)
    else:
        dataset = open_dataset.read(str(data), on_inaccessible="skip")
    found = None if vectors is None else _vectors(dataset, vectors)
    report = data_check.check(dataset, workers=workers, faults=faults, vectors=found)
    if html is not None:
        html_page.write(html, report)
    return report


def _vectors(dataset: Dataset, index: str | Path) -> np.ndarray:
    """float32 (N, E), those of the images in order, NaN for images without one; raises UserError if none has one."""
    found = index_file.read(index).vectors_of([sample.path for sample in dataset.samples])
    missing = int(np.isnan(found).any(axis=1).sum())
    if missing == len(found):
        raise UserError(
            f"'{index}' has no vector of an image of '{dataset.root}'. Write them: `resnets embed CHECKPOINT "
            f"{dataset.root} --out FILE`."
        )
    if missing:
        log(f"'{index}' has no vector of {pluralize(missing, 'image')}: no near duplicates of these are found")
    return found


def _kind(data: str | Path, task: str | None, mask_values: Sequence[str]) -> str:
    """ "detection", "segmentation", or "" for images with labels."""
    if task not in (None, *_TASKS):
        raise UserError(f"`task` is '{task}'; data are read for {format_list(_TASKS, quote=False)}.")
    if task in ("classification", "multilabel"):
        return ""
    if task is None:
        recognized = {"detection": open_object_dataset.recognizes, "segmentation": open_mask_dataset.recognizes}
        task = next((name for name, recognizes in recognized.items() if recognizes(data)), "")
    if mask_values and task != "segmentation":
        raise UserError(
            f"`mask_values` has no meaning for '{data}', which is not read as masks; give `task=segmentation`."
        )
    return task


def split(
    data: str | Path,
    *,
    out: str | Path | None = None,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    seed: int | None = None,
    group_by: str | None = None,
    folds: int | None = None,
    fold: int | None = None,
    task: str | None = None,
    mask_values: Sequence[str] = (),
    mask_value_tolerance: int = 0,
) -> SplitResult:
    """Split a dataset by content into train, val and test, stratified by class; copies and groups stay together.

    Splits that the dataset has stay as they are.

    Args:
        data: as in `check`.
        out: a file for the split, which training and evaluation take as `split_file`; None to write none.
        val_fraction: fraction of val, where the dataset has none; None for 0.2.
        test_fraction: fraction of test, where the dataset has none; None for 0.
        seed: another seed is another split; None for 123.
        group_by: the column of a list whose groups are never divided, or "folder" for the folders within class folders.
        folds: number of equal folds, instead of `val_fraction`.
        fold: the fold that is val, from 1.
        task, mask_values, mask_value_tolerance: as in `check`.

    Returns:
        The result: `.counts`, the number of images of each split; `.samples`, the images, each with its split.

    Raises:
        UserError: there is no such dataset, it cannot be split so, an argument would have no effect, or `out` cannot be
            written.
    """
    if out is not None:
        atomic_write.check_file_writable(out)
    kind = _kind(data, task, mask_values)
    if kind == "segmentation":
        unsplit = open_mask_dataset.read(data, values=mask_values, tolerance=mask_value_tolerance)
    else:
        unsplit = (open_object_dataset if kind == "detection" else open_dataset).read(str(data))
    dataset = make_split(
        unsplit,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        group_by=group_by,
        folds=folds,
        fold=fold,
    )
    if out is not None:
        write_split(out, dataset)
    counts = {name: len(dataset.subset(name)) for name in dataset.splits}
    return SplitResult(None if out is None else str(out), counts, dataset.samples)


def convert_objects(data: str | Path, out: str | Path, *, to: str, on_bad: str = "error") -> dict[str, int]:
    """Write images with objects, which are in any format that is read, in another one, with copies of the images.

    Args:
        data: a folder or file of COCO's, YOLO's or Pascal VOC's format, a table of objects, instance masks, or a folder that
            `resnets data get` wrote.
        out: a folder that is empty or does not exist.
        to: "coco", "yolo", "voc", "csv" or "jsonl".
        on_bad: "skip" leaves out objects and images whose annotations are wrong; "error" refuses them.

    Returns:
        The number of images of each split; "" for data that are not split.

    Raises:
        UserError: there are no such data, their annotations are wrong, or `out` is not empty.
        JobError: an image cannot be copied, or the disk is full; nothing is left behind.
    """
    convert.check_output(out, to)
    return convert.convert(open_object_dataset.read(data, on_inaccessible=on_bad), to, out)
