"""Metrics as the page shows them."""

from resnets.report import metric_texts
from resnets.report.content import KeyNumber

METRICS = {"miou": 0.5, "miou_interval": [0.4, 0.6], "dice": 0.25, "recall": None}


def test_an_interval_is_not_shown_where_the_images_were_used_for_selection() -> None:
    assert metric_texts.interval(METRICS, "miou") == "40.0 % to 60.0 %"
    assert metric_texts.interval(METRICS | {"in_sample": True}, "miou") == ""
    assert metric_texts.interval(METRICS, "dice") == ""


def test_key_numbers_are_those_that_were_measured() -> None:
    names = {"dice": "mean Dice", "recall": "recall", "ap": "AP", "miou": "mean IoU"}
    assert list(metric_texts.key_numbers(METRICS, names)) == [
        KeyNumber("mean Dice", "25.0 %", ""),
        KeyNumber("mean IoU", "50.0 %", "40.0 % to 60.0 %"),
    ]


def test_notices_are_sentences() -> None:
    assert metric_texts.notices({"notices": ["3 images are copies", "it is small"]}) == (
        " 3 images are copies. It is small."
    )
    assert metric_texts.notices({}) == ""


def test_the_extremes_of_the_classes() -> None:
    rows = [{"class": "car", "iou": 0.5}, {"class": "sky", "iou": 0.9}, {"class": "sign", "iou": 0.1}]
    assert metric_texts.extremes(rows, "iou", "The IoU") == (
        "The IoU is highest for “sky” (90.0 %) and lowest for “sign” (10.0 %)."
    )
