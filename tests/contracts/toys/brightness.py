"""A toy task: the mean brightness of an image, one number, from a CSV with the columns path and brightness."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from resnets.data.datasets.dataset import Dataset, Sample
from resnets.tasks.base import ChosenValue, Losses, Task
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.measurements import Measurements


@dataclass(frozen=True)
class BrightnessPrediction:
    path: str
    brightness: float | None = None
    error: str | None = None

    def to_dict(self):
        return asdict(self)

    def to_row(self):
        return {"path": self.path, "prediction": str(self.brightness), "error": self.error or ""}

    def __str__(self):
        return f"{self.path}  {self.error or f'{self.brightness:.3f}'}"


@dataclass(frozen=True)
class Brightness(Task):
    name = "brightness"
    monitor = (Monitor("error", "min"),)
    spatial_targets = False
    num_outputs = 1

    @classmethod
    def read(cls, location, *, on_inaccessible="error", config=None):
        path = Path(location)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        samples = [
            Sample(str(path.parent / row["path"]), split=row["split"], target=float(row["brightness"])) for row in rows
        ]
        return Dataset(path.parent, samples, ())

    @classmethod
    def plan(cls, dataset, recipe, parent):
        return {"augment.crop": ChosenValue("none", "a crop has another brightness")}

    def loss(self, model, batch):
        values = model(batch.images)[:, 0].float()
        wrong = (values - batch.targets).abs()
        return Losses((batch.weights * wrong.square()).mean(), {"error": wrong.detach().sum()})

    def collate(self, targets):
        return torch.tensor(targets, dtype=torch.float32)

    def measure(self, outputs, samples, targets, placements):
        return Measurements({"value": outputs[:, 0], "true": torch.tensor(targets, dtype=torch.float32)})

    def validation_metrics(self, measurements):
        wrong = (measurements["value"] - measurements["true"]).abs()
        return {"loss": float(wrong.square().mean()), "error": float(wrong.mean())}

    def fit(self, measurements):
        return {"offset": float((measurements["true"] - measurements["value"]).mean())}

    def keep(self, measurements):
        offset = self.fitted.get("offset", 0.0)
        return Measurements({"value": measurements["value"] + offset, "true": measurements["true"]})

    def example_scores(self, measurements):
        return -(measurements["value"] - measurements["true"]).abs().double().numpy()

    def summarize(self, kept, cross_fitted=None):
        return {"count": len(kept), "error": float((kept["value"] - kept["true"]).abs().mean())}

    def predict(self, path: str, outputs: Any, placement: Any):
        return BrightnessPrediction(path, float(outputs[0, 0]) + self.fitted.get("offset", 0.0))

    def unreadable(self, path, error):
        return BrightnessPrediction(path, error=error)
