"""Predictions for images that do not fit into a batch: as a whole, in windows, and from files that are read by windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.errors import JobError, UserError
from resnets.tasks.segmentation import forward, predict_any_size
from resnets.tasks.trained_model import TrainedModel

SIZES = [(64, 64), (150, 210), (64, 64), (97, 131), (40, 72)]


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images above 8,000 pixels are computed one at a time, those above 16,000 in windows."""
    for module in (forward, predict_any_size):
        monkeypatch.setattr(module, "BATCH_PIXELS", 8_000)
        monkeypatch.setattr(module, "WHOLE_PIXELS", 16_000)


def write_images(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    paths = []
    for number, size in enumerate(SIZES):
        coarse = random.integers(256, size=(size[0] // 8 + 1, size[1] // 8 + 1, 3)).astype(np.uint8)
        pixels = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]
        paths.append(str(folder / f"{number}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.mark.usefixtures("small_limits")
def test_large_images_stand_in_their_place(model: TrainedModel, tmp_path: Path) -> None:
    paths = write_images(tmp_path)
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    given = [paths[0], str(tmp_path / "damaged.png"), *paths[1:], str(tmp_path / "missing.png")]
    found = model.predict(given)
    assert [each.path for each in found] == given
    assert [each.size for each in found if each.error is None] == SIZES
    assert [bool(each.error) for each in found] == [False, True, False, False, False, False, True]
    assert [each.path for each in model.stream(iter(given))] == given
    arrays = [np.asarray(Image.open(path)) for path in paths]
    in_memory = model.predict(arrays)
    assert [each.path for each in in_memory] == [f"[{number}]" for number in range(5)]
    for one, other in zip(in_memory, model.predict(paths), strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.usefixtures("small_limits")
def test_small_images_between_large_ones_are_computed_together(
    model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of a list; of a stream, whose length is not known, as they come."""
    random = np.random.default_rng(0)
    images = [random.integers(256, size=(*size, 3)).astype(np.uint8) for size in [(40, 48), (97, 131)] * 6]
    alone = [model.predict(each)[0].mask for each in images]
    network: Any = model.model
    dense, batches = network.dense, []
    monkeypatch.setattr(network, "dense", lambda x: batches.append(len(x)) or dense(x))
    found = model.predict(images, batch=4)
    assert [each.path for each in found] == [f"[{number}]" for number in range(12)]
    assert sorted(batches) == [1] * 6 + [2, 4]
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one.mask, other)
    assert [each.path for each in model.stream(iter(images), batch=4)] == [each.path for each in found]


def test_an_image_alone_is_what_it_is_in_a_batch(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_images(tmp_path)
    whole = [each.mask for each in model.predict(paths)]
    monkeypatch.setattr(predict_any_size, "BATCH_PIXELS", 0)  # each one at a time, none in windows
    for one, other in zip(whole, model.predict(paths), strict=True):
        np.testing.assert_array_equal(one, other.mask)


@pytest.mark.usefixtures("small_limits")
def test_windows_are_those_of_the_evaluation_and_close_to_the_whole(
    model: TrainedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_images(tmp_path)[1]
    (found,) = model.predict(path)
    assert "computed in 24 windows of up to 64 pixels" in capsys.readouterr().err
    assert found.probabilities() is None
    image = model.preprocess.load(path)
    with torch.inference_mode():
        outputs = model.task.forward(model.model, image[None])
        whole = model.model(image[None])[0].argmax(0).numpy()
    task: Any = model.task
    np.testing.assert_array_equal(found.mask, task._label_map(outputs.logits[0], image.shape[1:]))
    assert 0.8 < (found.mask == whole).mean() < 1


@pytest.mark.usefixtures("small_limits")
def test_arrays_in_files_are_read_by_windows(model: TrainedModel, tmp_path: Path) -> None:
    """Nothing but rows of windows is in memory; the mask is that of the same image as a PNG."""
    path = write_images(tmp_path)[1]
    np.save(tmp_path / "large.npy", np.asarray(Image.open(path)))
    (found,) = model.predict(str(tmp_path / "large.npy"))
    (expected,) = model.predict(path)
    np.testing.assert_array_equal(found.mask, expected.mask)
    content = (tmp_path / "large.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[: len(content) // 2])
    (cut,) = model.predict(str(tmp_path / "cut.npy"))
    assert "cut short" in cut.error


@pytest.mark.usefixtures("small_limits")
def test_large_images_are_checked_as_small_ones_are(model: TrainedModel, tmp_path: Path) -> None:
    paths = write_images(tmp_path)
    alone = model.predict(paths[3])[0]  # large, and computed as a whole
    assert alone.probabilities().shape == (3, *SIZES[3])
    with pytest.raises(UserError, match="predict one at a time; received 2"):
        model.predict(paths[1], ensemble=[model])
    network: Any = model.model
    network.backbone.min_size = 30
    strip = model.predict(np.zeros((20, 1000, 3), np.uint8))[0]  # in windows, each of which is too low
    assert "too small for this network" in strip.error
    network.head.bias.data[0] = torch.nan
    for path in paths[:2]:
        with pytest.raises(JobError, match="is not a number: its weights are damaged"):
            model.predict(path)


@pytest.mark.usefixtures("small_limits")
def test_images_that_are_resized_are_never_large(model: TrainedModel, tmp_path: Path) -> None:
    fitted = TrainedModel(
        model.task, model.model, type(model.preprocess)(size=(64, 64), resize="fit", resize_to=None), precision="fp32"
    )
    paths = write_images(tmp_path)
    for prediction, size in zip(fitted.predict(paths), SIZES, strict=True):
        assert prediction.size == size
        assert prediction.probabilities() is not None
