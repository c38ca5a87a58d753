"""What a run leaves behind when it has ended: calibrated best weights, predictions, metrics and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from resnets.data.samples import Sample
from resnets.report import run as drawings
from resnets.tasks import classify, metrics
from resnets.training import journal
from resnets.weights import checkpoint as checkpoints

BATCH = 64


def finish(
    run: Path, val: Sequence[Sample], *, device: str, pooled: Tensor | None = None, notices: Sequence[str] = ()
) -> dict[str, Any]:
    """Judge the best weights of `run` on `val`, store the fitted temperature, write tables, pictures and report.

    This is what `resnets evaluate` computes, and what the epoch of these weights was judged by: the figures in
    `metrics.json` are those of both, as far as the precisions agree in which they were computed.

    Args:
        pooled: float32 (N, features), what the body of the best weights makes of each picture in `val`, if it is known.
        notices: what has to be known before the figures are believed, such as that the weights at the beginning had seen
            some of the images; sentences for `metrics.json` and the report.

    Returns:
        The metrics as they stand in `metrics.json`; empty without validation pictures.
    """
    if not val:
        drawings.draw_all(run, None)
        return {}
    path = run / "weights" / "best.safetensors"
    best = classify.load(path, device=device)
    predictions = (
        classify.evaluate([best], val, batch=BATCH) if pooled is None else classify.evaluate_pooled(best, val, pooled)
    )
    predictions = replace(predictions, temperature=metrics.fit_temperature(predictions.logits, predictions.true))
    summary = {**metrics.summarize(predictions), **predictions.computed, "split": "val"}
    if notices:
        summary["notices"] = list(notices)
    checkpoints.save(path, replace(checkpoints.read(path), temperature=predictions.temperature, metrics=summary))
    journal.write_json(run / "metrics.json", summary)
    metrics.write_per_class(run / "per_class.csv", predictions)
    predictions.write_csv(run / "predictions.csv")
    drawings.draw_all(run, predictions)
    return summary
