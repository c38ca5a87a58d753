"""Runs of detectors: what they are known to fail at in other libraries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.forked_processes import run_ranks
from tests.in_soak import IN_SOAK, only_in_soak
from torch import Tensor, nn

import resnets
from resnets.errors import JobError, UserError
from resnets.inference.import_openvino import has_openvino
from resnets.tasks import best_epoch
from resnets.tasks.detection.prediction import Prediction
from resnets.tasks.detection.write_predictions import coco_file, yolo_files
from resnets.tasks.trained_model import TrainedModel
from resnets.training import distributed, loop
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.evaluation import validate
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run
from resnets.training.state import TrainContext, TrainState
from resnets.weights import checkpoint as checkpoints

MODELS = ["fasterrcnn_light_tiny", "yolov3_light_tiny"]
SMALL = ["speed.threads=1", "ema.decay=0", "task.neck_channels=16"]
OF_REGIONS = [
    *("task.box_head_dim=32", "task.proposals=32", "task.train_proposals=32", "task.proposal_samples=32"),
]
COLORS = {"blue": (40, 60, 230), "red": (230, 40, 40)}


def write_data(folder: Path, counts: Sequence[int] = (1, 2, 0, 1, 1, 0, 2, 1), ids: Sequence[int] = (1, 2)) -> Path:
    """COCO JSON of noisy images of three sizes; that at index i has `counts[i]` squares in one of two colors.

    Args:
        ids: of the two categories.
    """
    random = np.random.default_rng(0)
    for split in ("train", "valid"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, count in enumerate(counts):
            height, width = ((64, 64), (64, 96), (80, 64))[index % 3]
            images.append({"id": index, "file_name": f"{index}.png", "height": height, "width": width})
            pixels = random.normal(110, 12, (height, width, 3))
            for column in range(count):
                x, y, side = 32 * column + int(random.integers(8)), int(random.integers(40)), 20
                label = len(annotations) % 2
                pixels[y : y + side, x : x + side] = list(COLORS.values())[label]
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": index, "category_id": ids[label], "iscrowd": 0,
                     "bbox": [x, y, side, side], "area": side * side,
                     "segmentation": [[x, y, x + side, y, x + side, y + side, x, y + side]]}
                )  # fmt: skip
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / split / f"{index}.png")
        content = {
            "images": images,
            "categories": [{"id": id_, "name": name} for id_, name in zip(ids, COLORS, strict=True)],
            "annotations": annotations,
        }
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("boxes"))


def build(data: Path, model: str, *overrides: str, weights: str = "none", **values: Any) -> TrainContext:
    values = {"batch": 4, "workers": 0, "device": "cpu", "precision": "fp32", "seed": 1, **values}
    small = SMALL if model.startswith("yolov3") else SMALL + OF_REGIONS
    small = [*small, "task.mask_channels=16"] if model.startswith("maskrcnn") else small
    return build_context(prepare_run(*build_recipe(str(data), model, weights, None, values, [*small, *overrides])))


def train(context: TrainContext, out: Path) -> tuple[Path, TrainState]:
    """A run without its report."""
    run = run_dir.create_run_dir(out, "run")
    return run, loop.run(context, TrainState(), run)


def tensors(run: Path, name: str = "last") -> Mapping[str, Tensor]:
    return checkpoints.read(run / "weights" / f"{name}.safetensors", task=None).tensors


def val_row(context: TrainContext) -> dict[str, float]:
    measured = validate.validate(context)
    assert measured is not None
    return {f"val/{name}": value for name, value in context.task.validation_metrics(measured).items()}


@pytest.mark.parametrize("model", [MODELS[0], pytest.param(MODELS[1], marks=only_in_soak("1 s"))])
def test_a_plateaued_run_stops_and_its_best_file_has_the_best_row(model: str, data: Path, tmp_path: Path) -> None:
    """At a rate of nearly nothing, only the statistics of the batch norms change the metrics, up and down."""
    rate = ("optim.lr=1e-12", "schedule.warmup_epochs=0")
    context = build(data, model, *rate, epochs=40, patience=1)
    run, state = train(context, tmp_path)
    best = best_epoch.best_row(state.rows, context.task.monitor)
    assert best is not None
    assert best["epoch"] == state.best_epoch == len(state.rows) - 1 < 39
    assert best["val/box_ap"] == max(row["val/box_ap"] for row in state.rows)
    stored = checkpoints.read(run / "weights" / "best.safetensors", task=None)
    assert stored.metrics.items() <= best.items()
    context.net.load_state_dict(dict(stored.tensors))
    again = val_row(context)
    assert again == {name: best[name] for name in again}
    assert len([name for name in again if name.startswith("val/loss_")]) >= 3


@pytest.mark.parametrize("model", MODELS)
def test_the_validation_repeats_and_changes_nothing(model: str, data: Path) -> None:
    context = build(data, model, epochs=1)
    before = {name: tensor.clone() for name, tensor in context.net.state_dict().items()}
    first = val_row(context)
    torch.rand(5)
    assert val_row(context) == first
    assert all(torch.equal(before[name], tensor) for name, tensor in context.net.state_dict().items())


@pytest.mark.parametrize("width", [0, -3])
def test_a_box_without_a_size_is_named_before_the_first_step(width: int, tmp_path: Path) -> None:
    """Or left out, and the rest of its image is trained on."""
    data = write_data(tmp_path / "boxes")
    path = data / "train" / "_annotations.coco.json"
    content = json.loads(path.read_text())
    content["annotations"][2]["bbox"][2] = width  # of the second image, whose objects are the second and the third
    path.write_text(json.dumps(content))
    values: dict[str, Any] = {"model": MODELS[0], "out": tmp_path, "dry_run": True, "workers": 0}
    with pytest.raises(UserError, match=r"boxes without a size: '.*train/1\.png', object 2: box .*'blue'"):
        resnets.train(data, **values)
    with pytest.raises(UserError, match=r"on_bad=skip"):
        resnets.train(data, **values)
    context = build(data, MODELS[0], epochs=1, on_bad="skip")
    assert [len(targets["labels"]) for targets in context.train_data.targets] == [1, 1, 0, 1, 1, 0, 2, 1]
    _, state = train(context, tmp_path)
    assert np.isfinite(state.rows[0]["train/loss"])


def _steps_with_one_positive(data: Path, model: str) -> None:
    """4 steps of a batch of two, one image for each rank, of which at most one has an object."""
    with distributed.process_group():
        context = build(data, model, "freeze.norm=eval", batch=2, epochs=1)
        _, state = train(context, data.parent / str(torch.distributed.get_rank()))
        assert state.total_step == 4
        own = {name: tensor.detach() for name, tensor in context.net.named_parameters()}
        assert all(tensor.isfinite().all() for tensor in own.values())
        for other in distributed.all_gather_object(own):
            assert all(torch.equal(tensor, other[name]) for name, tensor in own.items())


@pytest.mark.parametrize("model", MODELS)
def test_two_ranks_of_which_one_has_only_negatives_keep_equal_weights(model: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "boxes", [0, 0, 1, 0, 0, 0, 0, 0])
    run_ranks(tmp_path, 2, _steps_with_one_positive, data, model)


def test_the_numbers_of_the_categories_change_nothing(tmp_path: Path) -> None:
    found = []
    for ids in ((0, 1), (90, 17), (1, 2))[: 3 if IN_SOAK else 2]:
        data = write_data(tmp_path / "boxes", ids=ids)
        run, _ = train(build(data, MODELS[0], epochs=1), tmp_path)
        found.append((run / "weights" / "last.safetensors").read_bytes())
    assert checkpoints.read(run / "weights" / "last.safetensors", task=None).class_names == tuple(COLORS)
    assert len(set(found)) == 1


def running_statistics(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The means of the batch norms of the backbone."""
    return {name: each for name, each in state.items() if name.startswith("backbone.") and "running_mean" in name}


@pytest.mark.parametrize(
    ("model", "key", "anchors"),
    [(MODELS[0], "anchor_sizes", (32, 64, 128, 256, 512)), (MODELS[1], "anchors", tuple(range(10, 28)))],
)
def test_weights_keep_norms_and_anchors(model: str, key: str, anchors: tuple, data: Path, tmp_path: Path) -> None:
    """The anchors are others than the data would give."""
    first, _ = train(build(data, model, f"task.{key}={','.join(map(str, anchors))}", epochs=1), tmp_path)
    means = running_statistics(tensors(first))
    assert means
    assert all(mean.abs().max() > 1e-3 for mean in means.values())  # they begin at 0
    context = build(data, model, epochs=1, weights=str(first / "weights" / "last.safetensors"))
    assert getattr(context.recipe.task, key) == anchors
    second, _ = train(context, tmp_path)
    after = tensors(second)
    assert all(torch.equal(mean, after[name]) for name, mean in means.items())
    moved = [name for name, module in context.net.named_modules() if isinstance(module, nn.Conv2d)]
    assert all(not torch.equal(after[f"{name}.weight"], tensors(first)[f"{name}.weight"]) for name in moved)


NOT_FINITE = r"became (nan|inf) \((loss_\w+ (nan|inf)(, )?)+\) at step \d+ \(epoch 1, lr"


@pytest.mark.parametrize("model", MODELS)
def test_a_rate_that_is_too_high_ends_with_the_term_the_step_and_the_images(
    model: str, data: Path, tmp_path: Path
) -> None:
    rate = ("optim.name=sgd", "optim.lr=1000", "optim.clip_norm=none", "schedule.warmup_epochs=0")
    with pytest.raises(JobError, match=NOT_FINITE) as caught:
        train(build(data, model, *rate, epochs=2, batch=2), tmp_path)
    assert str(caught.value).count(f"{data}/train/") == 2


def test_the_terms_of_a_validation_loss_that_is_not_finite_are_named(data: Path) -> None:
    context = build(data, MODELS[1], epochs=1)
    for parameter in context.net.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(JobError, match=f"The validation loss {NOT_FINITE}"):
        validate.epoch_metrics(context, TrainState(total_step=1), None, [])


@pytest.fixture(scope="module", params=["maskrcnn_light_tiny", "yolov3_light_tiny"])
def weights(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of a detector that reports much at random: after an epoch, with larger weights of its scores."""
    run, _ = train(build(data, request.param, epochs=1), tmp_path_factory.mktemp("trained"))
    stored = checkpoints.read(run / "weights" / "last.safetensors", task=None)
    factors = {"cls_score.weight": 30, "cls_logits.weight": 30, "prediction.weight": 30, "prediction.bias": 0}
    enlarged = {
        name: tensor * next((factor for end, factor in factors.items() if name.endswith(end)), 1)
        for name, tensor in stored.tensors.items()
    }
    config = {**stored.config, **({"proposals": 80} if stored.config["architecture"] == "maskrcnn" else {})}
    checkpoints.save(run / "random.safetensors", replace(stored, tensors=enlarged, config=config))
    return run / "random.safetensors"


def val_paths(data: Path) -> list[str]:
    return sorted(map(str, (data / "valid").glob("*.png")))


def predict(model: TrainedModel, paths: Sequence[str], batch: int = 32) -> list[Prediction]:
    """All that the detector finds, however low its score is."""
    return model.predict(paths, score=model.task.settings.score_floor, batch=batch)


@pytest.mark.parametrize(
    ("weights", "backend"),
    [
        ("maskrcnn_light_tiny", "torch"),
        pytest.param("maskrcnn_light_tiny", "openvino", marks=only_in_soak("2 s")),
        ("yolov3_light_tiny", "torch"),
        ("yolov3_light_tiny", "openvino"),
    ],
    indirect=["weights"],
)
def test_predictions_are_the_detections_of_an_evaluation(weights: Path, backend: str, data: Path) -> None:
    """Whatever the batch, the order and the backend."""
    if backend == "openvino" and not has_openvino():
        pytest.skip("needs openvino")
    model = resnets.load(weights, "cpu", precision="fp32")
    samples = model.task.read(data).subset("val")
    kept = model.measure(samples, batch=8)[0].rows["found"]
    evaluated = {Path(sample.path).name: found for sample, found in zip(samples, kept, strict=True)}
    assert sum(map(len, evaluated.values())) > 20
    model = resnets.load(weights, "cpu", backend=backend, precision="fp32")
    jobs = [(val_paths(data)[::-1], 3), (val_paths(data), 1)]
    for paths, batch in jobs[
        : 1 if backend == "openvino" else 2
    ]:  # which compiles the network for each size of a batch
        for prediction in predict(model, paths, batch):
            found = [(*each.box, each.score, model.class_names.index(each.label)) for each in prediction.objects]
            rows, expected = torch.tensor(found).view(-1, 6), evaluated[Path(prediction.path).name]
            # Rounding decides the order of objects whose scores are almost equal.
            nearest = torch.cdist(expected, rows).argmin(1)
            assert len(nearest.unique()) == len(rows) == len(expected)
            torch.testing.assert_close(rows[nearest], expected, rtol=1e-5, atol=1e-5)


def test_the_files_of_predictions_hold_what_was_evaluated(weights: Path, data: Path, tmp_path: Path) -> None:
    """COCO JSON has the AP of the evaluation, by pycocotools; YOLO's text is read as the same boxes."""
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    model = resnets.load(weights, "cpu", precision="fp32")
    predictions = predict(model, val_paths(data))
    with coco_file(str(tmp_path / "found.json"), model.class_names) as write:
        list(map(write, predictions))
    found = json.loads((tmp_path / "found.json").read_text())
    truth = coco.COCO(str(data / "valid" / "_annotations.coco.json"))
    ids = {each["file_name"]: each["id"] for each in truth.dataset["images"]}
    images = {each["id"]: ids[Path(each["file_name"]).name] for each in found["images"]}
    categories = {each["name"]: each["id"] for each in truth.dataset["categories"]}
    names = {each["id"]: categories[each["name"]] for each in found["categories"]}
    detections = [
        {**each, "image_id": images[each["image_id"]], "category_id": names[each["category_id"]]}
        for each in found["annotations"]
    ]
    metrics = resnets.evaluate(weights, data, split="val", device="cpu").metrics
    for kind, key in (("bbox", "box_ap"), ("segm", "mask_ap")):
        if key in metrics:
            evaluation = cocoeval.COCOeval(truth, truth.loadRes(detections), kind)
            evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
            assert metrics[key] > 0
            assert metrics[key] == pytest.approx(evaluation.stats[0], abs=1e-9)
            assert metrics[f"{key}50"] == pytest.approx(evaluation.stats[1], abs=1e-9)

    shutil.copytree(data / "valid", tmp_path / "yolo" / "images", ignore=shutil.ignore_patterns("*.json"))
    with yolo_files(str(tmp_path / "yolo" / "labels"), model.class_names) as write:
        list(map(write, predictions))
    (tmp_path / "yolo" / "data.yaml").write_text(f"names: {list(model.class_names)}\ntrain: images\n")
    again = {Path(sample.path).name: sample.target for sample in model.task.read(tmp_path / "yolo").samples}
    for prediction in predictions:
        boxes = [each.box for each in prediction.objects]
        np.testing.assert_allclose([each.box for each in again[Path(prediction.path).name].objects], boxes, atol=1e-6)
