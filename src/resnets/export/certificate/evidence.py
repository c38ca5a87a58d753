"""What an exported file is compared with: batches and predictions of the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from resnets.export.certificate import proof_batches
from resnets.export.certificate.compare_outputs import OutputPair, limit, relative, with_softmax
from resnets.export.certificate.proof_batches import ProofBatch
from resnets.export.certificate.proof_images import ProofImages
from resnets.export.certificate.reference import Reference
from resnets.models.resnet import ResNet
from resnets.progress import progress_bar
from resnets.tasks.trained_model import TrainedModel

NOISE_FACTOR = 3


@dataclass(frozen=True)
class Resized:
    """Images at their own sizes.

    Attributes:
        batches: of one image each.
        limits: of each batch and output, `NOISE_FACTOR` times what noise of one gray level does to it, or that of equal pixels
            if it is more.
    """

    batches: list[ProofBatch]
    limits: list[dict[str, float]]


@dataclass(frozen=True)
class Evidence:
    """Images, and what the checkpoint computes of them.

    Attributes:
        batches: inputs of the file with its outputs.
        predictions: of models that are no `ResNet`, whose outputs are made into masks or boxes; else None.
        threshold: of the scores of objects.
        resized: for a file that resizes; else None.
        rounding: what the rounding of float32 alone does to each output; empty while the limits need not be raised by it.
    """

    images: ProofImages
    reference: Reference
    batches: list[ProofBatch]
    predictions: list[Any] | None = None
    threshold: float = 0.0
    resized: Resized | None = None
    rounding: Mapping[str, float] = field(default_factory=dict)

    def with_rounding(self) -> Evidence:
        """The same with `rounding`: the difference of the outputs in float32 and in float64."""
        exact = (
            self.reference.in_float64()
        )  # both are computed anew: a file may have other outputs, such as scaled logits
        pairs = [
            OutputPair("", *(with_softmax(each.outputs(batch.frames)) for each in (self.reference, exact)))
            for batch in progress_bar(self.batches, description="reference in float64", unit="batches")
        ]
        return replace(self, rounding={name: max(relative(name, pairs)) for name in pairs[0].expected})


def collect(trained: TrainedModel, output_names: tuple[str, ...], images: ProofImages, kind: str) -> Evidence:
    """The evidence for a model in float32 on the CPU.

    Args:
        output_names: of the exported graph.
        kind: of its input.

    Raises:
        UserError: an image cannot be read, or is too small.
    """
    reference = Reference(trained.task, trained.model, trained.preprocess, output_names)
    batches = proof_batches.make(images.images, reference, kind)
    if isinstance(trained.model, ResNet):
        resized = _resized(images, reference) if kind == "full" else None
        return Evidence(images, reference, batches, resized=resized)
    # One by one, since a long job may be computed by another backend than the reference.
    each_image = progress_bar(images.images, description="predictions", unit="images")
    predictions = [trained.predict(image)[0] for image in each_image]
    return Evidence(images, reference, batches, predictions, getattr(trained.task, "score_threshold", 0.0))


def _resized(images: ProofImages, reference: Reference) -> Resized:
    batches = proof_batches.make_resized(images.images, reference)
    random = np.random.default_rng(0)
    noisy = []
    for batch in progress_bar(batches, description="noise", unit="images"):
        frames = (batch.frames + random.integers(-1, 2, batch.frames.shape)).clip(0, 255).astype(np.float32)
        noisy.append(OutputPair("", reference.outputs(frames), batch.expected))
    changes = {name: relative(name, noisy) for name in reference.output_names}
    limits = [
        {name: max(NOISE_FACTOR * values[index], limit(name)) for name, values in changes.items()}
        for index in range(len(batches))
    ]
    return Resized(batches, limits)
