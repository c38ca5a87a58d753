"""The page of a run: what it says is what was found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.multilabel import metrics, report, tables
from resnets.tasks.multilabel.confused_labels import most_confused
from resnets.tasks.multilabel.metrics import Labels

MONITORS = (Monitor("map", "max"),)
NAMES = ("ant", "bee <b>", "wasp")


def make_run(folder: Path) -> tuple[list[Sample], Labels]:
    random = np.random.default_rng(0)
    true = random.random((30, 3)) < 0.4
    logits = (4.0 * true - 2 + random.normal(0, 1.5, true.shape)).astype(np.float32)
    samples = []
    for index, row in enumerate(true):
        path = folder / f"{index}.png"
        Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
        samples.append(Sample(str(path), tuple(np.array(NAMES)[row]), "val"))
    labels = Labels(logits, true, logits >= 0, np.arange(30))
    (folder / "metrics.json").write_text(json.dumps(metrics.summarize(labels) | {"split": "val"}))
    rows = [{"epoch": k, "val/map": 0.5 + k / 10, "val/loss": 1 / k, "train/loss": 1.0, "lr": 0.1} for k in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return samples, labels


def test_the_page_has_the_classes_the_confused_labels_and_the_worst_images(tmp_path: Path) -> None:
    samples, labels = make_run(tmp_path)
    rows = tables.class_rows(labels, NAMES, np.array([0.5, 0.25, 0.5]), [False, True, True])
    report.draw(tmp_path, report.Evaluated(samples, labels, NAMES, rows), MONITORS)
    page = (tmp_path / "report.html").read_text()
    assert f"mAP) is {100 * metrics.summarize(labels)['map']:.1f}" in page
    assert "No validation image has ant: the threshold is 0.5 there" in page
    assert "bee &lt;b&gt;" in page
    assert "<b>" not in page.split("<main")[-1].replace("<body", "")
    assert "0.250" in page
    losses = np.logaddexp(0, labels.logits) - labels.logits * labels.true
    assert samples[int(losses.sum(1).argmax())].path in page
    for name in ("results.png", "worst_images.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width > 300


def test_a_run_without_an_evaluation_has_a_page(tmp_path: Path) -> None:
    make_run(tmp_path)
    (tmp_path / "metrics.json").unlink()
    report.draw(tmp_path, report.Evaluated([], None, NAMES, []), MONITORS)
    assert "has not been evaluated" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "worst_images.png").exists()


def test_pairs_of_missed_and_added_labels_are_counted() -> None:
    true = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], bool)
    predicted = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]], bool)
    found = most_confused(true, predicted, NAMES, 5)
    assert [tuple(pair) for pair in found] == [("ant", "bee <b>", 2, 3), ("ant", "wasp", 1, 3)]
    assert most_confused(true, true, NAMES, 5) == []
