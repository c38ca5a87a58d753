"""What the sections of the report say."""

from __future__ import annotations

import json

import pytest

from resnets.report.html import prediction_counts, run_files, sections


def journal(run, *accuracies: tuple[float, float | None]):
    run.mkdir(exist_ok=True)
    rows = [
        {"epoch": k, "train/accuracy_top1": train, "val/accuracy_top1": val, "val/loss": None if val is None else 1.0}
        for k, (train, val) in enumerate(accuracies, start=1)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run_files.read(run)


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ([(0.99, 0.7), (0.99, 0.69)], "learned some by heart"),
        ([(0.5, 0.3), (0.4, 0.2)], "weights of epoch 1"),
        ([(0.9, 0.85), (0.91, 0.86)], "more epochs may make it better"),
        ([(0.9, None)], "no validation images"),
        ([], ""),
    ],
)
def test_course(tmp_path, accuracies, words):
    said = sections.course(journal(tmp_path / "run", *accuracies))
    assert words in said
    assert ("by heart" in said) == (words == "learned some by heart")


def test_summary(finished):
    run, _ = finished(count=48)
    files = run_files.read(run)
    said = " ".join(sections.summary(files, prediction_counts.count(files.predictions)))
    # Every fourth image is wrong, which is four of the sixteen of each class.
    assert "It most often takes “\u2068ant\u2069” for “\u2068bee\u2069”: 4 of 16 times." in said
    assert "75 % of its 16 images are found" in said
    assert "The best of its 3 epochs was number 2" in said


def test_classes_and_parts(finished):
    run, _ = finished(count=48)
    files = run_files.read(run)
    rows = sections.class_rows(files)
    assert [(row.name, row.training, row.images, row.recall) for row in rows] == [
        ("ant", 64, 16, 0.75),
        ("bee", 64, 16, 0.75),
        ("cat", 64, 16, 0.75),
    ]
    assert sections.split_rows(files) == [("training", 192, 3, 64, 64), ("validation", 48, 3, 16, 16)]


def test_a_class_without_images_has_empty_cells(finished):
    run, _ = finished(classes=["ant", "bee", "cat", "dog"], count=2)
    assert sections.class_rows(run_files.read(run))[3] == ("dog", 0, 0, None, None, None, None, None)


def test_facts(finished, rewrite):
    run, _ = finished(classes=[f"class {k}" for k in range(8)])
    said = {fact.name: fact for fact in sections.facts(run_files.read(run))}
    assert said["right (top-1)"].value == "75.0 %"
    assert said["among the first 5"].note == "top-5"
    assert said["training time"].value == "3 min 4 s"
    assert said["best epoch"] == ("best epoch", "2", "of 3")
    rewrite(run, classes=5)
    assert "among the first 5" not in {fact.name for fact in sections.facts(run_files.read(run))}


def test_flat():
    value = {"command": ["resnets", "train", "a b"], "versions": {"torch": "2"}, "gpu": None, "sizes": [1, 2]}
    assert dict(sections.flat(value)) == {
        "command": "resnets train 'a b'",
        "versions.torch": "2",
        "gpu": "none",
        "sizes": "[1, 2]",
    }


def test_the_temperature_is_explained(finished, rewrite):
    run, _ = finished()
    files = run_files.read(run)
    assert "1.50" in sections.confidence(files, prediction_counts.count(files.predictions))[1]
    rewrite(run, temperature=1.0)
    files = run_files.read(run)
    assert len(sections.confidence(files, prediction_counts.count(files.predictions))) == 1
