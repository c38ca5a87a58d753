"""COCO's numbers by pycocotools and by hotcoco, for comparison; functions, given as fixtures."""

import contextlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from resnets.tasks.detection.records import Records

NAMES = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar_max",
    "ar_small",
    "ar_medium",
    "ar_large",
)


def _text(mask: dict[str, Any]) -> dict[str, Any]:
    return {"size": list(mask["size"]), "counts": bytes(mask["counts"]).decode()}


def _as_coco(records: Records, num_classes: int, masks: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The annotations and the results as they are in COCO's files."""
    truth, found = records.truth, records.found
    sizes = enumerate(records.sizes.tolist())
    annotations, results = [], []
    for k, (x1, y1, x2, y2) in enumerate(truth.boxes.tolist()):
        one: dict[str, Any] = {"id": k + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(truth.area[k])}
        one |= {
            "image_id": int(records.truth_image[k]),
            "category_id": int(truth.labels[k]),
            "iscrowd": int(truth.crowd[k]),
        }
        annotations.append(one | ({"segmentation": _text(truth.masks[k])} if masks and truth.masks else {}))
    for k, (x1, y1, x2, y2) in enumerate(found.boxes.tolist()):
        one = {
            "image_id": int(records.found_image[k]),
            "category_id": int(found.labels[k]),
            "score": float(found.scores[k]),
        }
        own = {"segmentation": _text(found.masks[k])} if masks and found.masks else {"bbox": [x1, y1, x2 - x1, y2 - y1]}
        results.append(one | own)
    images = [{"id": k, "height": height, "width": width} for k, (height, width) in sizes]
    categories = [{"id": k, "name": str(k)} for k in range(num_classes)]
    return {"images": images, "categories": categories, "annotations": annotations}, results


def _pycocotools_numbers(
    records: Records, num_classes: int, max_detections: int, masks: bool = False
) -> tuple[dict[str, float], np.ndarray]:
    """The 12 numbers, and the precision (T, R, K) for objects of all sizes."""
    annotations, results = _as_coco(records, num_classes, masks)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = annotations
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm" if masks else "bbox")
        evaluation.params.maxDets = [1, 10, max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    values = dict(zip(NAMES, evaluation.stats.tolist(), strict=True))
    known = precision[precision > -1]  # `summarize` looks for 100 detections, whatever the limit is
    return values | {"ap": float(known.mean()) if known.size else -1.0}, precision


def _hotcoco_evaluation(
    records: Records, num_classes: int, max_detections: int, folder: Path, masks: bool = False
) -> Any:
    """The evaluation, for its `stats`, `tide_errors` and `confusion_matrix`."""
    annotations, results = _as_coco(records, num_classes, masks)
    (folder / "truth.json").write_text(json.dumps(annotations))
    (folder / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = hotcoco.COCO(str(folder / "truth.json"))
        evaluation = hotcoco.COCOeval(truth, truth.load_res(str(folder / "found.json")), "segm" if masks else "bbox")
        parameters = evaluation.params
        parameters.max_dets = [1, 10, max_detections]
        evaluation.params = parameters
        evaluation.run()
    return evaluation


@pytest.fixture(scope="session")
def pycocotools_numbers() -> Callable[..., tuple[dict[str, float], np.ndarray]]:
    """See `_pycocotools_numbers`."""
    return _pycocotools_numbers


@pytest.fixture(scope="session")
def hotcoco_evaluation() -> Callable[..., Any]:
    """See `_hotcoco_evaluation`."""
    return _hotcoco_evaluation
