"""`resnets.check`, `resnets.split` and `convert_objects`: what is wrong with a dataset, its split, and other formats."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.data.check import check as data_check
from resnets.data.check import html_page
from resnets.data.check.check import CheckReport
from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Sample
from resnets.data.object_datasets import convert, open_object_dataset
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import write_split


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


def check(data: str | Path, *, workers: int | None = None, html: str | Path | None = None) -> CheckReport:
    """Read every image of a dataset, and find what would make a training fail or its result wrong.

    Args:
        data: a folder of class folders, a .csv or .jsonl file, shards, "digits", "digit-scenes" or "shapes"; or images with
            objects in a format of `convert_objects`.
        workers: number of threads that read; None for one per processor.
        html: a file for a page with the images in question.

    Returns:
        The report: `.problems`, sorted by level (errors, warnings, notes); `.has_errors`; `.summary`, a sentence; `.to_dict()`.

    Raises:
        UserError: there is no such dataset, or `html` cannot be written.
    """
    if html is not None:
        atomic_write.check_file_writable(html)
    if open_object_dataset.recognizes(data):
        dataset, faults = open_object_dataset.read_and_check(data)
    else:
        dataset, faults = open_dataset.read(str(data), on_inaccessible="skip"), []
    report = data_check.check(dataset, workers=workers, faults=faults)
    if html is not None:
        html_page.write(html, report)
    return report


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

    Returns:
        The result: `.counts`, the number of images of each split; `.samples`, the images, each with its split.

    Raises:
        UserError: there is no such dataset, it cannot be split so, an argument would have no effect, or `out` cannot be
            written.
    """
    if out is not None:
        atomic_write.check_file_writable(out)
    reader = open_object_dataset if open_object_dataset.recognizes(data) else open_dataset
    dataset = make_split(
        reader.read(str(data)),
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
