"""Compare detectors on the same inputs: all numbers before boxes are chosen from them, and torchvision's own network.

Which boxes are chosen jumps where two scores are equal up to rounding. So the heads of Faster and Mask R-CNN are compared on
regions that do not depend on the network.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.weights.detection import torchvision
from resnets.weights.detection.checkpoint import detector_settings, network
from resnets.weights.load_weights import LoadedWeights
from resnets.weights.verification_result import Comparison

Outputs = dict[str, Tensor]  # logits by name, and "moves": numbers of the boxes that are no logits
REGION_SIDES = (0.15, 0.4, 0.9)  # of the compared regions, as parts of the image
REGION_PLACES = (0.0, 0.35, 0.7)
MASKS = slice(
    None, None, 10
)  # of the regions: one of each size, at three places; their head is most of the computation


class _Pipeline(NamedTuple):
    name: str
    outputs: Callable[[Tensor], Outputs]


def compare(loaded_files: Sequence[tuple[Path, LoadedWeights]], images: Iterable[Tensor]) -> tuple[Comparison, ...]:
    """The other file, and torchvision's own network of each file of torchvision, beside the first file.

    Args:
        images: each (1, 3, H, W), whose sides are multiples of 32.

    Raises:
        UserError: the detectors are of different kinds, or have different numbers of classes.
    """
    checkpoints = [loaded.checkpoint for _, loaded in loaded_files]
    kinds = [f"{detector_settings(each).architecture}, {len(each.class_names)} classes" for each in checkpoints]
    if len(set(kinds)) > 1:
        raise UserError(f"'{loaded_files[0][0]}' and '{loaded_files[1][0]}' cannot be compared: {' and '.join(kinds)}.")
    pipelines: list[_Pipeline] = []
    for path, loaded in loaded_files:
        pipelines.append(_Pipeline(f"{path.name} by resnets", _outputs_of(network(loaded.checkpoint).float())))
        if loaded.weights_file is not None:
            own: Any = torchvision.reference_model(loaded.weights_file.tensors, loaded.checkpoint.spec.norm_eps)
            name = f"{path.name} by torchvision {importlib.metadata.version('torchvision')}"
            pipelines.append(_Pipeline(name, partial(_of_torchvision, own)))
    with torch.inference_mode():
        # Only the outputs of regions and positions are kept, which are small.
        of_images = [[pipeline.outputs(image) for pipeline in pipelines] for image in images]
    first, *others = zip(*of_images, strict=True)
    return tuple(
        _compare(pipelines[0].name, pipeline.name, first, other)
        for pipeline, other in zip(pipelines[1:], others, strict=True)
    )


def _compare(name: str, other_name: str, first: Sequence[Outputs], other: Sequence[Outputs]) -> Comparison:
    """Differences over all images, and of the classes with the largest logit."""
    difference, relative, same = 0.0, 0.0, list[Tensor]()
    for key in first[0]:
        a, b = (torch.cat([image[key].flatten(0, -2) for image in images]) for images in (first, other))
        relative = max(relative, ((a - b).abs().max() / a.abs().max()).item())
        if key != "moves":
            to_probability = (lambda x: x.softmax(-1)) if key == "classes" else torch.sigmoid
            difference = max(difference, (to_probability(a) - to_probability(b)).abs().max().item())
        if key == "classes":
            same.append(a.argmax(1) == b.argmax(1))
    agreement = torch.cat(same).float().mean().item()
    return Comparison(name, other_name, difference, relative, agreement, sum(map(len, same)), unit="regions")


def _outputs_of(model: Any) -> Callable[[Tensor], Outputs]:
    return partial(_of_yolo if isinstance(model, YOLOv3) else _of_regions, model)


def _of_yolo(model: YOLOv3, x: Tensor) -> Outputs:
    """Each position: the class logits (softmax of which is compared), the objectness and four numbers of the box."""
    raw = model.raw_predictions(x)
    return {"classes": raw[..., 5:], "objectness": raw[..., 4:5], "moves": raw[..., :4]}


def _of_regions(model: Any, x: Tensor) -> Outputs:
    *dense, _ = model.dense(x)
    count = len(model.rpn.anchor_generator.sizes)
    maps, objectness, deltas = dense[: -2 * count], dense[-2 * count : -count], dense[-count:]
    heads, boxes = model.roi_heads, [_regions(x)]
    logits, moves = model.classify(heads.box_roi_pool(maps, boxes))
    masks = heads.mask_roi_pool(maps, [boxes[0][MASKS]]) if heads.has_mask() else None
    return _named(heads, objectness, deltas, logits, moves, masks)


def _of_torchvision(model: Any, x: Tensor) -> Outputs:
    maps = model.backbone(x)
    objectness, deltas = model.rpn.head(list(maps.values()))
    heads, boxes, sizes = model.roi_heads, [_regions(x)], [tuple(x.shape[-2:])]
    logits, moves = heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, boxes, sizes)))
    masks = heads.mask_roi_pool(maps, [boxes[0][MASKS]], sizes) if heads.has_mask() else None
    return _named(heads, objectness, deltas, logits, moves, masks)


def _named(
    heads: Any,
    objectness: Sequence[Tensor],
    deltas: Sequence[Tensor],
    logits: Tensor,
    moves: Tensor,
    masks: Tensor | None,
) -> Outputs:
    outputs = {
        "classes": logits,
        "objectness": torch.cat([each.flatten() for each in objectness])[:, None],
        "moves": torch.cat([each.flatten() for each in (*deltas, moves)])[:, None],
    }
    if masks is not None:
        outputs["masks"] = heads.mask_predictor(heads.mask_head(masks)).flatten()[:, None]
    return outputs


def _regions(x: Tensor) -> Tensor:
    """Boxes (27, 4) of three sizes at nine places of the images (n, 3, H, W)."""
    height, width = x.shape[-2:]
    corners = [(left, top, side) for left in REGION_PLACES for top in REGION_PLACES for side in REGION_SIDES]
    boxes = [(left, top, min(left + side, 1.0), min(top + side, 1.0)) for left, top, side in corners]
    return torch.tensor(boxes) * torch.tensor([width, height, width, height])
