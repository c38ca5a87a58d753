"""The tables of all tasks, read back by pyarrow."""

from __future__ import annotations

import io
import json
import sys
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from resnets.errors import UserError
from resnets.tasks.classification.prediction import Prediction as ClassPrediction
from resnets.tasks.classification.task import Classification
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.prediction import DetectedObject
from resnets.tasks.detection.prediction import Prediction as ObjectsPrediction
from resnets.tasks.detection.task import Detection
from resnets.tasks.multilabel.prediction import Prediction as LabelsPrediction
from resnets.tasks.multilabel.task import Multilabel
from resnets.tasks.predict_parts import parquet_columns
from resnets.tasks.segmentation.prediction import Prediction as AreasPrediction
from resnets.tasks.segmentation.task import Segmentation

MASK = {"size": [4, 6], "counts": "04L4"}
NAMES = ("sky", "große Straße")
READABLE: dict[str, tuple[Any, Any]] = {
    "classification": (
        Classification(NAMES),
        ClassPrediction("a.png", "sky", 0.75, (("sky", 0.75), ("große Straße", 0.25))),
    ),
    "multilabel": (Multilabel(NAMES), LabelsPrediction("a.png", (("sky", 0.75),), ("sky", 0.75))),
    "detection": (
        Detection(NAMES),
        ObjectsPrediction("a.png", (DetectedObject("sky", 0.5, (1.0, 2.0, 3.5, 4.0)),), (4, 6)),
    ),
    "masks": (
        Detection(NAMES, DetectionConfig(architecture="maskrcnn")),
        ObjectsPrediction("a.png", (DetectedObject("sky", 0.5, (1.0, 2.0, 3.5, 4.0), MASK),), (4, 6)),
    ),
    "segmentation": (Segmentation(NAMES), AreasPrediction("a.png", NAMES, np.array([[0, 1, 1], [0, 0, 0]], np.uint8))),
}


def encode(task: Any, predictions: Iterable[tuple[Any, str | None]]) -> bytes:
    return parquet_columns.encode(parquet_columns.to_table(task, predictions, "cd", {"part": 3}))


def read(content: bytes) -> Any:
    return pyarrow.parquet.read_table(io.BytesIO(content))


@pytest.mark.parametrize("kind", READABLE)
def test_a_row_is_what_json_has(kind: str) -> None:
    task, prediction = READABLE[kind]
    rows = [prediction, task.unreadable("b.png", "is empty")]
    content = encode(task, zip(rows, ["ab", None], strict=True))
    assert content == encode(task, zip(rows, ["ab", None], strict=True))
    table = read(content)
    assert json.loads(table.schema.metadata[b"resnets"]) == {"part": 3}
    found = table.to_pylist()
    for row, expected, digest in zip(found, rows, ("ab", None), strict=True):
        values = {name: dict(cell) if name == "areas" else cell for name, cell in row.items()}
        assert (values.pop("sha256"), values.pop("model_sha256")) == (digest, "cd")
        assert values == json.loads(json.dumps(expected.to_dict()))
    assert found[1]["error"] == "is empty"


def test_a_task_without_types_has_its_json() -> None:
    task = SimpleNamespace(value_types=dict)
    row = SimpleNamespace(path="a", error=None, to_dict=lambda: {"path": "a", "brightness": 0.5, "error": None})
    bad = SimpleNamespace(
        path="b", error="is empty", to_dict=lambda: {"path": "b", "brightness": None, "error": "is empty"}
    )
    found = read(encode(task, [(row, None), (bad, None)])).to_pylist()
    assert [each["prediction"] for each in found] == ['{"brightness": 0.5}', None]


def test_a_prediction_is_not_kept_once_it_is_a_row() -> None:
    alive = weakref.WeakSet[Any]()
    counts = []

    def predictions() -> Iterator[tuple[Any, None]]:
        for number in range(150):
            mask = np.zeros((4, 6), np.uint8)
            prediction = AreasPrediction(f"{number}.png", NAMES, mask)
            alive.add(prediction)
            counts.append(len(alive))
            yield prediction, None
            del prediction

    table = parquet_columns.to_table(Segmentation(NAMES), predictions(), "cd", {})
    assert table.column("path").to_pylist() == [f"{number}.png" for number in range(150)]
    assert max(counts) <= 2
    file = pyarrow.parquet.ParquetFile(io.BytesIO(parquet_columns.encode(table)))
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (150, 1)


def test_columns_are_read_and_damage_is_noticed(tmp_path: Path) -> None:
    task, prediction = READABLE["classification"]
    content = encode(task, [(prediction, "ab")])
    (tmp_path / "a").write_bytes(content)
    assert parquet_columns.read_columns(tmp_path / "a", ("path", "error")) == {"path": ["a.png"], "error": [None]}
    (tmp_path / "a").write_bytes(content[:-9])
    with pytest.raises(ValueError, match=r"\S"):
        parquet_columns.read_columns(tmp_path / "a", ("path", "error"))


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(UserError, match=r"pip install 'resnets\[parquet\]'"):
        parquet_columns.import_parquet()
