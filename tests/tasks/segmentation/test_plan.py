"""Values that images and masks decide."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.mask_datasets.image_mask import ImageMask
from resnets.data.mask_datasets.mask_classes import MaskClasses
from resnets.errors import UserError
from resnets.models import zoo
from resnets.recipes.recipe import Augment, Data, Model, Recipe, Stop
from resnets.tasks.segmentation.config import SegmentationConfig, model_settings
from resnets.tasks.segmentation.plan import plan
from resnets.tasks.segmentation.task import Segmentation

CLASSES = MaskClasses(
    ("road", "pole", "sky"), ((7,), (17, 18), (23,)), ((128, 64, 128), (153, 153, 153), (70, 130, 180))
)


def dataset(size: tuple[int, int], count: int = 40, classes: MaskClasses = CLASSES) -> Dataset:
    samples = [
        Sample(f"{number}.png", ("road", "sky"), "train", target=ImageMask(classes, size, "mask.png"))
        for number in range(count)
    ]
    return Dataset(Path(), samples, ("road", "sky"), listed_classes=classes.names)


def planned(images: Dataset, config: SegmentationConfig = SegmentationConfig(), **sections: Any) -> dict[str, Any]:
    return {key: chosen.value for key, chosen in plan(images, Recipe(task=config, **sections)).items()}


def test_small_images_keep_their_size() -> None:
    values = planned(dataset((360, 480)))
    assert (values["data.resize"], values["task.crop"], values["data.imgsz"]) == ("none", (192, 192), 192)
    assert values["data.batch"] == 4
    tiny = planned(dataset((50, 70)))
    assert (tiny["data.resize"], tiny["task.crop"], tiny["data.imgsz"]) == ("none", (64, 96), 96)
    assert tiny["data.batch"] == 10


def test_large_images_and_a_given_size_are_fitted() -> None:
    values = planned(dataset((3000, 4000)))
    assert (values["data.resize"], values["data.imgsz"], values["task.crop"]) == ("fit", 512, (192, 192))
    given = planned(dataset((3000, 4000)), data=Data(imgsz=240))
    assert (given["data.resize"], given["task.crop"]) == ("fit", (192, 192))
    assert "data.imgsz" not in given
    own = planned(dataset((3000, 4000)), data=Data(resize="none"))
    assert (own["task.crop"], own["data.imgsz"]) == ((192, 192), 192)
    assert "data.resize" not in own
    cropped = planned(dataset((360, 480)), SegmentationConfig(crop=(320, 400)))
    assert cropped["data.imgsz"] == 400
    assert "task.crop" not in cropped


@pytest.mark.parametrize(("count", "epochs"), [(8, 200), (160, 180), (400, 72), (4000, 40)])
def test_a_training_from_random_weights_takes_enough_steps(count: int, epochs: int) -> None:
    images = dataset((360, 480), count)
    assert planned(images)["stop.epochs"] == epochs
    assert "stop.epochs" not in planned(images, stop=Stop(steps=10))
    assert "stop.epochs" not in planned(images, model=Model(weights="w.safetensors"))


def test_predictions_have_the_values_and_colors_of_the_classes_that_occur() -> None:
    values = planned(dataset((64, 64)))
    assert values["task.output_values"] == (7, 23)
    assert values["task.output_colors"] == (128, 64, 128, 70, 130, 180)
    colored = planned(dataset((64, 64), classes=replace(CLASSES, color_coded=True)))
    assert "task.output_values" not in colored


def test_a_small_batch_keeps_the_statistics_of_weights() -> None:
    model = Model(weights="w.safetensors")
    assert planned(dataset((64, 64)), data=Data(batch=2), model=model)["freeze.norm"] == "eval"
    assert "freeze.norm" not in planned(dataset((64, 64)), data=Data(batch=4), model=model)
    assert "freeze.norm" not in planned(dataset((64, 64)), data=Data(batch=2))
    few = planned(dataset((64, 64), count=8), model=model)
    assert (few["data.batch"], few["freeze.norm"]) == (2, "eval")


def test_settings_without_an_effect_are_refused() -> None:
    with pytest.raises(UserError, match=r"`augment.erase=0.5` has no effect on the task segmentation"):
        planned(dataset((64, 64)), augment=Augment(erase=0.5))
    with pytest.raises(UserError, match="it uses 'fit' or 'none'"):
        planned(dataset((64, 64)), data=Data(resize="stretch"))
    with pytest.raises(UserError, match=r"^task\.output_stride is a power of two; received 6"):
        planned(dataset((64, 64)), SegmentationConfig(output_stride=6))
    with pytest.raises(
        UserError,
        match=r"^task\.dilation='all' has no effect without task\.output_stride; .* give task\.output_stride=8",
    ):
        planned(dataset((64, 64)), SegmentationConfig(dilation="all"))
    with pytest.raises(UserError, match=r"^task\.map_norm has no effect on task\.architecture='light'; received True"):
        planned(dataset((64, 64)), SegmentationConfig(map_norm=True))
    with pytest.raises(UserError, match=r"can have a stride of .*; received task\.output_stride=2"):
        Segmentation(("a", "b"), SegmentationConfig(output_stride=2)).build(zoo.get_spec("resnet18"))
    with pytest.raises(UserError, match=r"`task.crop` is a height and a width, such as 256,320; received \(64,\)"):
        planned(dataset((64, 64)), SegmentationConfig(crop=(64,)))
    with pytest.raises(UserError, match="the least and the largest factor"):
        planned(dataset((64, 64)), SegmentationConfig(scale_jitter=(2.0, 0.5)))
    with pytest.raises(UserError, match=r"`task.class_weight_values` has 3 numbers; 2 classes need 2"):
        planned(dataset((64, 64)), SegmentationConfig(class_weight_values=(1.0, 2.0, 3.0)))
    with pytest.raises(UserError, match=r"`task.loss` is one of ce"):
        SegmentationConfig(loss="cross_entropy")


def test_a_name_decides_the_settings_of_the_segmenter() -> None:
    chosen = {key: value for key, (value, _) in model_settings("deeplabv3_resnet18", None).items()}
    assert chosen["task.architecture"] == "deeplabv3"
    assert chosen["task.output_stride"] == 8
    assert chosen["model.name"] == "deeplabv3_resnet18"
    assert model_settings("resnet18", None)["model.name"].value == "light_resnet18"
