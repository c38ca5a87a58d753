"""The outputs of a detector for images of several sizes."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from resnets.data.loading.batch import Images
from resnets.models.detection.output import DetectorOutput
from resnets.models.detection.padding import padded_size
from resnets.tasks.detection.static_graph import largest_batch


def forward(model: Callable[..., Any], images: Images, targets: Any = None) -> DetectorOutput:
    """The objects, and with `targets` the losses. Images of one padded size are computed together, so that no other image
    changes them.
    """
    losses, objects = dict[str, Tensor](), [dict[str, Tensor]()] * len(images)
    for indices, chosen in _parts(images):
        part = model(chosen) if targets is None else model(chosen, [targets[index] for index in indices])
        for name, each in part.losses.items():
            losses.setdefault(name, each.new_zeros(len(images)))[indices] = each
        for index, each in zip(indices, part.objects, strict=True):
            objects[index] = each
    return DetectorOutput(losses, objects)


def _parts(images: Images) -> Iterator[tuple[list[int], Images]]:
    """Images that are computed together, with their indices: of one padded size, and no more than `largest_batch`."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(padded_size(*image.shape[-2:]), []).append(index)
    for (height, width), group in groups.items():
        size = largest_batch(height, width)
        for indices in (group[start : start + size] for start in range(0, len(group), size)):
            chosen: Any = [images[index] for index in indices]
            yield indices, images[indices[0] : indices[-1] + 1] if isinstance(images, Tensor) else chosen
