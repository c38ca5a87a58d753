"""The report of a run and of an evaluation: figures, sentences, and what it says of few groups."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.quick_figures import leave_white

from resnets.data.datasets.dataset import Dataset
from resnets.tasks.segmentation.metrics import records
from resnets.tasks.segmentation.task import Segmentation

FIGURES = ("class_iou.png", "confusion_matrix.png", "gallery.jpg")


@pytest.fixture
def evaluated(
    read_data: Callable[..., Dataset], task: Segmentation, tmp_path: Path
) -> Callable[..., tuple[Path, dict]]:
    """A function of the group of all images, which draws the report of their evaluation, or of a training on them."""

    def draw(group: str | None, *, split: str = "test", is_training: bool = False) -> tuple[Path, dict]:
        from dataclasses import replace

        samples = [replace(sample, group=group) for sample in read_data([(48, 64)] * 9).samples]
        random, found = np.random.default_rng(0), []
        truths = [sample.target.read(task.class_names) for sample in samples]
        for truth in truths:
            wrong = random.random(truth.shape) < 0.2
            predicted = np.where(wrong | (truth == 255), random.integers(2, size=truth.shape), truth)
            found.append(predicted.astype(np.uint8))
        measured = records.measure(truths, found, samples, 3)
        run = tmp_path / "run"
        run.mkdir()
        metrics = task.summarize(task.keep(measured)) | {"split": split, "protocol": ""}
        if is_training:
            (run / "metrics.jsonl").write_text('{"epoch": 1, "train/loss": 1.0, "val/loss": 1.0}\n')
        (run / "metrics.json").write_text(json.dumps(metrics))
        task.write_results(run, samples, measured)
        task.draw_report(run, samples, measured)
        return run, metrics

    return draw


def test_the_report_has_its_figures_and_says_what_it_measured(
    evaluated: Callable[..., tuple[Path, dict]],
) -> None:
    run, metrics = evaluated(None)
    for name in FIGURES:
        assert np.asarray(Image.open(run / name)).std() > 5, name
    page = (run / "report.html").read_text()
    assert f"The mean IoU is {100 * metrics['miou']:.1f} %, 95 % interval" in page
    assert "over 3 of 3 classes" in page
    assert "Most confused: " in page
    assert not (run / "per_group.csv").exists()
    rows = (run / "per_image.csv").read_text().splitlines()
    assert len(rows) == 10
    assert rows[0] == "path,group,pixels,pixel_accuracy,miou"


def test_few_groups_are_said_and_listed(
    evaluated: Callable[..., tuple[Path, dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_white(monkeypatch.setattr)
    run, metrics = evaluated("video 1")
    page = (run / "report.html").read_text()
    assert "no interval: there are 9 images, of 1 group" in page
    assert "95 % interval" not in page
    assert (run / "per_group.csv").read_text().splitlines()[1].startswith(f"video 1,9,{metrics['miou']}")


def test_a_run_without_an_evaluation_has_a_page(task: Segmentation, tmp_path: Path) -> None:
    task.draw_report(tmp_path, [], None)
    assert "This model has not been evaluated." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(("split", "is_training", "has_intervals"), [
    ("val", True, False), ("val", False, True), ("test", True, True),
])  # fmt: skip
def test_images_that_the_epoch_was_selected_on_have_no_interval_of_classes(
    evaluated: Callable[..., tuple[Path, dict]],
    split: str,
    is_training: bool,
    has_intervals: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leave_white(monkeypatch.setattr)
    run, _ = evaluated(None, split=split, is_training=is_training)
    with (run / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert all((row["iou_low"] != "") == has_intervals for row in rows)
