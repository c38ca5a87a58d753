"""Compute the outputs of a model with an exported file, in place of a `ModelRunner`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.inference.choose_backend import Choice
from resnets.inference.exported.read_exported import ExportedFile
from resnets.inference.exported.runtimes import Shape, first_line, open_runtime
from resnets.inference.static_graph import to_float


class ExportedRunner:
    """An exported file and what follows it.

    Args:
        file: as `read_exported.read` returns it.
        outputs: the names of the outputs that are needed.
        shapes: of all outputs that the model may have, by name.
        finish: from these outputs, a tensor or a tuple of tensors, to those of the model.
        backend: the runtime, or "auto".
        precision: "auto", or that of the file.

    Raises:
        UserError: the runtime or the precision is not that of the file, or cannot read it; or its graph is not what its
            metadata say.
    """

    def __init__(
        self,
        file: ExportedFile,
        outputs: list[str],
        shapes: Mapping[str, Shape],
        finish: Callable[[Any], Any],
        backend: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.file, self.names, self.shapes, self.finish = file, outputs, shapes, finish
        own = str(file.metadata["precision"])
        if precision not in ("auto", own):
            raise UserError(
                f"'{file.path}' is an exported file, which is computed in {own}; received `precision={precision}`. For another "
                "one use the checkpoint."
            )
        self.backend, self.precision = backend, precision
        self.runtime = open_runtime(file, backend)
        self.choice = Choice(self.runtime.name, own)
        self._check_input()
        found = self.runtime.signature.outputs
        for output in dict.fromkeys([*outputs, *file.metadata["outputs"]]):
            self.check_shape(f"output '{output}'", found.get(output), shapes.get(output))

    def _check_input(self) -> None:
        kind, size = self.file.metadata["input"], tuple(self.file.metadata["size"] or (None, None))
        expected = ("float32", (None, None, *size)) if kind == "none" else ("uint8", (None, *size, 3))
        inputs = self.runtime.signature.inputs
        if [each for each, _ in inputs] != [expected[0]]:
            raise UserError(
                f"'{self.file.path}' has other inputs than its metadata say: one of {expected[0]}, and its graph has "
                f"{', '.join(each for each, _ in inputs) or 'none'}. Export it again."
            )
        self.check_shape("input", inputs[0][1], expected[1])

    def check_shape(self, what: str, found: Shape | None, expected: Shape | None) -> None:
        """Raise UserError for an input or output of another shape than the metadata of the file say; None is none."""
        if (
            found is not None
            and expected is not None
            and len(found) == len(expected)
            and all(None in pair or pair[0] == pair[1] for pair in zip(found, expected, strict=True))
        ):
            return
        raise UserError(
            f"'{self.file.path}' is not what its metadata say: its {what} should have {_text(expected)} and has "
            f"{_text(found)}. Export it again."
        )

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
        pixels = as_input(images, str(runner.file.metadata["input"]))
        try:
            found = runner.runtime.run(pixels, runner.names)
        except Exception as error:  # of several types of the libraries
            name = runner.runtime.name
            raise UserError(f"'{runner.file.path}' cannot be computed by {name}: {first_line(error)}") from error
        for output, values in zip(runner.names, found, strict=True):
            runner.check_shape(f"output '{output}'", values.shape, (len(images), *runner.shapes[output][1:]))
        tensors = tuple(torch.from_numpy(np.ascontiguousarray(each)) for each in found)
        return to_float(runner.finish(tensors[0] if len(tensors) == 1 else tensors))


def _text(shape: Shape | None) -> str:
    return f"the shape ({', '.join('?' if size is None else str(size) for size in shape)})" if shape else "none"


def as_input(images: Tensor, kind: str) -> np.ndarray:
    """What a file with this `input` takes, of images (N, C, h, w): float32, or uint8 (N, h, w, 3) of values of 0 to 255."""
    if kind == "none":
        return images.float().contiguous().numpy()
    return images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
