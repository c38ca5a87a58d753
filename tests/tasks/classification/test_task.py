"""Classification as a task: its options, its targets, and the rows that it keeps of each image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.tasks.classification.task import Classification
from resnets.tasks.load_model import load
from resnets.tasks.measurements import Measurements
from resnets.tasks.trained_model import TrainedModel

PLACEMENT = Placement((32, 32), (32, 32), (1.0, 1.0))

NAMES = ("red", "green", "blue")
TASK = Classification(NAMES)


@pytest.mark.parametrize(
    ("options", "shows"),
    [
        ({"crops": 7}, "`crops` is 1, 6 or 10; received 7"),
        ({"crops": 10, "scales": (64,)}, "give only one"),
        ({"scales": (0,)}, "`scales` are sides in pixels, 1 or more; received 0"),
        ({"overlap": 0.5}, "`overlap` has no effect on the task classification"),
    ],
)
def test_options_of_an_evaluation_are_checked(options: dict, shows: str, world) -> None:
    with pytest.raises(UserError, match=shows):
        TASK.check_evaluation([load(world.checkpoint)], options)


def test_views_have_to_fit_every_model_of_an_ensemble(world) -> None:
    good = load(world.checkpoint)
    TASK.check_evaluation([good, good], {"crops": 10})
    whole = TrainedModel(TASK, load(world.checkpoint).model, Preprocess.tf(32))
    with pytest.raises(UserError, match="resizes whole images"):
        TASK.check_evaluation([good, whole], {"crops": 10})
    fixed = TrainedModel(TASK, zoo.build("notes_resnet50", num_classes=3), Preprocess.imagenet(64))
    with pytest.raises(UserError, match="takes 64 pixels only"):
        TASK.check_evaluation([good, fixed], {"scales": (64, 96)})


def test_as_many_pairs_of_columns_as_classes_are_named() -> None:
    assert TASK.csv_columns(top_k=1) == ["path", "label", "probability", "error"]
    assert TASK.csv_columns()[4:] == ["label_2", "probability_2", "label_3", "probability_3"]
    top = TASK.predict("a.png", torch.tensor([[1.0, 2.0, 3.0]]), PLACEMENT, top_k=2)
    assert set(top.to_row()) == set(TASK.csv_columns(top_k=2))


def test_of_equal_logits_the_first_class_comes_first() -> None:
    found = replace(TASK, fitted={"temperature": 2.0}).predict("a.png", torch.tensor([[1.0, 3.0, 3.0]]), PLACEMENT)
    assert (found.label, [name for name, _ in found.top]) == ("green", ["green", "blue", "red"])
    assert found.probability == pytest.approx(1 / (2 + np.exp(-1)))


def test_training_needs_one_label_for_each_image() -> None:
    def dataset(*labels: tuple[str, ...] | None) -> Dataset:
        samples = [Sample(f"{index}.png", each) for index, each in enumerate(labels)]
        return Dataset(Path("data"), samples, NAMES)

    assert TASK.check(dataset(("red",), ("blue",))) == []
    with pytest.raises(UserError, match=r"1 image without exactly one label, such as '1\.png', which has no label"):
        TASK.check(dataset(("red",), None))
    with pytest.raises(UserError, match="which has several labels"):
        TASK.check(dataset(("red", "green"), ("red",)))


def test_images_without_a_label_are_kept_out_of_the_metrics_and_of_the_fit() -> None:
    random = np.random.default_rng(0)
    true = np.r_[np.arange(60) % 3, -np.ones(5, np.int64)]
    logits = random.normal(0, 2, (65, 3)).astype(np.float32)
    logits[np.arange(60), true[:60]] += 2
    every = Measurements({"logits": torch.from_numpy(logits), "true": torch.from_numpy(true)})
    labeled = every.select(true >= 0)
    assert len(TASK.keep(every)) == 60
    assert TASK.summarize(TASK.keep(every)) == TASK.summarize(TASK.keep(labeled))
    assert TASK.fit(every)["temperature"] == pytest.approx(TASK.fit(labeled)["temperature"])
    assert TASK.example_scores(every)[60:].tolist() == [0.0] * 5


def test_fitting_the_folds_at_once_is_fitting_each_of_them() -> None:
    random = np.random.default_rng(1)
    true = np.arange(90) % 3
    logits = random.normal(0, 3, (90, 3)).astype(np.float32)
    logits[np.arange(90), true] += 3
    measured = Measurements({"logits": torch.from_numpy(logits), "true": torch.from_numpy(true)})
    folds = np.arange(90) // 30
    together = TASK.fit_folds(measured, folds, 3)
    alone = [TASK.fit(measured.select(folds != fold)) for fold in range(3)]
    assert [each["temperature"] for each in together] == pytest.approx(
        [each["temperature"] for each in alone], rel=1e-3
    )
    assert len({each["temperature"] for each in together}) == 3


def test_the_recipes_of_papers_do_not_smooth_labels() -> None:
    assert {name for name, values in TASK.recipe_values.items() if values["task.label_smoothing"]} == {
        "cifar_fast",
        "scratch",
        "finetune",
    }
    assert TASK.label_smoothing == 0
