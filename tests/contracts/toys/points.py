"""A toy task: any number of points in images of several sizes, from a JSON file; its metric is a median over the images."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision import tv_tensors

from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.image.preprocess import Preprocess
from resnets.models.build_network import build
from resnets.tasks.base import ChosenValue, Losses, Task
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.measurements import Measurements

STRIDE = 4  # of the map, in pixels of the image


class PointsModel(nn.Module):
    """The residual network, and a score for each cell of `STRIDE` pixels, several of which share a position of its last map."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        cells = max(list(backbone.feature_strides.values())[-1] // STRIDE, 1)
        self.score = nn.Conv2d(list(backbone.feature_channels.values())[-1], cells**2, 1)
        self.to_cells = nn.PixelShuffle(cells)

    def forward(self, images):
        if isinstance(images, list):
            return [self(image[None])[0] for image in images]
        return self.to_cells(self.score(self.backbone(images)))[:, 0]


@dataclass(frozen=True)
class PointsPrediction:
    path: str
    points: tuple[tuple[float, float], ...] = ()
    error: str | None = None

    def to_dict(self):
        return asdict(self)

    def to_row(self):
        return {"path": self.path, "prediction": json.dumps(self.points), "error": self.error or ""}

    def __str__(self):
        return f"{self.path}  {self.error or f'{len(self.points)} points'}"


@dataclass(frozen=True)
class Points(Task):
    name = "points"
    monitor = (Monitor("median_error", "min"), Monitor("loss", "min"))
    model_prefixes = ("points_",)

    @classmethod
    def read(cls, location, *, on_inaccessible="error", config=None):
        rows = json.loads(Path(location).read_text())
        folder = Path(location).parent
        samples = [
            Sample(str(folder / row["file"]), split=row["split"], target=(tuple(row["size"]), row["points"]))
            for row in rows
        ]
        return Dataset(folder, samples, ())

    @classmethod
    def plan(cls, dataset, recipe, parent):
        return {
            "augment.crop": ChosenValue("none", "points must stay in the image"),
            "augment.erase": ChosenValue(0.0, "a point must stay visible"),
        }

    def preprocess(self, recipe, parent):
        return Preprocess(resize="none", crop="none")

    def targets(self, samples):
        return [
            tv_tensors.KeyPoints(torch.tensor(points).reshape(-1, 2), canvas_size=size)
            for size, points in (sample.target for sample in samples)
        ]

    def build(self, spec):
        return PointsModel(build(spec).backbone())

    def loss(self, model, batch):
        maps = model(batch.images)
        losses = []
        for scores, points in zip(maps, batch.targets, strict=True):
            wanted = torch.zeros_like(scores, dtype=torch.float32)
            columns, rows = (points.as_subclass(torch.Tensor) // STRIDE).long().unbind(1)
            wanted[rows.clamp(0, scores.shape[0] - 1), columns.clamp(0, scores.shape[1] - 1)] = 1
            losses.append(binary_cross_entropy_with_logits(scores.float(), wanted, pos_weight=torch.tensor(20.0)))
        return Losses((batch.weights * torch.stack(losses)).mean(), {})

    def collate(self, targets):
        return list(targets)

    def forward(self, model, images, targets=None):
        return model(images)

    def measure(self, outputs, samples, targets, placements):
        found = [_points(scores) for scores in outputs]
        true = [target.as_subclass(torch.Tensor).float() for target in targets]
        scores = [float(each.mean()) for each in outputs]
        return Measurements({"found": found, "true": true, "mean_score": torch.tensor(scores)})

    def validation_metrics(self, measurements):
        errors = -self.example_scores(measurements)
        return {"loss": float(errors.mean()), "median_error": float(np.median(errors))}

    def example_scores(self, measurements):
        """Minus the error of an image: the mean distance of its points to the nearest found one, plus what is too many."""
        errors = []
        for found, true in zip(measurements["found"], measurements["true"], strict=True):
            distances = torch.cdist(true, found).amin(1) if len(found) else torch.full((len(true),), 100.0)
            errors.append(float(distances.mean()) + max(len(found) - len(true), 0))
        return -np.array(errors)

    def summarize(self, kept, cross_fitted=None):
        return {"count": len(kept), "median_error": float(np.median(-self.example_scores(kept)))}

    def predict(self, path, outputs, placement):
        return PointsPrediction(path, tuple(map(tuple, _points(outputs[0]).tolist())))

    def unreadable(self, path, error):
        return PointsPrediction(path, error=error)


def _points(scores):
    """The centers of the cells with a positive score that is the highest around it: float (n, 2), x and y in pixels."""
    highest = nn.functional.max_pool2d(scores[None, None].float(), 3, 1, 1)[0, 0]
    rows, columns = torch.nonzero((scores > 0) & (scores >= highest), as_tuple=True)
    return torch.stack([columns, rows], dim=1).float() * STRIDE + STRIDE / 2
