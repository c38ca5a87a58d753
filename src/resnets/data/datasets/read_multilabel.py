"""Read images with any number of labels: Roboflow's `_classes.csv`, lists with several labels a row or columns of 0 and 1."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from resnets.data.datasets.dataset import Dataset, Sample, UnusedFiles, build_dataset, nfc, split_from_name
from resnets.data.datasets.manifests import ALIASES, COLUMNS, MANIFESTS, Row, read_rows, read_samples
from resnets.data.datasets.walk_folders import list_folder
from resnets.errors import UserError
from resnets.message_format import format_list
from resnets.progress import log

CLASSES_FILE = "_classes.csv"
NOT_IMAGES = (CLASSES_FILE, "_annotations.coco.json")  # of Roboflow's exports
LABEL_COLUMNS = ("label", *ALIASES["label"])
SEPARATORS = {"labels": re.compile(r"[|;]"), "tags": re.compile(r"[|;\s]")}
FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}  # pandas writes the last two


def is_multilabel(path: Path) -> bool:
    """Whether the folder or list gives any number of labels for each image, by its layout; no image is read.

    Raises:
        UserError: the list is not CSV or JSON.
    """
    if path.is_dir():
        return bool(_find_folders(path))
    return path.suffix.lower() in MANIFESTS and path.is_file() and _list_rows(path) is not None


def read(path: Path) -> Dataset:
    """Read a folder or list for which `is_multilabel` is true; an image may have no label.

    It is a folder with a `_classes.csv` (first column: file name; each other column: a class, 1 for its images, else 0), or
    with such folders for its splits; a .jsonl with lists under `labels`, `label` or `tags`; a .csv with a column `labels` whose
    values are separated by `|` or `;`, or with a column `tags`, where spaces separate as well; or a .csv with a column of 0 and
    1 for each class. Its other columns are those of `read_manifest`. Classes that no image has are left out.

    Raises:
        UserError: a row is wrong (each with its line and value), or a file is missing (each named).
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    if path.is_dir():
        return _read_folders(path, _find_folders(path))
    rows = _list_rows(path)
    assert rows is not None
    return _build(path.parent, read_samples(path, rows, _read_labels), rows, UnusedFiles())


def _find_folders(root: Path) -> dict[str | None, Path]:
    """The folders with a `_classes.csv`, by their split: `root` itself, or else folders in it that are named for a split."""
    if os.path.isfile(root / CLASSES_FILE):
        return {None: root}
    folders: dict[str | None, Path] = {}
    for folder in list_folder(root, UnusedFiles()).folders:
        if (split := split_from_name(folder.name)) and os.path.isfile(folder / CLASSES_FILE):
            if split in folders:
                raise UserError(f"'{folders[split]}' and '{folder}' are both the {split} split. Keep one.")
            folders[split] = folder
    return folders


def _read_folders(root: Path, folders: Mapping[str | None, Path]) -> Dataset:
    samples: list[Sample] = []
    all_rows: list[Row] = []
    unused = UnusedFiles()
    for split, folder in folders.items():
        rows: list[Row] = []
        for line, values in read_rows(folder / CLASSES_FILE, required=()):
            (_, path), *flags = values.items()
            rows.append((line, {"path": path, "label": dict(flags)}))
        found = read_samples(folder / CLASSES_FILE, rows, _read_labels)
        samples += [replace(sample, split=split) for sample in found]
        all_rows += rows
        listing = list_folder(folder, unused)
        listed = {Path(sample.path) for sample in found}
        unused.files += [str(each) for each in (*listing.images, *listing.others) if each not in listed]
    if None not in folders:
        top = list_folder(root, unused)
        unused.files += map(str, (*top.images, *top.others))
        unused.folders += [str(folder) for folder in top.folders if folder not in folders.values()]
    unused.files = [path for path in unused.files if Path(path).name not in NOT_IMAGES]
    return _build(root, samples, all_rows, unused)


def _list_rows(path: Path) -> list[Row] | None:
    """The rows of a list, each with its labels, or its columns of 0 and 1, as `label`; None if each row has one label."""
    rows = read_rows(path, required=("path",))
    names, first = list(rows[0][1]), rows[0][1]
    tags = [name for name in names if name.lower() == "tags"]
    columns = [name for name in names if name.lower() in LABEL_COLUMNS] or tags
    if not columns:
        flags = [name for name in names if name not in COLUMNS and str(first[name]).strip().lower() in FLAGS]
        with_flags = ((line, values, {name: values.get(name) for name in flags}) for line, values in rows)
        return [(line, _with_label(values, flags, label)) for line, values, label in with_flags] if flags else None
    column, separator = columns[0], SEPARATORS.get(columns[0].lower())
    given = [values.get(column) for _, values in rows]
    if not any(isinstance(value, list) for value in given):
        texts = [str(value or "") for value in given]
        if separator is None or len(columns) > 1:
            return None
        if column.lower() == "labels" and all(text.strip() and not separator.search(text) for text in texts):
            return None  # one label in each row
        given = [[word for word in separator.split(text) if word.strip()] for text in texts]
    return [(line, _with_label(values, [column], value)) for (line, values), value in zip(rows, given, strict=True)]


def _with_label(values: Mapping[str, object], columns: Sequence[str], label: object) -> dict[str, object]:
    return {**{name: value for name, value in values.items() if name not in columns}, "label": label}


def _read_labels(values: Mapping[str, object]) -> tuple[str, ...]:
    """The sorted classes of a row, of a list of them or of flags; ValueError with what is wrong."""
    given = values.get("label")
    if isinstance(given, dict):
        for name, value in given.items():
            if str(value).strip().lower() not in FLAGS:
                raise ValueError(f"the value '{'' if value is None else value}' of '{name}' is not 0 or 1")
        given = [name for name, value in given.items() if FLAGS[str(value).strip().lower()]]
    given = [given] if isinstance(given, str | int) else given
    if not isinstance(given, list) or not all(isinstance(name, str | int) and str(name).strip() for name in given):
        raise ValueError(f"the labels {json.dumps(given)} are not a list of words or numbers")
    labels = {nfc(str(name).strip()) for name in given}
    if len(labels) > 1 and (found := sorted(name for name in labels if "|" in name)):
        raise ValueError(f"the label '{found[0]}' contains '|', which separates labels in split.csv")
    return tuple(sorted(labels))


def _build(root: Path, samples: Sequence[Sample], rows: Sequence[Row], unused: UnusedFiles) -> Dataset:
    dataset = build_dataset(root, samples, unused=unused)
    columns = dict.fromkeys(
        nfc(name) for _, values in rows if isinstance(flags := values["label"], dict) for name in flags
    )
    dataset = replace(dataset, listed_classes=tuple(columns))
    if dataset.unused_classes:
        log(f"left out {format_list(dataset.unused_classes)}: 1 for no image")
    if not dataset.class_names:
        raise UserError(f"None of the {len(samples):,} images of '{root}' has a label.")
    return dataset
