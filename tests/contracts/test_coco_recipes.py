"""The recipes for COCO on a folder of exactly COCO's layout, and their values as the sources have them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.tasks.detection.task import Detection
from resnets.training import loop
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.optimization.lr_schedule import build_curve
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import PreparedRun, prepare_run
from resnets.training.state import TrainState
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

CATEGORIES = {1: "person", 13: "stop sign", 90: "toothbrush"}  # with the gaps in their numbers
COLORS = {1: (220, 60, 50), 13: (60, 200, 70), 90: (70, 80, 230)}


def write_split(folder: Path, split: str, count: int, rng: np.random.Generator) -> None:
    (folder / split).mkdir(parents=True)
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for index in range(count):
        height, width = ((48, 64), (64, 48), (60, 64))[index % 3]
        pixels = rng.normal(120, 10, (height, width, 3))
        name = f"{581000 + 7 * index:012d}.jpg"
        images.append(
            {"license": 4, "file_name": name, "coco_url": f"http://images.cocodataset.org/{split}/{name}", "height": height,
             "width": width, "date_captured": "2013-11-14 17:02:52", "flickr_url": "", "id": 581000 + 7 * index}
        )  # fmt: skip
        for number in range(index % 4):  # every fourth image has no object
            category, side = list(CATEGORIES)[(index + number) % 3], int(rng.integers(14, 26))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            pixels[y : y + side, x : x + side] = COLORS[category]
            corners: Any = [[x, y, x + side, y, x + side, y + side, x, y + side]]
            crowd = number == 2
            if crowd:
                corners = {"counts": [y, side, height * width - y - side], "size": [height, width]}
            objects.append(
                {"segmentation": corners, "area": float(side * side), "iscrowd": int(crowd), "image_id": 581000 + 7 * index,
                 "bbox": [float(x), float(y), float(side), float(side)], "category_id": category, "id": 1768 + len(objects)}
            )  # fmt: skip
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / split / name, quality=95)
    content = {
        "info": {"description": "COCO 2017 Dataset", "version": "1.0", "year": 2017},
        "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution License"}],
        "images": images,
        "annotations": objects,
        "categories": [{"supercategory": "any", "id": key, "name": name} for key, name in CATEGORIES.items()],
    }
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("coco"), np.random.default_rng(0)
    write_split(folder, "train2017", 20, rng)
    write_split(folder, "val2017", 4, rng)
    return folder


def weights_of(network: str, path: Path, **changes: Any) -> str:
    """Random weights of a classifier whose input is that of Caffe."""
    torch.manual_seed(0)
    spec = zoo.get_spec(network, num_classes=2, **changes)
    checkpoints.save(path, Checkpoint(spec, Preprocess.caffe(64), ("a", "b"), build(spec).state_dict()))
    return str(path)


def prepared(coco: Path, recipe: str, model: str | None, weights: str, *overrides: str, **given: Any) -> PreparedRun:
    return prepare_run(*build_recipe(str(coco), model, weights, recipe, {"workers": 0, **given}, overrides))


def run_10_steps(
    coco: Path, out: Path, recipe: str, model: str, weights: str, overrides: Sequence[str], batch: int = 4
) -> PreparedRun:
    """10 steps and the validations between them; what the run was made of."""
    values = ["stop.steps=10", "speed.threads=1", *overrides]
    run = prepared(coco, recipe, model, weights, *values, imgsz=64, batch=batch, device="cpu", precision="fp32")
    context = build_context(run)
    state = loop.run(context, TrainState(), run_dir.create_run_dir(out, "run"))
    assert state.total_step == 10
    assert len(state.rows) == 10 * batch // 20
    assert all(math.isfinite(row[name]) for row in state.rows for name in ("train/loss", "val/loss", "val/box_ap"))
    saved = checkpoints.read(out / "run" / "weights" / "last.safetensors", task=None)
    assert (saved.task, saved.class_names) == ("detection", tuple(sorted(CATEGORIES.values())))
    return run


def test_the_recipe_of_2015_runs(coco: Path, tmp_path: Path) -> None:
    narrow = {"stem_channels": 16, "out_channels": (16, 24, 32, 48)}
    weights = weights_of("resnet18", tmp_path / "resnet18.safetensors", **narrow)
    small = ("task.pool_size=2", "task.proposal_samples=8", "task.train_proposals=20", "task.proposals=8")
    run = run_10_steps(coco, tmp_path, "he2015_coco", "resnet18", weights, small, batch=2)
    assert (run.recipe.model.name, run.recipe.task.layout) == ("fasterrcnn_c4_resnet18", "c4")  # type: ignore[attr-defined]
    assert (run.recipe.freeze.norm, run.recipe.data.normalize) == ("frozen", "weights")
    before = checkpoints.read(weights).tensors
    after = checkpoints.read(tmp_path / "run" / "weights" / "last.safetensors", task=None)
    assert after.preprocess.mean == Preprocess.caffe().mean
    norms = [name for name in before if "norm" in name and not name.startswith("head.")]
    assert len(norms) >= 80
    assert all(torch.equal(before[name], after.tensors[f"backbone.{name}"]) for name in norms)
    assert not torch.equal(before["stem.conv.weight"], after.tensors["backbone.stem.conv.weight"])


@pytest.mark.parametrize("has_weights", [True, False])
def test_the_recipe_of_torchvision_runs(coco: Path, tmp_path: Path, has_weights: bool) -> None:
    weights = weights_of("tiny", tmp_path / "tiny.safetensors") if has_weights else "none"
    small = ("task.neck_channels=16", "task.box_head_dim=32", "task.train_proposals=40", "task.proposals=16")
    run = run_10_steps(coco, tmp_path, "coco_fasterrcnn", "tiny", weights, small)
    assert run.recipe.model.name == "fasterrcnn_tiny"
    assert run.recipe.optim.lr == pytest.approx(0.02 * 4 / 16)
    frozen = ("1", "frozen", "weights") if has_weights else ("none", "train", "imagenet")
    assert (run.recipe.freeze.layers, run.recipe.freeze.norm, run.recipe.data.normalize) == frozen


def test_the_recipe_of_darknet_runs(coco: Path, tmp_path: Path) -> None:
    small = ("task.neck_channels=32", "optim.accumulate=2")
    run = run_10_steps(coco, tmp_path, "yolov3_coco", "tiny", "none", small)
    assert (run.recipe.model.name, run.recipe.task.multiscale) == ("yolov3_tiny", True)  # type: ignore[attr-defined]


def test_the_values_of_2015(coco: Path) -> None:
    recipe = prepared(coco, "he2015_coco", None, "none").recipe
    assert recipe.model.name == "fasterrcnn_c4_resnet101_v1"
    task = vars(recipe.task)
    assert task["anchor_sizes"] == (64, 128, 256, 512)
    assert (task["shorter_side"], recipe.data.imgsz, task["proposals"], task["nms_iou"]) == (600, 1000, 300, 0.3)
    assert (task["zoom_out"], task["object_crop"], task["scale_jitter"], task["mosaic"]) == (0, 0, (1, 1), 0)
    assert (recipe.optim.name, recipe.optim.momentum, recipe.optim.weight_decay) == ("sgd", 0.9, 5e-4)
    rates = rates_of(recipe, (0, 239_999, 240_000, 319_999), total=320_000, steps_per_epoch=5000)
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert (recipe.stop.steps, recipe.data.batch, recipe.augment.flip, recipe.augment.jitter) == (320_000, 16, 0.5, 0)


def test_another_layout_than_that_of_2015_is_refused(coco: Path) -> None:
    with pytest.raises(UserError, match="anchor_sizes has five values"):
        prepared(coco, "he2015_coco", "fasterrcnn_resnet50", "none")


@pytest.mark.parametrize(
    ("recipe", "model", "meant"),
    [("he2015_coco", "yolov3_resnet50", "fasterrcnn"), ("yolov3_coco", "fasterrcnn_resnet50", "yolov3")],
)
def test_another_detector_than_that_of_a_recipe_is_refused(recipe: str, model: str, meant: str, coco: Path) -> None:
    with pytest.raises(UserError, match=rf"The recipe '{recipe}' is for {meant}; received architecture="):
        prepared(coco, recipe, model, "none")


def test_the_values_of_torchvision(coco: Path) -> None:
    recipe = prepared(coco, "coco_fasterrcnn", None, "none").recipe
    assert recipe.model.name == "fasterrcnn_resnet50"
    task = vars(recipe.task)
    assert task["anchor_sizes"] == (32, 64, 128, 256, 512)
    assert (task["shorter_side"], recipe.data.imgsz, task["train_proposals"], task["proposals"]) == (
        800,
        1333,
        2000,
        1000,
    )
    assert (task["zoom_out"], task["object_crop"], task["scale_jitter"], task["mosaic"]) == (0, 0, (1, 1), 0)
    assert (recipe.optim.momentum, recipe.optim.weight_decay, recipe.data.batch) == (0.9, 1e-4, 16)
    steps = (0, 500, 1000, 16 * 7329 - 1, 16 * 7329, 22 * 7329)
    rates = rates_of(recipe, steps, total=26 * 7329, steps_per_epoch=7329)
    assert rates == pytest.approx([2e-5, 0.02 * 0.5005, 0.02, 0.02, 0.002, 0.0002])
    assert (recipe.stop.epochs, recipe.augment.flip, recipe.augment.jitter) == (26, 0.5, 0)
    masks = prepared(coco, "coco_fasterrcnn", "maskrcnn_resnet50", "none").recipe
    assert (masks.model.name, vars(masks.task)["architecture"]) == ("maskrcnn_resnet50", "maskrcnn")


def test_the_values_of_darknet(coco: Path) -> None:
    recipe = prepared(coco, "yolov3_coco", None, "none").recipe
    assert recipe.model.name == "yolov3_resnet50"
    task = vars(recipe.task)
    assert task["anchors"] == (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
    assert (task["multiscale"], recipe.data.imgsz, task["ignore_iou"], task["box_loss"]) == (True, 416, 0.7, "paper")
    assert (recipe.data.batch, recipe.optim.accumulate, recipe.optim.weight_decay) == (64, 16, 5e-4)
    assert not recipe.optim.decay_norm_and_bias
    steps = (0, 100, 500, 1000, 399_999, 400_000, 450_000)
    rates = rates_of(recipe, steps, total=500_200, steps_per_epoch=1832)
    assert rates == pytest.approx([0, 1e-7, 6.25e-5, 1e-3, 1e-3, 1e-4, 1e-5])


def rates_of(recipe: Any, steps: Sequence[int], *, total: int, steps_per_epoch: int) -> list[float]:
    curve = build_curve(recipe.schedule, total_steps=total, steps_per_epoch=steps_per_epoch)
    return [recipe.optim.lr * curve(step) for step in steps]


def test_recipes_that_are_not_for_coco_choose_anchors_from_the_objects(coco: Path) -> None:
    task = vars(prepared(coco, "scratch", "fasterrcnn_light_tiny", "none", imgsz=64).recipe.task)
    assert task["anchor_sizes"] != Detection.Config().anchor_sizes  # type: ignore[attr-defined]
