"""The batches by which an exported file is compared with its checkpoint: inputs in several layouts, and the right outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnets.data.image.preprocess import Preprocess
from resnets.errors import ImageError, UserError
from resnets.export.certificate.certificate import BATCHES, LAYOUTS
from resnets.export.certificate.compare_outputs import Outputs
from resnets.export.certificate.reference import Reference
from resnets.progress import progress_bar
from resnets.tasks.inputs.read_image import ImageInput, name_of, read_image

OWN_SIZES = 3  # batches of one image at its own size, where a network takes any
COMMON_SIZE = (129, 193)  # of larger batches then: height and width, odd


@dataclass(frozen=True)
class ProofBatch:
    """Frames, uint8 RGB (N, H, W, 3) of the network's size, the same as input of the file, and the outputs of the checkpoint."""

    frames: np.ndarray
    inputs: np.ndarray
    expected: Outputs

    def layouts(self) -> Iterator[tuple[str, np.ndarray]]:
        """The same input in each of `LAYOUTS`."""
        contiguous = np.ascontiguousarray(self.inputs)
        view = np.moveaxis(np.ascontiguousarray(np.moveaxis(contiguous, -1, 1)), 1, -1)
        count, first, second, third = contiguous.shape
        larger = np.full((count, first + 3, second + 2, third + 1), 7, contiguous.dtype)
        part = larger[:, 2 : 2 + first, 1 : 1 + second, :third]
        part[:] = contiguous
        for name, each in zip(LAYOUTS, (contiguous, view, part), strict=True):
            size = "x".join(map(str, self.frames.shape[1:3]))
            yield f"a batch of {count}, {size}, {name}", each


def make(images: Sequence[ImageInput], reference: Reference, kind: str) -> list[ProofBatch]:
    """Batches of 1, 3 and 16 images, with the outputs of the reference.

    Args:
        kind: of the input of the file.

    Raises:
        UserError: an image cannot be read, or is too small.
    """
    frames = [frame_of(image, index, reference.preprocess) for index, image in enumerate(images)]
    return [
        _batch(each, reference, kind)
        for each in progress_bar(_stacked(frames), description="reference", unit="batches")
    ]


def frame_of(image: ImageInput, index: int, preprocess: Preprocess) -> np.ndarray:
    """An image as the network gets it before normalization, uint8 (h, w, 3)."""
    name = name_of(image, index)
    try:
        return preprocess.resize_crop(read_image(image, name, preprocess)[0])
    except ImageError as error:
        raise UserError(f"'{name}' {error.reason}") from error


def _stacked(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    if len({frame.shape for frame in frames}) == 1:
        ends = np.cumsum(BATCHES)
        return [np.stack(frames[end - count : end]) for count, end in zip(BATCHES, ends, strict=True)]
    singles = [frame[None] for frame in (*frames[: OWN_SIZES - 1], frames[-1])]
    resized = [np.asarray(Image.fromarray(frame).resize(COMMON_SIZE[::-1])) for frame in frames]
    return [*singles, np.stack(resized[:3]), np.stack(resized[-16:])]


def _batch(frames: np.ndarray, reference: Reference, kind: str) -> ProofBatch:
    inputs = reference.normalize(frames).numpy() if kind == "none" else frames
    return ProofBatch(frames, inputs, reference.outputs(frames))
