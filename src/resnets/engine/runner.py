"""Logits of a network by the fastest engine: it is chosen when the first pictures of a job come."""

from __future__ import annotations

import torch
from torch import Tensor

from resnets.engine import choice, engines
from resnets.engine.engines import Engine
from resnets.engine.folding import classify
from resnets.models.resnet import ResNet

MOST_SHAPES = 4  # pictures of more sizes than that leave few of each, for which no engine pays


class Runner:
    """A network, and an engine for each size of pictures that it met.

    Args:
        net: in eval mode, on its device.
        engine: "auto", or one of `engines.NAMES`.
        precision: "auto", "fp32" or "bf16".

    Raises:
        UserError: what is asked for is not to be had here.
    """

    def __init__(self, net: ResNet, engine: str = "auto", precision: str = "auto") -> None:
        parameter = next(net.parameters())
        choice.check(engine, precision, parameter.device)
        self.net, self.engine, self.precision = net, engine, precision
        self.single = parameter.dtype == torch.float32
        self.reference = engines.reference(net)
        self.count = self.batch = 0
        self.chosen: dict[tuple[int, ...], tuple[int, Engine]] = {}
        self.spare: Engine | None = None

    def expect(self, count: int | None, batch: int) -> None:
        """The next job: so many pictures in batches of `batch`. Where nobody knows (None), nothing is compiled for them."""
        self.count, self.batch = count or 0, batch if count is None else max(min(count, batch), 1)

    def embed(self, pictures: Tensor) -> Tensor:
        """float32 (N, features) of normalized pictures (N, C, h, w) of one size."""
        return self._engine(pictures)(pictures)

    def logits(self, pictures: Tensor) -> Tensor:
        """float32 (N, classes) on the CPU, of normalized pictures (N, C, h, w) of one size."""
        with torch.inference_mode():
            engine = self._engine(pictures)
            if engine.name == "reference":  # the network as a whole: it is called, with whatever was hooked to it
                pictures = pictures.to(engine.device).contiguous(memory_format=torch.channels_last)
                return self.net(pictures).float().cpu()
            return classify(self.net.head, engine(pictures)).float().cpu()

    def _engine(self, pictures: Tensor) -> Engine:
        if not self.single or (self.engine in ("auto", "torch") and self.precision == "fp32"):
            return self.reference
        shape = tuple(pictures.shape[1:])
        count, engine = self.chosen.get(shape, (0, self.reference))
        # What was chosen for a job holds for shorter ones; the reference may have been chosen since the job was short.
        if count >= max(self.count, 1) or engine.name != "reference":
            return engine
        few = len(pictures) < self.batch / 2 or (len(self.chosen) >= MOST_SHAPES and shape not in self.chosen)
        if few and self.engine == self.precision == "auto":
            return self.reference
        if few:  # no batch of this shape will ever be full
            return self._any_shape()
        count = max(self.count, 1)
        engine = choice.choose(
            self.net,
            pictures,
            count=count,
            batch=max(self.batch, 1),
            engine=self.engine,
            precision=self.precision,
        )
        self.chosen[shape] = (count, engine)
        return engine

    def _any_shape(self) -> Engine:
        """torch itself in the precision that was asked for."""
        if self.spare is None:
            precision = "fp32" if self.precision == "auto" else self.precision
            self.spare = engines.build("torch", self.net, precision, ())
        return self.spare
