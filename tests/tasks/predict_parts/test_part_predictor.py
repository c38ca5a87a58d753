"""A part of a segmenter: the rows of its images, and nothing of their masks that stays in memory."""

from __future__ import annotations

import weakref
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image
from tests import tiny_checkpoint
from tests.serve.running import segmenter

from resnets.tasks.predict_parts import image_list, job_settings
from resnets.tasks.predict_parts.part_predictor import PartPredictor, PartsJob
from resnets.tasks.segmentation.task import Segmentation

COUNT, BATCH = 40, 2


def test_a_part_of_a_segmenter_keeps_its_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = segmenter()
    paths = [str(tmp_path / f"{number:02}.png") for number in range(COUNT)]
    originals = tiny_checkpoint.colored_images(8)
    for number, path in enumerate(paths):
        Image.fromarray(originals[number % 8]).rotate(number).save(path)
    Path(paths[3]).write_bytes(b"no image")
    with (tmp_path / image_list.FILE).open("wb") as file:
        images = image_list.scan(paths, COUNT, file)
    settings = job_settings.settings_of(model, ["ab" * 32], images, {}, BATCH, COUNT, "cpu")
    job = PartsJob(str(tmp_path), ("segmenter",), settings, {}, "cpu", workers=0)
    masks, most = list[weakref.ref[Any]](), 0
    predict = Segmentation.predict

    def counted(*arguments: Any) -> Any:
        nonlocal most
        found = predict(*arguments)
        masks.append(weakref.ref(found.mask))
        most = max(most, sum(each() is not None for each in masks))
        return found

    monkeypatch.setattr(Segmentation, "predict", counted)
    predictor = PartPredictor(job, [model])
    receipt = predictor.predict(images.part(0))
    assert receipt is not None
    assert (receipt.part, receipt.rows, receipt.errors) == (0, COUNT, 1)
    assert len(masks) == COUNT - 1
    assert most <= 2 * BATCH
    assert predictor.predict(images.part(0)) is None  # it is there
    monkeypatch.undo()
    rows = pyarrow.parquet.read_table(job.path_of(images.part(0))).to_pylist()
    for row, path, wanted in zip(rows, paths, model.predict(paths, batch=BATCH), strict=True):
        assert (row["path"], row["model_sha256"]) == (path, "ab" * 32)
        assert row["sha256"] == sha256(Path(path).read_bytes()).hexdigest()
        assert bool(row["error"]) is (path == paths[3])
        assert row["size"] == (None if wanted.size is None else list(wanted.size))
        areas = row["areas"] or {}
        assert dict(areas) == wanted.to_dict()["areas"]
