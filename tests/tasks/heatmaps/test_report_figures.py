"""The heat maps in reports: of the right images and classes, and in the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

import resnets
from resnets.report.figures import canvas, image_grid
from resnets.report.figures.image_grid import Caption
from resnets.tasks.heatmaps import report_figures
from resnets.tasks.heatmaps.heatmap import largest_value
from resnets.tasks.heatmaps.report_figures import Example


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_an_evaluation_has_the_maps_of_its_mistakes_and_of_each_class(world, tmp_path: Path) -> None:
    shutil.copytree(world.data, tmp_path / "data")
    with Image.open(tmp_path / "data" / "red" / "0.png") as image:
        image.rotate(180).save(tmp_path / "data" / "green" / "wrong.png")
    evaluation = resnets.evaluate(world.checkpoint, tmp_path / "data")
    model = evaluation.models[0]
    model.task.draw_report(tmp_path, model.samples, model.measured.measurements, model.model)
    assert evaluation.metrics["top1"] < 1
    for name in (report_figures.OF_MISTAKES, report_figures.OF_CLASSES):
        assert pixels(tmp_path / name).shape[1] > 300
    page = (tmp_path / "report.html").read_text()
    assert page.count("Heat maps: red raises the logit") == 2
    assert resnets.evaluate([world.checkpoint, world.checkpoint], world.data).models[0].model is None


def test_the_maps_beside_an_image_are_those_of_its_classes_in_one_scale(world, tmp_path: Path) -> None:
    model = resnets.load(world.checkpoint)
    names = model.class_names
    gone = tmp_path / "gone.png"
    shutil.copyfile(world.paths[0], gone)
    examples = [
        Example(path, [Caption("image")], [(name, name, canvas.RIGHT) for name in names[:2]])
        for path in (world.paths[1], str(gone))
    ]
    gone.write_bytes(b"")
    (out,) = report_figures.draw(model, examples, tmp_path / "maps.png", "")
    page = pixels(out)
    maps = [model.heatmap(world.paths[1], name) for name in names[:2]]
    expected = [heatmap.over_image(largest_value(maps), image_grid.TILE) for heatmap in maps]
    left = 30 + image_grid.TILE + 20  # margin, image, gap: the third tile begins 240 pixels later
    for number, tile in enumerate(expected):
        x = left + number * (image_grid.TILE + 20)
        np.testing.assert_array_equal(page[30 : 30 + 220, x : x + 220], image_grid.fit_tile(tile))
    assert (page[100:200, left + 720 : left + 900] == 255).all()  # no maps of the image that is gone


def test_a_model_without_maps_has_no_figures(world, tmp_path: Path) -> None:
    example = Example(world.paths[0], [], [("red", "red", canvas.RIGHT)])
    assert report_figures.draw(None, [example], tmp_path / "a.png", "") == []
    assert report_figures.draw(resnets.load(world.checkpoint), [], tmp_path / "a.png", "") == []
    assert not (tmp_path / "a.png").exists()
    assert report_figures.blocks(tmp_path, "a.png", "") == []
