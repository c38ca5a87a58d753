"""COCO's 12 numbers, by faster-coco-eval, whose results are those of pycocotools."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as coco_masks

from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.metrics.average_precision import MAX_DETECTIONS, max_detections
from resnets.tasks.detection.metrics.match_detections import as_xywh
from resnets.tasks.detection.records import Records, Truth

SIZES = ("small", "medium", "large")  # areas below 32**2, below 96**2, and above


def coco_metrics(records: Records, num_classes: int) -> dict[str, Any]:
    """The 12 numbers of the boxes, and those of the masks where there are masks.

    They are box_ap (mean over the classes and the IoUs 0.5, 0.55, ... 0.95), box_ap50, box_ap75, box_ap_small, box_ap_medium,
    box_ap_large, box_ar1, box_ar10 and box_ar_max (recall with 1, 10 and `max_detections` objects of a class in an image),
    box_ar_small, box_ar_medium and box_ar_large; with "mask" the same. COCO's -1, where there is no such object, is None here.
    Where `max_detections` is not COCO's 100, box_ap_at_100 is box_ap with that.
    """
    numbers: dict[str, Any] = {"max_detections": max_detections(records)}
    for kind in ("box", "mask") if records.mask_matches is not None else ("box",):
        numbers |= {f"{kind}_{name}": value for name, value in _numbers(records, num_classes, kind).items()}
    return numbers


def _numbers(records: Records, num_classes: int, kind: str) -> dict[str, float | None]:
    evaluation = _evaluate(records, num_classes, kind)
    precision, recall = evaluation["precision"], evaluation["recall"]  # (T, R, K, A, M) and (T, K, A, M)
    numbers = {
        "ap": precision[..., 0, -1],
        "ap50": precision[0, ..., 0, -1],
        "ap75": precision[5, ..., 0, -1],
        **{f"ap_{name}": precision[..., k, -1] for k, name in enumerate(SIZES, start=1)},
        **{f"ar{name}": recall[:, :, 0, k] for k, name in ((0, "1"), (1, "10"), (-1, "_max"))},
        **{f"ar_{name}": recall[:, :, k, -1] for k, name in enumerate(SIZES, start=1)},
    }
    if precision.shape[-1] > 3:
        numbers["ap_at_100"] = precision[..., 0, 2]
    return {name: _mean(values) for name, values in numbers.items()}


def _mean(values: np.ndarray) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _evaluate(records: Records, num_classes: int, kind: str) -> Mapping[str, Any]:
    """The arrays of the library's evaluation."""
    images = [{"id": k, "height": h, "width": w} for k, (h, w) in enumerate(records.sizes.tolist(), start=1)]
    dataset = {"images": images, "categories": [{"id": k + 1, "name": str(k)} for k in range(num_classes)]}
    truth, found = (COCO({**dataset, "annotations": rows(records, kind)}) for rows in (_annotations, _results))
    evaluator = COCOeval_faster(truth, found, "segm" if kind == "mask" else "bbox")
    evaluator.params.maxDets = sorted({1, 10, MAX_DETECTIONS, max_detections(records)})
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator.eval


def _annotations(records: Records, kind: str) -> list[dict[str, Any]]:
    shapes = _shapes(records.truth, kind)
    columns = (
        records.truth_image + 1,
        records.truth.labels + 1,
        records.truth.crowd.astype(int),
        records.truth.area,
    )
    return [
        {"id": k, "image_id": image, "category_id": label, "iscrowd": crowd, "area": area, **shape}
        for k, (image, label, crowd, area, shape) in enumerate(
            zip(*(column.tolist() for column in columns), shapes, strict=True), start=1
        )
    ]


def _results(records: Records, kind: str) -> list[dict[str, Any]]:
    """As `COCO.loadRes` makes them, in less time."""
    shapes, found = _shapes(records.found, kind), records.found
    if kind == "mask":
        areas = np.asarray(coco_masks.area([shape["segmentation"] for shape in shapes]) if shapes else [])
    else:
        areas = as_xywh(found.boxes)[:, 2:].prod(axis=1)
    columns = records.found_image + 1, found.labels + 1, found.scores, areas
    return [
        {"id": k, "image_id": image, "category_id": label, "score": score, "area": area, "iscrowd": 0, **shape}
        for k, (image, label, score, area, shape) in enumerate(
            zip(*(column.tolist() for column in columns), shapes, strict=True), start=1
        )
    ]


def _shapes(objects: Detections | Truth, kind: str) -> list[dict[str, Any]]:
    if kind == "mask":  # without a box: that would decide which masks are small
        return [{"segmentation": dict(mask)} for mask in objects.masks or ()]
    return [{"bbox": box} for box in as_xywh(objects.boxes).tolist()]
