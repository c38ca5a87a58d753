"""Write an evaluation to a folder: metrics, and what the task adds (`Task.write_results`): tables, figures and the report."""

import json
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.errors import UserError
from resnets.tasks.evaluation.results import Evaluation


def check_output(out: str | Path) -> None:
    """Refuse a folder that `write` cannot use, before the work.

    Raises:
        UserError: it is the directory of a training run, whose own files would be replaced, or cannot be written to.
    """
    if (Path(out) / "recipe.toml").exists():
        other = f"Choose another `out`, such as {out}/test"
        raise UserError(f"'{out}' is a run directory with results of its own. {other}.")
    atomic_write.check_folder_writable(out)


def write(evaluation: Evaluation, out: str | Path) -> None:
    """Write metrics, tables, predictions, figures and the report to the folder `out`; two models have `a` and `b` in it.

    Raises:
        UserError: as `check_output`.
        JobError: the disk is full.
    """
    check_output(out)
    out = Path(out)
    folders = [out] if evaluation.comparison is None else [out / "a", out / "b"]
    for folder, model in zip(folders, evaluation.models, strict=True):
        how = {
            "split": evaluation.split.name,
            "data": evaluation.data,
            "protocol": model.measured.protocol,
            **evaluation.remarks,
            **model.measured.computed,
        }
        _write_json(folder / "metrics.json", {**model.metrics, **how, "checkpoints": list(model.checkpoints)})
        model.task.write_results(folder, model.samples, model.measured.measurements)
    if evaluation.comparison is not None:
        _write_json(out / "comparison.json", evaluation.to_dict()["comparison"])
    for folder, model in zip(folders, evaluation.models, strict=True):
        model.task.draw_report(folder, model.samples, model.measured.measurements, model.model)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    atomic_write.write_text(path, json.dumps(value, indent=2, ensure_ascii=True) + "\n")
