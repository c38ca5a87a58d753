"""A trained model of any task with its preprocessing: images in, predictions or measurements out."""

from __future__ import annotations

import copy
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch import Tensor, nn

from resnets.data.datasets.dataset import Sample
from resnets.data.image.decode import OpenedImage
from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import ImageError, JobError, UserError
from resnets.inference import tf32
from resnets.inference.model_runner import ModelRunner, OutputsJob, OutputsRunner, computed_by
from resnets.models.backbone import check_size
from resnets.models.resnet import find_backbone
from resnets.models.spec import ResNetSpec
from resnets.nested_tensors import map_tensors, slice_examples
from resnets.progress import progress_bar
from resnets.tasks.base import Prediction, Task
from resnets.tasks.embeddings import feature_extractor
from resnets.tasks.embeddings.embedding_results import Embedding, Embeddings, collect
from resnets.tasks.heatmaps import compute_heatmaps
from resnets.tasks.heatmaps.heatmap import Heatmap
from resnets.tasks.inputs import unread_images
from resnets.tasks.inputs.batching import Prepared, check_options, chunks
from resnets.tasks.inputs.read_image import ImageInput, as_list, name_of, read_image
from resnets.tasks.measurements import Measurements, concatenate_readable
from resnets.weights.checkpoint import UNTRAINED


class TrainedModel:
    """A trained model of a task, with its preprocessing.

    Attributes:
        task: with the class names and what was fitted, such as thresholds.
        model: the network, in eval mode, in channels_last layout, on `device`.
        preprocess: turns an image into the input of the network.
        spec, metrics, provenance: as in the checkpoint: the architecture, the measured metrics, and the origin of the weights.
        name: what it was loaded from; for messages.
        has_class_names: whether the names of the classes are known; else they are "output 0" and so on.
        resizes: whether what computes the outputs resizes the images, too.
        runner: computes the outputs with `backend` and `precision`: "auto" follows the rule of
            `resnets.inference.choose_backend`; `precision="fp32"` is the reference. It may be given instead.
    """

    resizes = False

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        preprocess: Preprocess,
        *,
        spec: ResNetSpec | None = None,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        has_class_names: bool = True,
        device: str = "cpu",
        backend: str = "auto",
        precision: str = "auto",
        name: str = "",
        runner: OutputsRunner | None = None,
    ) -> None:
        self.task = task
        self.spec, self.metrics, self.provenance = spec, dict(metrics or {}), dict(provenance or {})
        self.has_class_names = has_class_names
        # With a runner of its own the network computes nothing; it may be on the meta device.
        self.model = model.eval() if runner else model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.preprocess = preprocess
        self.device = torch.device(device)
        self.name = name or (spec.name if spec else type(model).__name__)
        self.dtype = next(model.parameters()).dtype
        self.runner = runner or ModelRunner(task.static_graph(self.model), backend, precision)
        self._heatmap_runner: OutputsRunner | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the outputs; empty for a task without classes."""
        return self.task.class_names

    def __repr__(self) -> str:
        height, width = self.preprocess.size
        return f"{type(self).__name__}({self.name}, {self.task.name}, images of {width}x{height})"

    def check_trained(self) -> None:
        """Raise UserError if the last layer was not trained, so that predictions mean nothing; `embed` does not use it."""
        if self.provenance.get("head") == UNTRAINED:
            raise UserError(
                f"'{self.name}' has a last layer that was not trained, so it cannot predict yet. Train it for your classes: "
                f"resnets train DATA --weights {shlex.quote(self.name)}"
            )

    def describe_input(self) -> str:
        """How an image is presented to the model, such as "one view of 224x224"."""
        height, width = self.preprocess.size
        if self.preprocess.resize == "fit":
            return f"one view with a longer side of {max(height, width)}"
        whole = self.preprocess.crop == "none" and self.preprocess.resize == "none" and not self.resizes
        return "one view at its own size" if whole else f"one view of {width}x{height}"

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput | Prepared],
        *,
        batch: int = 32,
        workers: int | None = None,
        ensemble: Sequence[TrainedModel] = (),
        **options: Any,
    ) -> list[Any]:
        """The prediction for one image or many.

        Args:
            images: paths, the bytes of files, Pillow images, uint8 arrays (H, W, 3) in RGB or (H, W) in gray, or what
                `prepare` returned.
            batch: number of images that go through the network together.
            workers: number of threads that read images; None for one per processor, 0 for none of their own.
            ensemble: further models of the same classes, for tasks that combine predictions, such as detection.
            options: those of the task, such as `top_k` for classification.

        Returns:
            A prediction for each image, in the same order. That of an image which cannot be read has an `error`.

        Raises:
            UserError: an object that is not an image, a number out of range, or a last layer that was not trained.
            JobError: the output of the network is not a number: its weights are damaged.
        """
        return list(self.stream(as_list(images), batch=batch, workers=workers, ensemble=ensemble, **options))

    def stream(
        self,
        images: Iterable[ImageInput | Prepared],
        *,
        batch: int = 32,
        workers: int | None = None,
        ensemble: Sequence[TrainedModel] = (),
        **options: Any,
    ) -> Iterator[Any]:
        """As `predict`, one prediction after the other; memory does not grow with the number of images.

        Raises:
            UserError: an object that is not an image, a number out of range, or a last layer that was not trained.
            JobError: the output of the network is not a number: its weights are damaged.
        """
        check_options(batch, workers)
        for model in (self, *ensemble):
            model.check_trained()
        checked = self.task.check_options(options)
        return self.task.predict_models([self, *ensemble], images, batch=batch, workers=workers, **checked)

    def embed(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        layer: str | None = None,
        batch: int = 32,
        workers: int | None = None,
    ) -> Embeddings:
        """The vectors of one image or many: `.vectors`, float32 (N, D), and `.paths`; `.errors` has those not readable.

        Args:
            images, batch, workers: as in `predict`.
            layer: None for what the head of a classifier receives, or for another task the average of the backbone's last map;
                or the name of a layer, such as "stage3", whose feature maps are averaged over their positions.

        Raises:
            UserError: there is no such layer, an object is not an image, or a number is out of range.
            JobError: the output of the network is not a number: its weights are damaged.
        """
        return collect(self.stream_embeddings(as_list(images), layer=layer, batch=batch, workers=workers))

    def stream_embeddings(
        self, images: Iterable[ImageInput], *, layer: str | None = None, batch: int = 32, workers: int | None = None
    ) -> Iterator[Embedding]:
        """As `embed`, one image after the other; memory does not grow with the number of images."""
        check_options(batch, workers)
        runner = self._vector_runner(layer or feature_extractor.POOLED)
        job = runner.job(len(images) if isinstance(images, Sized) else None, batch)
        prepared = ordered_map(self._prepare, enumerate(images), workers=workers, ahead=2 * batch)
        return self._embeddings(chunks(prepared, batch), job)

    def _vector_runner(self, layer: str) -> OutputsRunner:
        backend, precision = self.runner.backend, self.runner.precision
        graph = feature_extractor.vector_graph(self.model, layer)
        if layer.partition(".")[0] == "head":
            self.check_trained()
        if feature_extractor.is_traceable(self.model, layer):
            return ModelRunner(graph, backend, precision)
        if backend != "auto" or precision == "bf16":
            received = f"`backend={backend}`" if backend != "auto" else f"`precision={precision}`"
            raise UserError(
                f"The layer '{layer}' is computed by the reference in fp32; received {received}. Others compute whole stages."
            )
        return ModelRunner(graph, precision="fp32")

    def _embeddings(self, batches: Iterable[list[Prepared]], job: OutputsJob) -> Iterator[Embedding]:
        for chunk in batches:
            readable = [entry.inputs[0][0] for entry in chunk if entry.error is None]
            rows = iter(self.outputs_by_image(readable, job, lambda model, images: model(images)))
            for entry in chunk:
                if entry.error is not None:
                    yield Embedding(entry.name, None, entry.error)
                    continue
                row = next(rows)
                check_finite(row, entry.name)
                yield Embedding(entry.name, row[0].numpy())

    def with_network(self, model: nn.Module) -> TrainedModel:
        """The same with another network, which is presented the same inputs."""
        return TrainedModel(
            self.task, model, self.preprocess,
            spec=self.spec, metrics=self.metrics, provenance=self.provenance, has_class_names=self.has_class_names,
            device=str(self.device), backend=self.runner.backend, precision=self.runner.precision, name=self.name,
        )  # fmt: skip

    def with_runners(self, runner: OutputsRunner, heatmap_runner: OutputsRunner | None) -> TrainedModel:
        """A copy whose outputs, and those that heat maps are made of, are computed by these; None: as before."""
        copied = copy.copy(self)
        copied.runner, copied._heatmap_runner = runner, heatmap_runner
        return copied

    def predict_views(
        self, images: Iterable[ImageInput | Prepared], predict: Callable[[str, Any, Placement], Prediction], *, batch: int,
        workers: int | None, runner: OutputsRunner | None = None,
    ) -> Iterator[Prediction]:  # fmt: skip
        """The predictions of one view of each image; `predict` is `Task.predict` with its options.

        Args:
            runner: computes what `predict` takes; None for the outputs of the model.
        """
        batch = self.limit_batch(batch)
        job = (runner or self.runner).job(len(images) if isinstance(images, Sized) else None, batch)
        # Threads that read images cost a millisecond, which a server would pay for each batch of what it has prepared.
        is_prepared = isinstance(images, list) and all(isinstance(each, Prepared) for each in images)
        prepared: Iterable[Any] = (
            images if is_prepared else ordered_map(self._prepare, enumerate(images), workers=workers, ahead=2 * batch)
        )
        return self._predictions(chunks(prepared, batch), job, predict)

    def heatmap(self, image: ImageInput, class_name: str | None = None) -> Heatmap:
        """What each part of an image adds to the logit of a class; for models with one output for each class of an image.

        Args:
            class_name: None for the class with the highest logit.

        Returns:
            The map, `.values`, in the unit of the logit; `.on_image()` has it at each pixel, and `.save(path)` draws it.

        Raises:
            UserError: there is no such class, it is not an image, or the model is not a trained classifier.
            ImageError: the image cannot be read.
        """
        self.check_trained()
        return compute_heatmaps.heatmap_of(self, image, class_name)

    def heatmap_runner(self) -> OutputsRunner:
        """Computes the outputs that `compute_heatmaps` makes heat maps of; built once, since a backend takes seconds."""
        if self._heatmap_runner is None:
            self._heatmap_runner = self._build_heatmap_runner()
        return self._heatmap_runner

    def _build_heatmap_runner(self) -> OutputsRunner:
        return compute_heatmaps.heatmap_runner(self)

    def prepare(self, image: ImageInput | OpenedImage, name: str) -> Prepared:
        """The input for an image, which `predict` takes in its place: for threads that read images ahead of it.

        Raises:
            UserError: it is not an image.
            ImageError: it cannot be read, or is too small for the network.
        """
        pixels, placement = self.place(image, name)
        self.check_size(pixels)
        return Prepared(name, [[pixels]], placement=placement)

    def place(self, image: ImageInput | OpenedImage, name: str) -> tuple[Tensor, Placement]:
        """The input for an image, and where the image lies in what the network sees. Raises as `read_image`."""
        return self.preprocess.place(*read_image(image, name, self.preprocess))

    def _predictions(
        self, batches: Iterable[list[Prepared]], job: OutputsJob, predict: Callable[[str, Any, Placement], Prediction]
    ) -> Iterator[Prediction]:
        for chunk in batches:
            readable = [entry for entry in chunk if entry.error is None]
            outputs = iter(self.outputs_by_image([entry.inputs[0][0] for entry in readable], job))
            for entry in chunk:
                if entry.error is None:
                    own = next(outputs)
                    check_finite(own, entry.name)
                    assert entry.placement is not None
                    yield predict(entry.name, own, entry.placement)
                else:
                    yield self.task.unreadable(entry.name, entry.error)

    def limit_batch(self, batch: int) -> int:
        """How many images are read and computed together, of `batch` that were asked for."""
        return batch

    def outputs_by_image(
        self,
        images: Sequence[Tensor],
        job: OutputsJob,
        forward: Callable[[Callable[..., Any], Tensor], Any] | None = None,
    ) -> list[Any]:
        """The outputs of each of N prepared images (C, h, w), which may differ in size: those of a batch of one image.

        Images of one size go through the network together.

        Args:
            forward: calls what computes the outputs of a batch; None for `forward` of the task.
        """
        forward = forward or self.task.forward
        groups: dict[torch.Size, list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            groups[image.shape].append(index)
        found: list[Any] = [None] * len(images)
        with torch.inference_mode():
            for group in groups.values():
                stacked = torch.stack([images[index] for index in group]).to(self.dtype)
                outputs = forward(job.outputs, stacked)
                for position, index in enumerate(group):
                    found[index] = slice_examples(outputs, position, position + 1)
        return found

    def outputs(self, images: Sequence[Tensor], job: OutputsJob | None = None) -> Any:
        """The outputs of the network for N prepared images (C, h, w), which may differ in size, or one tensor (N, C, h, w):
        float32 on the CPU, a tensor with first dimension N (for classification logits, not divided by the temperature), or for
        other outputs a list of those of each image.

        Args:
            job: the job that these images belong to; None for a job of their own, computed by the reference unless the model
                was loaded with another backend or precision.

        Raises:
            UserError: an entry of `images` is not a tensor (C, h, w), or the last layer was not trained.
        """
        self.check_trained()
        for image in images:
            if not isinstance(image, Tensor) or image.ndim != 3:
                kind = f"tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
                raise UserError(
                    "`outputs` takes a list of preprocessed tensors (C, h, w), as from `preprocess.load(path)`, or one tensor "
                    f"(N, C, h, w); received in it a {kind}."
                )
        found = self.outputs_by_image(images, job or self.runner.job(None, max(len(images), 1), precision="fp32"))
        return torch.cat(found) if found and isinstance(found[0], Tensor) else found

    def measure(
        self, samples: Sequence[Sample], *, batch: int = 32, workers: int | None = None, on_bad: str = "error"
    ) -> tuple[Measurements, dict[str, str]]:
        """The measurements of each sample, in fp32, and what computed them.

        Args:
            on_bad: "error", or "skip" to leave unreadable images out and log them; `rows` then has "index", the positions of
                the others in `samples`.

        Raises:
            UserError: there are no samples.
            JobError: images cannot be read; all of them are named.
        """
        check_options(batch, workers, on_bad)
        if not samples:
            raise UserError("There are no images to evaluate on.")
        batch = self.limit_batch(batch)
        job = self.runner.job(len(samples), batch, precision="fp32")
        targets = self.task.targets(samples)
        prepared = ordered_map(self._prepare_sample, enumerate(samples), workers=workers, ahead=2 * batch)
        errors: dict[int, str] = {}
        measured: list[Measurements] = []
        sums: dict[str, Tensor] = {}
        index = 0
        for chunk in chunks(progress_bar(prepared, description="evaluating", total=len(samples), unit="images"), batch):
            readable = [index + number for number, entry in enumerate(chunk) if entry.error is None]
            errors |= {index + number: entry.error for number, entry in enumerate(chunk) if entry.error is not None}
            index += len(chunk)
            entries = [entry for entry in chunk if entry.error is None]
            rows = self.outputs_by_image([entry.inputs[0][0] for entry in entries], job)
            for number, entry, outputs in zip(readable, entries, rows, strict=True):
                check_finite(outputs, samples[number].path)
                assert entry.placement is not None
                part = slice(number, number + 1)
                found = self.task.measure(outputs, samples[part], targets[part], [entry.placement])
                sums = {name: sums.get(name, 0) + value for name, value in found.sums.items()}
                measured.append(Measurements(found.rows))
        unread_images.report_samples(samples, errors, on_bad)
        merged = Measurements(concatenate_readable(measured, errors, len(samples)).rows, sums)
        return merged, computed_by([job])

    def measure_features(
        self, samples: Sequence[Sample], features: Tensor, backend: str
    ) -> tuple[Measurements, dict[str, str]]:
        """As `measure`, for a model whose head takes the pooled features of each image: float32 (N, features).

        Args:
            backend: the name of what computed the features; the head is computed by torch.
        """
        assert len(features) == len(samples), (len(features), len(samples))
        with torch.inference_mode(), tf32.disabled(self.device):
            head: Any = self.model.head
            outputs = head(features.to(self.device)).float().cpu()
        for sample, row in zip(samples, outputs, strict=True):
            check_finite(row, sample.path)
        measured = self.task.measure(outputs, samples, self.task.targets(samples), ())
        return measured, {"backend": backend, "precision": "fp32"}

    def check_size(self, image: Tensor) -> None:
        """Raise ImageError for an input (C, h, w) of a size that the network does not support."""
        backbone = find_backbone(self.model)
        try:
            check_size(image, backbone.min_size, backbone.fixed_size)
        except ValueError as error:
            raise ImageError(str(error)) from error

    def _prepare_sample(self, indexed: tuple[int, Sample]) -> Prepared:
        return self._prepare((indexed[0], indexed[1].path))

    def _prepare(self, indexed: tuple[int, ImageInput | Prepared]) -> Prepared:
        index, image = indexed
        if isinstance(image, Prepared):
            return image
        name = name_of(image, index)
        try:
            return self.prepare(image, name)
        except ImageError as error:
            return Prepared(name, [], error.reason)


def check_finite(outputs: Any, name: str) -> None:
    """Raise JobError where an output for the image `name` is not a number: its weights are damaged."""

    def check(tensor: Tensor) -> None:
        if not torch.isfinite(tensor).all():
            raise JobError(
                f"The network's output for '{name}' is not a number: its weights are damaged. Train it again."
            )

    map_tensors(outputs, Tensor, check)
