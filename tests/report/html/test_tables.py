"""The tables of the report."""

from __future__ import annotations

from resnets.report.html import run_files, tables


def test_classes_and_splits(finished):
    run, _ = finished(count=48)
    files = run_files.read(run)
    rows = tables.class_rows(files)
    assert [(row.name, row.training, row.images, row.recall) for row in rows] == [
        ("ant", 64, 16, 0.75),
        ("bee", 64, 16, 0.75),
        ("cat", 64, 16, 0.75),
    ]
    assert tables.split_rows(files) == [("training", 192, 3, 64, 64), ("validation", 48, 3, 16, 16)]


def test_a_class_without_images_has_empty_cells(finished):
    run, _ = finished(classes=["ant", "bee", "cat", "dog"], count=2)
    assert tables.class_rows(run_files.read(run))[3] == ("dog", 0, 0, None, None, None, None, None)


def test_key_numbers(finished, rewrite):
    run, _ = finished(classes=[f"class {k}" for k in range(8)])
    numbers = {number.name: number for number in tables.key_numbers(run_files.read(run))}
    assert numbers["accuracy (top-1)"].value == "75.0 %"
    assert numbers["accuracy (top-5)"].note == "true class among the first 5"
    assert numbers["training time"].value == "3 min 4 s"
    assert numbers["best epoch"] == ("best epoch", "2", "of 3")
    rewrite(run, num_classes=5)
    assert "accuracy (top-5)" not in {number.name for number in tables.key_numbers(run_files.read(run))}


def test_flat():
    value = {"command": ["resnets", "train", "a b"], "versions": {"torch": "2"}, "gpu": None, "sizes": [1, 2]}
    assert dict(tables.flatten(value)) == {
        "command": "resnets train 'a b'",
        "versions.torch": "2",
        "gpu": "none",
        "sizes": "[1, 2]",
    }
