"""The settings of a segmentation: those of the segmenter, of its training, and of the masks; and which of them a name decides."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from resnets.check_settings import named_as_in_recipe
from resnets.models.segmentation import zoo
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.recipes.recipe import TaskConfig, choice, number
from resnets.tasks.base import ChosenValue
from resnets.tasks.segmentation.training import losses
from resnets.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class SegmentationConfig(SegmenterSettings, TaskConfig):
    """The `[task]` table: the fields of `SegmenterSettings`, and these.

    Attributes:
        loss: terms of `losses.LOSSES`, joined by "+".
        aux_weight: of the loss of the second head, if there is one.
        class_weights: of the terms that are means over pixels, counted in the training masks: "median_frequency" divides the
            median of the frequencies by that of the class, "sqrt_median_frequency" takes the root of that, "enet" is
            1 / log(1.02 + frequency).
        class_weight_values: the weight of each class; () for none.
        crop: height and width of what a training sees of an image, in pixels of the input; () until it is chosen.
        scale_jitter: least and largest factor of the size of a training image.
        crop_max_class_fraction: a crop in which one class has a larger part of the labeled pixels is drawn again, up to ten
            times.
        mask_values: what the values of masks mean, each as VALUE=NAME, in place of what the data say.
        mask_value_tolerance: a value, or each part of a color, may differ by this much from a known one.
        output_values: for each class, the number in the files of masks, by which predictions are written for a server.
        output_colors: of the classes, as red, green, blue, red, green and so on; () for colors of our own.
    """

    name: str = "segmentation"
    loss: str = "ce+dice"
    aux_weight: float = number(0.4, low=0)
    class_weights: str = choice("none", "none", "median_frequency", "sqrt_median_frequency", "enet")
    class_weight_values: tuple[float, ...] = number((), low=0)
    crop: tuple[int, ...] = number((), low=1)
    scale_jitter: tuple[float, float] = number((0.5, 1.5), above=0)
    crop_max_class_fraction: float = number(0.75, above=0, high=1)
    mask_values: tuple[str, ...] = ()
    mask_value_tolerance: int = number(0, low=0, high=255)
    output_values: tuple[int, ...] = number((), low=0)
    output_colors: tuple[int, ...] = number((), low=0, high=255)

    def __post_init__(self) -> None:
        TaskConfig.__post_init__(self)
        self.check_values()  # not together: a recipe is made of one value after the other
        losses.parse(self.loss)

    def segmenter(self) -> SegmenterSettings:
        """The settings of the segmenter; raises UserError where they do not fit each other."""
        fields = dataclasses.fields(SegmenterSettings)
        with named_as_in_recipe(SegmenterSettings):
            return SegmenterSettings(**{field.name: getattr(self, field.name) for field in fields})


def model_settings(model: str, parent: Checkpoint | None) -> dict[str, ChosenValue]:
    """See `Task.model_settings`: those of the named segmenter, else of that of the weights, else of a light one."""
    default = vars(SegmentationConfig())
    of_model = {field.name for field in dataclasses.fields(SegmenterSettings)}
    values, reason = dict[str, Any](), f"as {model} has it"
    named = zoo.is_segmenter(model)
    if named:
        values = vars(zoo.get(model)[0])
    elif parent is not None and parent.task == default["name"]:
        values, reason = dict(parent.config), "as the weights have it"
    else:
        model, named = f"light_{model}", True
        values = vars(zoo.get(model)[0])
        reason = "a light segmenter, since none is named"
    chosen = {
        f"task.{key}": ChosenValue(each, reason)
        for key, each in values.items()
        if key in of_model and each != default[key]
    }
    return chosen | ({"model.name": ChosenValue(model, reason)} if named else {})
