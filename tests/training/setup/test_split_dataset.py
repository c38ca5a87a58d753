from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.tiny_recipe import tiny

from resnets.data.datasets import open_dataset
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split, write_split
from resnets.errors import UserError
from resnets.recipes import registry
from resnets.recipes.override import override
from resnets.training import loop, train
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run
from resnets.training.state import TrainContext, TrainState


def _small(name: str = "scratch", **context: object):
    return replace(tiny(registry.find(name)), **context)


def _train(data: Path, **values: object) -> train.TrainResult:
    result = train.train(data, **{"recipe": _small(), "out": data.parent / "runs", **values})
    assert result is not None
    return result


def _train_without_report(data: Path, **values: Any) -> tuple[Path, TrainContext, TrainState]:
    """A run without its report, which takes longer than the training of so few images."""
    recipe = values.pop("recipe", _small())
    overrides, weights = values.pop("overrides", ()), str(values.pop("weights", "none"))
    request = build_recipe(str(data), None, weights, recipe, values, overrides)
    run = run_dir.create_run_dir(data.parent / "runs", "run")
    (run / "recipe.toml").touch()  # what makes it a run directory
    context = build_context(prepare_run(*request))
    return run, context, loop.run(context, TrainState(), run)


def _splits(run: Path) -> dict[str, set[str]]:
    rows = list(csv.DictReader((run / "split.csv").open()))
    return {name: {row["sha256"] for row in rows if row["split"] == name} for name in ("train", "val")}


def test_a_run_from_weights_takes_over_their_split_by_content(colors, capsys):
    new = colors.parent / "new"
    for path in sorted(colors.rglob("1*.png")):  # ten of each class come later
        (new / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(new / path.parent.name / path.name)
    first = _train(colors, epochs=1, name="first").run
    for path in new.rglob("*.png"):
        path.rename(colors / path.parent.name / f"later {path.name}")
    second = _train(colors, epochs=1, name="second", recipe=tiny(registry.find("finetune")), weights=first).run
    assert "30 new images split" in capsys.readouterr().err
    before, after = _splits(first), _splits(second)
    assert before["train"] < after["train"]
    assert before["val"] < after["val"]
    assert "notices" not in json.loads((second / "metrics.json").read_text())
    # A split that is given is followed, and the images that the weights and those before them were trained on are counted.
    capsys.readouterr()
    weights, values = second, {"recipe": tiny(registry.find("finetune")), "epochs": 1}
    third = _train(colors, name="third", weights=weights, overrides=["data.split_seed=5"], **values).run
    seen = len(_splits(third)["val"] & after["train"])
    stderr = f"{seen} of the {len(_splits(third)['val'])} validation images were used to train the initial weights"
    assert seen > 0
    assert f"warning: {stderr}" in capsys.readouterr().err
    assert stderr in json.loads((third / "metrics.json").read_text())["notices"][0]
    report = (third / "report.html").read_text()
    assert "validation images that were not trained on" not in report
    assert "validation images that were not trained on" not in report
    assert set(json.loads((third / "lineage.json").read_text())["train"]) == after["train"]


@pytest.mark.parametrize("new", [0, 1])
def test_a_run_from_weights_keeps_their_split_with_an_unchanged_folder_or_one_more_image(colors, new, capsys):
    first, _, _ = _train_without_report(colors, epochs=1)
    before = make_split(open_dataset.read(colors))
    write_split(first / "split.csv", before)
    if new:
        Image.new("RGB", (40, 40), (250, 3, 7)).save(colors / "red" / "new.png")
    train.train(colors, weights=first, dry_run=True)
    stderr = capsys.readouterr().err
    assert f"{len(before.subset('train')):,} stay in train, {len(before.subset('val')):,} stay in val" in stderr
    assert ("1 new image to train" in stderr) == bool(new)


def test_the_groups_of_a_recipe_hold_where_a_split_is_inherited(colors):
    first, _, _ = _train_without_report(colors, epochs=1)
    write_split(first / "split.csv", make_split(open_dataset.read(colors)))
    for path in sorted(colors.rglob("*.png")):  # eight images in each of three new folders of a class
        for number in range(2):
            new_path = path.parent / f"day {path.stem[-1]}" / f"{number} {path.name}"
            new_path.parent.mkdir(exist_ok=True)
            image = Image.open(path).convert("RGB")
            image.putpixel((0, 0), (number, 1, 2))
            image.save(new_path)
    recipe = override(_small("finetune"), "data.group_by=folder")
    recipe = replace(recipe, model=replace(recipe.model, name=None))
    prepared = prepare_run(*build_recipe(str(colors), None, first, recipe, {}, []))
    dataset = prepared.dataset
    groups = {sample.group for sample in dataset.samples if sample.group}
    sides = {(sample.group, sample.split) for sample in dataset.samples if sample.group}
    assert prepared.recipe.data.group_by == "folder"
    assert len(sides) == len(groups) > 3


def test_all_unreadable_images_are_listed_at_once_or_left_out(colors, capsys):
    (colors / "red" / "03.png").write_text("this is a text")
    whole = (colors / "green" / "05.png").read_bytes()
    (colors / "green" / "05.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as caught:
        _train(colors, epochs=1)
    assert "red/03.png" in str(caught.value)
    assert "green/05.png" in str(caught.value)
    assert not (colors.parent / "runs").exists()
    _, context, _ = _train_without_report(colors, epochs=1, on_bad="skip")
    assert "left out 2 images" in capsys.readouterr().err
    assert len(context.train_data.paths) + len(context.val_samples) == 70


def test_a_class_whose_last_image_was_left_out_is_named(colors, capsys):
    for path in (colors / "red").iterdir():
        path.write_text("this is a text")
    (colors / "void").mkdir()
    with pytest.raises(UserError, match=r"no image of 'red' is left\. Besides, .* without images: 'void'"):
        train.train(colors, dry_run=True)  # all that is known is said at once
    (colors / "void").rmdir()
    _, context, _ = _train_without_report(colors, epochs=1, on_bad="skip")
    assert "left out the class 'red': none of its images can be read" in capsys.readouterr().err
    assert context.task.class_names == ("blue", "green")
    for path in colors.rglob("*.png"):
        path.write_text("this is a text")
    with pytest.raises(UserError, match=r"None of the 72 images of .* can be read"):
        _train(colors, epochs=1, on_bad="skip")


def test_images_that_fail_only_when_decoded_do_not_end_a_run(colors, capsys):
    """Neither in training nor in validation; and the report says what was left out."""
    Image.fromarray(np.random.default_rng(0).random((32, 32), dtype=np.float32)).save(colors / "red" / "floats.tif")
    content = bytearray((colors / "blue" / "05.png").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (colors / "blue" / "05.png").write_bytes(content)
    Image.new("RGB", (60_000, 4)).save(colors / "green" / "strip.png")
    (colors / "green" / "film.mov").touch()
    run = _train(colors, epochs=1, on_bad="skip", cache="off").run
    line = "not used: 1 .mov, 2 images that cannot be read"
    assert "not used: 1 .mov" in capsys.readouterr().err
    assert json.loads((run / "environment.json").read_text())["not_used"] == line
    assert "Not used: 1 .mov, 2 images that cannot be read." in (run / "report.html").read_text()
    train.train(resume=run, epochs="+1")
    assert json.loads((run / "environment.json").read_text())["not_used"] == line


def test_a_written_split_is_followed_and_left_out_images_do_not_break_it(colors, tmp_path):
    (colors / "red" / "03.png").write_text("this is a text")
    dataset = open_dataset.read(colors)
    write_split(tmp_path / "split.csv", make_split(dataset, val_fraction=0.4, seed=7))
    result = _train(colors, epochs=1, split_file=str(tmp_path / "split.csv"), on_bad="skip")
    theirs, ours = ((path / "split.csv").read_text().splitlines() for path in (tmp_path, result.run))
    assert set(ours) == {row for row in theirs if "red/03.png" not in row}
    # The run's own split does not know the bad image, which is still there.
    assert {each.split for each in read_split(result.run / "split.csv", dataset).samples} == {"train", "val"}
    with pytest.raises(UserError, match=r"`val_fraction=0\.3` exclude each other"):
        _train(colors, split_file=str(tmp_path / "split.csv"), val_fraction=0.3)
