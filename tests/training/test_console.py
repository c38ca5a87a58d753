from __future__ import annotations

import pytest

from resnets.tasks.segmentation.task import Segmentation
from resnets.training import console
from resnets.training.state import TrainState


@pytest.mark.parametrize(
    ("rows", "total_steps", "text"),
    [
        ([(10, 114.0)], 500, "1 h 33 min"),
        ([(10, 500.0), (20, 512.0)], 500, "10 min"),  # at the speed of the last epoch
        ([(10, 5.0)], 100, "45 s"),
    ],
)
def test_the_time_left_is_that_of_the_run(rows: list[tuple[int, float]], total_steps: int, text: str) -> None:
    logged = [{"step": step, "time_seconds": seconds} for step, seconds in rows]
    assert console.format_time_left(logged, total_steps) == f", about {text} of training left"


def test_the_line_of_an_epoch_has_all_terms_of_the_loss_and_the_first_metric() -> None:
    row = {"epoch": 2, "train/loss": 0.75, "train/loss_box": 0.5, "train/loss_objectness": 0.25, "val/loss": 1.5,
           "val/box_ap": 0.125, "val/box_ap50": 0.5, "val/loss_box": 1.0, "val/loss_objectness": 0.00223,
           "lr": 0.1, "images_per_second": 7.0, "data_time_fraction": None}  # fmt: skip
    line = console._format_epoch(row, improved=True)
    assert line.startswith(
        "epoch 2: train loss 0.7500 (box 0.5, objectness 0.25), val loss 1.5000 (box 1, objectness 0.00223) box_ap 0.1250 (best)"
    )


@pytest.mark.parametrize(
    ("steps", "total_steps", "expected"),
    [([10], 100, True), ([10], 40, True), ([10], 200, False), ([10, 20], 200, True), ([10, 20, 30], 200, False)],
)
def test_a_remark_is_made_once_after_a_tenth_of_the_steps(
    steps: list[int], total_steps: int, *, expected: bool
) -> None:
    state = TrainState(rows=[{"step": step} for step in steps])
    assert console._is_first_after_a_tenth(state, total_steps) == expected


def test_why_there_is_no_interval_stands_once() -> None:
    miou = {"miou": 0.5, "num_classes_measured": 2, "num_classes": 2, "pixel_accuracy": 0.5, "count": 4}
    metrics = miou | {"interval_note": "no interval: there are 4 images", "in_sample": False, "split": "test"}
    line = console.format_result(Segmentation(("a", "b")), metrics | {"selected": dict(metrics)}, 3)
    assert line.count("mIoU 50.0 %") == 2
    assert line.count("no interval") == 1
    assert line.endswith("(no interval: there are 4 images)")
