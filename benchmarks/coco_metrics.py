"""COCO's 12 numbers of 5,000 images with 36,000 annotated boxes, as COCO's val2017 has: ours beside pycocotools.

    python benchmarks/coco_metrics.py
    python benchmarks/coco_metrics.py --images 500

The boxes are random: of each annotated one a shifted copy is found, and as many boxes again where nothing is. Both sides
begin with the same arrays in memory; ours includes matching each image once, and the numbers of both are compared.
"""

import argparse
import contextlib
import io
import time

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from resnets.tasks.detection import records
from resnets.tasks.detection.metrics.coco_metrics import coco_metrics
from resnets.tasks.detection.records import Found, ImageRecord, Truth
from resnets.tasks.measurements import Measurements

NUM_CLASSES, BOXES_PER_IMAGE = 80, 7.2
NAMES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar_max", "ar_small", "ar_medium", "ar_large"
)  # fmt: skip


def draw_images(count: int, seed: int = 0) -> list[ImageRecord]:
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        n = int(random.poisson(BOXES_PER_IMAGE))
        boxes, others = (_boxes(random, n) for _ in range(2))
        labels = random.integers(0, NUM_CLASSES, n)
        shifted = boxes + random.normal(0, 0.08, (n, 4)) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        found = np.concatenate([shifted, others]).astype(np.float32)
        # Different scores: equal ones have no defined order.
        scores = random.permutation(np.linspace(0.01, 0.99, 2 * n)).astype(np.float32)
        kinds = np.concatenate([labels, random.integers(0, NUM_CLASSES, n)])
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        images.append(
            ImageRecord(Found(found, scores, kinds), Truth(boxes, labels, np.zeros(n, bool), area), (480, 640))
        )
    return images


def _boxes(random: np.random.Generator, count: int) -> np.ndarray:
    corners = random.uniform(0, (400, 300), (count, 2))
    return np.concatenate([corners, corners + np.exp(random.uniform(np.log(8), np.log(180), (count, 2)))], axis=1)


def ours(images: list[ImageRecord]) -> list[float]:
    measured = records.of(Measurements(records.rows(images)))
    numbers = coco_metrics(measured, NUM_CLASSES)
    return [numbers[f"box_{name}"] for name in NAMES]


def theirs(images: list[ImageRecord]) -> list[float]:
    truth, rows = COCO(), []
    truth.dataset = {
        "images": [{"id": k, "height": 480, "width": 640} for k in range(len(images))],
        "categories": [{"id": k + 1} for k in range(NUM_CLASSES)],
        "annotations": [],
    }
    for k, image in enumerate(images):
        for box, label, area in zip(image.truth.boxes, image.truth.labels, image.truth.area, strict=True):
            row = {"id": len(truth.dataset["annotations"]) + 1, "image_id": k, "category_id": int(label) + 1}
            truth.dataset["annotations"].append({**row, "bbox": _xywh(box), "area": float(area), "iscrowd": 0})
        for box, label, score in zip(image.found.boxes, image.found.labels, image.found.scores, strict=True):
            rows.append({"image_id": k, "category_id": int(label) + 1, "bbox": _xywh(box), "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def _xywh(box: np.ndarray) -> list[float]:
    return [*box[:2].astype(float).tolist(), *(box[2:].astype(float) - box[:2].astype(float)).tolist()]


def main() -> None:
    """Print the seconds of both, and the largest difference of a number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    images = draw_images(parser.parse_args().images)
    print(f"{len(images):,} images, {sum(len(each.truth.labels) for each in images):,} annotated boxes")
    numbers = {}
    for name, compute in (("resnets", ours), ("pycocotools", theirs)):
        start = time.perf_counter()
        numbers[name] = compute(images)
        print(f"{name}: {time.perf_counter() - start:.1f} s, AP {numbers[name][0]:.4f}")
    difference = np.abs(np.subtract(numbers["resnets"], numbers["pycocotools"])).max()
    print(f"largest difference of the 12 numbers: {difference:.1e}")


if __name__ == "__main__":
    main()
