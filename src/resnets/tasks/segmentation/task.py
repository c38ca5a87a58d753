"""Semantic segmentation: a class for each pixel."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from resnets import atomic_write
from resnets.check_settings import named_as_in_recipe
from resnets.data.datasets.dataset import Dataset, Sample, remap_classes
from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading import place_targets
from resnets.data.loading.batch import Batch, Images
from resnets.data.mask_datasets import open_mask_dataset
from resnets.data.mask_datasets.mask_classes import IGNORE
from resnets.data.mask_datasets.overlay import overlay
from resnets.data.split import stratify_groups
from resnets.inference.static_graph import StaticGraph
from resnets.models.segmentation import zoo
from resnets.models.segmentation.build import build_segmenter
from resnets.models.segmentation.prefixes import PREFIXES
from resnets.models.segmentation.segmenter import SegmenterOutput
from resnets.models.spec import ResNetSpec
from resnets.recipes.recipe import Recipe, TaskConfig
from resnets.report.number_formats import percent
from resnets.report.run_files import RunFiles
from resnets.tasks import bootstrap
from resnets.tasks.adapt import load_by_classes
from resnets.tasks.base import ChosenValue, CrossFitted, Losses, Measured, Monitor, Task
from resnets.tasks.comparison import Comparison, Exposure
from resnets.tasks.inputs.input_preprocess import input_preprocess
from resnets.tasks.measurements import Measurements
from resnets.tasks.segmentation import adapt, plan, upsample, write_predictions
from resnets.tasks.segmentation.config import SegmentationConfig, model_settings
from resnets.tasks.segmentation.forward import SegmentationOutput, forward, largest_batch
from resnets.tasks.segmentation.metrics import metric_tables, records, scores
from resnets.tasks.segmentation.metrics import summarize as metrics
from resnets.tasks.segmentation.metrics.records import LOSS
from resnets.tasks.segmentation.predict_any_size import predict_any_size
from resnets.tasks.segmentation.prediction import Prediction
from resnets.tasks.segmentation.recipe_values import RECIPE_VALUES
from resnets.tasks.segmentation.report.draw_report import draw
from resnets.tasks.segmentation.static_graph import static_graph
from resnets.tasks.segmentation.training import losses
from resnets.tasks.segmentation.training.epoch_remark import epoch_remark
from resnets.tasks.segmentation.training.targets import MaskTargets
from resnets.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Segmentation(Task):
    """A segmenter on a residual network."""

    config: TaskConfig = field(default_factory=SegmentationConfig)

    name: ClassVar[str] = "segmentation"
    Config: ClassVar[type[TaskConfig]] = SegmentationConfig
    monitor: ClassVar[tuple[Monitor, ...]] = (Monitor("miou", "max"), Monitor("loss", "min"))
    model_prefixes: ClassVar[tuple[str, ...]] = tuple(PREFIXES)
    recipe_values: ClassVar[Mapping[str, Mapping[str, Any]]] = RECIPE_VALUES

    @property
    def settings(self) -> SegmentationConfig:
        assert isinstance(self.config, SegmentationConfig)
        return self.config

    # Data

    @classmethod
    def recognizes(cls, location: Path) -> bool:
        """Label masks."""
        return open_mask_dataset.recognizes(location)

    @classmethod
    def read(cls, location: str | Path, *, on_inaccessible: str = "error", config: TaskConfig | None = None) -> Dataset:
        """Read images with masks in any of the known layouts."""
        settings = config if isinstance(config, SegmentationConfig) else SegmentationConfig()
        return open_mask_dataset.read(
            location,
            on_inaccessible=on_inaccessible,
            values=settings.mask_values,
            tolerance=settings.mask_value_tolerance,
        )

    @classmethod
    def backbone_name(cls, model: str) -> str:
        """The name of the residual network in that of a segmenter."""
        return zoo.backbone_name(model)

    @classmethod
    def model_settings(cls, model: str, parent: Checkpoint | None) -> dict[str, ChosenValue]:
        """The settings of the segmenter of that name; else of the one that the weights are of; else of a light one."""
        return model_settings(model, parent)

    @classmethod
    def plan(cls, dataset: Dataset, recipe: Recipe, parent: Checkpoint | None) -> dict[str, ChosenValue]:
        """Whether images are resized, the size of crops and batches, class weights, and how predictions are written."""
        return plan.plan(dataset, recipe)

    def preprocess(self, recipe: Recipe, parent: Preprocess | None) -> Preprocess:
        """The whole image, at its own size or with its longer side of `data.imgsz`."""
        return replace(input_preprocess(recipe, parent), crop="none")

    def targets(self, samples: Sequence[Sample]) -> MaskTargets:
        return MaskTargets(samples, self.class_names)

    def place(self, target: Any, placement: Placement) -> Any:
        """The mask in pixels of the input; what shows nothing of the image is ignored."""
        return place_targets.place(target, placement, outside=IGNORE)

    def train_transform(self, recipe: Recipe, preprocess: Preprocess) -> Callable[..., Any]:
        plan.check_unused(recipe)
        from resnets.tasks.segmentation.training import augment  # here, since it imports all of torchvision

        return augment.train_transform(self.settings, recipe.augment, preprocess)

    def draw_target(self, image: np.ndarray, target: Any) -> tuple[np.ndarray, str]:
        """The image in the colors of its classes, which the caption names, with their parts of the labeled pixels."""
        mask = np.asarray(target)
        counts = np.bincount(mask.ravel(), minlength=256)[: len(self.class_names)]
        shares = [(count / max(counts.sum(), 1), name) for count, name in zip(counts, self.class_names, strict=True)]
        largest = [f"{name} {percent(share, 0)}" for share, name in sorted(shares, reverse=True)[:3] if share]
        colors = write_predictions.colors_of(self.settings, len(self.class_names))
        return overlay(image, mask, colors), ", ".join(largest)

    def collate(self, targets: Sequence[Any] | Tensor) -> Any:
        """uint8 (B, H, W), or a list of masks (H, W) of several sizes."""
        masks = [target.as_subclass(Tensor) for target in targets]
        return torch.stack(masks) if len({mask.shape for mask in masks}) == 1 else masks

    # Network

    def build(self, spec: ResNetSpec) -> nn.Module:
        settings = self.settings.segmenter()
        with named_as_in_recipe(settings):  # where they do not fit the network
            return build_segmenter(settings, spec, len(self.class_names))

    def adapt(self, model: nn.Module, parent: Checkpoint, parent_model: nn.Module) -> str:
        """A classifier becomes the backbone; of a segmenter, decoder and head are kept too, and rows of a class by its name."""
        return load_by_classes(
            model,
            parent,
            parent_model,
            self.class_names,
            adapt.class_rows,
            same_task=parent.task == self.name,
            model_noun="segmenter",
            new_layers="decoder and head",
        )

    def static_graph(self, model: nn.Module) -> StaticGraph:
        return static_graph(model)

    # Training and evaluation

    def loss(self, model: Callable[..., Any], batch: Batch) -> Losses:
        """The sum of the terms of `task.loss`, and `task.aux_weight` of those of a second head."""
        assert batch.weights is not None
        outputs = model(batch.images)
        second = None
        if isinstance(outputs, SegmenterOutput):
            outputs, second = outputs
        terms = self._terms(outputs, batch.targets)
        total = torch.stack(list(terms.values())).sum(0)
        if second is not None:
            terms["aux"] = torch.stack(list(self._terms(second, batch.targets).values())).sum(0)
            total = total + self.settings.aux_weight * terms["aux"]
        sums = {f"{LOSS}{name}": each.detach().sum() for name, each in terms.items()}
        return Losses((batch.weights * total).mean(), sums)

    def _terms(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """The terms of the loss of each image, (n,), from logits and masks at the size of the input."""
        weights = _to_tensor(self.settings.class_weight_values, logits.device)
        return losses.losses(logits, masks, losses.parse(self.settings.loss), weights)

    def forward(self, model: Callable[..., Any], images: Images, targets: Any = None) -> SegmentationOutput:
        """The logits at the stride of the decoder, and with `targets` the terms of the loss."""
        window, corners = max(self.settings.crop, default=plan.USUAL_CROP), self.settings.align_corners
        return forward(model, images, window, targets, self._terms, align_corners=corners)

    def measure(
        self,
        outputs: Any,
        samples: Sequence[Sample],
        targets: Sequence[Any] | Tensor,
        placements: Sequence[Placement],
    ) -> Measurements:
        """The rows of `metrics/records.py`, in pixels of the original image."""
        assert isinstance(targets, MaskTargets)
        truths = [targets.read(index) for index in range(len(samples))]
        predicted = [self._label_map(each, truth.shape) for each, truth in zip(outputs.logits, truths, strict=True)]
        rows = records.measure(truths, predicted, samples, len(self.class_names)).rows
        return Measurements({**rows, **{f"{LOSS}{key}": each for key, each in outputs.losses.items()}})

    def _label_map(self, logits: Tensor, size: Any) -> np.ndarray:
        return upsample.label_map(logits.float(), size, align_corners=self.settings.align_corners)

    def validation_metrics(self, measurements: Measurements) -> dict[str, float]:
        """The loss and its terms, mIoU, the accuracy of the pixels, and how many classes are true and never predicted."""
        terms = {name: float(each.mean()) for name, each in records.losses(measurements).items()}
        total = records.of(measurements).counts.sum(axis=0)
        found = {"miou": float(scores.miou(total)), "pixel_accuracy": float(scores.pixel_accuracy(total))}
        known = {name: value for name, value in found.items() if np.isfinite(value)}
        missed = int(((total[1] > 0) & (total[2] == 0)).sum())
        return {"loss": sum(terms.values()), **known, "classes_missed": missed, **terms}

    def epoch_remark(self, row: Mapping[str, Any], recipe: Recipe) -> str:
        """See `training/epoch_remark.py`."""
        return epoch_remark(row, recipe, len(self.class_names))

    def bind(self, dataset: Dataset) -> Dataset:
        """Classes are matched by name."""
        return remap_classes(dataset, self.class_names)

    def keep(self, measurements: Measurements) -> Measurements:
        """The counts of each image."""
        return Measurements({name: rows for name, rows in measurements.rows.items() if name in records.COUNTS})

    def example_scores(self, measurements: Measurements) -> np.ndarray:
        """The mIoU of each image; 0 for one without a labeled pixel."""
        return np.nan_to_num(metrics.image_miou(records.of(measurements)))

    def summarize(self, kept: Measurements, cross_fitted: CrossFitted | None = None) -> dict[str, Any]:
        """mIoU and all other numbers of `metrics/summarize.py`."""
        widening = 1.0 if cross_fitted is None else bootstrap.cross_fitted_widening(cross_fitted.scores)
        return metrics.summarize(records.of(kept), widening)

    def compare(self, a: Measured, b: Measured, samples: Sequence[Sample], exposures: Sequence[Exposure]) -> Comparison:
        """The difference of mIoU, by a paired bootstrap over copies and groups."""
        one, other = (records.of(each.measurements) for each in (a, b))
        return metrics.compare(one, other, stratify_groups.cluster_indices(samples), exposures)

    def results(self, samples: Sequence[Sample], measurements: Measurements) -> dict[str, Any]:
        """`per_class` and `per_group`: see `metrics/summarize.py`."""
        found = records.of(measurements)
        return {
            "per_class": metrics.class_rows(found, self.class_names),
            "per_group": metrics.group_rows(found, samples),
        }

    def tables(self, metrics: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
        """A row for each number, with its interval if there is one."""
        return metric_tables.metric_table(metrics, names)

    def class_table(self, results: Mapping[str, Any]) -> tuple[str, Table] | None:
        """The row of each class, and a line for each group."""
        return "classes", metric_tables.class_table(results["per_class"], results["per_group"])

    def headline(self, metrics: Mapping[str, Any]) -> str:
        """mIoU, with the number of classes that it is over."""
        return metric_tables.headline(metrics) if metrics else ""

    def write_results(self, run: Path, samples: Sequence[Sample], measurements: Measurements) -> None:
        """Write `per_class.csv`, `per_image.csv` and, where images have groups, `per_group.csv`."""
        found, intervals = records.of(measurements), not RunFiles(run).shows_selection_images
        atomic_write.write_csv(run / "per_class.csv", metrics.class_rows(found, self.class_names, intervals=intervals))
        atomic_write.write_csv(run / "per_image.csv", metrics.image_rows(found, samples))
        if groups := metrics.group_rows(found, samples):
            atomic_write.write_csv(run / "per_group.csv", groups)

    def draw_report(
        self, run: Path, samples: Sequence[Sample], measurements: Measurements | None, model: Any = None
    ) -> None:
        """Draw the figures of the run, and write its `report.html`."""
        draw(run, samples, measurements, self.class_names, self.settings, self.monitor)

    # Prediction

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
        """One model; so many images at a time that those of the largest size do not fill the memory."""
        if models[0].preprocess.resize == "none":
            batch = min(batch, min(largest_batch(*sample.target.size) for sample in samples))
        return super().measure_models(models, samples, batch=batch, workers=workers, on_bad=on_bad, **options)

    def predict_one_model(
        self, model: Any, images: Iterable[Any], *, batch: int, workers: int | None, **options: Any
    ) -> Iterator[Any]:
        """Large images are computed one at a time, and those of more than 2 million pixels in windows."""
        whole: Any = partial(super().predict_one_model, model, batch=batch, workers=workers, **options)
        window, corners = max(self.settings.crop, default=plan.USUAL_CROP), self.settings.align_corners
        return predict_any_size(model, images, whole, window=window, align_corners=corners)

    def predict(self, path: str, outputs: Any, placement: Placement) -> Prediction:
        """The class of each pixel of the original image."""
        logits = outputs.logits[0]
        mask = self._label_map(logits, placement.original)
        return Prediction(path, self.class_names, mask, None, logits, self.settings.align_corners)

    def answer(self, prediction: Prediction) -> dict[str, Any]:
        """With `masks`, as `Prediction.class_masks`."""
        return prediction.to_dict() | ({} if prediction.mask is None else {"masks": prediction.class_masks()})

    def writers(self) -> Mapping[str, Callable[[str], AbstractContextManager[Callable[[Any], Any]]]]:
        """`draw`, `masks`, `label_ids`, `probabilities` and `areas`."""
        return write_predictions.writers(self.settings, self.class_names)

    def csv_columns(self, **_: Any) -> list[str]:
        return ["path", "areas", "error"]

    def value_types(self) -> Mapping[str, Any]:
        """size: height and width; areas: by class, as parts of the image."""
        return {"size": [int], "areas": {str: float}}

    def unreadable(self, path: str, error: str) -> Prediction:
        return Prediction(path, self.class_names, error=error)


@cache
def _to_tensor(values: tuple[float, ...], device: torch.device) -> Tensor | None:
    """Copied to the device once, since a copy waits for it; None for no values."""
    return torch.tensor(values, device=device) if values else None


TASK = Segmentation
