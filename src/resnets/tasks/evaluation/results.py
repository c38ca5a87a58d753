"""The results of an evaluation: of one model, of an ensemble, or of two models that are compared."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resnets.data.datasets.dataset import Sample
from resnets.tasks.base import Measured, Task
from resnets.tasks.comparison import Comparison
from resnets.tasks.evaluation.evaluation_split import EvaluationSplit
from resnets.tasks.trained_model import TrainedModel


@dataclass(frozen=True)
class EvaluatedModel:
    """One checkpoint or, as an ensemble, several; what was measured, and on which samples; the model, if it is one."""

    checkpoints: tuple[str, ...]
    measured: Measured
    samples: tuple[Sample, ...]  # those that could be read
    skipped: tuple[str, ...]  # paths of the others
    model: TrainedModel | None = None

    @property
    def task(self) -> Task:
        return self.measured.task

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the model, as a whole; see `Task.summarize`."""
        measurements = self.measured.measurements
        summary = self.task.summarize(self.task.keep(measurements))
        return summary | {"unlabeled": len(measurements) - summary["count"], "skipped": len(self.skipped)}

    def results(self) -> dict[str, Any]:
        """The metrics of the model, and what the task adds to them, for JSON."""
        return {
            "checkpoints": list(self.checkpoints),
            "task": self.task.name,
            **self.measured.computed,
            "metrics": self.metrics,
            **self.task.results(self.samples, self.measured.measurements),
        }


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The results of one model or, where two are compared, of both.

    Attributes:
        data: the dataset, as it was named.
        split: the images that were evaluated.
        models: one, or the two that are compared.
        comparison: the paired comparison of two models; else None.
        in_sample: whether some of the images were used to select the epoch of a model, or to fit it.
        not_used: files of the dataset that were left out, in one line.
        notices: sentences to read before the results, such as how many of the images a model was trained on.
    """

    data: str
    split: EvaluationSplit
    models: tuple[EvaluatedModel, ...]
    comparison: Comparison | None = None
    in_sample: bool = False
    not_used: str = ""
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The headline of each model and, of two, the comparison in a sentence."""
        names = [", ".join(model.checkpoints) for model in self.models]
        lines = [
            f"{name}: {model.task.headline(model.metrics)}" for name, model in zip(names, self.models, strict=True)
        ]
        if self.comparison is not None:
            lines.append(self.comparison.in_words(*names))
        return "\n".join([f"{self.metrics['count']:,} images of '{self.data}', split {self.split.name}", *lines])

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the (first) model, such as `top1` and `ece`; see `Task.summarize`."""
        return self.models[0].metrics

    @property
    def protocol(self) -> str:
        """How each image was presented to the models."""
        return " and ".join(dict.fromkeys(model.measured.protocol for model in self.models))

    @property
    def remarks(self) -> dict[str, Any]:
        """`in_sample`, `notices` and `not_used` for JSON."""
        remarks: dict[str, Any] = {"not_used": self.not_used} if self.not_used else {}
        return remarks | {"in_sample": self.in_sample, "notices": list(self.notices)}

    def to_dict(self) -> dict[str, Any]:
        """The results for JSON: `metrics` and more of one model, or `models` and `comparison` of two."""
        head = {"data": self.data, "split": self.split.name, "split_from": self.split.reason, "protocol": self.protocol}
        head |= self.remarks
        results = [model.results() for model in self.models]
        if self.comparison is None:
            return {**head, **results[0]}
        for each, model in zip(results, self.models, strict=True):
            each["protocol"] = model.measured.protocol
        return {**head, "models": results, "comparison": self.comparison.to_dict()}
