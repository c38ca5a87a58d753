"""Predictions for images of any size: small ones in batches, large ones one at a time, the largest in windows."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnets.data.image import resizing
from resnets.data.image.decode import inspect
from resnets.data.image.windowed_image import WindowedImage, is_npy, is_windowed, open_windows
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import ImageError
from resnets.progress import log
from resnets.tasks.inputs.hashed_file import HashedFile
from resnets.tasks.inputs.read_image import ImageInput, name_of, read_image
from resnets.tasks.segmentation import sliding_window, upsample
from resnets.tasks.segmentation.forward import BATCH_PIXELS, WHOLE_PIXELS
from resnets.tasks.segmentation.prediction import Prediction
from resnets.tasks.segmentation.sliding_window import WindowSpan
from resnets.tasks.trained_model import check_finite

Predict = Callable[[Iterable[ImageInput]], Iterator[Prediction]]
ANY_SIZE = 1 << 40  # pixels
_Numbered = tuple[int, ImageInput]


def predict_any_size(
    model: Any, images: Iterable[ImageInput], predict: Predict, *, window: int, align_corners: bool
) -> Iterator[Prediction]:
    """The prediction for each image, in order.

    Args:
        model: a `TrainedModel`.
        predict: the predictions for images that fit into batches.
        window: side of the windows of an image of more than 2 million pixels.
    """
    if model.preprocess.resize == "fit":  # no input is large
        yield from predict(images)
        return
    predict_large = partial(_one_at_a_time, model, window=window, align_corners=align_corners)
    if isinstance(images, Sequence):  # small ones go through the network together, whatever lies between them
        numbered = [(_is_large(image), index, image) for index, image in enumerate(images)]
        small, large = ([(index, image) for each, index, image in numbered if each is kind] for kind in (False, True))
        predictions = {False: _in_batches(small, predict), True: predict_large(large)}
        for is_large, _, _ in numbered:
            yield next(predictions[is_large])
        return
    for is_large, group in groupby(enumerate(images), lambda each: _is_large(each[1])):
        computed = predict_large if is_large else partial(_in_batches, predict=predict)
        yield from computed(group)


def _one_at_a_time(model: Any, group: Iterable[_Numbered], *, window: int, align_corners: bool) -> Iterator[Prediction]:
    for name, read in ordered_map(partial(_read, model), group, workers=1, ahead=1):
        if isinstance(read, str):
            yield model.task.unreadable(name, read)
        else:
            yield _predict_large(model, name, read, window, align_corners)


def _in_batches(group: Iterable[_Numbered], predict: Predict) -> Iterator[Prediction]:
    names = deque[str]()

    def feed() -> Iterator[ImageInput]:
        for index, image in group:
            names.append(name_of(image, index))
            yield image

    for prediction in predict(list(feed()) if isinstance(group, list) else feed()):
        yield replace(prediction, path=names.popleft())


def _is_large(image: ImageInput) -> bool:
    return _num_pixels(image) > BATCH_PIXELS


def _num_pixels(image: ImageInput) -> float:
    """0 where the header cannot be read; infinity for a file that is always read by windows."""
    if isinstance(image, np.ndarray):
        return math.prod(image.shape[:2])
    if isinstance(image, Image.Image):
        return image.width * image.height
    file = image if isinstance(image, bytes) else str(image)
    try:
        info = inspect(file, max_pixels=ANY_SIZE)
    except ImageError:
        return math.inf if not isinstance(file, bytes) and is_npy(file) else 0
    return info.width * info.height


class _DecodedImage:
    """A decoded image of which parts are read, as a `WindowedImage`."""

    def __init__(self, image: np.ndarray | Image.Image, size: tuple[int, int]) -> None:
        self.image, self.size = resizing.to_pillow(image), size

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        return np.asarray(self.image.crop((left, top, left + width, top + height)))


def _read(model: Any, numbered: _Numbered) -> tuple[str, WindowedImage | str]:
    """The name of an image, and its pixels; or why it cannot be read."""
    index, image = numbered
    name = name_of(image, index)
    try:
        if isinstance(image, (str, Path, HashedFile)) and is_windowed(str(image)):
            return name, open_windows(str(image))
        return name, _DecodedImage(*read_image(image, name, model.preprocess, full_size=True))
    except ImageError as error:
        return name, error.reason


def _predict_large(model: Any, name: str, image: WindowedImage, window: int, align_corners: bool) -> Prediction:
    in_windows = math.prod(image.size) > WHOLE_PIXELS
    rows, columns = (
        sliding_window.window_spans(side, window) if in_windows else [WindowSpan(0, side)] for side in image.size
    )
    count = len(rows) * len(columns)
    if in_windows:
        height, width = image.size
        log(f"'{name}' has {width}x{height} pixels: computed in {count:,} windows of up to {window} pixels")
    job = model.runner.job(count, sliding_window.BATCH)

    def read(row: WindowSpan, column: WindowSpan) -> Tensor:
        pixels = image.read(row.start, column.start, row.end - row.start, column.end - column.start)
        inputs: Tensor = model.preprocess.normalize(resizing.to_chw(pixels)).to(model.dtype)
        return inputs

    try:
        model.check_size(torch.empty(3, *image.size, device="meta"))
        with torch.inference_mode():
            parts = _finite(sliding_window.blend_windows(job.outputs, read, rows, columns), name)
            if not in_windows:
                (logits,) = parts
                mask = upsample.label_map(logits, image.size, align_corners=align_corners)
                return Prediction(name, model.class_names, mask, None, logits, align_corners)
            height = math.ceil(image.size[0] / model.model.stride)
            mask = upsample.label_map_of_parts(parts, height, image.size, align_corners=align_corners)
    except ImageError as error:  # also of a part of a file that is read by windows
        unreadable: Prediction = model.task.unreadable(name, error.reason)
        return unreadable
    return Prediction(name, model.class_names, mask)


def _finite(parts: Iterator[Tensor], name: str) -> Iterator[Tensor]:
    for part in parts:
        check_finite(part, name)
        yield part
