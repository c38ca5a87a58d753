import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.quick_figures import leave_white

from resnets.data.datasets.dataset import Sample
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.detection.metrics import summarize
from resnets.tasks.detection.records import Records
from resnets.tasks.detection.report import draw_report

NAMES = ["tulip", "rose", "<b>daisy</b>", "sun", "\u73ab\u7470"]
COMPUTED = {"backend": "torch", "precision": "fp32"}  # as an evaluation adds to the metrics
MONITORS = (Monitor("box_ap", "max"),)
FIGURES = {
    "precision_recall.png", "f1.png", "error_types.png", "recall_by_size.png", "confusion_matrix.png", "worst_images.jpg",
    "val_batch_pred.jpg", "score_histogram.png", "errors_class.jpg", "errors_background.jpg", "errors_missed.jpg",
}  # fmt: skip


def _draw(run: Path, records: Records, metrics: dict, rows: list[dict] | None = None) -> str:
    samples = []
    for index, (height, width) in enumerate(records.sizes.tolist()):
        path = run / f"image{index}.jpg"
        Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(path)
        samples.append(Sample(str(path)))
    (run / "metrics.json").write_text(json.dumps(summarize.summarize(records, len(NAMES), 0.5) | COMPUTED | metrics))
    if rows:
        (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    draw_report.draw(run, samples, records, NAMES, 0.5, MONITORS)
    return (run / "report.html").read_text("utf-8")


def test_a_page_has_all_figures_and_intervals(tmp_path: Path, mask_scenes: Records) -> None:
    rows = [
        {"epoch": 1, "step": 9, "train/loss": 1.0, "val/loss": 1.1, "val/box_ap": 0.2, "val/box_ap50": 0.4, "lr": 0.1}
    ]

    page = _draw(tmp_path, mask_scenes, {"split": "test", "in_sample": False}, rows)

    assert {path.name for path in tmp_path.iterdir()} >= FIGURES | {"results.png"}
    assert page.count("data:image/") >= len(FIGURES)
    assert "95 % interval" in page
    assert "AP of masks" in page
    assert "&lt;b&gt;daisy" in page
    assert "selected on" not in page


def test_images_that_chose_the_epoch_give_no_interval(
    tmp_path: Path, make_records: Callable[..., Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_white(monkeypatch.setattr)
    page = _draw(tmp_path, make_records(6), {"split": "val", "in_sample": True})

    assert "95 % interval" not in page
    assert "no intervals are given" in page
    assert "Up to 300 objects" in page


def test_without_objects_there_are_no_curves(tmp_path: Path, make_records: Callable[..., Records]) -> None:
    page = _draw(tmp_path, make_records(1, most=0), {"split": "val"})

    assert "There were no objects to find" in page
    assert not (tmp_path / "f1.png").exists()


def test_without_an_evaluation_there_is_a_page(tmp_path: Path) -> None:
    draw_report.draw(tmp_path, [], None, NAMES, 0.5, MONITORS)

    assert "has not been evaluated" in (tmp_path / "report.html").read_text("utf-8")


def test_an_image_that_cannot_be_read_becomes_a_gray_tile(
    tmp_path: Path, mask_scenes: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_white(monkeypatch.setattr)
    (tmp_path / "metrics.json").write_text(json.dumps(summarize.summarize(mask_scenes, len(NAMES), 0.5)))
    samples = [Sample(str(tmp_path / f"{k}.jpg")) for k in range(len(mask_scenes))]

    draw_report.draw(tmp_path, samples, mask_scenes, NAMES, 0.5, MONITORS)

    assert (tmp_path / "worst_images.jpg").exists()
