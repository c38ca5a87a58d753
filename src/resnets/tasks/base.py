"""Task: everything that the rest of the package asks of a task, such as classification.

The training loop, the run directory, resume, distributed training, the report, the commands and the checkpoint know this
class and no task. A task is a subclass in the module `task` of a folder below `resnets/tasks`, under the name `TASK`; or
anywhere else, if the program gives it to `resnets.tasks.registry.register` in each process (for the commands: a program that
registers it and calls `resnets.__main__.run`). It begins like this:

    @dataclass(frozen=True)
    class Brightness(Task):
        name = "brightness"
        monitor = (Monitor("error", "min"),)  # from resnets.tasks.best_epoch
        spatial_targets = False

For a network with one output for each class, the six abstract methods have to be written: `loss`, `measure`,
`validation_metrics`, `summarize`, `predict` and `unreadable`. A task without classes also has `num_outputs`, `read`, unless its
data are folders or lists of classes, and `csv_columns`. Each other method says what it does where a task does not replace it;
most are rarely replaced.
"""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import default_collate

from resnets import atomic_write
from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Dataset, Sample, remap_classes
from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading import place_targets
from resnets.data.loading.batch import Batch, Images
from resnets.data.split import stratify_groups
from resnets.errors import UserError
from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.message_format import pluralize
from resnets.models.build_network import build
from resnets.models.resnet import PooledBackbone, ResNet
from resnets.models.spec import ResNetSpec
from resnets.recipes.recipe import Recipe, TaskConfig
from resnets.report.content import KeyNumber, ReportContent
from resnets.report.figures import training_curves
from resnets.report.html import page
from resnets.report.run_files import RunFiles
from resnets.tasks import best_epoch
from resnets.tasks.adapt import load_parent
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.comparison import Comparison, Exposure, compare_scores
from resnets.tasks.inputs.input_preprocess import input_preprocess
from resnets.tasks.measurements import Measurements
from resnets.weights.checkpoint import Checkpoint


class Losses(NamedTuple):
    """The loss of a batch.

    Attributes:
        total: scalar, the mean over the examples of the batch, in float32; its gradient is taken.
        sums: by name, detached scalars on the device, summed over the examples of the batch. They are read at the log interval
            only; `metrics.jsonl` gets their mean over the examples of an epoch as `train/NAME`.
    """

    total: Tensor
    sums: Mapping[str, Tensor]


class ChosenValue(NamedTuple):
    """A value that the data decide, and the reason, which is logged."""

    value: Any
    reason: str


class Prediction(Protocol):
    """What a model says about one image."""

    @property
    def path(self) -> str:
        """The path of the image."""

    @property
    def error(self) -> str | None:
        """Why the image cannot be read; None if it can."""

    def to_dict(self) -> dict[str, Any]:
        """The prediction for JSON, with `path` and `error`."""

    def to_row(self) -> dict[str, str]:
        """The cells of a CSV table by the columns of `Task.csv_columns`; a column that is left out is empty."""

    def __str__(self) -> str:
        """The prediction in one line, beginning with the path."""


class Measured(NamedTuple):
    """The measurements of the images of a dataset, and how they were made.

    Attributes:
        task: with which the measurements are to be summarized; that of an ensemble may have other fitted values.
        measurements: in the order of the samples; the row "index", if there is one, has the positions of those that could be
            read, else all were read.
        computed: `backend` and `precision`.
        protocol: how each image was presented to the model, in words.
    """

    task: Task
    measurements: Measurements
    computed: Mapping[str, str]
    protocol: str


@dataclass(frozen=True)
class CrossFitted:
    """How the rows of a cross-fitted evaluation came about; see `training/evaluation/cross_fitting.py`.

    Attributes:
        scores: float64 (F, N), the `example_scores` of all examples in the epoch that was selected for each of the F folds.
        clusters: int64 (N,), the same number for examples that are copies of each other or of one group.
    """

    scores: np.ndarray
    clusters: np.ndarray


@dataclass(frozen=True)
class Task(ABC):
    """A task with its class names, its configuration, and what was fitted on the val split.

    Attributes:
        class_names: names of the outputs, in order; empty for a task without classes.
        config: the `[task]` table of the recipe.
        fitted: values for JSON that `fit` found, such as a temperature or thresholds. They are stored in the checkpoint.
        name: in recipes, in checkpoints and as the value of `task`; the name of the folder.
        Config: the class of `config`.
        recipe_values: for named recipes, the values that they have for this task: {"scratch": {"task.label_smoothing": 0.1}}.
        model_prefixes: beginnings of model names that mean this task, such as "fasterrcnn_"; what follows names the backbone.
        monitor: the best epoch is that with the best first metric; the second decides between equal ones, and so on.
        spatial_targets: whether cropping, flipping or resizing an image changes its target, as it does for boxes, and not for
            the class of an image. If it does not, whole batches can be augmented at once, and the features of a frozen
            backbone can be computed once.
        num_correct: the name in `Losses.sums` of the number of examples that are right, if there is one;
            `schedule.warmup_until_error` needs it.
        has_single_class: whether a prediction has a `label`, so that images can be sorted into folders by it.
        selected: what is selected with, or fitted to, the val split, in words.
        output_names: of what the static part of a model returns, in exported files of models that are no `ResNet`.
    """

    class_names: tuple[str, ...] = ()
    config: TaskConfig = field(default_factory=TaskConfig)
    fitted: Mapping[str, Any] = field(default_factory=dict)

    name: ClassVar[str]
    monitor: ClassVar[tuple[Monitor, ...]]
    Config: ClassVar[type[TaskConfig]] = TaskConfig
    recipe_values: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    model_prefixes: ClassVar[tuple[str, ...]] = ()
    spatial_targets: ClassVar[bool] = True
    num_correct: ClassVar[str] = ""
    has_single_class: ClassVar[bool] = False
    selected: ClassVar[str] = "the epoch"
    output_names: ClassVar[tuple[str, ...]] = ("logits",)

    def with_fitted(self, fitted: Mapping[str, Any]) -> Self:
        """The task with other fitted values."""
        return replace(self, fitted=dict(fitted))

    def score(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """The metrics of `monitor` as numbers of which greater ones are better, to be compared in order."""
        return best_epoch.score(metrics, self.monitor)

    # Data

    @classmethod
    def recognizes(cls, location: Path) -> bool:
        """Whether the layout of the data at `location` is one that is usual for this task; no image is decoded."""
        return False

    @classmethod
    def read(cls, location: str | Path, *, on_inaccessible: str = "error", config: TaskConfig | None = None) -> Dataset:
        """Read the data. Here: class folders, manifests, shards and built-in data (`open_dataset.read`).

        Args:
            location: what the user named, a file or a folder.
            on_inaccessible: "error", or "skip" for folders that cannot be listed.
            config: the `[task]` table of the recipe or of the checkpoint, which may say what the data mean; None for the default.

        Returns:
            `Dataset(root, samples, class_names)`, without class names `()`. A `Sample` has the path of its image and class names
            (`labels`), which the split balances, or anything else in `target`, of which a split file notices changes if it is a
            `DigestedTarget`; `split` is "train", "val" or "test" where the data are divided, and None where that is left to the
            package.

        Raises:
            UserError: there are no such data, or they are not laid out in a way that this task reads.
        """
        return open_dataset.read(location, on_inaccessible=on_inaccessible)

    @classmethod
    def check(cls, dataset: Dataset) -> list[str]:
        """Warnings about the labels or targets, one line each, before a training. Here: none.

        Raises:
            UserError: no training is possible, such as without labels.
        """
        return []

    @classmethod
    def backbone_name(cls, model: str) -> str:
        """The name of the residual network in the name of a model. Here: without the prefix of the task, if it has one."""
        prefixes = [prefix for prefix in cls.model_prefixes if model.startswith(prefix)]
        return model.removeprefix(max(prefixes, key=len, default=""))

    @classmethod
    def model_settings(cls, model: str, parent: Checkpoint | None) -> dict[str, ChosenValue]:
        """Values of the recipe, by dotted key, that the name of the model decides, or the weights that the run starts from. A
        value that the user gave is kept. Here: none.
        """
        return {}

    @classmethod
    def plan(cls, dataset: Dataset, recipe: Recipe, parent: Checkpoint | None) -> dict[str, ChosenValue]:
        """Values of the recipe that the data decide before the network is built, by dotted key, and what of them the weights
        decide that the run starts from. A value that the user gave is kept. Here: none.
        """
        return {}

    def targets(self, samples: Sequence[Sample]) -> Sequence[Any] | Tensor:
        """The target of each sample, in pixels of the original image where it has a position. Here: `Sample.target`."""
        return [sample.target for sample in samples]

    def preprocess(self, recipe: Recipe, parent: Preprocess | None) -> Preprocess:
        """What turns an image into the input of the network, in evaluation and prediction. Here: as the recipe says, for square
        inputs. `parent` is that of the weights that the run starts from.
        """
        return input_preprocess(recipe, parent)

    def train_transform(self, recipe: Recipe, preprocess: Preprocess) -> Callable[..., Any]:
        """The augmentation of single examples.

        Returns:
            A function of a uint8 image (3, H, W); with `spatial_targets`, of a `tv_tensors.Image` and its target, which returns
            both. H and W are those of the original, or smaller where decoded images are cached. Here: the transforms of
            `recipe.augment` (torchvision.transforms.v2), which change tv_tensors in the target with the image. It draws from
            torch's CPU generator, which is seeded for each example.
        """
        from resnets.data.loading import augmentation  # here, since it imports all of torchvision

        of_batches = ("mixup_alpha", "cutmix_alpha", "alternate_flip")
        values = {key: value for key, value in vars(recipe.augment).items() if key not in of_batches}
        return augmentation.train_transform(preprocess.size[0], fill=preprocess.mean_color, **values)

    @property
    def mosaic(self) -> float:
        """The probability that a training example is made of four, each of them augmented for a smaller input, where targets are
        dictionaries of "boxes", "labels" and "masks" as `data/loading/mosaic.py` has them. Here: 0.
        """
        return 0.0

    @property
    def multiscale(self) -> bool:
        """Whether the size for which training images are augmented changes during the run, with `spatial_targets`. Here: no."""
        return False

    def place(self, target: Any, placement: Placement) -> Any:
        """The target of an image, with `spatial_targets`, in pixels of the network's input; see `placement`. Here: tv_tensors in
        it are moved, and masks are 0 where the input shows nothing of the image.
        """
        return place_targets.place(target, placement)

    def draw_target(self, image: np.ndarray, target: Any) -> tuple[np.ndarray, str]:
        """A training image, uint8 (H, W, 3), with its target on it, and a caption, for `spatial_targets`. Here: without both."""
        return image, ""

    def collate(self, targets: Sequence[Any] | Tensor) -> Any:
        """The targets of a batch as one value: tensors with first dimension B, lists of B, or tuples and dictionaries of these.
        Here: numbers and tensors of equal shapes are stacked, all else becomes a list.
        """
        if isinstance(targets, Tensor):
            return targets
        try:
            return default_collate(list(targets))
        except (TypeError, RuntimeError):
            return list(targets)

    def balance(self, samples: Sequence[Sample], weights: Tensor, kind: str) -> tuple[Tensor, Tensor | None]:
        """The weight of each sample's loss, float32 (N,) with a mean of 1, and its sampling weight (None: all alike).

        Args:
            weights: float64 (N,), those of the dataset.
            kind: `data.balance` of the recipe: "none", "loss" or "sampler". Here only "none" is known.
        """
        if kind != "none":
            raise UserError(f"`data.balance={kind}` has no effect on the task {self.name}. Leave it out.")
        return (weights / weights.mean()).float(), None

    # Network

    @property
    def num_outputs(self) -> int:
        """The length of the output vector of the network, for tasks that do not replace `build`. Here: one for each class."""
        if not self.class_names:
            raise UserError(
                f"The task {self.name} has data without classes, and does not say how many outputs it needs."
            )
        return len(self.class_names)

    def build(self, spec: ResNetSpec) -> nn.Module:
        """The model, on the device of torch's context, with weights drawn from torch's random state.

        Here: the residual network of `spec`, which is a `ResNet` with `num_outputs` outputs. Any other model has the residual
        network in its attribute `backbone`, by which all code tells backbone and head.
        """
        return build(replace(spec, num_classes=self.num_outputs))

    def adapt(self, model: nn.Module, parent: Checkpoint, parent_model: nn.Module) -> str:
        """Load weights of another model into `model`, and say in a line what is kept and what is new.

        Here: the backbone is loaded. If the weights are of this task, so is the head, row by row: that of a class is found by
        its name; rows of other classes are new. Without classes the head is kept, if its tensors have the same shapes.

        Args:
            parent_model: the model of `parent`, on the meta device, which tells its backbone from its head.
        """
        return load_parent(model, parent, parent_model, self.class_names, same_task=parent.task == self.name)

    def static_graph(self, model: nn.Module) -> StaticGraph:
        """What a backend computes of the model, and what runs beside it.

        Here: of a `ResNet` the backend computes the pooled features and the head runs beside it, in float32; any other model is
        computed as a whole.
        """
        tolerance = {"fp32": 1e-3, "bf16": 0.05}
        if isinstance(model, ResNet):
            static, finish = PooledBackbone(model), lambda pooled: model.head(pooled)
            return StaticGraph(model, static, finish, _largest_difference, tolerance)
        return StaticGraph(model, model, lambda outputs: outputs, _largest_difference, tolerance)

    def probabilities(self, logits: Tensor) -> Tensor | None:
        """The probabilities of logits (N, K), with what was fitted, in operations that any runtime has; the first output of an
        exported classifier. Here: None, since there are none.
        """
        return None

    # Training

    def prepare_batch(self, batch: Batch, recipe: Recipe) -> Batch:
        """Change a batch on the device before the network sees it, such as by mixing images and targets. Here: unchanged."""
        return batch

    @abstractmethod
    def loss(self, model: Callable[..., Any], batch: Batch) -> Losses:
        """Call the model with the images of a batch on the device, and compute the loss.

        The total is `(losses * batch.weights).mean()`, where losses (B,) are those of the examples; it is not divided by the sum
        of the weights, so that ranks and micro-batches add up. `Losses.sums` are not weighted.

        Args:
            model: to be called, in train mode, within autocast; not to be asked for its attributes, since it may be wrapped.
            batch: images in float32, normalized: a tensor, or a list of tensors if their sizes differ; targets and weights on
                the device.
        """

    # Evaluation

    def forward(self, model: Callable[..., Any], images: Images, targets: Any = None) -> Any:
        """The outputs of the model in eval mode, for a tensor of images or a list of images of several sizes.

        Here: what the model returns, a tensor with first dimension n; for images of several sizes, one after the other.

        Args:
            targets: with `spatial_targets`, in the validation of a training only: as in a training batch, without augmentation,
                so that the losses of a model that computes them itself can be measured with its outputs.
        """
        if isinstance(images, Tensor):
            return model(images)
        return torch.cat([model(image[None]) for image in images])

    @abstractmethod
    def measure(
        self,
        outputs: Any,
        samples: Sequence[Sample],
        targets: Sequence[Any] | Tensor,
        placements: Sequence[Placement],
    ) -> Measurements:
        """What all metrics are computed from, the loss too, for some examples: rows with names of the task's own.

        Args:
            outputs: of `forward`, on the CPU, in float32 if they are floating-point numbers.
            samples: the same examples.
            targets: theirs, from `targets`, not collated.
            placements: where each image lies in its input, with its size; empty where cached features took the place of images.
        """

    @abstractmethod
    def validation_metrics(self, measurements: Measurements) -> dict[str, float]:
        """The metrics of an epoch, quickly computed, with "loss" if there is one. They become `val/NAME` in `metrics.jsonl`."""

    def epoch_remark(self, row: Mapping[str, Any], recipe: Recipe) -> str:
        """A line about a row of `metrics.jsonl`, which is logged after a tenth of the epochs. Here: "" for none."""
        return ""

    def bind(self, dataset: Dataset) -> Dataset:
        """The dataset with the classes of this task's model, for its evaluation. Here: labels are matched by name.

        Raises:
            UserError: the dataset has classes that the model does not know.
        """
        return remap_classes(dataset, self.class_names) if self.class_names else dataset

    def check_evaluation(self, models: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Check the models that are evaluated together, `TrainedModel`s, and the options that a user gave, before images are
        read. Here: there is one model, and no option.

        Raises:
            UserError: there are several models, or an option is unknown or does not fit a model.
        """
        if len(models) > 1:
            raise UserError(
                f"Models of the task {self.name} are evaluated one at a time, or two with `compare`; received {len(models)}."
            )
        if options:
            raise UserError(f"`{next(iter(options))}` has no effect on the task {self.name}. Leave it out.")

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
        """Measure a `TrainedModel`, or several as an ensemble, on samples. Here: one model, with one view of each image."""
        measurements, computed = models[0].measure(samples, batch=batch, workers=workers, on_bad=on_bad)
        return Measured(models[0].task, measurements, computed, models[0].describe_input())

    def fit(self, measurements: Measurements) -> dict[str, Any]:
        """What is fitted on the val split; it becomes `fitted`. Here: nothing."""
        return {}

    def fit_folds(self, measurements: Measurements, folds: np.ndarray, num_folds: int) -> list[dict[str, Any]]:
        """For each fold, `fit` on the examples of all other folds. To be replaced where that can be done faster at once."""
        return [self.fit(measurements.select(folds != fold)) for fold in range(num_folds)]

    def keep(self, measurements: Measurements) -> Measurements:
        """What `summarize` needs of each example, with the `fitted` values applied; less than the measurements, if possible.

        The rows that a cross-fitting keeps of each example. Here: the measurements.
        """
        return measurements

    def example_scores(self, measurements: Measurements) -> np.ndarray:
        """float64 (N,): one number for each example, greater is better, such as whether it is right. Here: 0.

        Cross-fitted intervals and paired comparisons use them.
        """
        return np.zeros(len(measurements))

    @abstractmethod
    def summarize(self, kept: Measurements, cross_fitted: CrossFitted | None = None) -> dict[str, Any]:
        """The metrics of an evaluation, for JSON, from the rows that `keep` returns; with "count", the number of examples, and
        the first metric of `monitor`.

        In `metrics.json` of a run without a test split, these are cross-fitted at the top, and those of the best weights on the
        val split, which selected them, under "selected".

        Args:
            cross_fitted: given where the rows were evaluated by epochs selected on other rows; an interval takes it into account
                or is left out.
        """

    def describe_fitted(self, before: Task, measurements: Measurements) -> str:
        """What was fitted anew to the measurements, for a log line; `before` is the task with the old values."""
        return ", ".join(f"{name} {value}" for name, value in self.fitted.items())

    def compare(self, a: Measured, b: Measured, samples: Sequence[Sample], exposures: Sequence[Exposure]) -> Comparison:
        """Compare two models on the same samples. Here: the mean difference of their `example_scores`, by a paired bootstrap.

        Args:
            exposures: how many of the images were used to train or to select each.
        """
        scores_a, scores_b = (each.task.example_scores(each.measurements) for each in (a, b))
        return compare_scores(scores_a, scores_b, stratify_groups.cluster_indices(samples), *exposures)

    def results(self, samples: Sequence[Sample], measurements: Measurements) -> dict[str, Any]:
        """Further results of an evaluation for JSON, beside the metrics, such as those of each class. Here: none."""
        return {}

    def tables(self, metrics: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
        """The table of the metrics of one model, or of several side by side, for the terminal. Here: a row for each number."""
        table = Table("", *names, box=None)
        for key, value in metrics[0].items():
            if isinstance(value, float | int) and not isinstance(value, bool):
                table.add_row(key, *[f"{each[key]:.4g}" for each in metrics])
        return table

    def class_table(self, results: Mapping[str, Any]) -> tuple[str, Table] | None:
        """The title and the table of the classes, from `results`, for the terminal. Here: none."""
        return None

    def headline(self, metrics: Mapping[str, Any]) -> str:
        """The most important metric of `summarize` with its interval, in a few words for a log line. Here: the monitored one."""
        name = self.monitor[0].metric
        return f"{name} {metrics[name]:.4g}" if name in metrics else ""

    def write_results(self, run: Path, samples: Sequence[Sample], measurements: Measurements) -> None:
        """Write the tables of an evaluation into the folder `run`. Here: `predictions.csv`, with the path of each image and the
        rows of the measurements that have one number for each.
        """
        columns = {
            name: rows for name, rows in measurements.rows.items() if isinstance(rows, Tensor) and rows.ndim == 1
        }
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["path", *columns])
        lists = [rows.tolist() for rows in columns.values()]
        table.writerows([sample.path, *(rows[index] for rows in lists)] for index, sample in enumerate(samples))
        atomic_write.write_bytes(run / "predictions.csv", text.getvalue().encode("utf-8", "surrogateescape"))

    def draw_report(
        self, run: Path, samples: Sequence[Sample], measurements: Measurements | None, model: Any = None
    ) -> None:
        """Draw the figures of a run, and write its `report.html`. Here: the training curves, and the metrics.

        Args:
            model: the `TrainedModel` that was measured, for figures that need it; None where there are several.
        """
        files = RunFiles(run)
        if files.rows:
            best = best_epoch.best_row(files.rows, self.monitor)
            training_curves.draw(files.rows, run / "results.png", best_epoch=best["epoch"] if best else None)
        numbers = [
            KeyNumber(name, f"{value:.4g}")
            for name, value in files.metrics.items()
            if isinstance(value, float | int) and not isinstance(value, bool)
        ]
        protocol = str(files.metrics.get("protocol", ""))
        headline = self.headline(files.metrics) if files.metrics else "There were no images to evaluate on"
        page.write(files, ReportContent(headline=headline, explanation=protocol, key_numbers=numbers))

    # Prediction

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of predictions that a user gave, checked: keyword arguments of `predict_models`. Here: there are none.

        Raises:
            UserError: an option is unknown, or its value is out of range.
        """
        if options:
            raise UserError(
                f"`{next(iter(options))}` has no effect on predictions of the task {self.name}. Leave it out."
            )
        return {}

    def describe_options(self, options: Mapping[str, Any], num_models: int) -> list[str]:
        """What a user should know of predictions of `num_models` models with these options, one line each. Here: nothing."""
        return []

    def predict_models(
        self, models: Sequence[Any], images: Iterable[Any], *, batch: int, workers: int | None, **options: Any
    ) -> Iterator[Prediction]:
        """The predictions of a `TrainedModel`, or of several as an ensemble, one after the other. Here: one model."""
        if len(models) > 1:
            raise UserError(f"Models of the task {self.name} predict one at a time; received {len(models)}.")
        return self.predict_one_model(models[0], images, batch=batch, workers=workers, **options)

    def predict_one_model(
        self, model: Any, images: Iterable[Any], *, batch: int, workers: int | None, **options: Any
    ) -> Iterator[Prediction]:
        """The predictions of a `TrainedModel`. Here: with one view of each image; the options are arguments of `predict`."""
        found: Iterator[Prediction] = model.predict_views(
            images, partial(self.predict, **options), batch=batch, workers=workers
        )
        return found

    @abstractmethod
    def predict(self, path: str, outputs: Any, placement: Placement) -> Prediction:
        """The prediction for one image.

        Args:
            outputs: those of `forward` for a batch of one image, as for `measure`.
            placement: where the image lies in its input, with its size.
        """

    def widest_options(self, options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Of the options that only choose among what was predicted, the values with which one prediction has what each of
        several users asked for; `narrow` then makes theirs. Here: there are none.

        Args:
            options: those of each user, checked or not.
        """
        return {}

    def narrow(self, prediction: Any, options: Mapping[str, Any]) -> Any:
        """The prediction with these options, of one with `widest_options`."""
        return prediction

    def answer(self, prediction: Any) -> dict[str, Any]:
        """The prediction for the JSON of a server: `to_dict`, and what no table has, such as masks. Here: nothing more."""
        found: dict[str, Any] = prediction.to_dict()
        return found

    def count(self, prediction: Any) -> Mapping[str, int]:
        """What of a prediction is added up for the last line of `predict`, by a noun in the singular. Here: nothing."""
        return {}

    def csv_columns(self, **options: Any) -> list[str]:
        """The columns of a table of predictions with these options; "path" and "error" are among them, and all that
        `Prediction.to_row` has.
        """
        return ["path", "prediction", "error"]

    def value_types(self) -> Mapping[str, Any]:
        """The types of the values of `Prediction.to_dict`, without "path" and "error", for the columns of a Parquet file: `str`,
        `float`, `int`, `[type]` for a list, `{name: type}` for a structure, `{str: type}` for any names. Here: none, and the
        prediction is one column of JSON.
        """
        return {}

    def writers(self) -> Mapping[str, Callable[[str], AbstractContextManager[Callable[[Any], Any]]]]:
        """Further forms in which `predict_files` writes predictions, by the names of its arguments, whose value is a file or a
        folder: what opens it gives a function of each prediction without an error. Here: none.
        """
        return {}

    @abstractmethod
    def unreadable(self, path: str, error: str) -> Prediction:
        """The prediction for an image that cannot be read."""


def _largest_difference(outputs: Any, reference: Any) -> Agreement:
    pairs = [(outputs, reference)] if isinstance(outputs, Tensor) else list(zip(outputs, reference, strict=True))
    difference = max(float((one - other).abs().max()) for one, other in pairs)
    return Agreement(
        len(pairs[0][0]), difference, f"on {pluralize(len(pairs[0][0]), 'image')} outputs within {difference:.4g}"
    )
