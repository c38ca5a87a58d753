"""The evaluation of checkpoints, apart from the numbers of a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from resnets.errors import UserError
from resnets.tasks.evaluation.evaluate import evaluate_checkpoints
from resnets.tasks.segmentation.task import Segmentation
from resnets.weights import checkpoint as checkpoints


def test_a_model_of_an_unknown_task_is_refused(world, tmp_path: Path) -> None:
    other = tmp_path / "boxes.safetensors"
    checkpoints.save(other, replace(checkpoints.read(world.checkpoint), task="boxes"))
    with pytest.raises(UserError, match="There is no task 'boxes'"):
        evaluate_checkpoints([world.checkpoint, other], world.data, device="cpu")


def test_a_model_without_class_names_is_refused(world, tmp_path: Path) -> None:
    unnamed = tmp_path / "unnamed.safetensors"
    checkpoints.save(unnamed, replace(checkpoints.read(world.checkpoint), class_names=()))
    with pytest.raises(UserError, match=r"unnamed\.safetensors' has no names for its 3 outputs.*--class-names FILE"):
        evaluate_checkpoints([unnamed], world.data, device="cpu")


def test_the_model_is_named_where_the_data_have_other_classes(world, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    checkpoints.save(other, replace(checkpoints.read(world.checkpoint), class_names=("red", "green", "violet")))
    with pytest.raises(
        UserError, match=r"The model '.*other\.safetensors' does not fit the data: '.*' has images of 'blue'"
    ):
        evaluate_checkpoints([other], world.data, device="cpu")


def test_the_task_is_named_where_the_data_are_for_another_one(world, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    for folder in ("images", "masks"):
        (masks / folder).mkdir(parents=True)
        Image.new("L", (32, 32)).save(masks / folder / "a.png")
    with pytest.raises(
        UserError, match=r"is a model of the task classification, and the data '.*masks' are for segmentation"
    ):
        evaluate_checkpoints([world.checkpoint], masks, device="cpu")
    segmenter = tmp_path / "segmenter.safetensors"
    config = {"architecture": "light"}
    stored = replace(checkpoints.read(world.checkpoint), task="segmentation", config=config, fitted={})
    net = Segmentation(stored.class_names).build(stored.spec)
    checkpoints.save(segmenter, replace(stored, tensors=net.state_dict()))
    with pytest.raises(
        UserError, match=r"is a model of the task segmentation, and the data '.*' are for classification"
    ):
        evaluate_checkpoints([segmenter], world.data, device="cpu")


def test_what_is_fitted_is_stored_with_its_origin(world, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.safetensors"
    before = checkpoints.read(world.checkpoint)
    checkpoints.save(own, before)
    found = evaluate_checkpoints([own], world.data, device="cpu", calibrate=True, split="all")
    after = checkpoints.read(own)
    assert after.fitted == {"temperature": found.metrics["temperature"]} != before.fitted
    assert after.provenance["calibration"] == {"data": str(world.data), "split": "all", "images": 18}
    assert f"stored in '{own}': temperature {after.temperature:.3f} (was 1.500): loss " in capsys.readouterr().err
    assert found.in_sample
    again = evaluate_checkpoints([own], world.data, device="cpu")
    assert again.metrics["loss"] == pytest.approx(found.metrics["loss"])


@pytest.mark.parametrize(
    ("count", "options", "shows"),
    [(2, {}, "`calibrate` fits one checkpoint to plain images; received 2"), (1, {"crops": 10}, "without `crops`")],
)
def test_only_one_checkpoint_is_fitted_and_to_plain_images(count: int, options: dict, shows: str, world) -> None:
    with pytest.raises(UserError, match=shows):
        evaluate_checkpoints([world.checkpoint] * count, world.data, calibrate=True, split="all", **options)


def test_images_that_cannot_be_read_are_left_out_of_both_models_of_a_comparison(world, know, tmp_path: Path) -> None:
    know(tmp_path / "b.safetensors", world.samples, seed=1)
    table = tmp_path / "images.csv"
    (tmp_path / "bad.png").touch()
    rows = [f"{sample.path},{sample.label}" for sample in world.samples]
    table.write_text("\n".join(["path,label", *rows[:4], "bad.png,red", *rows[4:]]))
    files = [world.checkpoint, tmp_path / "b.safetensors"]
    found = evaluate_checkpoints(files, table, device="cpu", pairwise=True, on_bad="skip")
    assert found.comparison is not None
    assert found.comparison.to_dict()["count"] == 18
    assert [len(model.samples) for model in found.models] == [18, 18]
    assert [Path(model.skipped[0]).name for model in found.models] == ["bad.png", "bad.png"]
