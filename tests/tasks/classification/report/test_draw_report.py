"""Everything drawn in one call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resnets.errors import JobError
from resnets.tasks.classification.report import draw_report


def names(files) -> list[str]:
    return [path.name for path in files]


def test_a_finished_run(finished, capsys):
    run, predictions = finished()
    before = {path.name for path in run.iterdir()}
    files = draw_report.draw_all(run, predictions)
    assert names(files) == [
        "results.png",
        "confusion_matrix.png",
        "reliability.png",
        "top_losses.png",
        "val_batch_pred.jpg",
        "report.html",
    ]
    assert {path.name for path in run.iterdir()} - before == set(names(files))  # nothing half-written is left
    assert all(path.stat().st_size > 1000 for path in files)
    assert capsys.readouterr() == ("", "")
    page = files[-1].read_text("utf-8")
    assert page.count('src="data:image/') == 5
    assert "75.0 %" in page
    assert f"resnets predict &#39;{run.resolve()}&#39;" in page


def test_what_cannot_be_drawn_is_left_out(tmp_path, unmeasured, finished):
    assert names(draw_report.draw_all(tmp_path / "nothing", None)) == ["report.html"]
    assert names(draw_report.draw_all(unmeasured, None)) == ["results.png", "report.html"]
    run, predictions = finished()
    unlabeled = replace(predictions, true=np.full(len(predictions), -1))
    assert names(draw_report.draw_all(run, unlabeled)) == ["results.png", "val_batch_pred.jpg", "report.html"]
    empty = replace(predictions, paths=(), true=np.zeros(0, np.int64), logits=np.zeros((0, 3), np.float32))
    assert names(draw_report.draw_all(run, empty)) == ["results.png", "report.html"]


def test_a_folder_that_cannot_be_made(tmp_path, finished):
    _, predictions = finished()
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError):
        draw_report.draw_all(tmp_path / "file" / "run", predictions)
