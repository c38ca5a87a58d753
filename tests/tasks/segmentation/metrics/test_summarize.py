"""The metrics against torchmetrics and scikit-learn, classes that are absent, intervals over groups, and paired comparisons."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from resnets.data.datasets.dataset import Sample
from resnets.tasks.comparison import Exposure
from resnets.tasks.segmentation.metrics import metric_tables, records, summarize
from resnets.tasks.segmentation.metrics.records import Records

IGNORE, CLASSES = 255, 5
NAMES = ("sky", "road", "car", "pole", "sign")
SEEN = (Exposure(), Exposure())


def images(
    count: int, *, seed: int = 0, right: float = 0.7, classes: int = CLASSES
) -> list[tuple[np.ndarray, np.ndarray]]:
    """True and predicted classes of images of several sizes; of class 4 there is nothing."""
    random = np.random.default_rng(seed)
    pairs = []
    for index in range(count):
        size = (17 + index % 3, 23)
        truth = random.integers(4, size=size).astype(np.uint8)
        predicted = np.where(random.random(size) < right, truth, random.integers(4, size=size)).astype(np.uint8)
        truth[random.random(size) < 0.1] = IGNORE
        pairs.append((truth, predicted))
    return pairs


def measured(pairs: list[tuple[np.ndarray, np.ndarray]], groups: int | None = None) -> Records:
    samples = samples_of(len(pairs), groups)
    truths, predicted = zip(*pairs, strict=True)
    return records.of(records.measure(truths, predicted, samples, CLASSES))


def samples_of(count: int, groups: int | None = None) -> list[Sample]:
    return [Sample(f"{index}.png", group=None if groups is None else f"g{index % groups}") for index in range(count)]


def test_metrics_are_those_of_torchmetrics_and_scikit_learn() -> None:
    pairs = images(9)
    summary = summarize.summarize(measured(pairs))
    truth = torch.from_numpy(np.concatenate([each.ravel() for each, _ in pairs])).long()
    predicted = torch.from_numpy(np.concatenate([each.ravel() for _, each in pairs])).long()

    def reference(kind: type, average: str) -> torch.Tensor:
        metric = kind(CLASSES, average=average, ignore_index=IGNORE, validate_args=True)
        return metric.to(torch.float64).set_dtype(torch.float64)(predicted, truth)

    # torchmetrics divides in float32, whatever its dtype.
    assert summary["miou"] == pytest.approx(float(reference(MulticlassJaccardIndex, "macro")), rel=1e-6)
    assert summary["pixel_accuracy"] == pytest.approx(float(reference(MulticlassAccuracy, "micro")), rel=1e-6)
    assert summary["frequency_weighted_iou"] == pytest.approx(
        float(reference(MulticlassJaccardIndex, "weighted")), rel=1e-6
    )
    labeled = truth != IGNORE
    true, found = truth[labeled].numpy(), predicted[labeled].numpy()
    rows = summarize.class_rows(measured(pairs), NAMES)
    for key, score in (("dice", f1_score), ("precision", precision_score), ("recall", recall_score)):
        expected = score(true, found, labels=range(4), average=None)
        assert [row[key] for row in rows[:4]] == pytest.approx(expected, rel=1e-12), key
    assert summary["mean_dice"] == pytest.approx(f1_score(true, found, labels=range(4), average="macro"), rel=1e-12)
    assert summary["mean_accuracy"] == pytest.approx(recall_score(true, found, average="macro"), rel=1e-12)
    assert summary["num_pixels"] == len(true)
    assert [row["share"] for row in rows] == pytest.approx((np.bincount(true, minlength=5) / len(true)).tolist())


def test_the_mean_iou_is_that_of_torchmetrics_to_12_digits() -> None:
    """From the confusion matrix of torchmetrics, which counts exactly, divided in float64."""
    pairs = images(9, seed=3)
    metric = MulticlassJaccardIndex(CLASSES, average="macro", ignore_index=IGNORE)
    for truth, predicted in pairs:
        metric.update(torch.from_numpy(predicted).long()[None], torch.from_numpy(truth).long()[None])
    matrix = metric.confmat.double()
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    expected = (matrix.diagonal() / union)[union > 0].mean()
    assert summarize.summarize(measured(pairs))["miou"] == pytest.approx(float(expected), rel=1e-12)
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-6)


def test_a_class_that_is_nowhere_is_left_out_and_said() -> None:
    summary = summarize.summarize(measured(images(9)))
    assert (summary["num_classes"], summary["num_classes_measured"]) == (5, 4)
    assert "over 4 of 5 classes" in metric_tables.headline(summary)
    row = summarize.class_rows(measured(images(9)), NAMES)[4]
    assert row == {"class": "sign", "share": 0.0} | dict.fromkeys(
        ("iou", "iou_low", "iou_high", "dice", "precision", "recall", "boundary_iou")
    )
    truth, predicted = images(1)[0]
    predicted[0, 0], truth[0, 0] = 4, 0  # predicted, though it is nowhere: an IoU of 0 that counts
    wrong = summarize.summarize(measured([(truth, predicted)]))
    assert wrong["num_classes_measured"] == 5
    assert json.loads(json.dumps(wrong)) == wrong


def test_all_images_together_are_not_the_mean_of_images() -> None:
    pairs = images(9)
    found = measured(pairs)
    each = [summarize.summarize(measured([pair]))["miou"] for pair in pairs]
    summary = summarize.summarize(found)
    assert summary["image_miou"] == pytest.approx(np.mean(each), rel=1e-12)
    assert summary["image_miou_worst_5pct"] == min(each)
    assert summary["miou"] != pytest.approx(np.mean(each), rel=1e-4)


def test_the_interval_is_that_of_resampled_units() -> None:
    """Groups are drawn as a whole: images that repeat each other do not make the interval narrower."""
    pairs = images(12, seed=1)
    summary = summarize.summarize(measured(pairs))
    low, high = summary["miou_interval"]
    assert low < summary["miou"] < high
    single = measured(pairs, groups=12)
    tripled = measured([pair for _ in range(3) for pair in pairs], groups=12)
    alone, together = (summarize.summarize(each)["miou_interval"] for each in (single, tripled))
    assert together == pytest.approx(alone, abs=1e-12)
    independent = summarize.summarize(measured([pair for _ in range(3) for pair in pairs]))["miou_interval"]
    assert independent[1] - independent[0] < 0.75 * (alone[1] - alone[0])
    widened = summarize.summarize(measured(pairs), 2.0)["miou_interval"]
    assert widened[1] - widened[0] == pytest.approx(2 * (high - low), rel=1e-9)


def test_below_eight_groups_there_is_no_interval_and_each_group_is_listed() -> None:
    pairs = images(20)
    found = measured(pairs, groups=2)
    summary = summarize.summarize(found)
    assert not [key for key in summary if key.endswith("_interval")]
    assert summary["interval_note"].startswith("no interval: there are 20 images, of 2 groups")
    assert summary["interval_note"] in metric_tables.headline(summary)
    rows = summarize.group_rows(found, samples_of(20, 2))
    assert [(row["group"], row["images"]) for row in rows] == [("g0", 10), ("g1", 10)]
    assert rows[0]["miou"] == summarize.summarize(measured(pairs[::2]))["miou"]
    assert summarize.class_rows(found, NAMES)[0]["iou_low"] is None
    assert "miou_interval" in summarize.summarize(measured(pairs, groups=8))
    few = summarize.summarize(measured(pairs[:7]))
    assert few["interval_note"].startswith("no interval: there are 7 images, and fewer than 8 images")


def test_two_models_are_compared_on_the_same_draws() -> None:
    pairs = images(10, right=0.4) + images(10, seed=5, right=0.95)
    better = [(truth, np.where(truth == 3, 3, predicted).astype(np.uint8)) for truth, predicted in pairs]
    units = np.arange(20)
    a, b = measured(pairs), measured(better)
    found = summarize.compare(a, b, units, SEEN)
    gain = summarize.summarize(b)["miou"] - summarize.summarize(a)["miou"]
    assert found.difference == pytest.approx(gain)
    assert found.better == "b"
    same = summarize.compare(a, a, units, SEEN)
    assert (same.difference, same.interval, same.better) == (0, (0, 0), None)
    low, high = found.interval or (math.nan, math.nan)
    apart = summarize.summarize(a)["miou_interval"]
    assert high - low < 0.5 * (apart[1] - apart[0])  # the images are the same, so their difficulty cancels
    few = summarize.compare(a, b, units % 7, SEEN)
    assert (few.interval, few.better) == (None, None)
    assert "no interval: there are 20 images, of 7 groups" in few.in_words()
    assert few.to_dict()["interval"] is None


def test_metrics_without_a_labeled_pixel_are_none() -> None:
    truth = np.full((8, 8), IGNORE, np.uint8)
    summary = summarize.summarize(measured([(truth, np.zeros_like(truth))]))
    assert (summary["miou"], summary["image_miou"], summary["num_classes_measured"]) == (None, None, 0)
    assert metric_tables.headline(summary) == "no labeled pixels"
