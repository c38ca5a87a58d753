"""Classification: each image belongs to one class."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets import atomic_write
from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Dataset, IndexedSamples, Sample
from resnets.data.image.placement import Placement
from resnets.data.loading.batch import Batch
from resnets.errors import UserError
from resnets.inference.static_graph import StaticGraph
from resnets.message_format import pluralize
from resnets.models.resnet import ResNet, find_backbone
from resnets.recipes.recipe import Recipe, TaskConfig, number
from resnets.tasks.base import ChosenValue, CrossFitted, Losses, Measured, Task
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.classification import (
    calibration,
    metrics,
    metrics_table,
    per_image_results,
    soft_targets,
    test_time_augmentation,
)
from resnets.tasks.classification.class_indices import class_indices
from resnets.tasks.classification.compare import compare_predictions
from resnets.tasks.classification.confidence_intervals import cross_fitted as cross_fitted_interval
from resnets.tasks.classification.confidence_intervals import design_effect
from resnets.tasks.classification.per_image_results import PerImageResults
from resnets.tasks.classification.predict_samples import predict_samples
from resnets.tasks.classification.prediction import Prediction
from resnets.tasks.classification.prediction_set import UNLABELED, Predictions
from resnets.tasks.classification.report.draw_report import draw_all
from resnets.tasks.classification.selection import MONITOR
from resnets.tasks.classification.static_graph import classifier_graph
from resnets.tasks.comparison import Comparison, Exposure
from resnets.tasks.heatmaps.compute_heatmaps import check_named, with_heatmaps
from resnets.tasks.heatmaps.write_heatmaps import heatmap_writer, to_dict_with_maps
from resnets.tasks.measurements import Measurements
from resnets.tasks.mix_batch import mix_batch
from resnets.weights.checkpoint import Checkpoint

TOP_K = 5  # classes in a prediction
MAX_HEATMAPS = 10  # of an image


@dataclass(frozen=True)
class ClassificationConfig(TaskConfig):
    """The settings of a classification."""

    name: str = "classification"
    label_smoothing: float = number(0.0, low=0, high=1)  # fraction of the target that is spread over all classes


@dataclass(frozen=True)
class Classification(Task):
    """Classification with a cross-entropy. `fitted` has the temperature that divides the logits before the softmax."""

    config: TaskConfig = field(default_factory=ClassificationConfig)

    name: ClassVar[str] = "classification"
    Config: ClassVar[type[TaskConfig]] = ClassificationConfig
    monitor: ClassVar[tuple[Monitor, ...]] = MONITOR
    spatial_targets: ClassVar[bool] = False
    num_correct: ClassVar[str] = "accuracy_top1"
    has_single_class: ClassVar[bool] = True
    selected: ClassVar[str] = "the epoch and the temperature"
    recipe_values: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar_fast": {"task.label_smoothing": 0.2},
        "scratch": {"task.label_smoothing": 0.1},
        "finetune": {"task.label_smoothing": 0.1},
    }

    @property
    def temperature(self) -> float:
        return float(self.fitted.get("temperature", 1.0))

    @property
    def label_smoothing(self) -> float:
        assert isinstance(self.config, ClassificationConfig)
        return self.config.label_smoothing

    @classmethod
    def recognizes(cls, location: Path) -> bool:
        """Folders, lists and built-in data that `open_dataset` reads, with one label for each image."""
        if open_dataset.is_multilabel(location):
            return False
        return open_dataset.contains_images(location) or str(location) in open_dataset.builtin.NAMES

    @classmethod
    def check(cls, dataset: Dataset) -> list[str]:
        """Raise UserError for images that have not exactly one label."""
        if isinstance(dataset.samples, IndexedSamples):
            return []
        if others := [sample for sample in dataset.samples if sample.label is None]:
            what = "several labels" if others[0].labels else "no label"
            raise UserError(
                f"{pluralize(len(others), 'image')} without exactly one label, such as '{others[0].path}', which has {what}; "
                "classification needs one label for each image, `task=multilabel` any number."
            )
        return []

    @classmethod
    def plan(cls, dataset: Dataset, recipe: Recipe, parent: Checkpoint | None) -> dict[str, ChosenValue]:
        """Built-in digits are not flipped."""
        if recipe.data.location == "digits" and open_dataset.is_builtin(recipe.data.location):
            return {"augment.flip": ChosenValue(0.0, "a mirrored digit is not a digit")}
        return {}

    def targets(self, samples: Sequence[Sample]) -> Tensor:
        """int64 (N,): the index of each image's class; -1 without a label."""
        return torch.from_numpy(class_indices(samples, self.class_names))

    def balance(self, samples: Sequence[Sample], weights: Tensor, kind: str) -> tuple[Tensor, Tensor | None]:
        """ "loss" and "sampler" give each class the same total weight in the loss or in sampling."""
        return soft_targets.balance_weights(self.targets(samples), weights, len(self.class_names), kind)

    def static_graph(self, model: nn.Module) -> StaticGraph:
        """The backend computes the backbone; the head, in float32, runs beside it."""
        assert isinstance(model, ResNet)
        return classifier_graph(model, self.temperature)

    def probabilities(self, logits: Tensor) -> Tensor:
        """The softmax of the logits, divided by the temperature."""
        return torch.softmax(logits / self.temperature, dim=1)

    def prepare_batch(self, batch: Batch, recipe: Recipe) -> Batch:
        """Targets become float32 (B, K), smoothed and weighted; images and targets are mixed where the recipe says so."""
        assert batch.weights is not None
        soft = soft_targets.soft_targets(batch.targets, batch.weights, len(self.class_names), self.label_smoothing)
        return mix_batch(batch, soft, recipe)

    def loss(self, model: Callable[..., Any], batch: Batch) -> Losses:
        """The cross-entropy with soft targets; "accuracy_top1" counts the images classified as their first target."""
        logits = model(batch.images)
        correct = (logits.argmax(1) == batch.targets.argmax(1)).sum()
        return Losses(cross_entropy(logits.float(), batch.targets), {"accuracy_top1": correct})

    def measure(
        self, outputs: Any, samples: Sequence[Sample], targets: Sequence[Any] | Tensor, placements: Sequence[Placement]
    ) -> Measurements:
        """logits: float32 (n, K); true: int64 (n,), -1 where there is no label."""
        return Measurements({"logits": outputs, "true": torch.as_tensor(targets)})

    def validation_metrics(self, measurements: Measurements) -> dict[str, float]:
        """Cross-entropy and accuracies, not divided by a temperature."""
        logits, labels = measurements["logits"], measurements["true"]
        top5 = logits.topk(min(5, logits.shape[1]), dim=1).indices
        return {
            "loss": float(cross_entropy(logits, labels)),
            "accuracy_top1": float((logits.argmax(1) == labels).double().mean()),
            "accuracy_top5": float((top5 == labels[:, None]).any(1).double().mean()),
        }

    def fit(self, measurements: Measurements) -> dict[str, Any]:
        """The temperature with the smallest cross-entropy."""
        logits, true = measurements["logits"].numpy(), measurements["true"].numpy()
        return {"temperature": calibration.fit_temperature(logits, true)}

    def fit_folds(self, measurements: Measurements, folds: np.ndarray, num_folds: int) -> list[dict[str, Any]]:
        """All temperatures from the same passes over the logits."""
        logits, true = measurements["logits"].numpy(), measurements["true"].numpy()
        temperatures = calibration.fit_temperatures(logits, true, folds, num_folds)
        return [{"temperature": temperature} for temperature in temperatures]

    def keep(self, measurements: Measurements) -> Measurements:
        """The fields of `PerImageResults`; images without a label are left out."""
        true = measurements["true"].numpy()
        labeled = true != UNLABELED
        logits = measurements["logits"].numpy()[labeled]
        results = per_image_results.from_logits(logits, true[labeled], self.temperature)
        return Measurements({field.name: torch.from_numpy(getattr(results, field.name)) for field in fields(results)})

    def example_scores(self, measurements: Measurements) -> np.ndarray:
        """Whether the most probable class is the true one."""
        correct = measurements["logits"].argmax(1) == measurements["true"]
        return correct.double().numpy()

    def summarize(self, kept: Measurements, cross_fitted: CrossFitted | None = None) -> dict[str, Any]:
        """As `metrics.summarize`; cross-fitted, with the intervals of `confidence_intervals.cross_fitted`.

        Then `top5_interval` is widened by the disagreement of the top-1 predictions of the selected epochs, which is larger
        than that of the top-5 predictions in almost every case; those are not stored. There is no `ece_interval`, since the
        dependence between the folds would widen it by an unknown amount. `num_clusters` is the number of clusters.
        """
        results = PerImageResults(*(kept[field.name].numpy() for field in fields(PerImageResults)))
        summary = metrics.summarize_results(results, len(self.class_names), self.temperature)
        if cross_fitted is None:
            return summary
        summary |= {"ece_interval": None, "num_clusters": len(np.unique(cross_fitted.clusters))}
        for name, k in (("top1", 1), ("top5", summary["top5_of"])):
            correct = results.rank < k
            effect = design_effect(correct, cross_fitted.clusters)
            choices = cross_fitted.scores > 0
            summary[f"{name}_interval"] = list(cross_fitted_interval(int(correct.sum()), choices, effect))
        return summary

    def bind(self, dataset: Dataset) -> Dataset:
        """Images with several labels, or with none where that is a label of its own, are for another task."""
        if not isinstance(dataset.samples, IndexedSamples):
            others = [each.path for each in dataset.samples if each.labels is not None and each.label is None]
            if others:
                raise UserError(
                    f"{pluralize(len(others), 'image')} of '{dataset.root}' without exactly one label, such as '{others[0]}'; "
                    "this model gives each image one class."
                )
        return Task.bind(self, dataset)

    def check_evaluation(self, models: Sequence[Any], options: Mapping[str, Any]) -> None:
        """`crops` and `scales` have to fit the networks."""
        others = {name: value for name, value in options.items() if name not in ("crops", "scales")}
        Task.check_evaluation(self, models[:1], others)
        views = options.get("crops", 1), options.get("scales", ())
        for model in models:
            if model.resizes and (views[0] > 1 or views[1]):
                raise UserError(
                    f"'{model.name}' resizes images itself, to one view: use its checkpoint for other views."
                )
            test_time_augmentation.check(find_backbone(model.model), model.preprocess, *views)

    def measure_models(
        self,
        models: Sequence[Any],
        samples: Sequence[Sample],
        *,
        batch: int,
        workers: int | None,
        on_bad: str,
        **options: Any,
    ) -> Measured:
        """One model or an ensemble, with `crops` or `scales` views of each image; see `predict_samples`.

        The measurements of several views or models are logarithms of mean probabilities, for a temperature of 1.
        """
        found = predict_samples(models, samples, batch=batch, workers=workers, on_bad=on_bad, **options)
        rows: dict[str, Any] = {"logits": torch.from_numpy(found.logits), "true": torch.from_numpy(found.true)}
        if found.skipped:
            read = set(found.paths)
            rows["index"] = torch.tensor([index for index, sample in enumerate(samples) if sample.path in read])
        views = (options.get("crops", 1), options.get("scales", ()))
        protocols = dict.fromkeys(test_time_augmentation.protocol(model.preprocess, *views) for model in models)
        task = self.with_fitted({"temperature": found.temperature})
        return Measured(task, Measurements(rows), found.computed, " and ".join(protocols))

    def describe_fitted(self, before: Task, measurements: Measurements) -> str:
        """The temperature, the loss and the calibration error, before and after."""
        old, new = (task.summarize(task.keep(measurements)) for task in (before, self))
        was = float(before.fitted.get("temperature", 1.0))
        return (
            f"temperature {self.temperature:.3f} (was {was:.3f}): loss {old['loss']:.4f} -> {new['loss']:.4f}, calibration "
            f"error {100 * old['ece']:.1f} % -> {100 * new['ece']:.1f} %"
        )

    def compare(self, a: Measured, b: Measured, samples: Sequence[Sample], exposures: Sequence[Exposure]) -> Comparison:
        """McNemar's exact test on the accuracies."""
        tasks: list[Any] = [a.task, b.task]
        first, second = (own.predictions(samples, each.measurements) for own, each in zip(tasks, (a, b), strict=True))
        return compare_predictions(first, second, *exposures)

    def results(self, samples: Sequence[Sample], measurements: Measurements) -> dict[str, Any]:
        """The metrics of each class."""
        return {"per_class": metrics.per_class(self.predictions(samples, measurements))}

    def tables(self, metrics: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
        return metrics_table.summary_table(metrics, names)

    def class_table(self, results: Mapping[str, Any]) -> tuple[str, Table] | None:
        return metrics_table.class_table(results["per_class"])

    def write_results(self, run: Path, samples: Sequence[Sample], measurements: Measurements) -> None:
        """Write `per_class.csv` and `predictions.csv`."""
        predictions = self.predictions(samples, measurements)
        atomic_write.write_csv(run / "per_class.csv", metrics.per_class(predictions))
        predictions.write_csv(run / "predictions.csv")

    def draw_report(
        self, run: Path, samples: Sequence[Sample], measurements: Measurements | None, model: Any = None
    ) -> None:
        """Draw the figures of the run, and write its `report.html`."""
        draw_all(run, None if measurements is None else self.predictions(samples, measurements), model)

    def headline(self, metrics: Mapping[str, Any]) -> str:
        """The accuracy."""
        low, high = metrics["top1_interval"]
        return f"accuracy {metrics['top1']:.2%} (95 % interval {low:.1%} to {high:.1%})"

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`top_k`: the number of classes in each prediction, 5 by default; all if there are fewer. `heatmap`: True for the
        heat map of its class, "top" for those of its `MAX_HEATMAPS` most probable classes, or names of classes, as a tuple.
        """
        Task.check_options(self, {name: value for name, value in options.items() if name not in ("top_k", "heatmap")})
        check_named(options.get("heatmap"), self.class_names)
        if options.get("top_k", 1) < 1:
            raise UserError(f"`top_k` must be 1 or more; received {options['top_k']}.")
        return dict(options)

    def predict_one_model(
        self, model: Any, images: Iterable[Any], *, heatmap: bool | str | tuple[str, ...] = False, **options: Any
    ) -> Iterator[Any]:
        """As `Task.predict_one_model`; with `heatmap`, each prediction has the heat maps of its classes, or of those named."""
        if not heatmap:
            return Task.predict_one_model(self, model, images, **options)
        if isinstance(heatmap, tuple):
            return with_heatmaps(model, images, lambda _: heatmap, **options)
        count = MAX_HEATMAPS if heatmap == "top" else 1
        return with_heatmaps(model, images, lambda found: [label for label, _ in found.top[:count]], **options)

    def widest_options(self, options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The largest `top_k`."""
        return {"top_k": max(each.get("top_k", TOP_K) for each in options)}

    def narrow(self, prediction: Prediction, options: Mapping[str, Any]) -> Prediction:
        """With the first `top_k` classes, and where heat maps are those of the classes, with theirs."""
        count = options.get("top_k", TOP_K)
        heatmaps = prediction.heatmaps[: count if options.get("heatmap") == "top" else None]
        return replace(prediction, top=prediction.top[:count], heatmaps=heatmaps)

    def answer(self, prediction: Prediction) -> dict[str, Any]:
        """With `heatmaps`, where they were asked for."""
        return to_dict_with_maps(prediction)

    def writers(self) -> Mapping[str, Callable[[str], AbstractContextManager[Callable[[Any], Any]]]]:
        """`heatmap`: see `write_heatmaps.heatmap_writer`."""
        return {"heatmap": heatmap_writer}

    def predict(self, path: str, outputs: Any, placement: Placement, *, top_k: int = TOP_K) -> Prediction:
        """The `top_k` most probable classes, the most probable first."""
        probabilities = torch.softmax(outputs[0].double() / self.temperature, dim=0)
        # Of equal logits the first class comes first, as in `Predictions.predicted`.
        best = outputs[0].sort(descending=True, stable=True).indices[:top_k].tolist()
        top = tuple((self.class_names[index], float(probabilities[index])) for index in best)
        return Prediction(path=path, label=top[0][0], probability=top[0][1], top=top)

    def csv_columns(self, *, top_k: int = TOP_K, **_: Any) -> list[str]:
        """path, label, probability, error, then label_2, probability_2 and so on up to `top_k`."""
        ranks = range(2, min(top_k, len(self.class_names)) + 1)
        others = [name for rank in ranks for name in (f"label_{rank}", f"probability_{rank}")]
        return ["path", "label", "probability", "error", *others]

    def value_types(self) -> Mapping[str, Any]:
        """label, probability, and top: those of the `top_k` classes."""
        each = {"label": str, "probability": float}
        return {**each, "top": [each]}

    def unreadable(self, path: str, error: str) -> Prediction:
        return Prediction(path=path, error=error)

    def predictions(self, samples: Sequence[Sample], measurements: Measurements) -> Predictions:
        """The measurements of these samples as `Predictions`, for tables and figures."""
        paths, true = tuple(sample.path for sample in samples), measurements["true"].numpy()
        return Predictions(paths, true, measurements["logits"].numpy(), self.class_names, self.temperature)


TASK = Classification
