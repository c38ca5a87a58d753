"""The metrics of a run in TensorBoard, MLflow and Weights & Biases, by the libraries themselves where they are installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import resnets
from resnets.errors import UserError
from resnets.training.run_dir import state_file

TrainRun = Callable[..., Path]


def rows_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def resume_after_kill(run: Path) -> None:
    """Resume a finished run as if it had been killed in its last epoch, but after that epoch was logged."""
    state_file.list_states(run / "state")[-1].unlink()
    result = resnets.train(resume=run)
    assert result is not None


def in_tensorboard(run: Path) -> list[tuple[int, float]]:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = events.EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars("train/loss")]


def in_mlflow(run: Path) -> list[tuple[int, float]]:
    client = pytest.importorskip("mlflow").MlflowClient()
    (record,) = client.search_runs(["0"])
    assert record.info.run_name == run.name
    assert record.info.status == "FINISHED"
    assert record.data.params["model.name"] == "tiny"
    return [(metric.step, metric.value) for metric in client.get_metric_history(record.info.run_id, "train/loss")]


@pytest.mark.parametrize(("name", "read"), [("tensorboard", in_tensorboard), ("mlflow", in_mlflow)])
def test_each_epoch_is_logged_once_over_kills(
    name: str,
    read: Callable[[Path], list[tuple[int, float]]],
    train_run: TrainRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = train_run("tracked", track=name)
    resume_after_kill(run)
    expected = [(row["step"], pytest.approx(row["train/loss"], rel=1e-6)) for row in rows_of(run)]
    assert len(expected) == 2
    assert read(run) == expected
    assert "warning" not in capfd.readouterr().err


def test_wandb_is_offline_where_downloads_are(
    train_run: TrainRun, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    run = train_run("tracked", track="wandb")
    resume_after_kill(run)
    identity = json.loads((run / "trackers.json").read_text("utf-8"))["wandb"]
    folders = [path for path in (run / "wandb").iterdir() if path.is_dir() and not path.is_symlink()]
    assert folders
    assert all(path.name.startswith("offline-run-") and identity in path.name for path in folders)
    assert "warning: WandB" not in capfd.readouterr().err


def test_a_tracker_that_fails_does_not_end_the_training(train_run: TrainRun, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    run = train_run("tracked")
    (run / "tensorboard").write_text("a file where the folder would be")
    capfd.readouterr()
    result = resnets.train(resume=run, epochs="+1", track="tensorboard")
    assert result is not None
    assert len(rows_of(run)) == 3
    (warning,) = [line for line in capfd.readouterr().err.splitlines() if "TensorBoard" in line]
    assert "warning" in warning


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_library_is_named_before_anything_is_trained(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(UserError, match=rf"`track={name}`.*resnets\[{name}\]"):
        resnets.train("digits", model="tiny", track=name, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
