"""Values of a recipe that the images and their objects decide."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from resnets import ranks
from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.message_format import pluralize
from resnets.models.detection.prefixes import PREFIXES
from resnets.models.detection.settings import DetectorSettings
from resnets.models.detection.yolo.anchors import COCO_ANCHORS, fit_anchors
from resnets.recipes.recipe import Recipe
from resnets.tasks.base import ChosenValue
from resnets.tasks.detection.annotations import image_size, learned_objects, missing_masks
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.recipe_values import ARCHITECTURES, RECIPE_VALUES
from resnets.tasks.inputs import unused_settings
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.detection.checkpoint import detector_settings

USED, RESIZES = (
    ("flip", "jitter"),
    ("shorter", "fit"),
)  # of `augment`; the default of `data.resize`, and what becomes of it
SMALL_SIDE = 160  # pixels; up to here a batch of 16 takes little memory
MIN_ANCHOR = 8.0  # pixels
# Those that are no value of the user's or of weights.
ANCHORS, MAX_OBJECTS = DetectorSettings().anchor_sizes, DetectorSettings().max_objects


def plan(dataset: Dataset, recipe: Recipe, parent: Checkpoint | None) -> dict[str, ChosenValue]:
    """See `Task.plan`.

    Raises:
        UserError: a setting of `augment` or `data` that a detection does not use has another value than its default, or the
            settings of the detector do not fit each other.
    """
    config = recipe.task
    assert isinstance(config, DetectionConfig)
    check_unused(recipe)
    fitting = ARCHITECTURES.get(recipe.name, (config.architecture,))
    if config.architecture not in fitting:
        raise UserError(
            f"The recipe '{recipe.name}' is for {' or '.join(fitting)}; received architecture='{config.architecture}'. Name a "
            f"model such as {fitting[0]}_resnet50 as `model`, or leave out `recipe`."
        )
    config.detector()
    _check_mask_head(config, parent)
    samples = [sample for sample in dataset.subset("train") or dataset.samples if sample.target is not None]
    check_masks(config, dataset.samples)
    sizes = np.array([image_size(sample) for sample in samples])  # (N, 2)
    side, reason = recipe.data.imgsz, ""
    values = {
        "data.resize": ChosenValue("fit", "the whole image is seen, at its aspect ratio"),
        "augment.crop": ChosenValue("none", "crops of detection are settings such as task.object_crop"),
    }
    if side is None:
        side, reason = _image_size(config, int(np.median(sizes.max(axis=1))))
        values["data.imgsz"] = ChosenValue(side, reason)
    if recipe.data.batch is None:
        each = max(min(16 if side <= SMALL_SIDE else 8, len(samples) // 4), 2)
        size = ranks.world_size()
        batch = max(each // size, 1) * size
        values["data.batch"] = ChosenValue(batch, f"usual for detection at {side} pixels")
    preprocess = Preprocess(size=(side, side), resize="fit", resize_to=config.shorter_side)
    boxes = torch.tensor(
        [
            [(x2 - x1) * scale[1], (y2 - y1) * scale[0]]
            for sample in samples
            for scale in [preprocess.placement(*image_size(sample)).scale]
            for each in learned_objects(sample)
            for x1, y1, x2, y2 in [each.box]
        ],
        dtype=torch.float64,
    ).reshape(-1, 2)
    anchors = _trained_anchors(config, parent)
    if not anchors and "task.anchor_sizes" not in RECIPE_VALUES.get(recipe.name, {}):
        anchors = _anchors(config, boxes, side)
    return values | _norms(recipe) | anchors | _limits(config, samples)


def _check_mask_head(config: DetectionConfig, parent: Checkpoint | None) -> None:
    """Raise UserError for channels of a mask head that a Faster R-CNN does not have; the names of detectors set some for both."""
    usual: set[object] = {each.mask_channels for each in PREFIXES.values()}
    usual |= {parent.config.get("mask_channels")} if parent is not None else set()
    if config.architecture == "fasterrcnn" and config.mask_channels not in usual:
        raise UserError(
            f"`task.mask_channels={config.mask_channels}` has no effect on architecture='fasterrcnn'. Leave it out."
        )


def check_masks(config: DetectionConfig, samples: Sequence[Sample]) -> None:
    """Raise UserError for objects without masks, which Mask R-CNN learns."""
    if config.architecture != "maskrcnn":
        return
    for sample in samples:
        if missing := 0 if sample.target is None else missing_masks(sample.target.objects):
            raise UserError(
                f"'{sample.path}' has {pluralize(missing, 'object')} without a mask. Mask R-CNN needs masks, "
                "`model=fasterrcnn_NAME` does not."
            )


def check_unused(recipe: Recipe) -> None:
    """Raise UserError for settings of the augmentation and resizing that have no effect on a detection."""
    unused_settings.check_unused(recipe, USED, RESIZES)


def _image_size(config: DetectionConfig, longer: int) -> tuple[int, str]:
    if longer >= config.usual_imgsz:
        return config.usual_imgsz, f"usual for {config.architecture}" + (
            " with a light neck" if config.is_light else ""
        )
    return max(math.ceil(longer / 32) * 32, 64), f"the longer side of the images is {longer}"


def _norms(recipe: Recipe) -> dict[str, ChosenValue]:
    """Norms that keep their statistics need those of weights, and inputs like those that they are of."""
    if recipe.freeze.norm == "train":
        return {}
    if recipe.model.weights != "none":
        return {"data.normalize": ChosenValue("weights", "the norms that are kept saw such inputs")}
    reason = "there are no weights"
    return {"freeze.norm": ChosenValue("train", reason), "freeze.layers": ChosenValue("none", reason)}


def _limits(config: DetectionConfig, samples: Sequence[Sample]) -> dict[str, ChosenValue]:
    """Limits under which all objects of the densest image can be found, and as many regions for each as usual."""
    most = max((len(learned_objects(sample)) for sample in samples), default=0)
    usual, needed = config.max_objects, 2 * most
    if usual != MAX_OBJECTS or needed <= usual:
        return {}
    found = {"task.max_objects": ChosenValue(needed, f"twice the {most} objects of the fullest image")}
    for key in ("candidates",) if config.architecture == "yolov3" else ("candidates", "proposals"):
        value = getattr(config, key)
        reason = f"the usual {value / usual:g} {key} for each of task.max_objects"
        found[f"task.{key}"] = ChosenValue(math.ceil(value * needed / usual), reason)
    return found


def _trained_anchors(config: DetectionConfig, parent: Checkpoint | None) -> dict[str, ChosenValue]:
    """The anchors of a detector whose heads are kept: they were trained with these. Nothing for other weights."""
    if parent is None or parent.task != config.name:
        return {}
    trained = detector_settings(parent)
    if any(getattr(trained, key) != getattr(config, key) for key in ("architecture", "layout", "neck_channels")):
        return {}
    reason = "the heads of the weights were trained with them"
    if config.architecture == "yolov3":
        anchors = trained.anchors or tuple(side for pair in COCO_ANCHORS for side in pair)
        return {"task.anchors": ChosenValue(anchors, reason)}
    return {f"task.{key}": ChosenValue(getattr(trained, key), reason) for key in ("anchor_sizes", "anchor_ratios")}


def _anchors(config: DetectionConfig, boxes: torch.Tensor, side: int) -> dict[str, ChosenValue]:
    """Anchors for boxes (n, 2), width and height in pixels of the input."""
    if not len(boxes):
        return {}
    if config.architecture == "yolov3":
        if config.anchors:
            return {}
        fit = fit_anchors(boxes, side)
        source = "k-means over the training boxes" if fit.from_boxes else "those of the paper"
        reason = f"{source}: mean best IoU {fit.mean_best_iou:.2f}, {fit.recall:.0%} of the boxes above 0.25"
        return {"task.anchors": ChosenValue(tuple(value for pair in fit.anchors for value in pair), reason)}
    if config.anchor_sizes != ANCHORS:
        return {}
    smallest = float(boxes.prod(1).sqrt().quantile(0.05))
    if smallest >= ANCHORS[0]:
        return {}
    first = max(round(smallest), MIN_ANCHOR)
    sizes = tuple(float(first * 2**level) for level in range(len(ANCHORS)))
    return {"task.anchor_sizes": ChosenValue(sizes, f"5 % of the objects are smaller than {smallest:.0f} pixels")}
