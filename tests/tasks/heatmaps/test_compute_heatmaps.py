"""Heat maps of a trained model: of one image, and beside predictions, by each backend."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnets
from resnets.errors import ImageError, UserError
from resnets.inference.import_openvino import has_openvino
from resnets.tasks import predict_files
from resnets.tasks.multilabel.task import Multilabel
from resnets.tasks.trained_model import TrainedModel


def test_a_map_and_its_offset_are_the_logit_of_the_class(world) -> None:
    model = resnets.load(world.checkpoint)
    logits = model.outputs([model.preprocess.load(world.paths[0])])[0]
    best = model.heatmap(world.paths[0])
    assert best.class_name == model.class_names[int(logits.argmax())]
    assert best.is_exact
    for index, name in enumerate(model.class_names):
        found = model.heatmap(world.paths[0], name)
        assert found.class_name == name
        assert found.logit == pytest.approx(float(logits[index]), abs=1e-5)
        assert found.values.mean() + found.offset == pytest.approx(found.logit, abs=1e-5)


def test_an_image_that_exif_turns_has_the_map_of_the_upright_one(world, tmp_path: Path) -> None:
    model = resnets.load(world.checkpoint)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 61, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored image is to be turned by 90 degrees to the right
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=exif)
    turned, upright = model.heatmap(tmp_path / "turned.png"), model.heatmap(pixels)
    assert turned.size == upright.size == (37, 61)
    np.testing.assert_array_equal(turned.on_image(), upright.on_image())
    assert np.isnan(turned.on_image()).any()  # the center crop
    np.testing.assert_array_equal(turned.over_image(1.0, 61), upright.over_image(1.0, 61))


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_every_backend_gives_the_maps_of_the_reference(world, backend: str) -> None:
    if backend == "openvino" and not has_openvino():
        pytest.skip("needs OpenVINO")
    model = resnets.load(world.checkpoint, backend=backend, precision="fp32")
    expected = resnets.load(world.checkpoint)
    found = model.predict(world.paths[:6], heatmap=True, batch=3)
    for prediction, path in zip(found, world.paths, strict=False):
        (heatmap,) = prediction.heatmaps
        assert heatmap.class_name == prediction.label
        assert heatmap.image == path
        np.testing.assert_allclose(heatmap.values, expected.heatmap(path).values, atol=1e-3)


def test_predictions_are_the_same_with_and_without_maps(world, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths = [*world.paths[:3], str(tmp_path / "bad.png")]
    model = resnets.load(world.checkpoint)
    plain, mapped = model.predict(paths, top_k=2), model.predict(paths, top_k=2, heatmap=True)
    for one, other in zip(plain, mapped, strict=True):
        assert one.label == other.label
        assert one.error == other.error
        assert not one.heatmaps
        assert one.to_dict().keys() == other.to_dict().keys()
        assert json.dumps(other.to_dict())
        assert [name for name, _ in one.top] == [name for name, _ in other.top]
    assert mapped[-1].error
    assert not mapped[-1].heatmaps


def test_the_labels_of_an_image_have_maps_of_their_own(world) -> None:
    single = resnets.load(world.checkpoint)
    for thresholds, count in (([1e-9, 1e-9, 1 - 1e-9], 2), ([1 - 1e-9] * 3, 1)):
        task = Multilabel(
            single.class_names, fitted={"thresholds": dict(zip(single.class_names, thresholds, strict=True))}
        )
        model = TrainedModel(task, single.model, single.preprocess)
        (found,) = model.predict(world.paths[0], heatmap=True)
        names = [name for name, _ in found.labels] or [found.top[0]]
        assert [each.class_name for each in found.heatmaps] == names
        assert len(names) == count
        for each in found.heatmaps:
            assert each.values.mean() + each.offset == pytest.approx(each.logit, abs=1e-5)


def test_what_has_no_map_is_told(world, tmp_path: Path) -> None:
    model = resnets.load(world.checkpoint)
    with pytest.raises(UserError, match=r"no class 'gren'\. Did you mean 'green'"):
        model.heatmap(world.paths[0], "gren")
    with pytest.raises(ImageError):
        model.heatmap(tmp_path / "missing.png")
    detector = resnets.load("fasterrcnn_light_tiny.digit_scenes")
    with pytest.raises(UserError, match=r"Heat maps are of classifiers; .* is a model for detection"):
        detector.heatmap(world.paths[0])


def test_predict_writes_an_image_for_each_image(world, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "maps"
    predict_files.predict_files(str(world.checkpoint), world.paths[:2], heatmap=str(out))
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png"]
    assert f"written: '{out}'" in capsys.readouterr().err
