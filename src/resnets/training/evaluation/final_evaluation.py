"""What a run leaves behind when it has ended: calibrated best weights, predictions, metrics and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from resnets.data.datasets.dataset import Sample
from resnets.report import draw_run as drawings
from resnets.tasks.classification import load, metrics, test_time_augmentation
from resnets.tasks.classification.evaluate_job import CHOSE_BOTH
from resnets.tasks.classification.prediction_set import Predictions
from resnets.training.evaluation.cross_fitting import CrossFit
from resnets.training.run_dir import run_dir
from resnets.weights import checkpoint as checkpoints

BATCH = 64


def evaluate_run(
    run: Path,
    val: Sequence[Sample],
    *,
    test: Sequence[Sample] = (),
    device: str,
    folds: CrossFit | None = None,
    precision: str = "fp32",
    pooled: tuple[Tensor, str] | None = None,
    notices: Sequence[str] = (),
) -> dict[str, Any]:
    """Judge the best weights of `run`, store the temperature fitted on `val`, write tables, images and report.

    The figures at the top of `metrics.json` are measured on images that chose nothing: on `test`, or else over the
    `folds` of `val`. Those of the best weights on `val`, which chose the epoch and the temperature, stand under
    "selected"; `resnets evaluate` computes the same, as far as the precisions agree. Where there are neither `test` nor
    `folds` they stand at the top, with `in_sample` true. "split" and "protocol" say what was done. The tables and figures
    of single classes and images are of `test`, or else of `val`.

    Args:
        folds: what the cross-fitting of all epochs has made of `val`.
        precision: in which the logits were computed that `folds` took in, that of the training.
        pooled: float32 (N, features), what the backbone of the best weights makes of each image in `val`, if it is known,
            and the backend that computed it.
        notices: what has to be known before the figures are believed, such as that the weights at the beginning had seen
            some of the images; sentences for `metrics.json` and the report.

    Returns:
        The metrics as they stand in `metrics.json`; empty with neither `val` nor `test`.
    """
    if not val and not test:
        drawings.draw_all(run, None)
        return {}
    path = run / "weights" / "best.safetensors"
    best = load.load(path, device=device)
    view, summary = test_time_augmentation.protocol(best.preprocess, 1, ()), {}
    if val:
        predictions = (
            load.evaluate([best], val, batch=BATCH)
            if pooled is None
            else load.evaluate_pooled(best, val, pooled[0], backend=pooled[1])
        )
        predictions = replace(predictions, temperature=metrics.fit_temperature(predictions.logits, predictions.true))
        summary = _figures(predictions, "val", f"{view}; the val split: {CHOSE_BOTH}") | {"in_sample": True}
    if test:
        temperature = summary.get("temperature", 1.0)
        predictions = replace(load.evaluate([best], test, batch=BATCH), temperature=temperature)
        headline = _figures(predictions, "test", f"{view}; the test split: these images chose nothing")
    elif folds is not None:
        headline = folds.figures(len(best.classes)) | {"temperature": summary["temperature"], "split": "val"}
        headline |= {"backend": "torch" if pooled is None else pooled[1], "precision": precision}
        if pooled is not None and precision != "fp32":
            headline["precision"] = f"fp32, the last layer {precision}"
        headline["protocol"] = (
            f"{view}; cross-fitted over the val split: each of {len(folds.best)} folds is judged by the epoch and the "
            "temperature that the other folds chose"
        )
    else:
        headline = summary
    if headline is not summary:
        headline = headline | {"in_sample": False} | ({"selected": summary} if summary else {})
    if notices:
        headline = headline | {"notices": list(notices)}
    checkpoints.save(path, replace(checkpoints.read(path), temperature=headline["temperature"], metrics=headline))
    run_dir.write_json(run / "metrics.json", headline)
    metrics.write_per_class(run / "per_class.csv", predictions)
    predictions.write_csv(run / "predictions.csv")
    drawings.draw_all(run, predictions)
    return headline


def _figures(predictions: Predictions, split: str, protocol: str) -> dict[str, Any]:
    return {**metrics.summarize(predictions), **predictions.computed, "split": split, "protocol": protocol}
