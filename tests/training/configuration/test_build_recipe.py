"""Given values enter the recipe with their origin, and no value is given twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from resnets.errors import UserError
from resnets.recipes.recipe import flat_values
from resnets.tasks.classification.task import Classification
from resnets.training.configuration import build_recipe


def test_each_value_has_its_origin() -> None:
    builder, task, initial = build_recipe.build_recipe(
        "shapes", "tiny", "none", "scratch", {"epochs": 3, "freeze": 1}, ["optim.momentum=0.5"]
    )
    assert (task, initial) == (Classification, None)
    values = flat_values(builder.recipe)
    assert (values["stop.epochs"], values["freeze.layers"], values["optim.momentum"]) == (3, "1", 0.5)
    given = {key: origin for key, origin in builder.origins.items() if origin.startswith("given")}
    assert given == {"data.location": "given", "model.name": "given: --model", "stop.epochs": "given: --epochs",
                     "freeze.layers": "given: --freeze", "optim.momentum": "given: --set"}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "overrides", "words"),
    [
        ({"epochs": 3}, ["stop.epochs=4"], "`stop.epochs=4` and `epochs=3` set the same value twice"),
        ({}, ["optim.lr=1", "optim.lr=2"], "`optim.lr=2` and optim.lr=1.0 set the same value twice"),
        ({}, ["optim.lrr=1"], "no key 'optim.lrr'"),
    ],
)
def test_a_value_is_given_once(given: dict[str, object], overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        build_recipe.build_recipe("shapes", "tiny", "none", "scratch", given, overrides)
    assert words in str(caught.value)


def test_unknown_arguments_are_named() -> None:
    arguments = {**dict.fromkeys(build_recipe.ARGUMENT_KEYS), "data": "photos", "epochs": 3, "other": {}}
    assert build_recipe.given_arguments(arguments) == {"epochs": 3}
    with pytest.raises(UserError, match=r"no argument 'epoch'\. Did you mean 'epochs'\?"):
        build_recipe.given_arguments({"other": {"epoch": 3}})


@pytest.mark.parametrize("word", ["None", "False", "random", "none"])
def test_no_weights_in_the_words_of_other_libraries_are_a_run_from_scratch(word: str) -> None:
    builder = build_recipe.build_recipe("photos", "resnet18", None, None, {}, [f"model.weights={word}"]).builder
    assert (builder.recipe.name, builder.recipe.model.weights) == ("scratch", "none")


def test_a_folder_with_the_name_of_a_builtin_dataset_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def origin() -> str:
        builder = build_recipe.build_recipe("digits", "resnet18", None, None, {}, []).builder
        return builder.origins["model.weights"]

    assert "is built in" in origin()
    (tmp_path / "digits").mkdir()
    assert "is built in" not in origin()


def _write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def test_the_task_is_that_of_the_argument_or_of_the_weights_or_of_the_data(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _write_image(tmp_path / "folders" / name / "1.png")
    folders = str(tmp_path / "folders")
    assert build_recipe.build_recipe(folders, "tiny", "none", None, {}, []).task is Classification
    for words in ({"task": "multilabel"}, {"overrides": ["task.name=multilabel"]}):
        request = build_recipe.build_recipe(
            folders, "tiny", "none", None, {}, words.get("overrides", []), words.get("task")
        )
        assert request.task.name == request.builder.recipe.task.name == "multilabel"
        assert request.builder.origins["task.name"] == "given: --task"
    with pytest.raises(UserError, match=r"no task 'multilable'\. Did you mean 'multilabel'"):
        build_recipe.build_recipe(folders, "tiny", "none", None, {}, [], "multilable")


def test_a_named_recipe_has_its_own_values_of_a_task_which_are_not_given_ones() -> None:
    for recipe, smoothing in (("scratch", 0.1), ("he2015_cifar", 0.0)):
        builder = build_recipe.build_recipe("shapes", "tiny", "none", recipe, {}, []).builder
        assert flat_values(builder.recipe)["task.label_smoothing"] == smoothing
        assert not builder.is_given("task.label_smoothing")
    builder = build_recipe.build_recipe("shapes", "tiny", "none", "scratch", {}, ["task.label_smoothing=0.3"]).builder
    assert flat_values(builder.recipe)["task.label_smoothing"] == 0.3


def test_a_setting_of_a_detector_may_be_given_before_its_architecture_is_known() -> None:
    """YOLOv3 has another loss; the default architecture of a recipe has not."""
    builder, _, _ = build_recipe.build_recipe("shapes", "yolov3_light_tiny", "none", None, {}, ["task.box_loss=giou"])
    values = flat_values(builder.recipe)
    assert (values["task.architecture"], values["task.box_loss"]) == ("yolov3", "giou")
