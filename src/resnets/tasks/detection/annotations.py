"""The annotated objects of images, as the network learns them and as an evaluation compares with them."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from torchvision import tv_tensors

from resnets.data.datasets.dataset import Dataset, Sample, nfc
from resnets.data.object_datasets.object_masks import Mask, Polygons
from resnets.data.object_datasets.objects import ImageObjects, Object
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize
from resnets.tasks.detection.records import Truth

Target = dict[str, Any]  # "boxes", "labels" and, with masks, "masks"; see `ObjectTargets`


class ObjectTargets(Sequence[Target]):
    """The target of each sample, made on access, since masks take much memory.

    "boxes" are BoundingBoxes (n, 4), x1, y1, x2, y2, float32, within the image; "labels" int64 (n,), from 0; "masks", if there
    are to be some, a Mask (n, H, W), bool. Crowds, and boxes without an area, are left out.
    """

    def __init__(self, samples: Sequence[Sample], class_names: Sequence[str], *, masks: bool) -> None:
        self.samples, self.masks = samples, masks
        self.indices = {nfc(name): index for index, name in enumerate(class_names)}
        unknown = {each.label for sample in samples for each in _objects(sample) if nfc(each.label) not in self.indices}
        if unknown:
            raise UserError(
                f"There are objects of {format_list(sorted(unknown))}, but the model has only {format_list(list(class_names))}."
            )

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Target: ...

    @overload
    def __getitem__(self, index: slice) -> "ObjectTargets": ...

    def __getitem__(self, index: int | slice) -> "Target | ObjectTargets":
        if isinstance(index, slice):
            part = object.__new__(ObjectTargets)
            part.samples, part.masks, part.indices = self.samples[index], self.masks, self.indices
            return part
        sample = self.samples[index]
        height, width = image_size(sample)
        learned = learned_objects(sample)
        boxes = np.array([each.box for each in learned], np.float32).reshape(-1, 4)
        boxes = boxes.clip(0, np.array([width, height] * 2, np.float32))
        target = {
            "boxes": tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=(height, width)),
            "labels": torch.tensor([self.indices[nfc(each.label)] for each in learned], dtype=torch.int64),
        }
        if self.masks:
            if missing := missing_masks(learned):
                raise UserError(f"'{sample.path}' has {pluralize(missing, 'object')} without a mask.")
            masks = [mask.decode(height, width) for mask in _masks(learned)]
            stacked = np.stack(masks) if masks else np.zeros((0, height, width), bool)
            target["masks"] = tv_tensors.Mask(torch.from_numpy(stacked))
        return target


def check_annotated(dataset: Dataset) -> list[str]:
    """The warnings about a dataset that is to be trained on.

    Raises:
        UserError: images are not annotated, or there is no object.
    """
    if unlabeled := [sample.path for sample in dataset.samples if sample.target is None]:
        raise UserError(
            f"{pluralize(len(unlabeled), 'image')} without annotations, such as '{unlabeled[0]}'; training needs them for "
            "each image, which may have no objects."
        )
    if not dataset.class_names:
        raise UserError(f"'{dataset.root}' has no objects.")
    if not dataset.unused_classes:
        return []
    return [
        f"no object is of {format_list(dataset.unused_classes)}: the model has the other classes only, and files of "
        "predictions number these from 0 (YOLO) or 1 (COCO), in the order of their names"
    ]


def truth(sample: Sample, indices: dict[str, int], *, masks: bool) -> Truth:
    """The annotated objects of a sample, crowds too; `indices` are those of the classes by name.

    The mask of a crowd without one is its box. There are no masks if another object has none.
    """
    height, width = image_size(sample)
    objects = [each for each in _objects(sample) if each.crowd or _has_area(each, height, width)]
    boxes = np.array([each.box for each in objects], np.float64).reshape(-1, 4)
    complete = masks and not missing_masks(objects)
    encoded = [mask.to_coco(height, width) for mask in _masks(objects)] if complete else None
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    if encoded:
        from faster_coco_eval.core import mask as coco_masks

        areas = np.asarray(coco_masks.area(encoded), np.float64)
    return Truth(
        boxes,
        np.array([indices[nfc(each.label)] for each in objects], np.int64),
        np.array([each.crowd for each in objects], bool),
        np.array(
            [area if each.area is None else each.area for each, area in zip(objects, areas, strict=True)], np.float64
        ),
        encoded,
    )


def image_size(sample: Sample) -> tuple[int, int]:
    """Height and width of the image in pixels."""
    target = sample.target
    assert isinstance(target, ImageObjects), f"'{sample.path}' is not annotated"
    assert target.size is not None, f"the size of '{sample.path}' is not known"
    return target.size


def learned_objects(sample: Sample) -> list[Object]:
    """The objects that a detector learns: those that are no crowds and have an area."""
    height, width = image_size(sample)
    return [each for each in _objects(sample) if not each.crowd and _has_area(each, height, width)]


def _has_area(each: Object, height: int, width: int) -> bool:
    """Whether the box is at least partly within the image."""
    x1, y1, x2, y2 = each.box
    return min(x2, width) > max(x1, 0) and min(y2, height) > max(y1, 0)


def missing_masks(objects: Sequence[Object]) -> int:
    """The number of objects without a mask, of those that are not crowds."""
    return sum(each.mask is None and not each.crowd for each in objects)


def _masks(objects: Sequence[Object]) -> list[Mask]:
    """The mask of each object, which is its box if it has none."""
    return [
        Polygons(((x1, y1, x2, y1, x2, y2, x1, y2),)) if each.mask is None else each.mask
        for each in objects
        for x1, y1, x2, y2 in [each.box]
    ]


def _objects(sample: Sample) -> Sequence[Object]:
    return () if sample.target is None else sample.target.objects
