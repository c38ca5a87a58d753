"""Detection as a task: names of models, validation, and the objects that are reported."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.datasets.dataset import build_dataset
from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.batch import Batch
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.detection import zoo as detectors
from resnets.models.detection.output import DetectorOutput
from resnets.tasks.detection import static_graph
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.static_graph import compare
from resnets.tasks.detection.task import Detection
from resnets.tasks.trained_model import TrainedModel

SPEC = zoo.get_spec("tiny")
SMALL = {"neck_channels": 8, "box_head_dim": 8, "anchor_sizes": (8.0, 16.0, 32.0, 64.0, 128.0)}
TASK = Detection(("cat", "dog"), DetectionConfig(**(vars(detectors.get("fasterrcnn_light_tiny")[0]) | SMALL)))
SAMPLES = [
    make_sample("a.png", ImageObjects((Object("cat", (4.0, 4.0, 30.0, 28.0)),), (48, 64))),
    make_sample("b.png", ImageObjects((), (64, 40))),
    make_sample("c.png", ImageObjects((Object("dog", (20.0, 10.0, 60.0, 50.0)),), (64, 64))),
    make_sample("d.png", ImageObjects((Object("dog", (2.0, 10.0, 30.0, 40.0)),), (48, 64))),
]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return TASK.build(SPEC).eval()


def test_classes_without_objects_are_told_before_a_training() -> None:
    dataset = build_dataset(Path("data"), SAMPLES)
    assert Detection.check(dataset) == []
    (warning,) = Detection.check(replace(dataset, listed_classes=("dog", "zebra", "cat")))
    assert warning.startswith("no object is of 'zebra': the model has the other classes only")


def test_no_other_image_changes_what_is_found(model: torch.nn.Module) -> None:
    """The objects and losses in a batch of several sizes are those of each image alone."""
    torch.manual_seed(1)
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.bias.data.uniform_(0.5, 1)  # or zeros around an image would stay zeros
    samples = [*SAMPLES, make_sample("e.png", ImageObjects((Object("cat", (70.0, 8.0, 120.0, 60.0)),), (96, 128)))]
    images = [torch.randn(3, *sample.target.size) for sample in samples]
    targets = TASK.collate(list(TASK.targets(samples)))
    with torch.no_grad():
        together = TASK.forward(model, images, targets)
        alone = [TASK.forward(model, image[None], [target]) for image, target in zip(images, targets, strict=True)]
    for index, each in enumerate(alone):
        for name, loss in together.losses.items():
            torch.testing.assert_close(loss[index : index + 1], each.losses[name])
        assert together.objects[index].keys() == {"boxes", "scores", "labels"}
        torch.testing.assert_close(together.objects[index]["boxes"], each.objects[0]["boxes"])


def test_large_images_are_computed_a_few_at_a_time(model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """The objects are those of the whole batch, given as a tensor or as a list; a backend is built for as many images."""
    monkeypatch.setattr(static_graph, "MAX_PIXELS", 2 * 64 * 64)
    torch.manual_seed(3)
    images, sizes = torch.randn(5, 3, 64, 64), list[int]()

    def count(part: torch.Tensor | list[torch.Tensor]) -> DetectorOutput:
        sizes.append(len(part))
        return model(part)

    with torch.no_grad():
        whole = model(images)
        for given in (images, list(images)):
            for one, other in zip(TASK.forward(count, given).objects, whole.objects, strict=True):
                torch.testing.assert_close(one["boxes"], other["boxes"], atol=1e-3, rtol=1e-4)
    assert sizes == [2, 2, 1] * 2
    largest = TASK.static_graph(model).largest_batch
    assert largest is not None
    assert [largest(64, 64), largest(64, 33), largest(64, 32), largest(128, 96)] == [2, 2, 4, 1]


def test_the_loss_of_a_batch_is_the_sum_of_its_terms(model: torch.nn.Module) -> None:
    images = [torch.randn(3, *sample.target.size) for sample in SAMPLES]
    targets = TASK.collate(list(TASK.targets(SAMPLES)))
    numbers = torch.arange(4)
    batch = Batch(0, 0, numbers, numbers, images, targets, torch.ones(4), [1, 2, 3, 4])
    whole, parts = TASK.loss(model, batch), [TASK.loss(model, part) for part in batch.chunk(4)]
    assert float(whole.total.detach()) == pytest.approx(sum(map(float, whole.sums.values())) / 4, rel=1e-5)
    assert all(name.startswith("loss_") for name in whole.sums)
    assert len(parts) == 4
    assert all(torch.isfinite(part.total) for part in parts)


def test_the_samples_of_an_image_are_drawn_with_its_seed(model: torch.nn.Module) -> None:
    torch.manual_seed(2)
    images = torch.randn(2, 3, 64, 64)
    targets = TASK.collate(list(TASK.targets([SAMPLES[2]] * 2)))
    numbers = torch.arange(2)

    def sums(seeds: list[int], order: list[int]) -> dict[str, float]:
        chosen = [targets[index] for index in order]
        batch = Batch(0, 0, numbers, numbers, images[order], chosen, torch.ones(2), [seeds[index] for index in order])
        with torch.no_grad():
            return {name: float(value) for name, value in TASK.loss(model, batch).sums.items()}

    first = sums([1, 2], [0, 1])
    assert sums([1, 2], [1, 0]) == pytest.approx(first, rel=1e-5)
    assert sums([3, 4], [0, 1])["loss_objectness"] != pytest.approx(first["loss_objectness"], rel=1e-5)


def test_validation_has_the_loss_by_term_and_ap(model: torch.nn.Module) -> None:
    images = [torch.randn(3, *sample.target.size) for sample in SAMPLES]
    targets = TASK.targets(SAMPLES)
    placements = [Placement(sample.target.size, sample.target.size, (1.0, 1.0)) for sample in SAMPLES]
    with torch.no_grad():
        outputs = TASK.forward(model, images, TASK.collate(list(targets)))
    metrics = TASK.validation_metrics(TASK.measure(outputs, SAMPLES, targets, placements))
    terms = [value for name, value in metrics.items() if name.startswith("loss_")]
    assert metrics["loss"] == pytest.approx(sum(terms))
    assert "box_ap" in metrics
    perfect = [
        {"boxes": target["boxes"].float(), "labels": target["labels"], "scores": torch.ones(len(target["labels"]))}
        for target in TASK.collate(list(targets))
    ]
    found = TASK.measure(DetectorOutput({}, perfect), SAMPLES, targets, placements)
    summary = TASK.summarize(TASK.keep(found))
    assert (summary["count"], summary["box_ap"], summary["f1_micro"]) == (4, 1.0, 1.0)
    assert 0 < TASK.fit(found)["score_threshold"] < 1
    assert TASK.example_scores(found).tolist() == [1.0] * 4
    assert [row["class"] for row in TASK.results(SAMPLES, found)["per_class"]] == ["cat", "dog"]


def test_only_what_reaches_the_threshold_is_reported() -> None:
    objects = {
        "boxes": torch.tensor([[0.0, 0, 16, 16], [0, 0, 16, 15], [8, 8, 20, 20]]),
        "scores": torch.tensor([0.9, 0.6, 0.3]),
        "labels": torch.tensor([0, 1, 1]),
    }
    outputs, place = DetectorOutput({}, [objects]), Placement((96, 128), (48, 64), (0.5, 0.5))
    fitted = replace(TASK, fitted={"score_threshold": 0.5})
    found = fitted.predict("a.png", outputs, place)
    assert [(each.label, each.box) for each in found.objects] == [("cat", (0, 0, 32, 32)), ("dog", (0, 0, 32, 30))]
    assert (found.size, str(found)) == ((96, 128), "a.png  1 cat, 1 dog")
    assert len(fitted.predict("a.png", outputs, place, score=0.2).objects) == 3
    assert [each.label for each in fitted.predict("a.png", outputs, place, agnostic_nms=0.5).objects] == ["cat"]
    assert found.to_row()["count"] == "2"
    assert set(found.to_row()) <= set(fitted.csv_columns())


def test_soft_nms_reports_the_objects_that_nms_drops(tmp_path: Path) -> None:
    """The same in predictions and in an evaluation; the model itself is not changed."""
    torch.manual_seed(4)
    task = replace(TASK, config=replace(TASK.settings, score_floor=0.0, nms_iou=0.2, proposals=50))
    trained = TrainedModel(task, task.build(SPEC), Preprocess(size=(64, 64), resize="fit", resize_to=None))
    samples = [make_sample(str(tmp_path / Path(each.path).name), each.target) for each in SAMPLES[:2]]
    for sample in samples:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)).save(sample.path)
    paths = [sample.path for sample in samples]
    plain = trained.predict(paths, score=0.0)
    soft = trained.predict(paths, score=0.0, nms="soft")
    assert len(soft[0].objects) > len(plain[0].objects) > 0
    assert trained.predict(paths, score=0.0) == plain
    for options, predictions in (({}, plain), ({"nms": "soft"}, soft)):
        measured = task.measure_models([trained], samples, batch=2, workers=0, on_bad="error", **options)
        for found, prediction in zip(measured.measurements.rows["found"], predictions, strict=True):
            scores = [each.score for each in prediction.objects]
            assert np.asarray(found)[:, 4].tolist() == pytest.approx(scores, abs=1e-6)
    with pytest.raises(UserError, match="`nms` is one of"):
        task.check_evaluation([trained], {"nms": "greedy"})


@pytest.mark.parametrize(
    "options", [{"score": 1.5}, {"agnostic_nms": -1.0}, {"score": 0.01}, {"top_k": 2}, {"nms": "greedy"}]
)
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        TASK.check_options(options)


def test_backends_are_compared_by_their_objects() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
    one = {"boxes": boxes, "scores": torch.tensor([0.9, 0.5]), "labels": torch.tensor([0, 1])}
    moved = {**one, "boxes": boxes + 0.2, "scores": torch.tensor([0.88, 0.5])}
    assert compare(DetectorOutput({}, [one]), DetectorOutput({}, [moved])).difference == pytest.approx(0.02, abs=1e-6)
    lost = {name: each[:1] for name, each in one.items()}
    assert compare(DetectorOutput({}, [lost]), DetectorOutput({}, [one])).difference == pytest.approx(0.5)
    nothing = {name: each[:0] for name, each in one.items()}
    assert compare(DetectorOutput({}, [nothing]), DetectorOutput({}, [nothing])).difference == 0


def test_the_targets_of_a_training_image_are_drawn() -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    masks = torch.zeros(1, 64, 96, dtype=torch.bool)
    masks[:, 20:40, 30:60] = True
    target = {"boxes": torch.tensor([[30.0, 20, 60, 40]]), "labels": torch.tensor([1])}
    task = Detection(("cat", "dog"))
    for each in (target, {**target, "masks": masks}):
        drawn, caption = task.draw_target(image, each)
        factor = len(drawn) // 64
        assert drawn.shape == (factor * 64, factor * 96, 3)
        inside = drawn[factor * 22 : factor * 38, factor * 32 : factor * 58].any(axis=2)
        assert inside.all() == ("masks" in each)
        assert drawn.any()
        assert caption == "dog"
    drawn, caption = task.draw_target(image, {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)})
    assert (drawn.any(), caption) == (False, "")
