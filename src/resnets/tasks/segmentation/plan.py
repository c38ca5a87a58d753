"""Values of a recipe that the images and their masks decide."""

import math
from collections.abc import Sequence

import numpy as np

from resnets import ranks
from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.image.preprocess import Preprocess
from resnets.data.mask_datasets.mask_classes import MaskClasses
from resnets.errors import UserError
from resnets.message_format import pluralize
from resnets.recipes.recipe import Recipe
from resnets.tasks.base import ChosenValue
from resnets.tasks.inputs import unused_settings
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.training.class_weights import class_weights
from resnets.tasks.segmentation.training.targets import count_class_pixels

USED = ("flip", "jitter")  # of `augment`
RESIZES = ("shorter", "fit", "none")  # the default of `data.resize`, and what it may be
OWN_SIZE = 640  # pixels of the longer side up to which images are not resized
USUAL_IMGSZ = 512
USUAL_CROP = 192
USUAL_BATCH = 4
BATCH_OF_SMALL = 16
MIN_STEPS = 7200  # of a training from random weights
EPOCHS = (40, 200)  # the least and the most
SMALL_SIDE = 160  # pixels; up to here a batch of 16 takes little memory
MIN_BATCH = 4  # of a process, for statistics of batch norm
ALIGNMENT = 32  # pixels: the stride of the deepest map of a backbone


def plan(dataset: Dataset, recipe: Recipe) -> dict[str, ChosenValue]:
    """See `Task.plan`.

    Raises:
        UserError: a setting of `augment` or `data` that a segmentation does not use has another value than its default, or the
            settings of the segmenter do not fit each other.
    """
    config = recipe.task
    assert isinstance(config, SegmentationConfig)
    check_unused(recipe)
    config.segmenter()
    if len(config.crop) not in (0, 2):
        raise UserError(f"`task.crop` is a height and a width, such as 256,320; received {config.crop}.")
    if config.scale_jitter[0] > config.scale_jitter[1]:
        raise UserError(f"`task.scale_jitter` is the least and the largest factor; received {config.scale_jitter}.")
    _check_lengths(config, len(dataset.class_names))
    samples = dataset.subset("train") or dataset.samples
    sizes = np.array([sample.target.size for sample in samples])  # (N, 2)
    values = {"augment.crop": ChosenValue("none", "crops of segmentation are settings such as task.crop")}
    height, width = (int(np.median(side)) for side in sizes.T)
    resize, side = recipe.data.resize, recipe.data.imgsz
    if resize == "shorter":
        resize, reason = "none", f"images of {width}x{height} keep their size"
        if side is not None or max(height, width) > OWN_SIZE:
            resize, reason = "fit", "the whole image is seen, at its aspect ratio"
        values["data.resize"] = ChosenValue(resize, reason)
    if resize == "fit":
        if side is None:
            side = min(USUAL_IMGSZ, max(height, width))
            values["data.imgsz"] = ChosenValue(side, f"usual for segmentation; the images have {width}x{height}")
        height, width = Preprocess(size=(side, side), resize="fit", resize_to=None).placement(height, width).size
    crop = config.crop or tuple(_crop_side(each) for each in (height, width))
    if not config.crop:
        values["task.crop"] = ChosenValue(crop, f"up to {USUAL_CROP} pixels of the {width}x{height}")
    if side is None:
        values["data.imgsz"] = ChosenValue(max(crop), "the size of training crops; images keep theirs")
    batch = recipe.data.batch
    if batch is None:
        each = max(min(BATCH_OF_SMALL if max(crop) <= SMALL_SIDE else USUAL_BATCH, len(samples) // 4), 2)
        size = ranks.world_size()
        batch = max(each // size, 1) * size
        values["data.batch"] = ChosenValue(batch, f"usual for crops of {max(crop)} pixels")
    return (
        values
        | _epochs(recipe, len(samples), batch)
        | _norms(recipe, batch)
        | _weights(config, samples, dataset.class_names)
        | _outputs(samples, dataset.class_names)
    )


def check_unused(recipe: Recipe) -> None:
    """Raise UserError for settings of the augmentation and resizing that have no effect on a segmentation."""
    unused_settings.check_unused(recipe, USED, RESIZES)


def _check_lengths(config: SegmentationConfig, num_classes: int) -> None:
    """Raise UserError for given values that are not as many as the classes."""
    for key, each in (("class_weight_values", 1), ("output_values", 1), ("output_colors", 3)):
        count = len(getattr(config, key))
        if count not in (0, each * num_classes):
            raise UserError(f"`task.{key}` has {count} numbers; {num_classes} classes need {each * num_classes}.")


def _crop_side(side: int) -> int:
    return min(math.ceil(side / ALIGNMENT) * ALIGNMENT, USUAL_CROP)


def _epochs(recipe: Recipe, count: int, batch: int) -> dict[str, ChosenValue]:
    """Enough steps where there are few images; weights need fewer."""
    if recipe.model.weights != "none" or recipe.stop.steps is not None:
        return {}
    least, most = EPOCHS
    epochs = min(max(math.ceil(MIN_STEPS / max(count // batch, 1)), least), most)
    return {"stop.epochs": ChosenValue(epochs, f"from random weights, of {pluralize(count, 'image')}")}


def _norms(recipe: Recipe, batch: int) -> dict[str, ChosenValue]:
    """Few images have no good statistics, and those of weights are better (Chen et al. 2018)."""
    if recipe.model.weights == "none" or batch // ranks.world_size() >= MIN_BATCH:
        return {}
    return {"freeze.norm": ChosenValue("eval", f"a batch of {batch} has no good statistics, and the weights have some")}


def _weights(config: SegmentationConfig, samples: Sequence[Sample], names: Sequence[str]) -> dict[str, ChosenValue]:
    if config.class_weights == "none" or config.class_weight_values:
        return {}
    found = class_weights(config.class_weights, count_class_pixels(samples, names))
    values = tuple(float(f"{value:.4g}") for value in found)
    return {"task.class_weight_values": ChosenValue(values, f"{config.class_weights}, from the training masks")}


def _outputs(samples: Sequence[Sample], names: Sequence[str]) -> dict[str, ChosenValue]:
    """The number and the color of each class in the files, in which predictions are written."""
    classes: MaskClasses = samples[0].target.classes
    indices = [classes.names.index(name) for name in names]
    reason = "predicted masks have the values and colors of the masks"
    values: dict[str, ChosenValue] = {}
    if not classes.color_coded:
        numbers = tuple(classes.written_values[index] for index in indices)
        values["task.output_values"] = ChosenValue(numbers, reason)
    if classes.colors:
        colors = tuple(part for index in indices for part in classes.colors[index])
        values["task.output_colors"] = ChosenValue(colors, reason)
    return values
