from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.metrics.confusion import apply_threshold, image_counts
from resnets.tasks.detection.records import ImageRecord, Records, Truth
from resnets.tasks.detection.report import image_gallery


def test_the_worst_images_have_the_most_errors(scenes: Records) -> None:
    reported = apply_threshold(scenes, 0.5)

    worst = image_gallery.worst_images(scenes, reported)

    errors = image_counts(scenes, reported)[:, 1:].sum(axis=1)
    assert errors[worst].min() >= np.delete(errors, worst).max()
    assert worst[0] == 0  # with 300 objects


def test_boxes_lie_where_they_are_in_the_image(tmp_path: Path, records_of) -> None:
    """A large JPEG is decoded at a smaller scale."""
    Image.fromarray(np.zeros((1500, 2000, 3), np.uint8)).save(tmp_path / "a.jpg")
    truth = Truth(np.array([[1000.0, 500, 1500, 1000]]), np.array([0]), np.array([False]), np.array([1.0]))
    found = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    records = records_of([ImageRecord(found, truth, (1500, 2000))])

    reported, samples = apply_threshold(records, 0.5), [Sample(str(tmp_path / "a.jpg"))]
    image_gallery.draw_worst(np.array([0]), samples, records, reported, ["sun"], tmp_path / "worst.png")

    pixels = np.asarray(Image.open(tmp_path / "worst.png")).astype(int)
    yellow = np.abs(pixels - image_gallery.MISSED).max(axis=2) < 30
    rows, columns = np.flatnonzero(yellow.sum(axis=1) > 60), np.flatnonzero(yellow.sum(axis=0) > 60)
    side = image_gallery.SIDE
    assert abs((columns.max() - columns.min()) - side / 4) < 8
    assert abs((rows.max() - rows.min()) - side / 4) < 40  # with its caption
