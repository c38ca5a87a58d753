"""Read tables of images and masks: a .csv or .jsonl with the columns path and mask, and optionally split and group."""

from __future__ import annotations

import os
from pathlib import Path

from resnets.data.datasets.manifests import ALIASES, MANIFESTS, first_row, read_rows, read_samples
from resnets.data.mask_datasets.mask_layout import ImageMaskPair, MaskLayout
from resnets.data.mask_datasets.read_class_names import find_table

FILES = ("masks.csv", "masks.jsonl")


def recognizes(path: Path) -> bool:
    """Whether it is a table with a path and a mask in each row, and no objects; or a folder with such a `masks.csv`."""
    return _find_file(path) is not None


def read(path: Path) -> MaskLayout:
    """Read the table. Paths are relative to it; an empty mask is that of an image that is not annotated.

    Raises:
        UserError: rows are wrong, or an image cannot be found.
    """
    file = _find_file(path)
    assert file is not None
    rows = read_rows(file, required=("path",))
    samples = read_samples(file, rows, lambda values: ())
    images = [
        ImageMaskPair(
            sample.path,
            os.path.join(file.parent, mask) if (mask := sample.columns.get("mask", "").strip()) else None,
            sample.split,
            sample.group,
        )
        for sample in samples
    ]
    return MaskLayout(file.parent, images, find_table([file.parent]))


def _find_file(path: Path) -> Path | None:
    files = [path / name for name in FILES] if path.is_dir() else [path]
    return next((file for file in files if _is_table(file)), None)


def _is_table(file: Path) -> bool:
    if file.suffix.lower() not in MANIFESTS or not file.is_file():
        return False
    names = {name.lower() for name in first_row(file)}
    return "mask" in names and "objects" not in names and bool(names & {"path", *ALIASES["path"]})
