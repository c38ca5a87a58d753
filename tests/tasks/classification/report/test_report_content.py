"""The numbers, sections and tables of the report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from resnets.report.content import Figure, Table, Wrong
from resnets.report.run_files import RunFiles
from resnets.tasks.classification.report import report_content


def build(run, predictions):
    content = report_content.build(RunFiles(run), predictions)
    return content, {section.anchor: section.blocks for section in content.sections}


def tables(blocks) -> list[Table]:
    return [block for block in blocks if isinstance(block, Table)]


def test_sections(finished):
    content, sections = build(*finished(count=48))
    assert list(sections) == ["confusion", "confidence", "losses", "images", "classes", "use"]
    figures = [block.file for blocks in sections.values() for block in blocks if isinstance(block, Figure)]
    assert figures == ["confusion_matrix.png", "reliability.png", "top_losses.png", "val_batch_pred.jpg"]
    assert tables(content.data)[0].rows == [("training", 192, 3, 64, 64), ("validation", 48, 3, 16, 16)]
    (classes,) = tables(sections["classes"])
    assert [column.title for column in classes.columns][:3] == ["class", "training images", "validation images"]
    assert [row[:4] for row in classes.rows] == [(name, 64, 16, 0.75) for name in ("ant", "bee", "cat")]
    (pairs,) = tables(sections["confusion"])
    assert pairs.rows[0] == ("ant", "bee", 4, 16, 0.25)
    assert "Most often “\u2068ant\u2069” is predicted as “\u2068bee\u2069”: 4 of 16 times." in sections["confusion"]
    (losses,) = tables(sections["losses"])
    assert isinstance(losses.rows[0][2], Wrong)
    assert not isinstance(losses.rows[-1][2], Wrong)
    assert [row[4] for row in losses.rows] == sorted((row[4] for row in losses.rows), reverse=True)


def test_a_class_without_images_has_empty_cells(finished):
    _, sections = build(*finished(classes=["ant", "bee", "cat", "dog"], count=2))
    assert tables(sections["classes"])[0].rows[3] == ("dog", 0, 0, None, None, None, None)


def test_what_was_not_measured_has_no_section(finished, unmeasured):
    content, sections = build(unmeasured, None)
    assert list(sections) == ["use"]
    assert content.headline == "This model has not been evaluated."
    run, predictions = finished()
    _, sections = build(run, replace(predictions, true=np.full(len(predictions), -1)))
    assert list(sections) == ["images", "use"]


def test_thresholds(predicted):
    confidence = np.array([0.995, 0.92, 0.85, 0.55])
    logits = np.stack([np.log(confidence / (1 - confidence)), np.zeros(4)], axis=1).astype(np.float32)
    results = replace(predicted(list("abcd"), ["ant", "bee"]), true=np.array([0, 1, 0, 1]), logits=logits)
    rows = report_content._thresholds(results).rows
    assert rows == [(0.5, 1.0, 0.5), (0.8, 0.75, 2 / 3), (0.9, 0.5, 0.5), (0.95, 0.25, 1.0), (0.99, 0.25, 1.0)]


def test_key_numbers(finished, rewrite):
    run, _ = finished(classes=[f"class {k}" for k in range(8)])
    numbers = {number.name: number for number in report_content.key_numbers(RunFiles(run))}
    # 30 of 40 are right; Wilson's interval is 59.8 to 85.8 %.
    assert numbers["accuracy (top-1)"][1:] == ("75.0 %", "59.8 % to 85.8 %")
    assert numbers["accuracy (top-5)"].note == "true class among the first 5"
    assert numbers["best epoch"] == ("best epoch", "2", "of 3")
    rewrite(run, num_classes=5, ece_interval=None)
    numbers = {number.name: number for number in report_content.key_numbers(RunFiles(run))}
    assert "accuracy (top-5)" not in numbers
    assert numbers["calibration error"].note == "ECE, lower is better"
