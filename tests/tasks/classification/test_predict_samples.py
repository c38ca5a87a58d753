"""Every image is judged once, by one network or several, in one look or many."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from resnets.data.datasets.dataset import Sample
from resnets.data.image.preprocess import Preprocess
from resnets.errors import ImageError, JobError, UserError
from resnets.tasks.classification.predict_samples import predict_samples, temperature_of
from resnets.tasks.load_model import load
from resnets.tasks.trained_model import TrainedModel


def softmax(classifier: TrainedModel, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return torch.softmax(classifier.model(images).double() / temperature_of(classifier), 1).numpy()


@pytest.mark.parametrize(("batch", "workers"), [(1, 0), (5, 2), (64, None)])
def test_every_image_counts_once_and_in_order(batch: int, workers: int | None, world) -> None:
    classifier = load(world.checkpoint)
    samples = [*world.samples, replace(world.samples[0], labels=None), world.samples[1]]
    found = predict_samples([classifier], samples, batch=batch, workers=workers)
    assert found.paths == tuple(sample.path for sample in samples)
    assert found.true.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [-1, 0]
    assert (found.temperature, found.skipped, found.class_names) == (1.5, (), classifier.class_names)
    expected = softmax(classifier, torch.stack([classifier.preprocess.load(sample.path) for sample in samples]))
    assert np.allclose(found.probabilities, expected, atol=1e-6)
    answers = classifier.predict([sample.path for sample in samples])
    assert [found.class_names[index] for index in found.predicted] == [answer.label for answer in answers]


@pytest.fixture
def turned(world, know, tmp_path: Path) -> TrainedModel:
    """Another network for the same classes, which stand in another order there."""
    know(tmp_path / "turned.safetensors", world.samples, classes=("blue", "red", "green"), seed=1)
    return load(tmp_path / "turned.safetensors")


def test_an_ensemble_is_the_mean_of_the_probabilities_class_by_class(world, turned: TrainedModel) -> None:
    first = load(world.checkpoint)
    found = predict_samples([first, turned], world.samples)
    images = torch.stack([first.preprocess.load(path) for path in world.paths])
    expected = (softmax(first, images) + softmax(turned, images)[:, [1, 2, 0]]) / 2
    assert np.allclose(found.probabilities, expected, atol=1e-6)
    assert (found.class_names, found.temperature) == (first.class_names, 1.0)
    back = predict_samples([turned, first], world.samples)
    assert back.class_names == turned.class_names
    assert np.allclose(back.probabilities, expected[:, [2, 0, 1]], atol=1e-6)
    assert (back.correct == found.correct).all()


def test_models_of_an_ensemble_may_see_images_in_their_own_way(world) -> None:
    first = load(world.checkpoint)
    second = TrainedModel(first.task.with_fitted({"temperature": 0.7}), load(world.checkpoint).model, Preprocess.tf(48))
    found = predict_samples([first, second], world.samples)
    parts = [predict_samples([each], world.samples).probabilities for each in (first, second)]
    assert not np.allclose(*parts, atol=1e-3)
    assert np.allclose(found.probabilities, sum(parts) / 2, atol=1e-6)


def test_an_ensemble_needs_the_same_classes(world, know, tmp_path: Path) -> None:
    know(tmp_path / "pets.safetensors", world.samples, classes=("red", "green"))
    with pytest.raises(UserError, match=r"pets\.safetensors' does not have 'blue'"):
        predict_samples([load(world.checkpoint), load(tmp_path / "pets.safetensors")], world.samples)
    with pytest.raises(UserError, match=r"net\.safetensors' also has 'blue'"):
        predict_samples([load(tmp_path / "pets.safetensors"), load(world.checkpoint)], world.samples[:12])


def test_six_crops(world) -> None:
    """The mean probabilities of the input, of two that are moved by a pixel with half its weight, and of their mirror images."""
    classifier = load(world.checkpoint)
    found = predict_samples([classifier], world.samples, crops=6, batch=25)
    for index, path in enumerate(world.paths):
        image = classifier.preprocess.resize_crop(classifier.preprocess.read(path))
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        height, width = image.shape[:2]
        views = [padded[by : by + height, by : by + width] for by in range(3)]
        views += [view[:, ::-1] for view in views]
        six = classifier.preprocess.normalize(torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2))
        expected = np.average(softmax(classifier, six), axis=0, weights=[1, 2, 1, 1, 2, 1])
        assert np.allclose(found.probabilities[index], expected, atol=0.01)


def test_ten_crops(world) -> None:
    classifier = load(world.checkpoint)
    found = predict_samples([classifier], world.samples, crops=10, batch=25)
    for index, path in enumerate(world.paths):
        image = functional.to_pil_image(classifier.preprocess.read(path))
        crops = functional.ten_crop(functional.resize(image, [37]), [32, 32])
        ten = classifier.preprocess.normalize(torch.stack([functional.pil_to_tensor(crop) for crop in crops]))
        assert np.allclose(found.probabilities[index], softmax(classifier, ten).mean(0), atol=1e-5)
    assert found.temperature == 1.0


def test_whole_images_at_several_scales(world) -> None:
    """The network sees 40x52 and 52x40 images uncropped, so that its input has another shape at every image."""
    classifier = load(world.checkpoint)
    shapes: set[tuple[int, ...]] = set()
    classifier.model.register_forward_pre_hook(lambda _, inputs: shapes.add(tuple(inputs[0].shape[2:])))
    found = predict_samples([classifier], world.samples, scales=(40, 60), batch=8)
    assert shapes == {(40, 52), (52, 40), (40, 40), (60, 78), (78, 60), (60, 60)}
    for index, path in enumerate(world.paths[:4]):
        image = functional.to_pil_image(classifier.preprocess.read(path))
        expected = []
        for side in (40, 60):
            sized = functional.pil_to_tensor(functional.resize(image, [side]))
            view = classifier.preprocess.normalize(sized)
            expected += [softmax(classifier, view[None]), softmax(classifier, view.flip(-1)[None])]
        assert np.allclose(found.probabilities[index], np.mean(expected, axis=0)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("values", "shows"),
    [
        ({"on_bad": "ignore"}, "received 'ignore'"),
        ({"batch": 0}, "`batch` must be 1 or more; received 0"),
        ({"workers": -2}, "`workers` must be 0 or more; received -2"),
    ],
)
def test_what_cannot_be_asked_for(values: dict, shows: str, world) -> None:
    with pytest.raises(UserError, match=shows):
        predict_samples([load(world.checkpoint)], world.samples, **values)


@pytest.fixture
def with_bad(world, tmp_path: Path) -> list[Sample]:
    """Two images in the middle that cannot be read, and one that is too small to be cropped."""
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(Path(world.paths[0]).read_bytes()[:200])
    bad = [Sample(str(tmp_path / name), ("red",)) for name in ("empty.png", "cut.png")]
    return [*world.samples[:4], bad[0], *world.samples[4:9], bad[1], *world.samples[9:]]


def test_all_unreadable_images_are_named_at_once(
    with_bad: list[Sample], world, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobError, match=r"2 of 20 images .*empty\.png.*cut\.png.*`on_bad=skip`"):
        predict_samples([load(world.checkpoint)], with_bad)
    stderr = capsys.readouterr().err
    assert "empty.png' is empty" in stderr
    assert "cut.png'" in stderr


def test_unreadable_images_are_left_out_aloud(
    with_bad: list[Sample], world, capsys: pytest.CaptureFixture[str]
) -> None:
    found = predict_samples([load(world.checkpoint)], with_bad, on_bad="skip", batch=4)
    assert "skipped: 2 of 20 images" in capsys.readouterr().err
    assert [Path(path).name for path in found.skipped] == ["empty.png", "cut.png"]
    whole = predict_samples([load(world.checkpoint)], world.samples)
    assert found.paths == whole.paths
    assert (found.true == whole.true).all()
    assert np.allclose(found.logits, whole.logits, atol=1e-4)
    with pytest.raises(JobError, match="None of the 1 images"):
        predict_samples([load(world.checkpoint)], [with_bad[4]], on_bad="skip")


def test_labels_are_bound_by_name(world) -> None:
    samples = [world.samples[0], Sample(world.paths[1], ("gren",))]
    with pytest.raises(UserError, match=r"images of 'gren', but the model has only 'red'.*Did you mean 'green'"):
        predict_samples([load(world.checkpoint)], samples)
    with pytest.raises(UserError, match="no images"):
        predict_samples([load(world.checkpoint)], [])


def test_a_run_directory_is_loaded_by_its_best_weights(world, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    shutil.copy(world.checkpoint, tmp_path / "weights" / "best.safetensors")
    assert load(tmp_path).predict(world.paths[0]) == load(world.checkpoint).predict(world.paths[0])


def test_damaged_weights_give_no_figures(world) -> None:
    classifier = load(world.checkpoint)
    with torch.no_grad():
        classifier.model.head.fc.weight[1] = float("nan")
    with pytest.raises(JobError, match=r"0\.png' is not a number"):
        predict_samples([classifier], world.samples)


def test_an_image_too_small_for_ten_crops_is_left_out_like_an_unreadable_one(world, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    classifier = load(world.checkpoint)
    classifier.preprocess = replace(classifier.preprocess, resize="none", resize_to=None)
    samples = [world.samples[0], Sample(str(tmp_path / "small.png"), ("red",))]
    found = predict_samples([classifier], samples, crops=10, on_bad="skip")
    assert found.skipped == (str(tmp_path / "small.png"),)
    with pytest.raises(ImageError, match="Ten crops of 32x32 need a larger image"):
        classifier.preprocess.views(np.zeros((20, 20, 3), np.uint8), crops=10)
