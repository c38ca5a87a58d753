from __future__ import annotations

import pytest

from resnets.training import console


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
