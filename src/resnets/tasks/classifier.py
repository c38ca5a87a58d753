"""A trained network with everything that is needed to use it: files in, class names and probabilities out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnets.data.decode import upright
from resnets.data.parallel import in_order
from resnets.data.preprocess import Preprocess
from resnets.engine.runner import Job, Runner
from resnets.errors import ImageError, JobError, UserError
from resnets.models.resnet import ResNet, check_side
from resnets.models.spec import ResNetSpec
from resnets.tasks.pipeline import Prepared, check_sizes, chunks
from resnets.tasks.prediction import Prediction

Picture = str | Path | np.ndarray | Image.Image


class Classifier:
    """A network with everything that is needed to use it.

    Attributes:
        net: the network, in eval mode, in channels_last layout, on `device`.
        preprocess: how a picture becomes its input.
        classes: the names, in the order of the outputs; "output 0", "output 1", … where they are not known.
        named: whether they are known.
        temperature: the logits are divided by it before the softmax.
        spec, metrics, provenance: as in the checkpoint; how good it was found to be, and where it comes from.
        name: what it was loaded from; for messages.
        runner: what computes the logits. `engine` and `precision` say with what: "auto" follows the rule of
            `resnets.engine.choice`; `precision="fp32"` is the reference.
    """

    def __init__(
        self,
        net: ResNet,
        preprocess: Preprocess,
        classes: Sequence[str],
        temperature: float = 1.0,
        *,
        named: bool = True,
        spec: ResNetSpec | None = None,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        device: str = "cpu",
        engine: str = "auto",
        precision: str = "auto",
        name: str = "",
    ) -> None:
        self.net = net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.preprocess = preprocess
        self.classes = tuple(classes)
        self.named = named
        self.temperature = temperature
        self.spec = spec
        self.metrics = dict(metrics or {})
        self.provenance = dict(provenance or {})
        self.device = torch.device(device)
        self.name = name or (spec.name if spec else type(net).__name__)
        self.dtype = next(net.parameters()).dtype
        self.runner = Runner(self.net, engine, precision)

    def __repr__(self) -> str:
        height, width = self.preprocess.size
        return f"Classifier({self.name}, {len(self.classes)} classes, pictures of {width}x{height})"

    def predict(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        top_k: int = 5,
        batch: int = 32,
        workers: int | None = None,
    ) -> list[Prediction]:
        """Classify one picture or many; one answer each, in the same order.

        Args:
            pictures: paths, Pillow images, or uint8 arrays (H, W, 3) in RGB or (H, W) in grey.
            top_k: how many classes each answer names; all when there are fewer.
            batch: pictures that go through the network together.
            workers: threads that read pictures; None for one a processor, 0 for none of their own.

        A picture that cannot be read is an answer with `error`, not an exception.

        Raises:
            UserError: an object that is no picture; a number out of range.
            JobError: the network's answer is not a number, since its weights are damaged.
        """
        if isinstance(pictures, (str, Path, Image.Image)) or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
            pictures = [pictures]
        return list(self.stream(pictures, top_k=top_k, batch=batch, workers=workers))

    def stream(
        self, pictures: Iterable[Picture], *, top_k: int = 5, batch: int = 32, workers: int | None = None
    ) -> Iterator[Prediction]:
        """As `predict`, one answer after the other; memory does not grow with the number of pictures."""
        check_sizes(batch, workers)
        count = len(pictures) if isinstance(pictures, Sized) else None
        job = self.runner.job(count, batch, temperature=self.temperature)
        if top_k < 1:
            raise UserError(f"`top_k` must be 1 or more; received {top_k}.")
        ready = in_order(self._prepared, enumerate(pictures), workers=workers, ahead=2 * batch)
        for chunk in chunks(ready, batch):
            logits = iter(self.logits([entry.inputs[0][0] for entry in chunk if entry.error is None], job))
            for entry in chunk:
                if entry.error is None:
                    yield self._answer(entry.name, next(logits), top_k)
                else:
                    yield Prediction(path=entry.name, error=entry.error)

    def logits(self, pictures: Sequence[Tensor], job: Job | None = None) -> Tensor:
        """float32 (N, K) on the CPU, for N prepared pictures (C, h, w), which may differ in size.

        Pictures of one size go through the network together. The temperature is not applied.

        Args:
            job: that they are part of; None for one of their own, which the reference computes unless something else was
                asked for.
        """
        job = job or self.runner.job(None, max(len(pictures), 1), precision="fp32")
        groups: dict[torch.Size, list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            if not isinstance(picture, Tensor) or picture.ndim != 3:
                kind = (
                    f"tensor of shape {tuple(picture.shape)}" if isinstance(picture, Tensor) else type(picture).__name__
                )
                raise UserError(
                    "`logits` takes a list of prepared tensors (C, h, w), as `preprocess.load(path)` gives them, or one tensor "
                    f"(N, C, h, w); received in it a {kind}."
                )
            groups[picture.shape].append(index)
        out = torch.empty(len(pictures), len(self.classes))
        with torch.inference_mode():
            for indices in groups.values():
                stack = torch.stack([pictures[index] for index in indices])
                out[indices] = job.logits(stack.to(self.dtype))
        return out

    def check_side(self, view: Tensor) -> None:
        """Raises ImageError for an input (C, h, w) of a size that the network cannot take."""
        try:
            check_side(view, self.net.min_side, self.net.only_side)
        except ValueError as error:
            raise ImageError(str(error)) from error

    def _prepared(self, numbered: tuple[int, Picture]) -> Prepared:
        number, picture = numbered
        name = str(picture) if isinstance(picture, (str, Path)) else f"[{number}]"
        try:
            ready = self._input(picture, name)
            self.check_side(ready)
        except ImageError as error:
            return Prepared(name, [], error.reason)
        return Prepared(name, [[ready]])

    def _input(self, picture: Picture, name: str) -> Tensor:
        if isinstance(picture, (str, Path)):
            return self.preprocess.load(picture)
        if isinstance(picture, Image.Image):
            return self.preprocess(upright(picture, name=name, background=self.preprocess.background))
        if isinstance(picture, np.ndarray) and picture.dtype == np.uint8:
            if picture.ndim == 2:
                picture = np.repeat(picture[:, :, None], 3, axis=2)
            if picture.ndim == 3 and picture.shape[2] == 3 and picture.size:
                return self.preprocess(picture)
        kind = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise UserError(
            f"Picture {name} is of the kind {kind}; a path, a Pillow image, or a uint8 array (H, W, 3) in RGB or (H, W) "
            "in grey can be classified."
        )

    def _answer(self, name: str, logits: Tensor, top_k: int) -> Prediction:
        check_finite(logits, name)
        probabilities = torch.softmax(logits.double() / self.temperature, dim=0)
        # Of equals the first class comes first, as in `Predictions.predicted`.
        best = logits.sort(descending=True, stable=True).indices[:top_k].tolist()
        top = tuple((self.classes[index], float(probabilities[index])) for index in best)
        return Prediction(path=name, label=top[0][0], probability=top[0][1], top=top)


def check_finite(logits: Tensor, name: str) -> None:
    """Raises JobError where the answer for the picture `name` is not a number: it would pass for the first class."""
    if not torch.isfinite(logits).all():
        raise JobError(f"The network's answer for '{name}' is not a number. Its weights are damaged; train them again.")
