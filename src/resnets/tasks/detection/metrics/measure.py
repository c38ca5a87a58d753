"""What an evaluation of detections keeps of images, as `Measurements`: see `records.py`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from resnets.data.datasets.dataset import Sample, nfc
from resnets.tasks import bootstrap
from resnets.tasks.detection import records
from resnets.tasks.detection.annotations import truth
from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.records import ImageRecord
from resnets.tasks.measurements import Measurements

LOSS = "loss_"  # beginning of the names of the terms, in rows and in `metrics.jsonl`


def measure(
    found: Sequence[Detections],
    sizes: Sequence[tuple[int, int]],
    samples: Sequence[Sample],
    class_names: Sequence[str],
    *,
    masks: bool,
) -> Measurements:
    """The rows of what was found in images of these sizes, height and width; `masks` as of `truth`."""
    indices = {nfc(name): index for index, name in enumerate(class_names)}
    images = [
        ImageRecord(each, truth(sample, indices, masks=masks), size)
        for each, size, sample in zip(found, sizes, samples, strict=True)
    ]
    unit = torch.tensor([bootstrap.unit_of(sample) for sample in samples], dtype=torch.int64)
    return Measurements({**records.rows(images), "unit": unit})


def losses(measurements: Measurements) -> dict[str, Tensor]:
    """The rows of the losses by name, float32 (n,); none outside of a training."""
    return {
        name: rows for name, rows in measurements.rows.items() if name.startswith(LOSS) and isinstance(rows, Tensor)
    }
