"""Predictions and evaluations with several views agree, and one view is what it was."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.data.object_datasets.object_masks import encode
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample
from resnets.errors import JobError, UserError
from resnets.tasks.detection import records
from resnets.tasks.detection.metrics.average_precision import validation_metrics
from resnets.tasks.trained_model import TrainedModel

Finder = Callable[..., TrainedModel]


@pytest.fixture
def scenes(tmp_path: Path) -> list[Sample]:
    """Three images with squares, annotated."""
    random, samples = np.random.default_rng(0), []
    for number in range(3):
        image, objects = np.zeros((300, 400, 3), np.uint8), []
        for y, x in random.permutation([(y, x) for y in (0, 100, 200) for x in (0, 100, 200, 300)])[:4].tolist():
            side = int(random.integers(12, 90))
            image[y : y + side, x : x + side] = 255
            mask = np.zeros((300, 400), bool)
            mask[y : y + side, x : x + side] = True
            objects.append(Object("white", (float(x), float(y), float(x + side), float(y + side)), encode(mask)))
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        samples.append(make_sample(str(tmp_path / f"{number}.png"), ImageObjects(tuple(objects), (300, 400))))
    return samples


def test_one_view_is_what_it_was(make_finder: Finder, scenes: list[Sample]) -> None:
    """To the bit, also where the options have the values that they have anyway."""
    model, paths = make_finder(), [sample.path for sample in scenes]
    plain = model.predict(paths)
    assert sum(len(each.objects) for each in plain) > 5
    assert model.predict(paths, scales=(), flip=False, tile=None, nms="hard") == plain
    assert model.predict(paths, scales=[320]) == plain


def test_an_evaluation_measures_what_is_predicted(make_finder: Finder, scenes: list[Sample], tmp_path: Path) -> None:
    """The same objects and scores; images that cannot be read are left out where that is asked for."""
    model = make_finder()
    options = {"scales": (160, 320), "flip": True, "tile": 300}
    (tmp_path / "text.png").write_text("no image")
    samples = [make_sample(str(tmp_path / "text.png"), ImageObjects((), (300, 400))), *scenes]
    predicted = model.predict([sample.path for sample in samples], **options)
    settings = {"batch": 4, "workers": 1}
    measured = model.task.measure_models([model], samples, on_bad="skip", **settings, **options)
    rows = measured.measurements.rows
    assert rows["index"].tolist() == [1, 2, 3]
    assert predicted[0].error
    for found, image in zip(rows["found"], predicted[1:], strict=True):
        assert len(image.objects) == 4
        expected = [[*each.box, each.score, model.class_names.index(each.label)] for each in image.objects]
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-4)
    assert validation_metrics(records.of(measured.measurements), 2)["box_ap50"] == 1
    assert measured.protocol.endswith("and the whole image, at longer sides of 160, 320, each also mirrored")
    assert measured.computed == {"backend": "reference", "precision": "fp32"}
    with pytest.raises(JobError, match="1 of 4 images cannot be read"):
        model.task.measure_models([model], samples, on_bad="error", **settings, **options)


def test_detectors_are_an_ensemble(make_finder: Finder, scenes: list[Sample]) -> None:
    """Classes in another order; the threshold is the mean of both; in an evaluation as in predictions."""
    one, other = make_finder(threshold=0.9), make_finder(("white", "red"), threshold=0.5)
    other.model.labels = [1, 0]
    paths = [sample.path for sample in scenes]
    together = one.predict(paths, ensemble=[other])
    alone = make_finder(threshold=0.7).predict(paths)
    for found, expected in zip(together, alone, strict=True):
        assert [each.label for each in found.objects] == [each.label for each in expected.objects]
        assert [each.score for each in found.objects] == pytest.approx([each.score for each in expected.objects])
        for each, wanted in zip(found.objects, expected.objects, strict=True):
            assert each.box == pytest.approx(wanted.box, abs=1e-3)
            assert each.rle == wanted.rle
    one.task.check_evaluation([one, other], {})
    measured = one.task.measure_models([one, other], scenes, batch=2, workers=1, on_bad="error")
    assert measured.task.fitted == {"score_threshold": pytest.approx(0.7)}
    assert measured.protocol == "one view with a longer side of 320, weighted boxes fusion"
    assert validation_metrics(records.of(measured.measurements), 2)["box_ap50"] == 1
    with pytest.raises(UserError, match="also has 'dog'"):
        one.predict(paths, ensemble=[make_finder(("red", "dog"))])


def test_options_of_an_evaluation_are_checked(make_finder: Finder) -> None:
    model = make_finder()
    model.task.check_evaluation([model], {"flip": True, "tile": 640})
    with pytest.raises(UserError, match="`crops` has no effect on the task detection"):
        model.task.check_evaluation([model], {"crops": 10})
