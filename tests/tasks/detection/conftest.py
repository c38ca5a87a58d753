"""Images with many kinds of objects, right and wrong ones found in them."""

from collections.abc import Callable, Sequence

import faster_coco_eval.core.mask as coco_masks
import numpy as np
import pytest

from resnets.tasks.detection import records
from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.records import ImageRecord, Records, Truth
from resnets.tasks.measurements import Measurements

NUM_CLASSES = 5  # the last has no object


def _ellipse(box: np.ndarray, height: int, width: int) -> dict:
    y, x = np.mgrid[:height, :width] + 0.5
    radius = np.maximum(box[2:] - box[:2], 1.2) / 2
    inside = ((x - box[::2].mean()) / radius[0]) ** 2 + ((y - box[1::2].mean()) / radius[1]) ** 2 <= 1
    return coco_masks.encode(np.asfortranarray(inside, np.uint8))


def _inside(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.clip(boxes, 0, [width, height, width, height])


def _image_record(rng: np.random.Generator, num_objects: int, masks: bool) -> ImageRecord:
    """Objects of 4 to 200 pixels, some of them crowds; found with an error, twice, as another class, or where there is none."""
    height, width = rng.integers(60, 400, 2).tolist()
    corners = rng.uniform(0, 0.8, (num_objects, 2)) * [width, height]
    sides = np.exp(rng.uniform(np.log(4), np.log(200), (num_objects, 2)))
    boxes = _inside(np.round(np.hstack([corners, corners + sides])), height, width)
    labels, crowd = rng.integers(0, NUM_CLASSES - 1, num_objects), rng.random(num_objects) < 0.08

    chosen = np.concatenate([np.flatnonzero(rng.random(num_objects) < part) for part in (0.85, 0.25)])
    sides = np.tile(np.maximum(boxes[chosen, 2:] - boxes[chosen, :2], 1), 2)
    near = boxes[chosen] + sides * rng.normal(0, 0.06, sides.shape) * (rng.random((len(chosen), 1)) > 0.2)
    corners = rng.uniform(0, 0.7, (int(rng.integers(0, 20)), 2)) * [width, height]
    far = np.hstack([corners, corners + rng.uniform(5, 60, corners.shape)])
    found = _inside(np.vstack([near, far]), height, width).astype(np.float32)
    guesses = rng.integers(0, NUM_CLASSES, len(found))
    names = np.where(rng.random(len(found)) < 0.1, guesses, np.append(labels[chosen], guesses[len(chosen) :]))
    scores = np.append(rng.beta(4, 2, len(chosen)), rng.beta(1.5, 4, len(far)))

    found_masks = [_ellipse(box, height, width) for box in found] if masks else None
    true_masks = [_ellipse(box, height, width) for box in boxes] if masks else None
    area = (
        (boxes[:, 2:] - boxes[:, :2]).prod(1) if true_masks is None else np.array([*map(coco_masks.area, true_masks)])
    )
    return ImageRecord(
        Detections(found, scores.round(2).astype(np.float32), names, found_masks),
        Truth(boxes, labels, crowd, area.astype(float), true_masks),
        (height, width),
    )


def _of(images: Sequence[ImageRecord]) -> Records:
    return records.of(Measurements(records.rows(images)))


@pytest.fixture(scope="session")
def records_of() -> Callable[[Sequence[ImageRecord]], Records]:
    """Give the records of some images."""
    return _of


@pytest.fixture(scope="session")
def make_image_record() -> Callable[[np.random.Generator, int, bool], ImageRecord]:
    """Give an image with a number of objects, with masks or without."""
    return _image_record


@pytest.fixture(scope="session")
def make_records() -> Callable[..., Records]:
    """Give records of generated images; one of them has `most` objects, and some have none."""

    def make(num_images: int = 100, seed: int = 0, masks: bool = False, most: int = 300) -> Records:
        rng = np.random.default_rng(seed)
        counts = np.append([most, 0], rng.integers(0, 12, num_images))[:num_images]
        return _of([_image_record(rng, int(count), masks) for count in counts])

    return make


@pytest.fixture(scope="session")
def scenes(make_records: Callable[..., Records]) -> Records:
    """100 images, without masks."""
    return make_records()


@pytest.fixture(scope="session")
def mask_scenes(make_records: Callable[..., Records]) -> Records:
    """20 images with masks, at most 60 objects in one."""
    return make_records(20, 1, masks=True, most=60)
