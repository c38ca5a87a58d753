"""The sentences of the report."""

from __future__ import annotations

import json

import pytest

from resnets.report.run_files import RunFiles
from resnets.tasks.classification.report import report_content, report_text


def write_metrics(run, *accuracies: tuple[float, float | None]):
    run.mkdir(exist_ok=True)
    rows = [
        {"epoch": k, "train/accuracy_top1": train, "val/accuracy_top1": val, "val/loss": None if val is None else 1.0}
        for k, (train, val) in enumerate(accuracies, start=1)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RunFiles(run)


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ([(0.99, 0.7), (0.99, 0.69)], "the network overfits"),
        ([(0.5, 0.3), (0.4, 0.2)], "weights of epoch 1"),
        ([(0.9, 0.85), (0.91, 0.86)], "more epochs may improve the result"),
        ([(0.9, None)], "no validation images"),
        ([], ""),
    ],
)
def test_learning(tmp_path, accuracies, words):
    text = report_text.learning(write_metrics(tmp_path / "run", *accuracies))
    assert words in text
    assert ("overfits" in text) == (words == "the network overfits")


def test_summary(finished):
    run, predictions = finished(count=48)
    text = " ".join(report_content.build(RunFiles(run), predictions).summary)
    # Every fourth image is wrong, which is four of the sixteen of each class.
    assert "It most often mistakes “\u2068ant\u2069” for “\u2068bee\u2069”: 4 of 16 times." in text
    assert "75 % of its 16 images are predicted correctly" in text


def test_the_temperature_is_explained(finished, rewrite):
    run, _ = finished()
    assert "1.50" in report_text.confidence(RunFiles(run))[1]
    rewrite(run, temperature=1.0)
    assert len(report_text.confidence(RunFiles(run))) == 1


def test_the_headline_says_how_it_was_measured(finished, rewrite):
    run, predictions = finished()
    headline, text = report_text.headline(RunFiles(run), predictions)
    assert headline == "Of 100 images like these it gets about 60 to 86 right."
    assert text.startswith(
        "Measured on 40 validation images that were not trained on but were used to select the epoch"
    )
    assert "Always predicting the most common class would be right on 35 %." in text
    rewrite(run, split="test", in_sample=False)
    assert "test images that were not trained on: 75.0 % right" in report_text.headline(RunFiles(run), None)[1]


def test_an_evaluation_names_its_checkpoint(finished, rewrite):
    run, predictions = finished()
    for name in ("metrics.jsonl", "recipe.toml", "environment.json", "split.csv"):
        (run / name).unlink()
    rewrite(
        run,
        split="all",
        in_sample=False,
        data="new flowers",
        protocol="1 crop",
        checkpoints=["runs/one/weights/best.safetensors"],
    )
    files = RunFiles(run)
    assert report_text.title(files) == "Evaluation · runs/one/weights/best.safetensors · new flowers"
    assert "/runs/one/weights/best.safetensors IMAGE" in report_text.commands(files)
    text = report_text.headline(files, predictions)[1]
    assert "Measured on 40 images: 75.0 % right" in text
    assert "only if the model was not trained on them" in text
    assert "Protocol: 1 crop." in text


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0.926, 0.963, "Of 100 images like these it gets about 93 to 96 right."),
        (0.951, 0.9537, "Of 100 images like these it gets about 95 right."),
        (0.9915, 0.9989, "Of 1,000 images like these it gets about 992 to 999 right."),
        (0.0, 0.01, "Of 1,000 images like these it gets about 0 to 10 right."),
        (0.376, 0.964, "Of 100 images like these it gets about 38 to 96 right."),
    ],
)
def test_the_accuracy_sentence(low, high, sentence):
    assert report_text.accuracy_sentence(low, high) == sentence


def test_calibration_sentence_names_the_direction():
    def sentence(error, confidence, accuracy, count=1000):
        return report_text.calibration_sentence(error, confidence, accuracy, count=count, by_chance=0.02)

    assert sentence(0.012, 0.9, 0.91).startswith("The model is well calibrated.")
    assert "slightly overconfident" in sentence(0.06, 0.95, 0.89)
    assert "slightly underconfident" in sentence(0.06, 0.83, 0.89)
    assert sentence(0.2, 0.95, 0.75).startswith("The model is overconfident:")
    assert "20.0 percentage points" in sentence(0.2, 0.95, 0.75)
    assert sentence(0.2, 0.75, 0.752).startswith("The confidences are poorly calibrated.")
    assert sentence(0.06, 0.75, 0.752).endswith("by 6.0 percentage points.")


def test_a_calibration_error_that_chance_explains_is_not_called_one():
    text = report_text.calibration_sentence(0.131, 0.7, 0.75, count=40, by_chance=0.22)
    assert text.startswith("40 images are too few to tell whether the confidences are calibrated. On average")
    assert text.endswith(
        "13.1 percentage points; for a perfectly calibrated model, chance alone may make it up to 22.0 percentage points."
    )
    assert "confident:" not in text
