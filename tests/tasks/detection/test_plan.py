"""Values that images and objects decide."""

from dataclasses import replace
from pathlib import Path

import pytest

from resnets.data.datasets.dataset import Dataset
from resnets.data.image.preprocess import Preprocess
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.detection import zoo as detectors
from resnets.models.detection.yolo.anchors import COCO_ANCHORS
from resnets.recipes.recipe import Augment, Data, Recipe
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.plan import plan
from resnets.weights.checkpoint import Checkpoint

LIGHT = DetectionConfig(neck_channels=96)


def dataset(size: tuple[int, int], side: float, count: int = 40) -> Dataset:
    objects = (Object("cat", (2.0, 3.0, 2.0 + side, 3.0 + side)),)
    samples = [make_sample(f"{k}.png", ImageObjects(objects, size), split="train") for k in range(count)]
    return Dataset(Path(), samples, ("cat",))


def planned(
    data: Dataset, config: DetectionConfig = LIGHT, recipe: Recipe = Recipe(), parent: Checkpoint | None = None
) -> dict:
    return {key: chosen.value for key, chosen in plan(data, replace(recipe, task=config), parent).items()}


def weights(config: DetectionConfig) -> Checkpoint:
    values = {key: value for key, value in vars(config).items() if key != "name"}
    return Checkpoint(zoo.get_spec("tiny"), Preprocess(), ("cat",), {}, task="detection", config=values)


def test_channels_of_a_mask_head_that_there_is_not_are_refused() -> None:
    with pytest.raises(UserError, match=r"`task.mask_channels=64` has no effect on architecture='fasterrcnn'"):
        planned(dataset((60, 90), 12.0), replace(LIGHT, mask_channels=64))
    stored = replace(LIGHT, mask_channels=64)
    assert planned(dataset((60, 90), 12.0), stored, parent=weights(stored))["data.imgsz"] == 96
    assert planned(dataset((60, 90), 12.0), replace(LIGHT, mask_channels=96))["data.imgsz"] == 96


def test_small_images_keep_their_size_and_get_small_anchors() -> None:
    values = planned(dataset((60, 90), 12.0))
    assert (values["data.imgsz"], values["data.batch"], values["data.resize"]) == (96, 10, "fit")
    assert values["task.anchor_sizes"] == (13.0, 26.0, 52.0, 104.0, 208.0)


@pytest.mark.parametrize(
    ("config", "side"),
    [
        (LIGHT, 320),
        (DetectionConfig(), 640),
        (DetectionConfig(architecture="yolov3", neck_channels=512), 416),
        (DetectionConfig(architecture="yolov3", neck_channels=256), 320),
    ],
)
def test_large_images_get_the_usual_size(config: DetectionConfig, side: int) -> None:
    values = planned(dataset((3000, 4000), 800.0), config)
    assert (values["data.imgsz"], values["data.batch"]) == (side, 8)
    assert "task.anchor_sizes" not in values


def test_given_values_are_used() -> None:
    recipe = Recipe(data=Data(imgsz=640, batch=3))
    values = planned(dataset((480, 640), 20.0), replace(LIGHT, anchor_sizes=(8.0, 16.0, 32.0, 64.0, 128.0)), recipe)
    assert not {"data.imgsz", "data.batch", "task.anchor_sizes"} & values.keys()


def test_the_anchors_of_yolov3_fit_the_boxes() -> None:
    values = planned(dataset((416, 416), 40.0), DetectionConfig(architecture="yolov3", neck_channels=512))
    anchors = values["task.anchors"]
    assert len(anchors) == 18
    assert min(abs(value - 40) for value in anchors) < 1


@pytest.mark.parametrize("sizes", [LIGHT.anchor_sizes, (10.0, 20.0, 40.0, 80.0, 160.0)])
def test_heads_that_are_kept_keep_their_anchors(sizes: tuple[float, ...]) -> None:
    """Also the default ones, where small objects would get smaller anchors without the weights."""
    small, parent = dataset((60, 90), 12.0), weights(replace(LIGHT, anchor_sizes=sizes))
    assert planned(small, parent=parent)["task.anchor_sizes"] == sizes
    for other in (replace(LIGHT, neck_channels=64), DetectionConfig(architecture="yolov3", neck_channels=96)):
        assert planned(small, LIGHT, parent=weights(other))["task.anchor_sizes"][0] == 13


def test_heads_of_yolov3_keep_its_own_anchors_or_those_of_the_paper() -> None:
    small, config = dataset((60, 90), 12.0), DetectionConfig(architecture="yolov3")
    of_paper = tuple(side for pair in COCO_ANCHORS for side in pair)
    assert planned(small, config)["task.anchors"] != of_paper
    assert planned(small, config, parent=weights(config))["task.anchors"] == of_paper
    own = tuple(float(side) for side in range(5, 23))
    assert planned(small, config, parent=weights(replace(config, anchors=own)))["task.anchors"] == own


def test_all_objects_of_a_full_image_can_be_found() -> None:
    objects = tuple(Object("cat", (float(x), 0.0, x + 9.0, 9.0), crowd=x >= 480) for x in range(0, 640, 6))
    samples = [
        make_sample("a.png", ImageObjects(objects[:20], (480, 640)), split="train"),
        make_sample("b.png", ImageObjects(objects, (480, 640)), split="train"),
        make_sample("c.png", ImageObjects(objects * 2, (480, 640)), split="val"),
    ]
    full = Dataset(Path(), samples, ("cat",))
    light = DetectionConfig(**(vars(detectors.get("fasterrcnn_light_tiny")[0])))
    keys = ("task.max_objects", "task.candidates", "task.proposals")
    found = planned(full, light)
    assert [found[key] for key in keys] == [160, 480, 480]  # 80 objects are no crowds
    found = planned(full, DetectionConfig(architecture="yolov3"))
    assert [found.get(key) for key in keys] == [160, 1600, None]
    assert not set(keys) & planned(full, replace(light, max_objects=101)).keys()
    assert not set(keys) & planned(replace(full, samples=samples[:1]), light).keys()


def test_settings_without_an_effect_are_refused() -> None:
    for recipe, key in (
        (Recipe(augment=Augment(erase=0.1)), "augment.erase"),
        (Recipe(augment=Augment(mixup_alpha=0.2)), "augment.mixup_alpha"),
        (Recipe(augment=Augment(crop="pad")), "augment.crop"),
        (Recipe(data=Data(resize="stretch")), "data.resize"),
    ):
        with pytest.raises(UserError, match=key):
            planned(dataset((60, 90), 12.0), LIGHT, recipe)


def test_settings_of_another_detector_are_refused() -> None:
    with pytest.raises(UserError, match=r"task\.box_loss has no effect on task\.architecture='fasterrcnn'"):
        planned(dataset((60, 90), 12.0), replace(LIGHT, box_loss="giou"))


def test_mask_rcnn_needs_masks() -> None:
    with pytest.raises(UserError, match="1 object without a mask"):
        planned(dataset((60, 90), 12.0), DetectionConfig(architecture="maskrcnn"))


def test_mask_rcnn_needs_the_masks_of_all_splits() -> None:
    """Those of val decide the epoch."""
    no_objects = make_sample("a.png", ImageObjects((), (60, 90)), split="train")
    no_mask = make_sample("b.png", ImageObjects((Object("cat", (2.0, 3.0, 9.0, 9.0)),), (60, 90)), split="val")
    with pytest.raises(UserError, match=r"'b.png' has 1 object without a mask"):
        planned(Dataset(Path(), [no_objects, no_mask], ("cat",)), DetectionConfig(architecture="maskrcnn"))
