"""Read the boxes and masks of the generated dataset `shapes`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnets.data.datasets import generate_shapes
from resnets.data.datasets.dataset import Dataset, Sample, build_dataset
from resnets.data.datasets.manifests import read_rows
from resnets.data.object_datasets import object_masks
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample
from resnets.errors import UserError

LABELS_FILE = "labels.jsonl"


def recognizes(path: Path) -> bool:
    """Whether `resnets data get shapes` wrote the folder."""
    return bool(generate_shapes.annotation_paths(path))


def read(path: Path) -> Dataset:
    """Read the folder, or its `labels.jsonl`.

    Raises:
        UserError: a row or a mask is not as it was written.
    """
    file = path / LABELS_FILE
    return build_dataset(path, [_sample(path, line, row) for line, row in read_rows(file)])


def _sample(root: Path, line: int, row: Mapping[str, Any]) -> Sample:
    try:
        numbers = np.asarray(Image.open(root / row["mask"]))
        objects = [_object(each, numbers == number) for number, each in enumerate(row["objects"], 1)]
        target = ImageObjects(tuple(objects), (numbers.shape[0], numbers.shape[1]))
        return make_sample(str(root / row["path"]), target, split=row["split"])
    except (OSError, LookupError, TypeError, ValueError) as error:
        reason = f"'{root / LABELS_FILE}', line {line}: this is not a row of shapes, or its mask is missing: {error!r}"
        raise UserError(f"{reason}. Write them again: resnets data get shapes.") from error


def _object(values: Mapping[str, Any], mask: np.ndarray) -> Object:
    x, y, width, height = map(float, values["box"])
    return Object(values["label"], (x, y, x + width, y + height), object_masks.encode(mask))
