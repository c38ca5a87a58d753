"""Log the metrics of a run to TensorBoard, MLflow or Weights & Biases too: the names in `track.to`, of which none is the default.

Only the main process logs, after the state of the epoch was saved, so a tracker never has an epoch that is trained again. A
resumed run continues the same run of the tracker; its id is in `trackers.json`.
"""

import importlib.util
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from resnets.atomic_write import write_text
from resnets.disable_telemetry import telemetry_disabled
from resnets.downloads.cached_download import offline
from resnets.errors import UserError
from resnets.message_format import printable
from resnets.progress import log
from resnets.recipes.recipe import Recipe, flat_values


class Tracker(Protocol):
    """A tracker of experiments; a step is logged once, also where the epoch is passed a second time."""

    def start(self, run: Path, settings: Mapping[str, Any], step: int) -> None:
        """Begin to track the run directory, or continue: epochs before `step` have been logged, that at `step` perhaps."""

    def log(self, row: Mapping[str, float], step: int) -> None: ...

    def finish(self, metrics: Mapping[str, float], step: int) -> None: ...


class TensorBoard:
    """Event files in `RUN/tensorboard`."""

    def start(self, run: Path, settings: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # The reader drops what is at `step` or later.
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=step)
        if step == 0:
            self.writer.add_text("recipe", "\n".join(f"    {key} = {value}" for key, value in settings.items()))

    def log(self, row: Mapping[str, float], step: int) -> None:
        for name, value in row.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def finish(self, metrics: Mapping[str, float], step: int) -> None:
        self.log(metrics, step)
        self.writer.close()


class MLflow:
    """A run at MLFLOW_TRACKING_URI, or MLflow's default, in MLFLOW_EXPERIMENT_NAME; the active run stays as it is."""

    def start(self, run: Path, settings: Mapping[str, Any], step: int) -> None:
        with telemetry_disabled():
            from mlflow import MlflowClient

        self.client, self.id = MlflowClient(), _read_ids(run).get("mlflow")
        self.logged: set[tuple[str, int]] = set()
        if self.id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
            experiment = self.client.get_experiment_by_name(name)
            experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(name)
            self.id = self.client.create_run(experiment_id, run_name=run.name).info.run_id
            _save_id(run, "mlflow", self.id)
            for key, value in settings.items():
                self.client.log_param(self.id, key, value)
        else:
            self.client.update_run(self.id, status="RUNNING")
            for name in self.client.get_run(self.id).data.metrics:
                self.logged |= {(name, metric.step) for metric in self.client.get_metric_history(self.id, name)}

    def log(self, row: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value in row.items() if (name, step) not in self.logged]
        self.client.log_batch(self.id, metrics=new)

    def finish(self, metrics: Mapping[str, float], step: int) -> None:
        self.log(metrics, step)
        self.client.set_terminated(self.id)


class WandB:
    """A run of Weights & Biases with its local files in `RUN/wandb`; RESNETS_OFFLINE makes it an offline one."""

    def start(self, run: Path, settings: Mapping[str, Any], step: int) -> None:
        with telemetry_disabled():
            import wandb

        identity = _read_ids(run).get("wandb") or uuid.uuid4().hex
        _save_id(run, "wandb", identity)
        self.run = wandb.init(
            id=identity,
            resume="allow",
            reinit="create_new",
            dir=run,
            name=run.name,
            config=dict(settings),
            mode="offline" if offline() else None,
            settings=wandb.Settings(console="off"),
        )

    def log(self, row: Mapping[str, float], step: int) -> None:
        self.run.log(dict(row), step=step)

    def finish(self, metrics: Mapping[str, float], step: int) -> None:
        self.run.summary.update(dict(metrics))
        self.run.finish()


TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


class Trackers:
    """The trackers of a run; one that raises an error is given up with a warning, and the training goes on."""

    def __init__(self) -> None:
        self.active: list[Tracker] = []

    def start(self, run: Path, recipe: Recipe, rows: Sequence[Mapping[str, Any]]) -> None:
        """Start those of the recipe; `rows` are the epochs so far, the last of which may have been saved but not logged."""
        settings = {key: value for key, value in flat_values(recipe).items() if value is not None}
        self.active = [TRACKERS[name]() for name in names(recipe)]
        self._each("start", run, settings, rows[-1]["step"] if rows else 0)
        for row in rows[-1:]:
            self.log(row)

    def log(self, row: Mapping[str, Any]) -> None:
        """Log the row of an epoch, as it is in `metrics.jsonl`, at its step."""
        self._each("log", _numbers(row, ""), row["step"])

    def finish(self, metrics: Mapping[str, Any], step: int) -> None:
        """Log the content of `metrics.json`, and end the tracking."""
        self._each("finish", _numbers(metrics, "final/"), step)

    def _each(self, method: str, *arguments: Any) -> None:
        for tracker in list(self.active):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:  # whatever a library, a full disk or a server may raise
                self.active.remove(tracker)
                problem = f"{type(error).__name__}: {error}".splitlines()[0]
                log(
                    f"warning: {type(tracker).__name__} failed and gets no more metrics of this run: {printable(problem)}"
                )


def names(recipe: Recipe) -> list[str]:
    """Return the names in `track.to`."""
    return [] if recipe.track.to == "none" else recipe.track.to.split(",")


def check_installed(recipe: Recipe) -> None:
    """Raise UserError where the library of a tracker is missing."""
    for name in names(recipe):
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"`track={name}` needs {TRACKERS[name].__name__}, which is not installed: pip install 'resnets[{name}]'"
            )


def _numbers(row: Mapping[str, Any], prefix: str) -> dict[str, float]:
    return {prefix + name: float(value) for name, value in row.items() if isinstance(value, int | float)}


def _read_ids(run: Path) -> dict[str, str]:
    path = run / "trackers.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _save_id(run: Path, name: str, identity: str) -> None:
    write_text(run / "trackers.json", json.dumps(_read_ids(run) | {name: identity}, indent=2) + "\n")
