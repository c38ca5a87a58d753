"""The runtimes that a file is proved in, opened from its bytes, before they are written."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnets.export.graph import PIXELS
from resnets.inference.exported import runtimes
from resnets.inference.exported.read_exported import ExportedFile
from resnets.inference.exported.runtimes import F32_HINT, OPENVINO, Runtime
from resnets.tasks.exported import exported_model
from resnets.tasks.inputs.read_image import ImageInput

Contents = Mapping[str, bytes]  # of an exported file, by the names of its files; "" for that of a single one


class TorchProgram:
    """A `torch.export.ExportedProgram`. Loading runs code of its file, so it is only loaded from bytes that were just made."""

    name, version, precision = "torch", str(torch.__version__), "f32"

    def __init__(self, content: bytes, output_names: Sequence[str]) -> None:
        self.module = torch.export.load(io.BytesIO(content)).module()
        self.output_names = tuple(output_names)

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """See `Runtime`."""
        with torch.inference_mode():
            found = dict(zip(self.output_names, self.module(torch.from_numpy(images)), strict=True))
        return [found[name].numpy() for name in outputs]


@dataclass(frozen=True)
class RuntimeChoice:
    """A runtime in one precision.

    Attributes:
        open: opens it.
        predict: the predictions of the file for images, as a model; None for a runtime whose files are not read as models.
        open_resizer: opens the first part of the file, whose output is `PIXELS`; None for a file that does not resize.
        default: whether it computes in the precision that the runtime chooses, which may be another than f32.
    """

    name: str
    open: Callable[[], Runtime]
    hints: Mapping[str, str]
    predict: Callable[[Sequence[ImageInput]], list[Any]] | None = None
    open_resizer: Callable[[], Runtime] | None = None
    default: bool = False


def runtime_choices(
    to: str, contents: Contents, metadata: Mapping[str, Any], resizer: Contents | None = None
) -> Iterator[RuntimeChoice]:
    """Those that read the format `to`.

    Args:
        resizer: the first part of a file that resizes.
    """
    for name in runtimes.OF_FORMAT.get(to, ("torch",)):
        open_file = partial(_open, to, contents, metadata["outputs"], name)
        part = None if resizer is None else partial(_open, to, resizer, [PIXELS], name)
        if to == "torch":
            yield RuntimeChoice(name, open_file, {}, open_resizer=part)
            continue
        predict = partial(_predict, _file(to, contents, metadata), name)
        yield RuntimeChoice(name, open_file, F32_HINT if name == OPENVINO else {}, predict, part)
        if name == OPENVINO and runtimes.is_installed(name):
            hints: dict[str, str] = {}
            yield RuntimeChoice(name, partial(open_file, hints), hints, predict, part, default=True)


def _open(
    to: str, contents: Contents, outputs: Sequence[str], name: str, hints: dict[str, str] | None = None
) -> Runtime:
    if to == "torch":
        return TorchProgram(contents[""], outputs)
    return runtimes.open_runtime(_file(to, contents, {}), name, hints)


def _file(to: str, contents: Contents, metadata: Mapping[str, Any]) -> ExportedFile:
    return ExportedFile(Path(), to, tuple(contents.values()), metadata)


def _predict(file: ExportedFile, name: str, images: Sequence[ImageInput]) -> list[Any]:
    return exported_model.of_file(file, name).predict(list(images))
