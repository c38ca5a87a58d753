"""A trained network with its preprocessing and class names: images in, predictions out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnets.data.image.decode import to_upright_rgb
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import ImageError, JobError, UserError
from resnets.inference.model_runner import Job, ModelRunner
from resnets.models.resnet import ResNet, check_size
from resnets.models.spec import ResNetSpec
from resnets.tasks.classification.prediction import Prediction
from resnets.tasks.classification.static_graph import classifier_graph
from resnets.tasks.inputs.batching import Prepared, check_options, chunks

ImageInput = str | Path | np.ndarray | Image.Image


class Classifier:
    """A trained network with its preprocessing and class names.

    Attributes:
        model: the network, in eval mode, in channels_last layout, on `device`.
        preprocess: turns an image into the input of the network.
        class_names: in the order of the outputs; "output 0", "output 1", … where they are not known.
        has_class_names: whether they are known.
        temperature: divides the logits before the softmax.
        spec, metrics, provenance: as in the checkpoint: the architecture, the measured metrics, and the origin of the weights.
        name: what it was loaded from; for messages.
        runner: computes the logits with `backend` and `precision`: "auto" follows the rule of
            `resnets.inference.choose_backend`; `precision="fp32"` is the reference.
    """

    def __init__(
        self,
        model: ResNet,
        preprocess: Preprocess,
        class_names: Sequence[str],
        temperature: float = 1.0,
        *,
        has_class_names: bool = True,
        spec: ResNetSpec | None = None,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        device: str = "cpu",
        backend: str = "auto",
        precision: str = "auto",
        name: str = "",
    ) -> None:
        self.model = model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.preprocess = preprocess
        self.class_names = tuple(class_names)
        self.has_class_names = has_class_names
        self.temperature = temperature
        self.spec = spec
        self.metrics = dict(metrics or {})
        self.provenance = dict(provenance or {})
        self.device = torch.device(device)
        self.name = name or (spec.name if spec else type(model).__name__)
        self.dtype = next(model.parameters()).dtype
        self.runner = ModelRunner(classifier_graph(self.model, temperature), backend, precision)

    def __repr__(self) -> str:
        height, width = self.preprocess.size
        return f"Classifier({self.name}, {len(self.class_names)} classes, images of {width}x{height})"

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        top_k: int = 5,
        batch: int = 32,
        workers: int | None = None,
    ) -> list[Prediction]:
        """Classify one image or many.

        Args:
            images: paths, Pillow images, or uint8 arrays (H, W, 3) in RGB or (H, W) in gray.
            top_k: number of classes in each prediction; all if there are fewer.
            batch: number of images that go through the network together.
            workers: number of threads that read images; None for one per processor, 0 for none of their own.

        Returns:
            A prediction for each image, in the same order. That of an image which cannot be read has an `error`.

        Raises:
            UserError: an object that is not an image, or a number out of range.
            JobError: the output of the network is not a number: its weights are damaged.
        """
        if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
            images = [images]
        return list(self.stream(images, top_k=top_k, batch=batch, workers=workers))

    def stream(
        self, images: Iterable[ImageInput], *, top_k: int = 5, batch: int = 32, workers: int | None = None
    ) -> Iterator[Prediction]:
        """As `predict`, one prediction after the other; memory does not grow with the number of images.

        Raises:
            UserError: an object that is not an image, or a number out of range.
            JobError: the output of the network is not a number: its weights are damaged.
        """
        check_options(batch, workers)
        count = len(images) if isinstance(images, Sized) else None
        job = self.runner.job(count, batch)
        if top_k < 1:
            raise UserError(f"`top_k` must be 1 or more; received {top_k}.")
        prepared = ordered_map(self._prepare, enumerate(images), workers=workers, ahead=2 * batch)
        for chunk in chunks(prepared, batch):
            logits = iter(self.logits([entry.inputs[0][0] for entry in chunk if entry.error is None], job))
            for entry in chunk:
                if entry.error is None:
                    yield self._prediction(entry.name, next(logits), top_k)
                else:
                    yield Prediction(path=entry.name, error=entry.error)

    def logits(self, images: Sequence[Tensor], job: Job | None = None) -> Tensor:
        """float32 (N, K) on the CPU, for N prepared images (C, h, w), which may differ in size, or one tensor (N, C, h, w).

        Images of one size go through the network together. The temperature is not applied.

        Args:
            job: the job that these images belong to; None for a job of their own, computed by the reference unless the
                classifier was loaded with another backend or precision.

        Raises:
            UserError: an entry of `images` is not a tensor (C, h, w).
        """
        job = job or self.runner.job(None, max(len(images), 1), precision="fp32")
        groups: dict[torch.Size, list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            if not isinstance(image, Tensor) or image.ndim != 3:
                kind = f"tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
                raise UserError(
                    "`logits` takes a list of preprocessed tensors (C, h, w), as from `preprocess.load(path)`, or one tensor "
                    f"(N, C, h, w); received in it a {kind}."
                )
            groups[image.shape].append(index)
        out = torch.empty(len(images), len(self.class_names))
        with torch.inference_mode():
            for indices in groups.values():
                stack = torch.stack([images[index] for index in indices])
                out[indices] = job.outputs(stack.to(self.dtype))
        return out

    def check_size(self, view: Tensor) -> None:
        """Raise ImageError for an input (C, h, w) of a size that the network does not support."""
        try:
            check_size(view, self.model.min_size, self.model.fixed_size)
        except ValueError as error:
            raise ImageError(str(error)) from error

    def _prepare(self, indexed: tuple[int, ImageInput]) -> Prepared:
        index, image = indexed
        name = str(image) if isinstance(image, (str, Path)) else f"[{index}]"
        try:
            pixels = self._input(image, name)
            self.check_size(pixels)
        except ImageError as error:
            return Prepared(name, [], error.reason)
        return Prepared(name, [[pixels]])

    def _input(self, image: ImageInput, name: str) -> Tensor:
        if isinstance(image, (str, Path)):
            return self.preprocess.load(image)
        if isinstance(image, Image.Image):
            return self.preprocess(to_upright_rgb(image, name=name, background=self.preprocess.background))
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            if image.ndim == 2:
                image = np.repeat(image[:, :, None], 3, axis=2)
            if image.ndim == 3 and image.shape[2] == 3 and image.size:
                return self.preprocess(image)
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(
            f"Image {name} has the type {kind}; give a path, a Pillow image, or a uint8 array (H, W, 3) in RGB or (H, W) "
            "in gray."
        )

    def _prediction(self, name: str, logits: Tensor, top_k: int) -> Prediction:
        check_finite(logits, name)
        probabilities = torch.softmax(logits.double() / self.temperature, dim=0)
        # Of equal logits the first class comes first, as in `Predictions.predicted`.
        best = logits.sort(descending=True, stable=True).indices[:top_k].tolist()
        top = tuple((self.class_names[index], float(probabilities[index])) for index in best)
        return Prediction(path=name, label=top[0][0], probability=top[0][1], top=top)


def check_finite(logits: Tensor, name: str) -> None:
    """Raise JobError where a logit of the image `name` is not a number: it would be taken for the first class."""
    if not torch.isfinite(logits).all():
        raise JobError(f"The network's output for '{name}' is not a number: its weights are damaged. Train it again.")
