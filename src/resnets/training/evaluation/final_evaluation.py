"""The final evaluation of a run: temperature of the best weights, metrics, predictions and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from resnets.data.datasets.dataset import Sample
from resnets.tasks.classification import calibration, load_classifier, metrics, predict_samples, test_time_augmentation
from resnets.tasks.classification.evaluate import describe_selection
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.classification.report import draw_report
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
    cross_fit: CrossFit | None = None,
    precision: str = "fp32",
    val_features: tuple[Tensor, str] | None = None,
    notices: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate the best weights of `run`, store the temperature fitted on `val`, and write tables, figures and report.

    The metrics at the top of `metrics.json` are measured on images that were used to select neither the epoch nor the
    temperature: on `test`, or else cross-fitted over `val`. The metrics of the best weights on `val`, which was used to select
    both, are under "selected"; `resnets evaluate` computes the same, up to the precision. Without `test` and `cross_fit` they
    are at the top, with `in_sample` true. "split" and "protocol" say what was done. The tables and figures of single classes
    and images are of `test`, or else of `val`.

    Args:
        cross_fit: the cross-fitting over `val` after all epochs.
        precision: of the logits that `cross_fit` was updated with, which is that of the training.
        val_features: float32 (N, features), the pooled features of the images of `val` by the best weights, if they are known,
            and the backend that computed them.
        notices: sentences for `metrics.json` and the report that a reader of the metrics must know, such as that the
            initial weights had been trained on some of the images.

    Returns:
        The content of `metrics.json`; empty with neither `val` nor `test`.
    """
    if not val and not test:
        draw_report.draw_all(run, None)
        return {}
    path = run / "weights" / "best.safetensors"
    best = load_classifier.load(path, device=device)
    preprocessing, summary = test_time_augmentation.protocol(best.preprocess, 1, ()), {}
    if val:
        predictions = (
            predict_samples.predict_samples([best], val, batch=BATCH)
            if val_features is None
            else predict_samples.predict_pooled(best, val, val_features[0], backend=val_features[1])
        )
        predictions = replace(
            predictions, temperature=calibration.fit_temperature(predictions.logits, predictions.true)
        )
        summary = _summarize(predictions, "val", f"{preprocessing}; the val split: {describe_selection()}") | {
            "in_sample": True
        }
    if test:
        temperature = summary.get("temperature", 1.0)
        predictions = replace(predict_samples.predict_samples([best], test, batch=BATCH), temperature=temperature)
        headline = _summarize(
            predictions, "test", f"{preprocessing}; the test split: these images were not used for selection"
        )
    elif cross_fit is not None:
        headline = cross_fit.summarize(len(best.class_names)) | {"temperature": summary["temperature"], "split": "val"}
        headline |= {"backend": "torch" if val_features is None else val_features[1], "precision": precision}
        if val_features is not None and precision != "fp32":
            headline["precision"] = f"fp32, the last layer {precision}"
        headline["protocol"] = (
            f"{preprocessing}; cross-fitted over the val split: each of {len(cross_fit.best)} folds is evaluated with the epoch "
            "and the temperature selected on the other folds"
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
    draw_report.draw_all(run, predictions)
    return headline


def _summarize(predictions: Predictions, split: str, protocol: str) -> dict[str, Any]:
    return {**metrics.summarize(predictions), **predictions.computed, "split": split, "protocol": protocol}
