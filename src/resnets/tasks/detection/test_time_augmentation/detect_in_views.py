"""The objects that detectors find in several views of each image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_masks
from PIL import Image
from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import ImageError
from resnets.inference.model_runner import OutputsJob
from resnets.models.detection.settings import DetectorSettings
from resnets.tasks.detection.detections import Detections, encode_mask
from resnets.tasks.detection.test_time_augmentation.fuse_detectors import fuse, label_maps
from resnets.tasks.detection.test_time_augmentation.image_views import Region, View, Views
from resnets.tasks.detection.test_time_augmentation.merge_views import Candidates, merge
from resnets.tasks.inputs.read_image import ImageInput, name_of, read_image
from resnets.tasks.trained_model import TrainedModel, check_finite

MAX_PIXELS = 640 * 320  # of the views that are prepared and computed together: these bound the memory
AHEAD = 2  # images that are read before they are needed, where there are no tiles


class ImageDetections(NamedTuple):
    """What was found in one image; `found` and `size`, height and width, are None if it cannot be read."""

    name: str
    found: Detections | None = None
    size: tuple[int, int] | None = None
    error: str | None = None


class _Opened(NamedTuple):
    name: str
    pixels: np.ndarray | Image.Image | None
    size: tuple[int, int]
    error: str | None = None


class ViewDetector:
    """A detector that is given several views of each image.

    Args:
        batch: most views that go through the network together.
        count: number of images; None if it is not known.
        precision: as of `ModelRunner.job`.
    """

    def __init__(
        self, model: TrainedModel, views: Views, *, batch: int, count: int | None, precision: str | None = None
    ) -> None:
        self.model, self.views, self.count, self.precision = model, views, count, precision
        sizes = [model.preprocess.with_size(side) for side in views.scales]
        self.largest = max(sizes, key=_side, default=model.preprocess)
        self.at_once = max(min(batch, MAX_PIXELS // _side(self.largest) ** 2), 1)
        self.job: OutputsJob | None = None  # begins with the first image, since the number of its tiles is then known

    def find(self, pixels: np.ndarray | Image.Image, size: tuple[int, int], name: str) -> Detections:
        """The objects of all views of an image as of `read_image`, each once.

        Raises:
            ImageError: a view has a size that the network does not support.
        """
        model, views = self.model, self.views
        if self.job is None:
            count = (self.count or 0) * views.of_region * len(views.regions(size))
            of_a_size = self.at_once if views.tile else min(1 + views.flip, self.at_once)
            self.job = model.runner.job(count, of_a_size, precision=self.precision)
        objects: list[dict[str, Tensor]] = []
        regions: list[Region] = []
        inputs = views.of_image(pixels, size, model.preprocess)
        while group := list(islice(inputs, self.at_once)):
            for view in group:
                model.check_size(view.pixels)
            outputs = model.outputs_by_image([view.pixels for view in group], self.job)
            for view, output in zip(group, outputs, strict=True):
                check_finite(output, name)
                objects.append(in_image(output.objects[0], view))
                regions.append(view.region)
        settings: DetectorSettings = model.task.config  # type: ignore[assignment]
        return merge_detections(objects, regions, size, settings.nms_iou, None if views.tile else settings.max_objects)


def detect_in_views(
    detectors: Sequence[ViewDetector], images: Iterable[ImageInput], *, workers: int | None
) -> Iterator[ImageDetections]:
    """The objects of each image, one image after the other; those of several detectors are fused.

    Args:
        workers: number of threads that read images; with tiles there is one image in memory.
    """
    is_tiled = detectors[0].views.tile is not None
    maps = label_maps([each.model for each in detectors])
    largest = max((each.largest for each in detectors), key=_side)
    full_size = is_tiled or not all(each.largest.fast_jpeg for each in detectors)
    open_image = partial(_open, preprocess=largest, full_size=full_size)
    for name, pixels, size, error in ordered_map(
        open_image, enumerate(images), workers=workers, ahead=0 if is_tiled else AHEAD
    ):
        if pixels is None:
            yield ImageDetections(name, error=error)
            continue
        try:
            parts = [each.find(pixels, size, name) for each in detectors]
        except ImageError as problem:
            yield ImageDetections(name, error=problem.reason)
        else:
            parts = [replace(part, labels=own[part.labels]) for part, own in zip(parts, maps, strict=True)]
            yield ImageDetections(name, parts[0] if len(parts) == 1 else fuse(parts), size)


def _side(preprocess: Preprocess) -> int:
    return max(preprocess.size)


def _open(indexed: tuple[int, ImageInput], preprocess: Preprocess, full_size: bool) -> _Opened:
    index, image = indexed
    name = name_of(image, index)
    try:
        return _Opened(name, *read_image(image, name, preprocess, full_size=full_size))
    except ImageError as error:
        return _Opened(name, None, (0, 0), error.reason)


def in_image(objects: Mapping[str, Tensor], view: View) -> dict[str, Tensor]:
    """The objects that were found in a view, with boxes, float64, in pixels of the image, and masks as in the image; without
    those that lie in the background around it.
    """
    boxes = objects["boxes"].double()
    if view.mirrored:
        boxes = boxes * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor(
            [view.placement.size[1], 0, view.placement.size[1], 0]
        )
        boxes = boxes[:, [2, 1, 0, 3]]
    region = torch.tensor(view.region, dtype=torch.float64)
    boxes = view.placement.to_original(boxes).maximum(region[[0, 1, 0, 1]]).minimum(region[[2, 3, 2, 3]])
    kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    found = {key: each[kept] for key, each in {**objects, "boxes": boxes}.items()}
    if view.mirrored and "masks" in found:
        found["masks"] = found["masks"].flip(-1)
    return found


def merge_detections(
    objects: Sequence[Mapping[str, Tensor]],
    regions: Sequence[Region],
    size: tuple[int, int],
    iou: float,
    most: int | None,
) -> Detections:
    """The objects of all views, each once, and at most `most` of them; see `merge_views`. Masks follow their boxes."""
    joined: dict[str, Any] = {name: torch.cat([each[name] for each in objects]) for name in objects[0]}
    views = np.repeat(np.arange(len(objects)), [len(each["boxes"]) for each in objects])
    boxes, scores, labels = (joined[name].numpy() for name in ("boxes", "scores", "labels"))
    found = merge(Candidates(boxes, scores, labels, views), regions, size, iou)
    members = found.members[:most]
    first = [each[0] for each in members]
    masks = None
    if "masks" in joined:
        masks = [_union([encode_mask(joined["masks"][i], joined["boxes"][i], size) for i in each]) for each in members]
    return Detections(found.boxes[:most].astype(np.float32), scores[first], labels[first], masks)


def _union(masks: list[dict[str, Any]]) -> dict[str, Any]:
    return masks[0] if len(masks) == 1 else dict(coco_masks.merge(masks))
