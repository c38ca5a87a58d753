"""A detector whose answers are known: it finds what is bright."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.detection.output import DetectorOutput
from resnets.models.detection.settings import DetectorSettings
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.task import Detection
from resnets.tasks.trained_model import TrainedModel

MIN_SIDE = 8  # of what the detector finds, in pixels of its input
SIDE = 320  # of its input


class BrightObjects(nn.Module):
    """Finds connected bright pixels whose sides are at least `MIN_SIDE`; red ones and others are of two classes. The score is
    higher for a larger object.
    """

    nms = "hard"

    def __init__(self) -> None:
        super().__init__()
        self.backbone = zoo.build("tiny").backbone()
        self.labels = [0, 1]  # of red objects and of others
        self.most_images = 0  # in one call

    def forward(self, images: Tensor | list[Tensor]) -> DetectorOutput:
        self.most_images = max(self.most_images, len(images))
        return DetectorOutput({}, [self.find(image) for image in images])

    def find(self, image: Tensor) -> dict[str, Tensor]:
        bright = (image[0] > 0.5).numpy()
        labeled, _ = ndimage.label(bright)
        boxes, scores, labels, masks = [], [], [], []
        for number, (rows, columns) in enumerate(ndimage.find_objects(labeled), start=1):
            if min(rows.stop - rows.start, columns.stop - columns.start) < MIN_SIDE:
                continue
            own = labeled[rows, columns] == number
            boxes.append([columns.start, rows.start, columns.stop, rows.stop])
            scores.append(1 - 1 / own.size**0.5)
            labels.append(self.labels[int(image[1, rows, columns][own].mean() > 0.5)])
            masks.append(F.interpolate(torch.from_numpy(own)[None, None].float(), size=(28, 28), mode="bilinear")[0, 0])
        order = np.argsort(-np.array(scores), kind="stable").tolist()
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)[order],
            "scores": torch.tensor(scores, dtype=torch.float32)[order],
            "labels": torch.tensor(labels, dtype=torch.int64)[order],
            "masks": torch.stack(masks)[order] if masks else torch.zeros(0, 28, 28),
        }


@pytest.fixture
def make_finder() -> Callable[..., TrainedModel]:
    """Give a model with that detector; the names of its classes are "red" and "white" unless they are given."""

    def make(class_names: tuple[str, ...] = ("red", "white"), threshold: float = 0.5) -> TrainedModel:
        config = DetectionConfig(**vars(DetectorSettings(architecture="maskrcnn")))
        task = Detection(class_names, config, {"score_threshold": threshold})
        preprocess = Preprocess(size=(SIDE, SIDE), resize="fit", resize_to=None, mean=(0,) * 3, std=(1,) * 3)
        return TrainedModel(task, BrightObjects(), preprocess)

    return make
