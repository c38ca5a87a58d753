"""Images with their true and predicted classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from resnets.report.figures import canvas
from resnets.report.figures.image_grid import TILE
from resnets.tasks.classification.report import prediction_images


def test_the_highest_losses_come_first(tmp_path, predicted):
    colors = [[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]]
    paths = []
    for number, color in enumerate(colors):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((9, 9, 3), color, np.uint8)).save(paths[-1])
    logits = np.array([[0, 0], [0, 5], [0, 9], [5, 0]], np.float32)
    results = replace(predicted(paths, ["ant", "bee"]), true=np.array([0, 0, 0, -1]), logits=logits)
    with Image.open(prediction_images.draw_top_losses(results.with_labels(), tmp_path / "top_losses.png")) as image:
        row = np.asarray(image.convert("RGB"))[180]
    assert [list(row[30 + k * (TILE + 20) + TILE // 2]) for k in range(3)] == [colors[2], colors[1], colors[0]]
    assert image.width == 60 + 3 * TILE + 40  # the unlabeled one is not among them


def test_right_is_blue_wrong_is_red_unlabeled_is_neither(predicted):
    results = predicted(["some/where/a.png", "b.png", "c.png"], ["ant", "bee"])
    results = replace(results, true=np.array([0, 1, -1]), logits=np.array([[2, 0]] * 3, np.float32))
    right, wrong, unlabeled = (prediction_images._tile(results, k, 0.5) for k in range(3))
    assert (right.bar, [caption.text for caption in right.captions]) == (canvas.RIGHT, ["ant", "✓ ant"])
    assert (wrong.bar, [caption.text for caption in wrong.captions]) == (canvas.WRONG, ["bee", "✗ ant"])
    assert (unlabeled.bar, [caption.text for caption in unlabeled.captions]) == (None, ["ant", "c.png"])
    assert prediction_images._tile(results, 0, 0.5, loss=0.7).captions[2].text == "where/a.png"


def test_random_images_are_the_same_in_every_call(tmp_path, predicted, images):
    results = predicted(images(40), ["ant", "bee", "cat"])
    one = prediction_images.draw_predictions(results, tmp_path / "a.jpg").read_bytes()
    assert prediction_images.draw_predictions(results, tmp_path / "b.jpg").read_bytes() == one
    unlabeled = replace(results, true=np.full(40, -1))
    assert prediction_images.draw_predictions(unlabeled, tmp_path / "c.jpg").read_bytes() != one
