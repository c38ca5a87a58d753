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
from resnets.tasks.exported.exported_model import input_preprocess
from resnets.tasks.inputs.read_image import ImageInput, name_of, read_image

OWN_SIZES = 3  # batches of one image at its own size, where a network takes any
COMMON_SIZE = (129, 193)  # of larger batches then: height and width, odd


@dataclass(frozen=True)
class ProofBatch:
    """Frames, RGB (N, H, W, 3) of 0 to 255 and of the network's size, the input of the file, and the checkpoint's outputs."""

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
            yield f"a batch of {count}, {second}x{first}, {name}", each


def make(images: Sequence[ImageInput], reference: Reference, input_kind: str) -> list[ProofBatch]:
    """Batches of 1, 3 and 16 images, with the outputs of the reference.

    Args:
        input_kind: of the input of the file.

    Raises:
        UserError: an image cannot be read, or is too small.
    """
    preprocess = reference.preprocess
    frames = [preprocess.resize_crop(_read(image, index, preprocess)) for index, image in enumerate(images)]
    if shape := _unresized_shape(preprocess) if input_kind == "full" else None:
        frames = [np.asarray(Image.fromarray(frame).resize(shape[::-1])) for frame in frames]
    stacks = progress_bar(_stacked(frames), description="reference", unit="batches")
    return [_batch(each, reference, input_kind) for each in stacks]


def make_resized(images: Sequence[ImageInput], reference: Reference) -> list[ProofBatch]:
    """Each image at its own size, as input of a file that resizes, with the outputs of the reference. Raises as `make`."""
    resize = input_preprocess(reference.preprocess, "normalize")  # not to 8 bits, which only antialiasing rounds to
    batches = []
    for index, image in enumerate(progress_bar(images, description="reference", unit="images")):
        pixels = np.array(_read(image, index, reference.preprocess, full_size=True))  # a copy, which may be written to
        frames = resize(pixels).permute(1, 2, 0)[None].numpy()
        batches.append(ProofBatch(frames, pixels[None], reference.outputs(frames)))
    return batches


def _unresized_shape(preprocess: Preprocess) -> tuple[int, int] | None:
    """A height and a width of images that are cropped only, by a file that resizes; None where it keeps all sizes."""
    if preprocess.resize == "shorter":
        side = preprocess.resize_to or 0
        return side, side + 9
    height, width = preprocess.size
    if preprocess.resize == "none":
        return None if preprocess.crop == "none" else (height + 5, width + 9)
    return height, width


def _read(
    image: ImageInput, index: int, preprocess: Preprocess, *, full_size: bool = False
) -> np.ndarray | Image.Image:
    name = name_of(image, index)
    try:
        return read_image(image, name, preprocess, full_size=full_size)[0]
    except ImageError as error:
        raise UserError(f"'{name}' {error.reason}") from error


def _stacked(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    if len({frame.shape for frame in frames}) == 1:
        ends = np.cumsum(BATCHES)
        return [np.stack(frames[end - count : end]) for count, end in zip(BATCHES, ends, strict=True)]
    singles = [frame[None] for frame in (*frames[: OWN_SIZES - 1], frames[-1])]
    resized = [np.asarray(Image.fromarray(frame).resize(COMMON_SIZE[::-1])) for frame in frames]
    return [*singles, np.stack(resized[:3]), np.stack(resized[-16:])]


def _batch(images: np.ndarray, reference: Reference, input_kind: str) -> ProofBatch:
    frames = np.stack([reference.preprocess.resize_crop(image) for image in images]) if input_kind == "full" else images
    inputs = reference.normalize(images).numpy() if input_kind == "none" else images
    return ProofBatch(frames, inputs, reference.outputs(frames))
