"""The task: targets, loss, what is fitted and kept, comparison, and a run from the command line to the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.image.placement import Placement
from resnets.data.loading.batch import Batch
from resnets.errors import UserError
from resnets.recipes import scratch
from resnets.tasks.base import CrossFitted, Measured
from resnets.tasks.comparison import NOT_SEEN, Exposure
from resnets.tasks.measurements import Measurements, concatenate
from resnets.tasks.multilabel.task import Multilabel

PLACEMENT = Placement((32, 32), (32, 32), (1.0, 1.0))

NAMES = ("ant", "bee", "wasp")
DATA = Dataset(Path("x"), [Sample("a", ("ant",)), Sample("b", ("ant", "bee"))], NAMES)


def make_samples(count: int = 60, *, seed: int = 0) -> list[Sample]:
    random = np.random.default_rng(seed)
    return [
        Sample(f"{index}.png", tuple(np.array(NAMES)[random.random(3) < (0.6, 0.3, 0.2)]), sha256=f"{index:064x}")
        for index in range(count)
    ]


def measure(task: Multilabel, samples: list[Sample], *, noise: float = 1.0, seed: int = 0) -> Measurements:
    """As of a network whose logits are about 2 too low."""
    targets = task.targets(samples)
    random = torch.Generator().manual_seed(seed)
    logits = 3.0 * targets - 3.5 + noise * torch.randn(targets.shape, generator=random)
    return task.measure(logits, samples, targets, ())


def test_targets_are_one_for_each_label() -> None:
    task = Multilabel(NAMES)
    samples = [Sample("a", ("wasp", "ant")), Sample("b", ()), Sample("c", None), Sample("d", ("bee", "bee"))]
    assert task.targets(samples).tolist() == [[1, 0, 1], [0, 0, 0], [-1, -1, -1], [0, 1, 0]]
    with pytest.raises(UserError, match="There are images of 'fly', but the model has only 'ant', 'bee', 'wasp'"):
        task.targets([Sample("a", ("fly",))])


def test_the_loss_is_the_weighted_cross_entropy_summed_over_the_classes() -> None:
    task, recipe = Multilabel(NAMES), scratch.recipe("tiny")
    targets = task.targets([Sample("a", ("ant",)), Sample("b", ("bee", "wasp"))])
    logits = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, -3.0]])
    numbers = torch.arange(2)
    weights = torch.tensor([0.5, 1.5])
    batch = task.prepare_batch(Batch(0, 0, numbers, numbers, torch.zeros(2, 3, 4, 4), targets, weights), recipe)
    losses = task.loss(lambda images: logits, batch)
    each = binary_cross_entropy_with_logits(logits, targets.float(), reduction="none").sum(1)
    assert losses.total == pytest.approx(float((0.5 * each[0] + 1.5 * each[1]) / 2))
    mixing = replace(recipe, augment=replace(recipe.augment, mixup_alpha=1.0))
    mixed = task.prepare_batch(Batch(0, 0, numbers, numbers, torch.zeros(2, 3, 4, 4), targets, weights), mixing)
    assert mixed.targets.sum() == pytest.approx(3, abs=1e-5)
    assert not torch.equal(mixed.targets, batch.targets)


def test_fitted_thresholds_are_stored_by_class_and_used() -> None:
    task, samples = Multilabel(NAMES), make_samples()
    measurements = measure(task, samples)
    fitted = task.fit(measurements)
    assert list(fitted["thresholds"]) == list(NAMES)
    after = task.with_fitted(fitted)
    old, new = (each.summarize(each.keep(measurements)) for each in (task, after))
    assert new["f1_macro"] > old["f1_macro"] + 0.1
    assert new["map"] == old["map"]
    assert after.describe_fitted(task, measurements).startswith("thresholds: macro F1 ")
    # A model with its classes in another order finds its own.
    turned = replace(after, class_names=NAMES[::-1])
    assert turned.thresholds.tolist() == after.thresholds[::-1].tolist()


def test_a_class_without_an_image_has_a_half_and_that_is_said() -> None:
    task = Multilabel(NAMES)
    samples = [replace(sample, labels=tuple(set(sample.labels or ()) - {"wasp"})) for sample in make_samples()]
    measurements = measure(task, samples)
    after = task.with_fitted(task.fit(measurements))
    assert after.fitted["thresholds"]["wasp"] is None
    assert after.thresholds[2] == 0.5
    assert after.describe_fitted(task, measurements).endswith("; 0.5 for 'wasp', without an image in val")
    rows = after.results(samples, measurements)["per_class"]
    assert [row["threshold_fitted"] for row in rows] == [True, True, False]
    assert (rows[2]["ap"], rows[2]["recall"], rows[2]["f1"]) == (None, None, None)
    assert "* not fitted: the class had no image in val" not in after.class_table({"per_class": rows[:2]})[0]


def test_each_fold_is_evaluated_with_the_thresholds_of_the_others() -> None:
    task, samples = Multilabel(NAMES), make_samples()
    measurements = measure(task, samples)
    folds = np.arange(60) % 5
    fitted = task.fit_folds(measurements, folds, 5)
    for fold in range(5):
        assert fitted[fold] == task.fit(measurements.select(folds != fold))
    kept = concatenate([task.with_fitted(fitted[fold]).keep(measurements.select(folds == fold)) for fold in range(5)])
    scores = np.tile(task.example_scores(measurements), (5, 1))
    plain = task.summarize(kept)
    same = task.summarize(kept, CrossFitted(scores, np.arange(60)))
    scores[2] = scores[2, ::-1]
    different = task.summarize(kept, CrossFitted(scores, np.arange(60)))
    widths = [np.ptp(each["map_interval"]) for each in (plain, same, different)]
    assert widths[0] < widths[1] < widths[2]
    assert plain["map"] == same["map"] == different["map"]


def test_images_without_labels_are_not_counted_and_without_a_label_are() -> None:
    task = Multilabel(NAMES)
    samples = [*make_samples(20), Sample("none.png", None), Sample("empty.png", ())]
    kept = task.keep(measure(task, samples))
    assert len(kept) == task.summarize(kept)["count"] == 21


def test_two_models_are_compared_by_their_map_on_the_same_images() -> None:
    task, samples = Multilabel(NAMES), make_samples(200)

    def measured(noise: float) -> Measured:
        return Measured(task, measure(task, samples, noise=noise), {}, "")

    found = task.compare(measured(4.0), measured(0.5), samples, (NOT_SEEN, NOT_SEEN))
    assert found.better == "b"
    assert found.in_words().startswith("B is better than A: mAP of B minus that of A +0.")
    assert task.compare(measured(1.0), measured(1.0), samples, (NOT_SEEN, NOT_SEEN)).better is None
    assert task.compare(measured(4.0), measured(0.5), samples, (NOT_SEEN, Exposure(5))).better is None


def test_a_prediction_has_the_labels_that_reach_their_thresholds() -> None:
    task = Multilabel(NAMES, fitted={"thresholds": {"ant": 0.9, "bee": 0.2, "wasp": None}})
    found = task.predict("a.png", torch.tensor([[1.0, -1.0, 0.0]]), PLACEMENT)
    assert [label for label, _ in found.labels] == ["wasp", "bee"]
    assert found.top == ("ant", pytest.approx(1 / (1 + np.exp(-1))))
    assert set(found.to_row()) == set(task.csv_columns())
    with pytest.raises(UserError, match="`top_k` has no effect on predictions of the task multilabel"):
        task.check_options({"top_k": 3})


def test_unlabeled_images_are_refused_and_labels_of_every_image_are_warned_of() -> None:
    assert Multilabel.check(DATA) == ["'ant' is a label of every training image"]
    with pytest.raises(UserError, match="1 image without labels, such as 'c'"):
        Multilabel.check(replace(DATA, samples=[*DATA.samples, Sample("c")]))


def test_digit_scenes_have_a_recipe_of_their_own_and_other_data_large_crops() -> None:
    assert Multilabel.recognizes(Path("digit-scenes"))
    recipe = scratch.recipe()
    values = {key: value for key, (value, _) in Multilabel.plan(DATA, recipe, None).items()}
    assert values == {"augment.scale": (0.7, 1.0)}
    recipe = replace(recipe, data=replace(recipe.data, location="digit-scenes"))
    values = {key: value for key, (value, _) in Multilabel.plan(DATA, recipe, None).items()}
    assert values["model.name"] == "cifar_resnet20"
    assert values["augment.flip"] == 0


def test_tables_are_written_by_name(tmp_path: Path) -> None:
    task, samples = Multilabel(NAMES), make_samples(5)
    measurements: Any = measure(task, samples)
    task.write_results(tmp_path, samples, measurements)
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert rows[0] == "path,labels,predicted,probability ant,probability bee,probability wasp"
    assert rows[1].startswith(f"0.png,{'|'.join(samples[0].labels or ())},")
    assert len((tmp_path / "per_class.csv").read_text().splitlines()) == 4
