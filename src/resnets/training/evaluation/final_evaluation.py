"""The final evaluation of a run: what the task fits to the val split, metrics, predictions and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from resnets.data.datasets.dataset import Sample
from resnets.tasks import load_model
from resnets.tasks.base import Task
from resnets.tasks.evaluation.evaluation_notices import describe_selection
from resnets.tasks.measurements import Measurements
from resnets.training.evaluation.cross_fitting import CrossFit
from resnets.training.run_dir import run_dir
from resnets.weights import checkpoint as checkpoints

BATCH = 64


def evaluate_run(
    run: Path,
    task: Task,
    val: Sequence[Sample],
    *,
    test: Sequence[Sample] = (),
    device: str,
    cross_fit: CrossFit | None = None,
    precision: str = "fp32",
    val_features: tuple[Tensor, str] | None = None,
    notices: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate the best weights of `run`, store what the task fits to `val`, and write tables, figures and report.

    The metrics at the top of `metrics.json` are measured on images that were used neither to select the epoch nor to fit: on
    `test`, or else cross-fitted over `val`. The metrics of the best weights on `val`, which was used for both, are under
    "selected"; `resnets evaluate` computes the same, up to the precision. Without `test` and `cross_fit` they are at the top,
    with `in_sample` true. "split" and "protocol" say what was done. The tables and figures of single classes and images are of
    `test`, or else of `val`.

    Args:
        cross_fit: the cross-fitting over `val` after all epochs.
        precision: of the outputs that `cross_fit` was updated with, which is that of the training.
        val_features: float32 (N, features), the pooled features of the images of `val` by the best weights, if they are known,
            and the backend that computed them.
        notices: sentences for `metrics.json` and the report that a reader of the metrics must know, such as that the
            initial weights had been trained on some of the images.

    Returns:
        The content of `metrics.json`; empty with neither `val` nor `test`.
    """
    if not val and not test:
        task.draw_report(run, [], None)
        return {}
    path = run / "weights" / "best.safetensors"
    model = load_model.load(path, device=device)
    size, summary = model.describe_input(), dict[str, Any]()
    if val:
        measurements, computed = (
            model.measure(val, batch=BATCH) if val_features is None else model.measure_features(val, *val_features)
        )
        samples, task = val, task.with_fitted(task.fit(measurements))
        summary = _summarize(task, measurements, computed) | {
            "split": "val", "protocol": f"{size}; the val split: {describe_selection(task)}", "in_sample": True,
        }  # fmt: skip
    if test:
        measurements, computed = model.measure(test, batch=BATCH)
        samples = test
        protocol = f"{size}; the test split: these images were not used for selection"
        headline = _summarize(task, measurements, computed) | {"split": "test", "protocol": protocol}
    elif cross_fit is not None:
        headline = cross_fit.summarize(task) | {"split": "val"}
        headline |= {"backend": "torch" if val_features is None else val_features[1], "precision": precision}
        if val_features is not None and precision != "fp32":
            headline["precision"] = f"fp32, the last layer {precision}"
        headline["protocol"] = (
            f"{size}; cross-fitted over the val split: each of {len(cross_fit.best)} folds is evaluated with the epoch "
            "selected, and what was fitted, on the other folds"
        )
    else:
        headline = summary
    if headline is not summary:
        headline = headline | {"in_sample": False} | ({"selected": summary} if summary else {})
    if notices:
        headline = headline | {"notices": list(notices)}
    stored = checkpoints.read(path, task=None)
    checkpoints.save(path, replace(stored, fitted=task.fitted, metrics=headline))
    run_dir.write_json(run / "metrics.json", headline)
    task.write_results(run, samples, measurements)
    task.draw_report(run, samples, measurements, model)
    return headline


def _summarize(task: Task, measurements: Measurements, computed: Mapping[str, str]) -> dict[str, Any]:
    return {**task.summarize(task.keep(measurements)), **computed}
