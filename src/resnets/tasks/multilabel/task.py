"""Multi-label classification: each image has any number of labels, also none."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from rich.table import Table
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from resnets import atomic_write
from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Dataset, IndexedSamples, Sample, labels_of
from resnets.data.image.placement import Placement
from resnets.data.loading.batch import Batch
from resnets.data.split import stratify_groups
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize
from resnets.recipes.recipe import Recipe, TaskConfig
from resnets.report.number_formats import percent_interval
from resnets.tasks import bootstrap
from resnets.tasks.base import ChosenValue, CrossFitted, Losses, Measured, Monitor, Task
from resnets.tasks.comparison import Comparison, Exposure, ScoreComparison
from resnets.tasks.heatmaps.compute_heatmaps import check_named, with_heatmaps
from resnets.tasks.heatmaps.write_heatmaps import heatmap_writer, to_dict_with_maps
from resnets.tasks.measurements import Measurements
from resnets.tasks.mix_batch import mix_batch
from resnets.tasks.multilabel import metrics, report, tables, thresholds
from resnets.tasks.multilabel.metrics import Labels
from resnets.tasks.multilabel.prediction import Prediction
from resnets.weights.checkpoint import Checkpoint

UNLABELED = -1
MAX_HEATMAPS = 4  # of an image
MIN_CROP = 0.7  # area of a random crop: smaller ones would lose what labels name


@dataclass(frozen=True)
class MultilabelConfig(TaskConfig):
    """The settings of a multi-label classification."""

    name: str = "multilabel"


@dataclass(frozen=True)
class Multilabel(Task):
    """One sigmoid for each class. `fitted` has the thresholds by class name, None for classes without an image in val."""

    config: TaskConfig = field(default_factory=MultilabelConfig)

    name: ClassVar[str] = "multilabel"
    Config: ClassVar[type[TaskConfig]] = MultilabelConfig
    monitor: ClassVar[tuple[Monitor, ...]] = (Monitor("map", "max"), Monitor("loss", "min"))
    spatial_targets: ClassVar[bool] = False
    selected: ClassVar[str] = "the epoch and the thresholds"

    @property
    def thresholds(self) -> np.ndarray:
        """float64 (K,)."""
        return thresholds.of_classes(self.fitted, self.class_names)

    @classmethod
    def recognizes(cls, location: Path) -> bool:
        """Lists and folders that give several labels for an image, and `digit-scenes`."""
        return open_dataset.is_multilabel(location)

    @classmethod
    def check(cls, dataset: Dataset) -> list[str]:
        """Raise UserError for images that are not labeled; warn of classes that always occur together."""
        if isinstance(dataset.samples, IndexedSamples):
            return []
        if unlabeled := [sample.path for sample in dataset.samples if sample.labels is None]:
            raise UserError(
                f"{pluralize(len(unlabeled), 'image')} without labels, such as '{unlabeled[0]}'; training needs the labels of "
                "each image, which may be none."
            )
        train = dataset.subset("train") or dataset.samples
        few = [name for name in dataset.class_names if all(name in (sample.labels or ()) for sample in train)]
        kind = "is a label" if len(few) == 1 else "are labels"
        return [f"{format_list(few)} {kind} of every training image"] if few else []

    @classmethod
    def plan(cls, dataset: Dataset, recipe: Recipe, parent: Checkpoint | None) -> dict[str, ChosenValue]:
        """Crops keep most of an image, since any part of it may be what a label names; `digit-scenes` has a small network."""
        values: dict[str, ChosenValue] = {}
        own_recipe = recipe.name == "scratch" and recipe.model.weights == "none"
        if own_recipe and recipe.data.location == "digit-scenes" and open_dataset.is_builtin(recipe.data.location):
            # With branches that are zero at first, the mAP of scenes was still 27 % after 9 epochs, else 67 % after 3.
            values = {
                "model.name": ChosenValue("cifar_resnet20", "scenes are small"),
                "model.zero_init_residual": ChosenValue(False, "scenes are learned faster"),
                "optim.lr": ChosenValue(0.1, "scenes are learned faster"),
                "data.batch": ChosenValue(32, "there are few scenes"),
                "stop.epochs": ChosenValue(15, "it suffices for scenes"),
                "augment.flip": ChosenValue(0.0, "a mirrored digit is not a digit"),
                "augment.pad_pixels": ChosenValue(2, "digits at the border stay visible"),
                "augment.pad_mode": ChosenValue("edge", "the backgrounds differ"),
            }
        if recipe.augment.scale[0] < MIN_CROP:
            values["augment.scale"] = ChosenValue((MIN_CROP, 1.0), "a small crop may lose what a label names")
        return values

    def targets(self, samples: Sequence[Sample]) -> Tensor:
        """int8 (N, K): 1 for the labels of an image, else 0; -1 in the rows of images that are not labeled."""
        indices = {name: index for index, name in enumerate(self.class_names)}
        if unknown := sorted(labels_of(samples) - set(indices)):
            raise UserError(
                f"There are images of {format_list(unknown)}, but the model has only {format_list(list(self.class_names))}."
            )
        targets = torch.zeros(len(samples), len(self.class_names), dtype=torch.int8)
        for row, sample in zip(targets, samples, strict=True):
            if sample.labels is None:
                row[:] = UNLABELED
            elif sample.labels:
                row[[indices[name] for name in sample.labels]] = 1
        return targets

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each label for itself."""
        return torch.sigmoid(logits)

    def prepare_batch(self, batch: Batch, recipe: Recipe) -> Batch:
        """Targets become float32 (B, K); images and targets are mixed where the recipe says so."""
        return mix_batch(batch, batch.targets.float(), recipe)

    def loss(self, model: Callable[..., Any], batch: Batch) -> Losses:
        """The binary cross-entropy, summed over the classes, so that each class learns at the rate that it has alone."""
        assert batch.weights is not None
        logits = model(batch.images).float()
        losses = binary_cross_entropy_with_logits(logits, batch.targets, reduction="none").sum(1)
        return Losses((batch.weights * losses).mean(), {})

    def measure(
        self, outputs: Any, samples: Sequence[Sample], targets: Sequence[Any] | Tensor, placements: Sequence[Placement]
    ) -> Measurements:
        """logits: float32 (n, K); true: int8 (n, K), -1 without labels; unit: int64 (n,), equal for copies and groups."""
        units = torch.tensor([bootstrap.unit_of(sample) for sample in samples], dtype=torch.int64)
        return Measurements({"logits": outputs, "true": torch.as_tensor(targets), "unit": units})

    def validation_metrics(self, measurements: Measurements) -> dict[str, float]:
        """The cross-entropy summed over the classes, mAP, and the micro-averaged F1 at a threshold of 0.5."""
        logits, true = measurements["logits"], measurements["true"]
        loss = binary_cross_entropy_with_logits(logits, true.float(), reduction="none").sum(1).mean()
        labels = _labels(measurements, logits >= 0)
        hits, total = (labels.true & labels.predicted).sum(), labels.true.sum() + labels.predicted.sum()
        return {
            "loss": float(loss),
            "map": metrics.mean_average_precision(labels.logits, labels.true) or 0.0,
            "f1_micro": float(2 * hits / total) if total else 0.0,
        }

    def fit(self, measurements: Measurements) -> dict[str, Any]:
        """For each class, the threshold with the largest F1."""
        found = thresholds.fit(measurements["logits"].numpy(), measurements["true"].numpy())
        return {"thresholds": dict(zip(self.class_names, found, strict=True))}

    def keep(self, measurements: Measurements) -> Measurements:
        """The rows of the labeled images, with the labels that the thresholds give: bool (N, K)."""
        labeled = measurements.select((measurements["true"] != UNLABELED).all(1).numpy())
        predicted = thresholds.apply(labeled["logits"].numpy(), self.thresholds)
        return Measurements({**labeled.rows, "predicted": torch.from_numpy(predicted)})

    def example_scores(self, measurements: Measurements) -> np.ndarray:
        """The F1 of the labels of each image."""
        predicted = thresholds.apply(measurements["logits"].numpy(), self.thresholds)
        return metrics.image_scores(measurements["true"].numpy() > 0, predicted)

    def summarize(self, kept: Measurements, cross_fitted: CrossFitted | None = None) -> dict[str, Any]:
        """As `metrics.summarize`. Cross-fitted, the intervals are widened as those of an accuracy are in
        `classification/confidence_intervals.py`, by the disagreement of the selected epochs in the F1 of each image.
        """
        widening = 1.0 if cross_fitted is None else bootstrap.cross_fitted_widening(cross_fitted.scores)
        return metrics.summarize(_labels(kept, kept["predicted"]), widening)

    def describe_fitted(self, before: Task, measurements: Measurements) -> str:
        """The F1 before and after."""
        f1 = [percent_interval(task.summarize(task.keep(measurements))["f1_macro"]) for task in (before, self)]
        stored = self.fitted.get("thresholds", {})
        missing = [name for name in self.class_names if stored.get(name) is None]
        others = f"; 0.5 for {format_list(missing, 5)}, without an image in val" if stored and missing else ""
        return f"thresholds: macro F1 {f1[0]} -> {f1[1]}{others}"

    def compare(self, a: Measured, b: Measured, samples: Sequence[Sample], exposures: Sequence[Exposure]) -> Comparison:
        """The difference of mAP, by a paired bootstrap over copies and groups."""
        pairs = [_labels(kept := each.task.keep(each.measurements), kept["predicted"]) for each in (a, b)]
        draws = metrics.resample(stratify_groups.cluster_indices(samples), len(self.class_names))
        values = [metrics.resampled(labels, draws)["map"] for labels in pairs]
        gaps = values[1] - values[0]
        if np.isnan(gaps).all():
            raise UserError("Two models can only be compared on images of which some have labels; these have none.")
        first, second = (metrics.mean_average_precision(labels.logits, labels.true) or 0.0 for labels in pairs)
        return ScoreComparison(
            second - first, bootstrap.difference_interval(gaps), len(pairs[0].true), exposures[0], exposures[1], "mAP"
        )

    def results(self, samples: Sequence[Sample], measurements: Measurements) -> dict[str, Any]:
        """`per_class`: see `tables.class_rows`."""
        stored = self.fitted.get("thresholds", {})
        fitted = [stored.get(name) is not None for name in self.class_names]
        labels = _labels(kept := self.keep(measurements), kept["predicted"])
        return {"per_class": tables.class_rows(labels, self.class_names, self.thresholds, fitted)}

    def tables(self, metrics: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
        return tables.summary_table(metrics, names)

    def class_table(self, results: Mapping[str, Any]) -> tuple[str, Table]:
        return tables.class_table(results["per_class"])

    def headline(self, metrics: Mapping[str, Any]) -> str:
        """mAP with its interval, and F1."""
        f1 = percent_interval(metrics["f1_macro"])
        return f"mAP {percent_interval(metrics['map'], metrics.get('map_interval'))}, macro F1 {f1}"

    def write_results(self, run: Path, samples: Sequence[Sample], measurements: Measurements) -> None:
        """Write `per_class.csv` and `predictions.csv`."""
        predicted = thresholds.apply(measurements["logits"].numpy(), self.thresholds)
        atomic_write.write_csv(run / "per_class.csv", self.results(samples, measurements)["per_class"])
        labels = _labels(measurements, predicted)
        tables.write_predictions(run / "predictions.csv", samples, labels, self.class_names)

    def draw_report(
        self, run: Path, samples: Sequence[Sample], measurements: Measurements | None, model: Any = None
    ) -> None:
        """Draw the figures of the run, and write its `report.html`."""
        labels, rows = None, []
        if measurements is not None:
            labels = _labels(measurements, thresholds.apply(measurements["logits"].numpy(), self.thresholds))
            rows = self.results(samples, measurements)["per_class"]
        report.draw(run, report.Evaluated(samples, labels, self.class_names, rows), self.monitor, model)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`heatmap`: whether each prediction has the heat maps of its labels; "top" is the same. A tuple has names of classes."""
        Task.check_options(self, {name: value for name, value in options.items() if name != "heatmap"})
        check_named(options.get("heatmap"), self.class_names)
        return dict(options)

    def predict_one_model(
        self, model: Any, images: Iterable[Any], *, heatmap: bool | str | tuple[str, ...] = False, **options: Any
    ) -> Iterator[Any]:
        """As `Task.predict_one_model`; with `heatmap`, each prediction has the heat maps of the `MAX_HEATMAPS` most probable of
        its labels, or of the classes named.
        """
        if not heatmap:
            return Task.predict_one_model(self, model, images, **options)
        mapped = (lambda _: heatmap) if isinstance(heatmap, tuple) else _mapped_classes
        return with_heatmaps(model, images, mapped, **options)

    def answer(self, prediction: Prediction) -> dict[str, Any]:
        """With `heatmaps`, where they were asked for."""
        return to_dict_with_maps(prediction)

    def writers(self) -> Mapping[str, Callable[[str], AbstractContextManager[Callable[[Any], Any]]]]:
        """`heatmap`: see `write_heatmaps.heatmap_writer`."""
        return {"heatmap": heatmap_writer}

    def predict(self, path: str, outputs: Any, placement: Placement) -> Prediction:
        """The classes that reach their thresholds, the most probable first."""
        order = outputs[0].sort(descending=True, stable=True).indices.tolist()
        probabilities = torch.sigmoid(outputs[0].double()).tolist()
        found = thresholds.apply(outputs.numpy(), self.thresholds)[0]
        pairs = [(self.class_names[index], probabilities[index]) for index in order]
        return Prediction(path, tuple(pair for pair, index in zip(pairs, order, strict=True) if found[index]), pairs[0])

    def csv_columns(self, **_: Any) -> list[str]:
        return ["path", "labels", "probabilities", "error"]

    def value_types(self) -> Mapping[str, Any]:
        """labels: the classes that reach their thresholds; top: the most probable class."""
        each = {"label": str, "probability": float}
        return {"labels": [each], "top": each}

    def unreadable(self, path: str, error: str) -> Prediction:
        return Prediction(path, error=error)


def _mapped_classes(prediction: Prediction) -> list[str]:
    assert prediction.top is not None
    return [name for name, _ in prediction.labels[:MAX_HEATMAPS] or (prediction.top,)]


def _labels(measurements: Measurements, predicted: Tensor | np.ndarray) -> Labels:
    true = measurements["true"].numpy() > 0
    return Labels(measurements["logits"].numpy(), true, np.asarray(predicted), measurements["unit"].numpy())


TASK = Multilabel
