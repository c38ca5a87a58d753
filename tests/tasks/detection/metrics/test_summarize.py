from collections.abc import Callable

import numpy as np
import pytest

from resnets.errors import UserError
from resnets.tasks.comparison import Exposure
from resnets.tasks.detection.metrics import average_precision, summarize
from resnets.tasks.detection.metrics.coco_metrics import coco_metrics
from resnets.tasks.detection.records import ImageRecord, Records

NUM_CLASSES = 5
NEW = (Exposure(), Exposure())


def test_the_summary_has_coco_numbers_counts_and_intervals_around_them(scenes: Records) -> None:
    summary = summarize.summarize(scenes, NUM_CLASSES, 0.5)

    assert summary.items() >= coco_metrics(scenes, NUM_CLASSES).items()
    assert summary["true_positives"] + summary["false_negatives"] == summary["num_objects"] == scenes.num_objects
    for name in ("box_ap", "box_ap50", "precision_micro", "recall_micro", "f1_micro"):
        low, high = summary[f"{name}_interval"]
        assert low <= summary[name] <= high
        assert 0.01 < high - low < 0.2


def test_the_resample_that_has_each_image_once_is_the_number_itself(scenes: Records) -> None:
    values = summarize._resampled(scenes, NUM_CLASSES, np.zeros((100, 3)), np.ones((1, 100)))

    assert values["box_ap"][0] == pytest.approx(coco_metrics(scenes, NUM_CLASSES)["box_ap"], abs=1e-12)


def test_copies_are_drawn_together(
    records_of: Callable[[list[ImageRecord]], Records], make_image_record: Callable[..., ImageRecord]
) -> None:
    rng = np.random.default_rng(0)
    images = [make_image_record(rng, 6, False) for _ in range(20)]
    four = records_of(images * 4)

    alone = summarize.summarize(four, NUM_CLASSES, 0.5)["f1_micro_interval"]
    together = summarize.summarize(four, NUM_CLASSES, 0.5, np.tile(np.arange(20), 4))["f1_micro_interval"]

    assert np.diff(together) > 1.5 * np.diff(alone)


def test_nothing_to_measure(make_records: Callable[..., Records]) -> None:
    for records in (make_records(1, most=0), make_records(0)):
        summary = summarize.summarize(records, NUM_CLASSES, 0.5)

        assert summary["box_ap"] is None
        assert summary["recall_micro"] is None
        assert summary["count"] == len(records)


def test_rows_of_classes(mask_scenes: Records) -> None:
    rows = summarize.class_rows(mask_scenes, ["a", "b", "c", "d", "e"], 0.5)

    summary = summarize.summarize(mask_scenes, NUM_CLASSES, 0.5)
    assert sum(row["objects"] for row in rows) == summary["num_objects"]
    assert np.mean([row["mask_ap"] for row in rows[:4]]) == pytest.approx(summary["mask_ap"])
    assert rows[4]["box_ap"] is None
    assert rows[4]["f1"] is None


def test_a_better_detector_is_found_to_be_better(scenes: Records, make_records: Callable[..., Records]) -> None:
    worse = make_records()
    worse.matches.hits[::4] = 0

    comparison = summarize.compare(worse, scenes, NUM_CLASSES, np.arange(100), NEW)

    assert comparison.better == "b"
    values = [average_precision.validation_metrics(each, NUM_CLASSES)["box_ap"] for each in (worse, scenes)]
    assert comparison.difference == pytest.approx(values[1] - values[0])
    assert summarize.compare(scenes, scenes, NUM_CLASSES, np.arange(100), NEW).better is None


def test_images_without_objects_compare_nothing(make_records: Callable[..., Records]) -> None:
    empty = make_records(1, most=0)

    with pytest.raises(UserError, match="objects"):
        summarize.compare(empty, empty, NUM_CLASSES, np.arange(1), NEW)
