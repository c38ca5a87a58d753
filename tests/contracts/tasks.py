"""One battery of tests for every task: a subclass of `TaskContract` names the task, writes its images, and inherits the tests."""

from __future__ import annotations

import json
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from tests import forked_processes
from tests.in_soak import IN_SOAK

import resnets
from resnets.cli.main import main
from resnets.tasks import load_model, registry
from resnets.tasks.base import Task
from resnets.weights import checkpoint as checkpoints


class TaskContract(ABC):
    """What holds for a task. A subclass has the attributes below and `write_data`; pytest collects it by its name `Test...`.

    Attributes:
        task: the class of the task.
        module: of a task outside of `resnets/tasks`: the module that defines it, on the path of modules.
        settings: of all trainings, as overrides of the recipe.
        overfit: (metric of `summarize`, limit, "max" or "min"): what a training on few images reaches on the same images.
        overfit_epochs: number of epochs for that.
        batch: number of images in a step of a training.
        num_ranks: number of ranks that are compared with one.
        rank_settings: of the runs with one and with several ranks, in which batch norm has to keep its statistics.
        only_in_soak: names of tests that run in `make soak` only, with their seconds; another test of `make test` shows the same.
    """

    task: ClassVar[type[Task]]
    module: ClassVar[str] = ""
    settings: ClassVar[Sequence[str]] = ()
    overfit: ClassVar[tuple[str, float, str]]
    overfit_epochs: ClassVar[int] = 40
    batch: ClassVar[int] = 8
    num_ranks: ClassVar[int] = 2
    rank_settings: ClassVar[Sequence[str]] = ("freeze.norm=eval",)
    only_in_soak: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def write_data(self, folder: Path) -> Path:
        """Write 24 training images, and 7 validation images equal to the first of them, below `folder`; return their location.

        The data name the split of each image, which is kept. Numbers need full precision: metrics are compared to 1e-5.
        """

    @abstractmethod
    def metric_of_predictions(self, predictions: Sequence[Any], data: Path) -> float:
        """The metric of `overfit`, computed from predictions for the validation images, in the order of the dataset."""

    # The tests

    @pytest.fixture(autouse=True)
    def quick(self, request: pytest.FixtureRequest) -> None:
        """Skip what is part of `make soak`."""
        if not IN_SOAK and request.function.__name__ in self.only_in_soak:
            pytest.skip(f"{self.only_in_soak[request.function.__name__]}; part of `make soak`")

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        if cls.module:
            registry.register(cls.task)
        return cls().write_data(tmp_path_factory.mktemp(cls.task.name))

    @pytest.fixture(scope="class")
    @classmethod
    def overfitted(cls, data: Path) -> Path:
        return cls().train(data, "overfit", epochs=cls.overfit_epochs)

    def train(self, data: Path, name: str, *, epochs: int, overrides: Sequence[str] = ()) -> Path:
        out = data.parent / "runs"
        result = resnets.train(
            data, name=name, out=out, overrides=[*self._settings, *overrides], **self._arguments(epochs)
        )
        assert result is not None
        return result.run

    def _arguments(self, epochs: int) -> dict[str, Any]:
        return {
            "task": self.task.name, "model": "tiny", "weights": "none", "epochs": epochs, "batch": self.batch, "workers": 0,
            "device": "cpu", "precision": "fp32", "seed": 1,
        }  # fmt: skip

    @property
    def _settings(self) -> list[str]:
        return ["speed.threads=1", "ema.decay=0", *self.settings]

    def command(self, data: Path, name: str, epochs: int, *overrides: str) -> tuple[list[str], str, str]:
        """The arguments of `forked_processes.run_command` for the same training."""
        words = ["train", str(data), "--out", str(data.parent / "runs"), "--name", name]
        for key, value in self._arguments(epochs).items():
            words += [f"--{key}", str(value)]
        for setting in (*self._settings, *overrides):
            words += ["--set", setting]
        return words, self.module, self.task.__name__

    def test_few_images_are_learned(self, overfitted: Path) -> None:
        name, limit, mode = self.overfit
        value = json.loads((overfitted / "metrics.json").read_text())["selected"][name]
        assert value >= limit if mode == "max" else value <= limit

    def test_a_training_from_its_weights_begins_where_it_ended(self, overfitted: Path, data: Path) -> None:
        """Heads are taken over by the names of their classes; one of random weights would be far worse."""
        name, _, _ = self.overfit
        arguments = self._arguments(1) | {"weights": str(overfitted), "model": None}
        kept = [each for each in self._settings if not each.startswith("optim.lr=")]
        overrides = [*kept, "optim.lr=1e-6", "freeze.norm=eval"]
        result = resnets.train(data, name="further", out=data.parent / "runs", overrides=overrides, **arguments)
        assert result is not None
        before, after = (
            json.loads((run / "metrics.json").read_text())["selected"][name] for run in (overfitted, result.run)
        )
        assert after == pytest.approx(before, abs=0.05)

    def test_a_killed_run_ends_in_the_same_weights(self, data: Path) -> None:
        whole = self.train(data, "whole", epochs=3)
        run, log = data.parent / "runs" / "killed", data.parent / "log"
        command = self.command(data, "killed", 3, "save.every=1")
        process = forked_processes.start(log, forked_processes.run_command, *command)
        try:
            deadline = time.monotonic() + forked_processes.TIMEOUT_SECONDS
            while not list(run.glob("state/0*[24].safetensors")):  # in the middle of an epoch of three steps
                assert process.is_alive(), log.read_text()
                assert time.monotonic() < deadline
        finally:
            process.kill()
            process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (run / "metrics.json").exists()
        assert main(["train", "--resume", str(run)]) == 0
        for name in ("best", "last"):
            one, other = (load_file(each / "weights" / f"{name}.safetensors") for each in (whole, run))
            assert one.keys() == other.keys()
            assert all(torch.equal(tensor, other[key]) for key, tensor in one.items()), name
        rows = [(each / "metrics.jsonl").read_text().splitlines() for each in (whole, run)]
        one, other = ([{k: v for k, v in json.loads(row).items() if "/" in k} for row in each] for each in rows)
        assert one == other

    def test_several_ranks_train_and_measure_what_one_does(self, data: Path) -> None:
        """Batch norm keeps its statistics, which each rank would take from its own images; sums in another order are rounded.

        What the ranks measure of their weights is what one process measures of them.
        """
        one = self.train(data, "one_rank", epochs=1, overrides=self.rank_settings)
        command = self.command(data, "several_ranks", 1, *self.rank_settings)
        forked_processes.run_ranks(data.parent, self.num_ranks, forked_processes.run_command, *command)
        several = data.parent / "runs" / "several_ranks"
        selected = json.loads((several / "metrics.json").read_text())["selected"]
        measured = resnets.evaluate(several, data, split="val").metrics
        assert measured[self.overfit[0]] == pytest.approx(selected[self.overfit[0]], rel=1e-5, abs=1e-9)
        tensors, others = (load_file(run / "weights" / "last.safetensors") for run in (one, several))
        for name, tensor in tensors.items():
            torch.testing.assert_close(
                tensor, others[name], rtol=2e-3, atol=2e-4, msg=lambda text, n=name: f"{n}: {text}"
            )
        first, second = (json.loads((run / "metrics.jsonl").read_text().splitlines()[0]) for run in (one, several))
        assert first["val/loss"] == pytest.approx(second["val/loss"], rel=2e-2)

    def test_every_example_counts_once(self, overfitted: Path) -> None:
        metrics = json.loads((overfitted / "metrics.json").read_text())
        assert metrics["count"] == metrics["selected"]["count"] == 7

    def test_a_checkpoint_comes_back(self, overfitted: Path, tmp_path: Path) -> None:
        path = overfitted / "weights" / "best.safetensors"
        read = checkpoints.read(path, task=None)
        assert read.task == self.task.name
        checkpoints.save(tmp_path / "copy.safetensors", read)
        assert (tmp_path / "copy.safetensors").read_bytes() == path.read_bytes()
        model = load_model.load(path)
        assert type(model.task) is self.task
        assert model.task.fitted == read.fitted

    def test_evaluate_finds_what_predict_says(self, overfitted: Path, data: Path) -> None:
        evaluation = resnets.evaluate(overfitted, data, split="val")
        model = resnets.load(overfitted, "cpu", precision="fp32")
        samples = model.task.read(data).subset("val")
        predictions = model.predict([sample.path for sample in samples])
        assert [each.path for each in predictions] == [sample.path for sample in samples]
        assert all(each.error is None for each in predictions)
        name = self.overfit[0]
        assert self.metric_of_predictions(predictions, data) == pytest.approx(
            evaluation.metrics[name], rel=1e-5, abs=1e-6
        )

    def test_the_command_line_knows_it(self, overfitted: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["evaluate", str(overfitted), str(data), "--split", "val", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["task"], found["metrics"]["count"]) == (self.task.name, 7)
        path = self.task.read(data).subset("val")[0].path
        assert main(["predict", str(overfitted), path, "--jsonl", "-"]) == 0
        row = json.loads(capsys.readouterr().out)
        assert (row["path"], row["error"]) == (path, None)
        assert (overfitted / "report.html").exists()
