"""What is logged about the first epochs: missed classes, and batches that are too small for batch norm."""

from dataclasses import replace

import pytest

from resnets.recipes import registry
from resnets.recipes.recipe import Recipe
from resnets.tasks.segmentation.training.epoch_remark import epoch_remark


@pytest.fixture
def recipe() -> Recipe:
    found = registry.find("scratch")
    return replace(found, data=replace(found.data, batch=2))


def row(missed: int = 0, val: float = 1.0) -> dict[str, float]:
    return {"train/loss": 1.0, "val/loss": val, "val/classes_missed": missed}


def test_three_classes_that_are_predicted_nowhere_are_said(recipe: Recipe) -> None:
    assert epoch_remark(row(2), recipe, 11) == ""
    assert epoch_remark(row(3), recipe, 11).startswith(
        "3 of 11 classes are in the validation images and predicted nowhere"
    )


def test_a_validation_that_is_far_worse_by_small_batches_is_said(recipe: Recipe) -> None:
    assert "batch of 2 images has no good statistics" in epoch_remark(row(val=2.1), recipe, 11)
    assert epoch_remark(row(val=1.9), recipe, 11) == ""
    larger = replace(recipe, data=replace(recipe.data, batch=4))
    assert epoch_remark(row(val=2.1), larger, 11) == ""
    kept = replace(recipe, freeze=replace(recipe.freeze, norm="eval"))
    assert epoch_remark(row(val=2.1), kept, 11) == ""


def test_a_run_without_validation_has_no_remark(recipe: Recipe) -> None:
    assert epoch_remark({"train/loss": 1.0}, recipe, 11) == ""
