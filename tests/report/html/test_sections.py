"""The text of the report."""

from __future__ import annotations

import json

import pytest

from resnets.report.html import prediction_stats, run_files, sections


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
        ([(0.99, 0.7), (0.99, 0.69)], "the network overfits"),
        ([(0.5, 0.3), (0.4, 0.2)], "weights of epoch 1"),
        ([(0.9, 0.85), (0.91, 0.86)], "more epochs may make it better"),
        ([(0.9, None)], "no validation images"),
        ([], ""),
    ],
)
def test_learning(tmp_path, accuracies, words):
    text = sections.learning(journal(tmp_path / "run", *accuracies))
    assert words in text
    assert ("overfits" in text) == (words == "the network overfits")


def test_summary(finished):
    run, _ = finished(count=48)
    files = run_files.read(run)
    said = " ".join(sections.summary(files, prediction_stats.from_rows(files.predictions)))
    # Every fourth image is wrong, which is four of the sixteen of each class.
    assert "It most often takes “\u2068ant\u2069” for “\u2068bee\u2069”: 4 of 16 times." in said
    assert "75 % of its 16 images are found" in said
    assert "The best of its 3 epochs was number 2" in said


def test_the_temperature_is_explained(finished, rewrite):
    run, _ = finished()
    files = run_files.read(run)
    assert "1.50" in sections.confidence(files, prediction_stats.from_rows(files.predictions))[1]
    rewrite(run, temperature=1.0)
    files = run_files.read(run)
    assert len(sections.confidence(files, prediction_stats.from_rows(files.predictions))) == 1
