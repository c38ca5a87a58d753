"""How much faster an exported file is than the backend that would compute a long job of its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from resnets.export.quantization.int8_gate import Gain
from resnets.inference.benchmark import time_calls
from resnets.inference.choose_backend import LONG_PIXELS
from resnets.inference.model_runner import ModelRunner
from resnets.progress import progress_bar
from resnets.tasks.exported.exported_model import ExportedModel
from resnets.tasks.trained_model import TrainedModel

BATCH = 16
ROUNDS = 7  # of measuring, in each of which both are measured
SECONDS = 0.2  # of a round, for each; at least one batch is computed


@torch.inference_mode()
def measure_gain(model: TrainedModel, file: ExportedModel, paths: Sequence[str]) -> Gain:
    """Measure both in turn on a batch of images.

    Args:
        model: of the checkpoint; the backend is chosen for a long job, as `predict` does.
        paths: of images, of which the first ones are computed.
    """
    images = _batch(model, paths)
    count = LONG_PIXELS // (images.shape[-1] * images.shape[-2]) + 1
    before = ModelRunner(model.task.static_graph(model.model)).job(count, BATCH)
    after, pixels = file.runner.job(count, BATCH), _batch(file, paths)
    before.outputs(images)  # the first batch chooses and builds the backend
    after.outputs(pixels)
    ratios = [
        float(
            np.median(time_calls(lambda: before.outputs(images), SECONDS))
            / np.median(time_calls(lambda: after.outputs(pixels), SECONDS))
        )
        for _ in progress_bar(range(ROUNDS), description="measuring the speed", total=ROUNDS, unit="rounds")
    ]
    (choice,) = before.used
    return Gain(str(choice), BATCH, tuple(ratios))


def _batch(model: TrainedModel, paths: Sequence[str]) -> Tensor:
    """`BATCH` inputs of one size, repeated where there are fewer images of the size of the first."""
    images = [model.preprocess.load(path) for path in paths[:BATCH]]
    same = [image for image in images if image.shape == images[0].shape]
    return torch.stack([same[index % len(same)] for index in range(BATCH)])
