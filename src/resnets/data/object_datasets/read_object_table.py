"""Read tables of objects: a .csv or .jsonl with a row for each object."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from resnets.data.datasets.dataset import Dataset, Sample, build_dataset, split_from_name
from resnets.data.datasets.manifests import ALIASES, MANIFESTS, Row, first_row, read_rows
from resnets.data.object_datasets.find_annotation_files import by_stem, find_named, has_suffix
from resnets.data.object_datasets.object_masks import read_segmentation
from resnets.data.object_datasets.objects import (
    FRACTIONS,
    Fault,
    ImageObjects,
    Object,
    make_sample,
    read_box,
    read_class,
)
from resnets.errors import UserError
from resnets.message_format import format_list

FILES = ("annotations.jsonl", "annotations.csv", "_annotations.csv")  # the last is Roboflow's
# What other programs call the columns (TensorFlow's and Roboflow's tables, Open Images).
_NAMES: Mapping[str, Sequence[str]] = {
    "path": (*ALIASES["path"], "imageid", "image_id"),
    "label": (*ALIASES["label"], "labelname", "name"),
    "x1": ("xmin", "x_min", "left"),
    "y1": ("ymin", "y_min", "top"),
    "x2": ("xmax", "x_max", "right"),
    "y2": ("ymax", "y_max", "bottom"),
    "crowd": ("iscrowd", "isgroupof"),
}
_BOX = ("x1", "y1", "x2", "y2")
_CROWD = {"1": True, "1.0": True, "true": True, "": False, "0": False, "0.0": False, "false": False}
_CROWD |= {"-1": False}  # Open Images: it is not known
UNITS = ("pixel", "fraction")


def recognizes(path: Path) -> bool:
    """Whether it is a table with the columns of a box, or a folder with such a table under one of the usual names."""
    return bool(_find_files(path))


def read(path: Path) -> Dataset:
    """Read tables with the columns path, label, x1, y1, x2, y2, and optionally split, group, crowd (0, 1, true or false),
    unit (`pixel`, or `fraction` of the sides of the image), and in .jsonl files segmentation, as in COCO's format.

    A row without label and box is that of an image without objects. The coordinates of Open Images (a column ImageID) are
    fractions. Paths are relative to the table; a path without suffix is that of the image with this name there.

    Raises:
        UserError: a table is not CSV or JSON, or rows are not consistent.
    """
    root = path if path.is_dir() else path.parent
    samples = [sample for file, split in _find_files(path).items() for sample in _samples(file, split)]
    return build_dataset(root, samples)


def _find_files(path: Path) -> dict[Path, str | None]:
    if path.is_dir():
        return find_named(path, FILES, _is_table)
    return {path: None} if path.suffix.lower() in MANIFESTS and _is_table(path) else {}


def _is_table(file: Path) -> bool:
    return file.is_file() and set(_canonical(first_row(file))) >= {"path", *_BOX}


def _canonical(row: Mapping[str, object]) -> dict[str, object]:
    """The row with our names of its columns, in lower case."""
    lower = {name.lower(): value for name, value in row.items()}
    found = {ours: next((name for name in (ours, *theirs) if name in lower), None) for ours, theirs in _NAMES.items()}
    names = {theirs: ours for ours, theirs in found.items() if theirs}
    return {names.get(name, name): value for name, value in lower.items()}


def _samples(file: Path, split: str | None) -> list[Sample]:
    rows = [(line, values, _canonical(values)) for line, values in read_rows(file, required=())]
    fractions = any(name.lower() == "imageid" for name in rows[0][1])
    by_path: dict[str, list[Row]] = {}
    for line, _, values in rows:
        by_path.setdefault(_word(values, "path"), []).append((line, values))
    if "" in by_path:
        raise UserError(f"'{file}', line {by_path[''][0][0]}: the path is empty.")
    stems = by_stem((file.parent, file.parent / "images")) if not all(map(has_suffix, by_path)) else {}
    return [
        _sample(file, str(stems.get(name, os.path.join(file.parent, name))), image_rows, split, fractions)
        for name, image_rows in by_path.items()
    ]


def _sample(file: Path, path: str, rows: Sequence[Row], split: str | None, fractions: bool) -> Sample:
    objects, faults = [], []
    annotated = [(line, values) for line, values in rows if any(_word(values, name) for name in ("label", *_BOX))]
    for number, (line, values) in enumerate(annotated, 1):
        crowd, mask, kind = _crowd(file, line, values), None, "no-class"
        try:
            mask = read_segmentation(values.get("segmentation") or None)
        except ValueError as error:
            faults.append(Fault(number, "bad-mask", f"line {line}: {error}"))
        try:
            label, kind = read_class(values.get("label")), "bad-box"
            objects.append(Object(label, read_box([_word(values, name) for name in _BOX]), mask, crowd=crowd))
        except ValueError as error:
            faults.append(Fault(number, kind, f"line {line}: {error}"))
    unit = _common(file, rows, "unit") or UNITS[fractions]
    word = _common(file, rows, "split")
    if unit not in UNITS:
        raise UserError(f"'{file}', line {rows[0][0]}: the unit '{unit}' is not pixel or fraction.")
    if word and split_from_name(word) is None:
        raise UserError(f"'{file}', line {rows[0][0]}: the split '{word}' is not train, val or test.")
    size = FRACTIONS if unit == UNITS[1] else _size(rows[0][1])
    target = ImageObjects(tuple(objects), size, tuple(faults))
    return make_sample(path, target, split=split_from_name(word) or split, group=_common(file, rows, "group") or None)


def _crowd(file: Path, line: int, values: Mapping[str, object]) -> bool:
    value = values.get("crowd")
    word = "" if value is None else str(value).strip().lower()
    if word not in _CROWD:
        raise UserError(f"'{file}', line {line}: crowd is {word[:40]!r}, and not 0, 1, true or false.")
    return _CROWD[word]


def _common(file: Path, rows: Sequence[Row], column: str) -> str:
    """The value that all rows of an image have."""
    found = {_word(values, column) for _, values in rows}
    if len(found) > 1:
        raise UserError(f"'{file}', line {rows[0][0]}: an image has {format_list(sorted(found))} as its {column}.")
    return found.pop()


def _size(values: Mapping[str, object]) -> tuple[int, int] | None:
    words = [_word(values, side) for side in ("height", "width")]
    if all(word.isdecimal() and word.isascii() and len(word) < 9 and int(word) for word in words):
        return int(words[0]), int(words[1])
    return None


def _word(values: Mapping[str, object], column: str) -> str:
    value = values.get(column)
    return "" if value is None or isinstance(value, bool | list | dict) else str(value).strip().replace("\0", "")
