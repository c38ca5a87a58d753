"""What is worth a look after the first epochs of a training: classes that are never predicted, and small batches."""

from collections.abc import Mapping
from typing import Any

from resnets import ranks
from resnets.message_format import pluralize
from resnets.recipes.recipe import Recipe
from resnets.tasks.segmentation.plan import MIN_BATCH

MIN_MISSED = 3  # classes
MAX_LOSS_RATIO = 2  # of a validation, which sees images without augmentation, to the training


def epoch_remark(row: Mapping[str, Any], recipe: Recipe, num_classes: int) -> str:
    """A line about a row of `metrics.jsonl`, or ""."""
    missed = row.get("val/classes_missed", 0)
    if missed >= MIN_MISSED:
        return (
            f"{missed} of {num_classes} classes are in the validation images and predicted nowhere so far; if they are rare, "
            "`task.class_weights=median_frequency` or `task.loss=ohem+dice` may help"
        )
    batch = (recipe.data.batch or 1) // ranks.world_size()
    is_apart = row.get("val/loss", 0.0) > MAX_LOSS_RATIO * row["train/loss"]
    if is_apart and batch < MIN_BATCH and recipe.freeze.norm == "train":
        return (
            f"the validation loss is more than {MAX_LOSS_RATIO} times the training loss, and a batch of "
            f"{pluralize(batch, 'image')} has no good statistics for batch norm; a larger `batch`, or `freeze.norm=eval` with "
            "weights, may help"
        )
    return ""
