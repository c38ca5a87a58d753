"""The settings of a detection: those of the detector, and those of its training; and which of them a name decides."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from resnets.check_settings import named_as_in_recipe
from resnets.models.detection import zoo
from resnets.models.detection.settings import DetectorSettings
from resnets.recipes.recipe import TaskConfig, number
from resnets.tasks.base import ChosenValue
from resnets.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class DetectionConfig(DetectorSettings, TaskConfig):
    """The `[task]` table: the fields of `DetectorSettings`, and these.

    Attributes:
        shorter_side: the largest shorter side of an image, in pixels; that of the longer one is `data.imgsz`. None: no limit.
        scale_jitter: least and largest factor of the size of a training image; what exceeds `data.imgsz` is cropped.
        zoom_out: probability that a training image is placed on a background of up to twice its sides.
        object_crop: probability of a crop in which the objects keep a minimal IoU with their boxes (Liu et al. 2016, SSD).
        mosaic: probability that a training image is made of four (Bochkovskiy et al. 2020); none in the last 15 % of the steps.
        multiscale: whether all training images get another size every ten steps, between 10/13 and 19/13 of `data.imgsz` in
            steps of 32 pixels (Redmon and Farhadi 2017).
    """

    name: str = "detection"
    shorter_side: int | None = number(None, low=1)
    scale_jitter: tuple[float, float] = number((0.75, 1.33), above=0)
    zoom_out: float = number(0.2, low=0, high=1)
    object_crop: float = number(0.3, low=0, high=1)
    mosaic: float = number(0.0, low=0, high=1)
    multiscale: bool = False

    def __post_init__(self) -> None:
        TaskConfig.__post_init__(self)
        self.check_values()  # not together: a recipe is made of one value after the other

    def detector(self) -> DetectorSettings:
        """The settings of the detector; raises UserError where they do not fit each other."""
        fields = dataclasses.fields(DetectorSettings)
        with named_as_in_recipe(DetectorSettings):
            return DetectorSettings(**{field.name: getattr(self, field.name) for field in fields})


def model_settings(model: str, parent: Checkpoint | None) -> dict[str, ChosenValue]:
    """See `Task.model_settings`: those of the named detector, else of the detector of the weights, else of a light one."""
    default = vars(DetectionConfig())
    values, reason = dict[str, Any](), f"as {model} has it"
    if zoo.is_detector(model):
        values = vars(zoo.get(model)[0])
    elif parent is not None and parent.task == default["name"]:
        values, reason = dict(parent.config), "as the weights have it"
    else:
        model = f"fasterrcnn_light_{model}"
        values = {"name": model, **vars(zoo.get(model)[0])}
        reason = "a light detector, since none is named"
    chosen = {
        f"task.{key}": ChosenValue(each, reason)
        for key, each in values.items()
        if key in default and key != "name" and (each != default[key] or key == "layout")  # a recipe may have another
    }
    return chosen | ({"model.name": ChosenValue(model, reason)} if "name" in values else {})
