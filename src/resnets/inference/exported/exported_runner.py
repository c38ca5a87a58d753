"""Compute the outputs of a model with an exported file, in place of a `ModelRunner`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.inference.choose_backend import Choice
from resnets.inference.exported.read_exported import ExportedFile
from resnets.inference.exported.runtimes import open_runtime
from resnets.inference.static_graph import to_float


class ExportedRunner:
    """An exported file and what follows it.

    Args:
        file: as `read_exported.read` returns it.
        outputs: the names of the outputs that are needed.
        finish: from these outputs, a tensor or a tuple of tensors, to those of the model.
        backend: the runtime, or "auto".
        precision: "auto", or that of the file.

    Raises:
        UserError: the runtime or the precision is not that of the file, or cannot read it.
    """

    def __init__(
        self,
        file: ExportedFile,
        outputs: list[str],
        finish: Callable[[Any], Any],
        backend: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.file, self.names, self.finish = file, outputs, finish
        own = str(file.metadata["precision"])
        # Evaluation asks for fp32 where nothing else is given, so an int8 file takes it as its own.
        if precision not in ("auto", "fp32", own):
            raise UserError(f"'{file.path}' is computed in {own}; received `precision={precision}`.")
        self.backend, self.precision = backend, precision
        self.runtime = open_runtime(file, backend)
        self.choice = Choice(self.runtime.name, own)

    def with_outputs(self, outputs: list[str], finish: Callable[[Any], Any]) -> ExportedRunner:
        """The same with other outputs of the file; the runtime is shared.

        Raises:
            UserError: the file does not have them.
        """
        known = self.file.metadata["outputs"]
        if missing := [name for name in outputs if name not in known]:
            raise UserError(f"'{self.file.path}' has no output '{missing[0]}'; its outputs are {', '.join(known)}.")
        other = object.__new__(ExportedRunner)
        other.__dict__ = {**self.__dict__, "names": outputs, "finish": finish}
        return other

    def job(
        self, count: int | None, batch: int, *, precision: str | None = None, exact: bool | None = None
    ) -> ExportedJob:
        """As `ModelRunner.job`; the file computes jobs of all sizes alike."""
        return ExportedJob(self)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError for images of a size that the file was not exported for."""
        size = self.file.metadata["size"]
        if size is not None and [height, width] != size:
            raise UserError(
                f"'{self.file.path}' was exported for images of {size[1]}x{size[0]}; received {width}x{height}. Use the "
                "checkpoint, or export it for this size."
            )


class ExportedJob:
    """As `Job`: images to compute; `used` has the runtime and the precision."""

    def __init__(self, runner: ExportedRunner) -> None:
        self.runner, self.used = runner, {runner.choice: None}

    def outputs(self, images: Tensor) -> Any:
        """The outputs of the model for (N, C, h, w): normalized, or values of 0 to 255 where the file normalizes."""
        runner = self.runner
        runner.check_size(images.shape[-2], images.shape[-1])
        found = runner.runtime.run(as_input(images, str(runner.file.metadata["input"])), runner.names)
        tensors = tuple(torch.from_numpy(np.ascontiguousarray(each)) for each in found)
        return to_float(runner.finish(tensors[0] if len(tensors) == 1 else tensors))


def as_input(images: Tensor, kind: str) -> np.ndarray:
    """What a file with this `input` takes, of images (N, C, h, w): float32, or uint8 (N, h, w, 3) of values of 0 to 255."""
    if kind == "none":
        return images.float().contiguous().numpy()
    return images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
