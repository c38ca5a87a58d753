"""A trained network at work: files in, class names and probabilities out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnets.data.decode import DecodeError
from resnets.data.preprocess import Preprocess
from resnets.errors import JobError, UserError
from resnets.models.resnet import ResNet, check_side
from resnets.models.spec import ResNetSpec
from resnets.tasks.pipeline import in_order
from resnets.tasks.prediction import Prediction
from resnets.weights import checkpoint as checkpoints

Picture = str | Path | np.ndarray | Image.Image


class Classifier:
    """A network with everything that is needed to use it.

    Attributes:
        net: the network, in eval mode, in channels_last layout, on `device`.
        preprocess: how a picture becomes its input.
        classes: the names, in the order of the outputs.
        temperature: the logits are divided by it before the softmax.
        spec, metrics, provenance: as in the checkpoint; how good it was found to be, and where it comes from.
    """

    def __init__(
        self,
        net: ResNet,
        preprocess: Preprocess,
        classes: Sequence[str],
        temperature: float = 1.0,
        *,
        spec: ResNetSpec | None = None,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        self.net = net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.preprocess = preprocess
        self.classes = tuple(classes)
        self.temperature = temperature
        self.spec = spec
        self.metrics = dict(metrics or {})
        self.provenance = dict(provenance or {})
        self.device = torch.device(device)
        self.dtype = next(net.parameters()).dtype

    def __repr__(self) -> str:
        name = self.spec.name if self.spec else type(self.net).__name__
        height, width = self.preprocess.size
        return f"Classifier({name}, {len(self.classes)} classes, pictures of {width}x{height})"

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
        for name, value, least in (("top_k", top_k, 1), ("batch", batch, 1), ("workers", workers or 0, 0)):
            if value < least:
                raise UserError(f"{name} must be {least} or more; received {value}.")
        ready = in_order(self._prepared, enumerate(pictures), workers=workers, ahead=2 * batch)
        for chunk in _chunks(ready, batch):
            logits = iter(self.logits([picture for _, picture in chunk if isinstance(picture, Tensor)]))
            for name, picture in chunk:
                if isinstance(picture, str):
                    yield Prediction(path=name, error=picture)
                else:
                    yield self._answer(name, next(logits), top_k)

    def logits(self, pictures: Sequence[Tensor]) -> Tensor:
        """float32 (N, K) on the CPU, for N prepared pictures (C, h, w), which may differ in size.

        Pictures of one size go through the network together. The temperature is not applied.
        """
        groups: dict[torch.Size, list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            groups[picture.shape].append(index)
        out = torch.empty(len(pictures), len(self.classes))
        with torch.inference_mode():
            for indices in groups.values():
                stack = torch.stack([pictures[index] for index in indices])
                stack = stack.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
                out[indices] = self.net(stack).float().cpu()
        return out

    def _prepared(self, numbered: tuple[int, Picture]) -> tuple[str, Tensor | str]:
        """The picture's name, and the input of the network or the reason why there is none."""
        number, picture = numbered
        name = str(picture) if isinstance(picture, (str, Path)) else f"[{number}]"
        try:
            ready = self.preprocess.load(picture) if isinstance(picture, (str, Path)) else self._taken(picture)
            check_side(ready, self.net.min_side, self.net.only_side)
        except DecodeError as error:
            return name, error.reason
        except ValueError as error:  # smaller than the network can take
            return name, str(error)
        return name, ready

    def _answer(self, name: str, logits: Tensor, top_k: int) -> Prediction:
        check_finite(logits, name)
        probabilities = torch.softmax(logits.double() / self.temperature, dim=0)
        # Of equals the first class comes first, as in `Predictions.predicted`.
        best = logits.sort(descending=True, stable=True).indices[:top_k].tolist()
        top = tuple((self.classes[index], float(probabilities[index])) for index in best)
        return Prediction(path=name, label=top[0][0], probability=top[0][1], top=top)


def load(path: str | Path, *, device: str = "cpu") -> Classifier:
    """The classifier in a checkpoint or, in a run folder, in its best one; ready to predict, in eval mode.

    Args:
        path: what `resnets train` wrote.
        device: as torch calls it.

    Raises:
        UserError: anything but an undamaged checkpoint of ours; the message says what was found at `path`.
    """
    found = checkpoints.read(path)
    return Classifier(
        checkpoints.network(found),
        found.preprocess,
        found.classes,
        found.temperature,
        spec=found.spec,
        metrics=found.metrics,
        provenance=found.provenance,
        device=device,
    )


def check_finite(logits: Tensor, name: str) -> None:
    """Raises JobError where the answer for the picture `name` is not a number: it would pass for the first class."""
    if not torch.isfinite(logits).all():
        raise JobError(f"The network's answer for '{name}' is not a number. Its weights are damaged; train them again.")


def _chunks(ready: Iterable[tuple[str, Tensor | str]], batch: int) -> Iterator[list[tuple[str, Tensor | str]]]:
    """Runs of at most `batch` readable pictures, so that unreadable ones do not leave a batch half empty."""
    chunk: list[tuple[str, Tensor | str]] = []
    readable = 0
    for entry in ready:
        chunk.append(entry)
        readable += isinstance(entry[1], Tensor)
        if readable == batch or len(chunk) == 4 * batch:
            yield chunk
            chunk, readable = [], 0
    if chunk:
        yield chunk
