"""Object detection, and instance segmentation: a box, a class and a score for each object, and with Mask R-CNN a mask."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn
from torchvision import tv_tensors

from resnets import atomic_write
from resnets.data.datasets.dataset import Dataset, Sample, remap_classes
from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.batch import Batch, Images
from resnets.data.object_datasets import open_object_dataset
from resnets.data.split import stratify_groups
from resnets.errors import UserError
from resnets.inference.static_graph import StaticGraph
from resnets.message_format import pluralize
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.output import DetectorOutput
from resnets.models.detection.prefixes import PREFIXES
from resnets.models.spec import ResNetSpec
from resnets.nested_tensors import map_tensors
from resnets.progress import log
from resnets.recipes.recipe import Recipe, TaskConfig
from resnets.report.number_formats import percent_interval
from resnets.tasks import bootstrap
from resnets.tasks.adapt import load_by_classes
from resnets.tasks.base import ChosenValue, CrossFitted, Losses, Measured, Monitor, Task
from resnets.tasks.comparison import Comparison, Exposure
from resnets.tasks.detection import adapt, augment, draw_objects, plan, records, write_predictions
from resnets.tasks.detection.annotations import ObjectTargets, check_annotated, missing_masks
from resnets.tasks.detection.config import DetectionConfig, model_settings
from resnets.tasks.detection.detections import Detections, to_detections
from resnets.tasks.detection.forward import forward
from resnets.tasks.detection.metrics import average_precision, confusion, metric_tables, score_threshold
from resnets.tasks.detection.metrics import summarize as metrics
from resnets.tasks.detection.metrics.measure import LOSS, losses, measure
from resnets.tasks.detection.prediction import Prediction, report
from resnets.tasks.detection.recipe_values import RECIPE_VALUES
from resnets.tasks.detection.report.draw_report import draw
from resnets.tasks.detection.static_graph import static_graph
from resnets.tasks.detection.test_time_augmentation.fuse_detectors import label_maps
from resnets.tasks.detection.test_time_augmentation.image_views import Views
from resnets.tasks.detection.test_time_augmentation.predict_views import (
    describe_views,
    measure_views,
    predict_views,
    with_nms,
)
from resnets.tasks.inputs.input_preprocess import input_preprocess
from resnets.tasks.measurements import Measurements
from resnets.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Detection(Task):
    """A detector on a residual network. `fitted` has the score threshold: that with the largest F1 on val."""

    config: TaskConfig = field(default_factory=DetectionConfig)

    name: ClassVar[str] = "detection"
    Config: ClassVar[type[TaskConfig]] = DetectionConfig
    monitor: ClassVar[tuple[Monitor, ...]] = (Monitor("box_ap", "max"), Monitor("loss", "min"))
    model_prefixes: ClassVar[tuple[str, ...]] = tuple(PREFIXES)
    recipe_values: ClassVar[Mapping[str, Mapping[str, Any]]] = RECIPE_VALUES
    selected: ClassVar[str] = "the epoch and the score threshold"
    output_names: ClassVar[tuple[str, ...]] = ("boxes", "scores", "sizes")

    @property
    def settings(self) -> DetectionConfig:
        assert isinstance(self.config, DetectionConfig)
        return self.config

    @property
    def has_masks(self) -> bool:
        return self.settings.architecture == "maskrcnn"

    @property
    def score_threshold(self) -> float:
        """The score from which on objects are reported."""
        return float(self.fitted.get("score_threshold", score_threshold.DEFAULT))

    # Data

    @classmethod
    def recognizes(cls, location: Path) -> bool:
        """Annotations of objects."""
        return open_object_dataset.recognizes(location)

    @classmethod
    def read(cls, location: str | Path, *, on_inaccessible: str = "error", config: TaskConfig | None = None) -> Dataset:
        """Read images with objects in any of the known formats."""
        return open_object_dataset.read(location, on_inaccessible=on_inaccessible)

    @classmethod
    def check(cls, dataset: Dataset) -> list[str]:
        """Images that are not annotated, and classes without an object."""
        return check_annotated(dataset)

    @classmethod
    def backbone_name(cls, model: str) -> str:
        """The name of the residual network in that of a detector."""
        return zoo.backbone_name(model)

    @classmethod
    def model_settings(cls, model: str, parent: Checkpoint | None) -> dict[str, ChosenValue]:
        """The settings of the detector of that name; else of the detector that the weights are of; else of a light one."""
        return model_settings(model, parent)

    @classmethod
    def plan(cls, dataset: Dataset, recipe: Recipe, parent: Checkpoint | None) -> dict[str, ChosenValue]:
        """The size of the images, the batch size, the anchors, and limits for images of many objects."""
        return plan.plan(dataset, recipe, parent)

    def preprocess(self, recipe: Recipe, parent: Preprocess | None) -> Preprocess:
        """The whole image, its longer side of `data.imgsz` and its shorter one of at most `task.shorter_side`."""
        return replace(input_preprocess(recipe, parent), resize="fit", resize_to=self.settings.shorter_side)

    def targets(self, samples: Sequence[Sample]) -> ObjectTargets:
        return ObjectTargets(samples, self.class_names, masks=self.has_masks)

    def train_transform(self, recipe: Recipe, preprocess: Preprocess) -> Callable[..., Any]:
        plan.check_unused(recipe)
        return augment.train_transform(self.settings, recipe.augment, preprocess)

    @property
    def mosaic(self) -> float:
        return self.settings.mosaic

    @property
    def multiscale(self) -> bool:
        return self.settings.multiscale

    def draw_target(self, image: np.ndarray, target: Any) -> tuple[np.ndarray, str]:
        """The boxes with their classes, and the masks; the caption has each class once."""
        boxes, labels = np.asarray(target["boxes"]), np.asarray(target["labels"])
        masks = [*np.asarray(target["masks"], bool)] if "masks" in target else None
        drawn = draw_objects.draw(image, boxes, labels, self.class_names, masks=masks)
        return drawn, ", ".join(dict.fromkeys(self.class_names[label] for label in labels))

    def collate(self, targets: Sequence[Any] | Tensor) -> list[dict[str, Tensor]]:
        """A list of dictionaries of plain tensors, boxes in float32."""
        return [map_tensors(target, tv_tensors.TVTensor, lambda each: each.as_subclass(Tensor)) for target in targets]

    # Network

    def build(self, spec: ResNetSpec) -> nn.Module:
        return build_detector(self.settings.detector(), spec, len(self.class_names))

    def adapt(self, model: nn.Module, parent: Checkpoint, parent_model: nn.Module) -> str:
        """A classifier becomes the backbone; of a detector, heads are kept too, and the rows of a class by its name."""
        return load_by_classes(
            model,
            parent,
            parent_model,
            self.class_names,
            partial(adapt.class_rows, model),
            same_task=parent.task == self.name,
            model_noun="detector",
            new_layers="neck and heads",
        )

    def static_graph(self, model: nn.Module) -> StaticGraph:
        return static_graph(model)

    # Training and evaluation

    def loss(self, model: Callable[..., Any], batch: Batch) -> Losses:
        """The sum of the terms that the detector computes; `Losses.sums` has each of them."""
        assert batch.weights is not None
        terms: dict[str, Tensor] = model(batch.images, batch.targets, batch.seeds).losses
        total = torch.stack([each.float() for each in terms.values()]).sum(0)
        sums = {f"{LOSS}{name}": each.detach().float().sum() for name, each in terms.items()}
        return Losses((batch.weights * total).mean(), sums)

    def forward(self, model: Callable[..., Any], images: Images, targets: Any = None) -> DetectorOutput:
        """The objects, and with `targets` the losses. Images are padded as if each were alone, so that no other changes them."""
        return forward(model, images, targets)

    def measure(
        self,
        outputs: Any,
        samples: Sequence[Sample],
        targets: Sequence[Any] | Tensor,
        placements: Sequence[Placement],
    ) -> Measurements:
        """The rows of `records`, and in a training those of the losses: float32 (n,)."""
        found = [to_detections(each, place) for each, place in zip(outputs.objects, placements, strict=True)]
        rows = measure(
            found, [place.original for place in placements], samples, self.class_names, masks=self.has_masks
        ).rows
        return Measurements({**rows, **{f"{LOSS}{key}": each for key, each in outputs.losses.items()}})

    def validation_metrics(self, measurements: Measurements) -> dict[str, float]:
        """The loss and its terms, and AP."""
        terms = {name: float(each.mean()) for name, each in losses(measurements).items()}
        found = average_precision.validation_metrics(records.of(measurements), len(self.class_names))
        return {"loss": sum(terms.values()), **found, **terms}

    def bind(self, dataset: Dataset) -> Dataset:
        """Objects are matched with the classes by name; images without annotations are left out."""
        known = [sample for sample in dataset.samples if sample.target is not None]
        if left_out := len(dataset.samples) - len(known):
            log(f"left out {pluralize(left_out, 'image')} without annotations")
        objects = [each for sample in known for each in sample.target.objects]
        if self.has_masks and (missing := missing_masks(objects)):
            log(f"{pluralize(missing, 'object')} without a mask: masks are evaluated only where all objects have one")
        return remap_classes(replace(dataset, samples=known), self.class_names)

    def check_evaluation(self, models: Sequence[Any], options: Mapping[str, Any]) -> None:
        """The attributes of `Views` are options, and several models are an ensemble."""
        super().check_evaluation(models[:1], Views.from_options(options)[1])
        label_maps(models)

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
        """One model or an ensemble, with the views of the options."""
        views, _ = Views.from_options(options)
        models = [with_nms(model, views.nms) for model in models]
        if views.is_single and len(models) == 1:
            return super().measure_models(models, samples, batch=batch, workers=workers, on_bad=on_bad)
        measurements, computed = measure_views(
            models, samples, views, self._measure_image, batch=batch, workers=workers, on_bad=on_bad
        )
        return Measured(self._of_ensemble(models), measurements, computed, describe_views(models, views))

    def _of_ensemble(self, models: Sequence[Any]) -> Self:
        """The task with the mean of the score thresholds of the models."""
        return self.with_fitted({"score_threshold": float(np.mean([each.task.score_threshold for each in models]))})

    def _measure_image(self, found: Detections, size: tuple[int, int], sample: Sample) -> Measurements:
        return measure([found], [size], [sample], self.class_names, masks=self.has_masks)

    def fit(self, measurements: Measurements) -> dict[str, Any]:
        """The score threshold with the largest F1 at an IoU of 0.5, over all classes."""
        found = score_threshold.fit_threshold(records.of(measurements))
        return {} if found is None else {"score_threshold": found}

    def keep(self, measurements: Measurements) -> Measurements:
        """The objects, with the score threshold of each image; without the losses."""
        rows = {name: rows for name, rows in measurements.rows.items() if not name.startswith(LOSS)}
        return Measurements({**rows, "threshold": torch.full((len(measurements),), self.score_threshold)})

    def example_scores(self, measurements: Measurements) -> np.ndarray:
        """The F1 of each image at the score threshold."""
        return confusion.image_scores(records.of(measurements), self.score_threshold)

    def summarize(self, kept: Measurements, cross_fitted: CrossFitted | None = None) -> dict[str, Any]:
        """COCO's numbers, and precision, recall and F1 of what is reported; see `metrics/summarize.py`."""
        return metrics.summarize(
            records.of(kept),
            len(self.class_names),
            np.asarray(kept["threshold"]),
            np.asarray(kept["unit"]),
            1.0 if cross_fitted is None else bootstrap.cross_fitted_widening(cross_fitted.scores),
        )

    def describe_fitted(self, before: Task, measurements: Measurements) -> str:
        """The score threshold and the F1, before and after."""
        old, new = (task.summarize(task.keep(measurements))["f1_micro"] for task in (before, self))
        return f"score threshold {self.score_threshold:.3f}: F1 {percent_interval(old)} -> {percent_interval(new)}"

    def compare(self, a: Measured, b: Measured, samples: Sequence[Sample], exposures: Sequence[Exposure]) -> Comparison:
        """The difference of AP, of the masks where both find masks, by a paired bootstrap over copies and groups."""
        one, other = (records.of(each.measurements) for each in (a, b))
        masks = one.mask_matches is not None and other.mask_matches is not None
        clusters = stratify_groups.cluster_indices(samples)
        return metrics.compare(one, other, len(self.class_names), clusters, exposures, masks=masks)

    def results(self, samples: Sequence[Sample], measurements: Measurements) -> dict[str, Any]:
        """`per_class`: see `metrics/summarize.py`."""
        found = records.of(measurements)
        return {"per_class": metrics.class_rows(found, self.class_names, self.score_threshold)}

    def tables(self, metrics: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
        """A row for each number, with its interval if there is one."""
        return metric_tables.metric_table(metrics, names)

    def class_table(self, results: Mapping[str, Any]) -> tuple[str, Table] | None:
        """The row of each class."""
        return "classes, at the score threshold", metric_tables.class_table(results["per_class"])

    def headline(self, metrics: Mapping[str, Any]) -> str:
        """AP of the boxes, and of the masks."""
        return metric_tables.headline(metrics)

    def write_results(self, run: Path, samples: Sequence[Sample], measurements: Measurements) -> None:
        """Write `per_class.csv` and `predictions.csv`."""
        super().write_results(run, samples, measurements)
        atomic_write.write_csv(run / "per_class.csv", self.results(samples, measurements)["per_class"])

    def draw_report(
        self, run: Path, samples: Sequence[Sample], measurements: Measurements | None, model: Any = None
    ) -> None:
        """Draw the figures of the run, and write its `report.html`."""
        found = None if measurements is None else records.of(measurements)
        draw(run, samples, found, self.class_names, self.score_threshold, self.monitor)

    # Prediction

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`score`, the threshold in place of the fitted one; `agnostic_nms`, the IoU above which the object with the lower
        score is dropped, whatever the classes are; and the attributes of `Views`.
        """
        views, others = Views.from_options(options)
        own: dict[str, Any] = {key: others.pop(key) for key in ("score", "agnostic_nms") if key in others}
        super().check_options(others)
        for key, value in own.items():
            if not 0 <= value <= 1:
                raise UserError(f"`{key}` is a number from 0 to 1; received {value}.")
        if own.get("score", 1.0) < self.settings.score_floor:
            floor = self.settings.score_floor
            raise UserError(f"`score={own['score']}` is below {floor:g}, the least score that this detector gives.")
        return {**own, "views": views}

    def describe_options(self, options: Mapping[str, Any], num_models: int) -> list[str]:
        """That the score threshold, if no other is given, was fitted to single views with plain NMS."""
        views, others = Views.from_options(options)
        if "score" in others or (views.is_single and views.nms == Views.nms and num_models == 1):
            return []
        return [
            "the score threshold was fitted to one view of each image, by one detector with hard NMS: an evaluation with the "
            "same options on val images shows what it gives here, and `score` sets another"
        ]

    def predict_models(
        self, models: Sequence[Any], images: Iterable[Any], *, batch: int, workers: int | None, **options: Any
    ) -> Iterator[Any]:
        """One model or an ensemble, with the views of the options."""
        views: Views = options.pop("views")
        models = [with_nms(model, views.nms) for model in models]
        if views.is_single and len(models) == 1:
            return super().predict_models(models, images, batch=batch, workers=workers, **options)
        label_maps(models)
        to_prediction = partial(self._of_ensemble(models)._report, **options)
        return predict_views(models, images, views, to_prediction, batch=batch, workers=workers)

    def predict(self, path: str, outputs: Any, placement: Placement, **options: Any) -> Prediction:
        """The objects that reach the score threshold."""
        objects = outputs.objects[0]
        reported = objects["scores"] >= self._threshold(options)
        found = to_detections({name: each[reported] for name, each in objects.items()}, placement)
        return self._report(path, found, placement.original, **options)

    def _threshold(self, options: Mapping[str, Any]) -> float:
        return float(options.get("score", self.score_threshold))

    def _report(self, path: str, found: Detections, size: tuple[int, int], **options: Any) -> Prediction:
        """The prediction for an image of that size, height and width."""
        iou = options.get("agnostic_nms")
        return report(path, found, size, self.class_names, threshold=self._threshold(options), agnostic_nms=iou)

    def widest_options(self, options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The least `score`."""
        return {"score": min(map(self._threshold, options))}

    def narrow(self, prediction: Prediction, options: Mapping[str, Any]) -> Prediction:
        """With the objects that reach `score`."""
        least = np.float32(self._threshold(options))  # scores are compared as `predict` does, in their own precision
        objects = tuple(each for each in prediction.objects if np.float32(each.score) >= least)
        return replace(prediction, objects=objects)

    def writers(self) -> Mapping[str, Callable[[str], AbstractContextManager[Callable[[Any], Any]]]]:
        """`draw`, `coco_json`, `yolo_labels`, `object_crops`, and `masks` if the detector finds masks."""
        return write_predictions.writers(self.class_names, masks=self.has_masks)

    def count(self, prediction: Prediction) -> Mapping[str, int]:
        """The objects."""
        return {"object": len(prediction.objects)}

    def csv_columns(self, **_: Any) -> list[str]:
        return ["path", "count", "objects", "error"]

    def value_types(self) -> Mapping[str, Any]:
        """size: height and width; objects: as `DetectedObject.to_dict` gives them."""
        each: dict[str, Any] = {"label": str, "score": float, "box": [float]}
        if self.has_masks:
            each["mask"] = {"size": [int], "counts": str}
        return {"size": [int], "objects": [each]}

    def unreadable(self, path: str, error: str) -> Prediction:
        return Prediction(path, error=error)


TASK = Detection
