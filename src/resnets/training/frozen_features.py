"""A frozen backbone is run once: its pooled vectors are kept, and the head learns from them in seconds.

An image is augmented anew each time, so the images of a few epochs are kept, augmented as those epochs would show them, in
their order. In these epochs the head sees exactly what it would see through the backbone; after that they come again, in
another order. Where a recipe releases the backbone later, its images take over from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from resnets import ranks
from resnets.atomic_write import replace_file
from resnets.data.loading import loader, ram_cache
from resnets.data.loading.epoch_order import BatchPlan, EpochStep, epoch_indices
from resnets.data.loading.loader import EvalLoader
from resnets.data.loading.worker_processes import Batch
from resnets.inference.model_runner import ModelRunner
from resnets.progress import log, progress_bar
from resnets.recipes.recipe import Recipe
from resnets.training.optimization import freeze
from resnets.training.state import TrainContext
from resnets.training.train_data import EVAL_BATCH, TrainData

MAX_VIEWS = 4  # of each training image, where images are varied
MEMORY_FRACTION = 0.25  # of the free memory, for all vectors
FILE = "pooled.safetensors"


class Features(NamedTuple):
    """What the frozen backbone makes of the images, in fp32, and the names of the backends that computed it."""

    train: Tensor  # (views, N, features), by the position in the epoch; by the number of the image where nothing is augmented
    val: Tensor  # (M, features)
    backend: str


def cache_features(context: TrainContext, epoch: int, run: Path) -> None:
    """Let the epochs in which the whole backbone is frozen, from `epoch` (from 0) on, read pooled vectors.

    Nothing changes where the backbone learns, or where what comes out of it is not the same for one view each time:
    images that are mixed, or a backbone that draws lots. The vectors are kept under `run/state`, for a resumed run.
    """
    frozen = _num_frozen_epochs(context)
    if epoch >= frozen or (reason := _reason_not_cached(context)):
        if epoch < frozen:
            log(f"the frozen backbone is run in every epoch: {reason}")
        return
    path, key = run / "state" / FILE, _cache_key(context)
    vectors = _read(path, key)
    if vectors is None:
        views = _num_views(context)
        if not views:
            log("the frozen backbone is run in every epoch: its vectors would not fit into memory")
            return
        vectors = _compute(context, views)
        _write(path, key, vectors)
    views = len(vectors.train)  # those of the run's beginning, however much memory is free now
    log(f"the frozen backbone was run once: {views} view{'s' * (views > 1)} of each training image")
    train_data = CachedTrainFeatures(context.train_data, vectors.train, frozen, augmented=_is_augmented(context.recipe))
    context.train_data = train_data  # type: ignore[assignment]  # what the loop asks of a feed, it answers
    if context.val is not None:
        context.val = CachedValFeatures(  # type: ignore[assignment]
            context.val, vectors.val, lambda: train_data.epoch < frozen, vectors.backend
        )
    context.uses_cached_features = True


def validation_features(context: TrainContext, epoch: int, run: Path) -> tuple[Tensor, str] | None:
    """The vectors (M, features) of the validation images that epoch `epoch` (from 1) was judged by, and the backend that
    computed them; None where it was judged by images.
    """
    if context.val is None or not 1 <= epoch <= _num_frozen_epochs(context) or _reason_not_cached(context):
        return None
    if isinstance(context.val, CachedValFeatures):
        return context.val.vectors, context.val.backend
    vectors = _read(run / "state" / FILE, _cache_key(context))  # the run had ended before
    return None if vectors is None else (vectors.val, vectors.backend)


@dataclass
class CachedTrainFeatures:
    """A Feed whose first `frozen` epochs hold vectors in the place of images; `epoch` is that of the last batch."""

    train_data: TrainData
    vectors: Tensor  # (views, N, features)
    frozen: int
    epoch: int = 0
    augmented: bool = True
    orders: dict[int, Tensor] = field(default_factory=dict)  # of the images, in each view

    @property
    def plan(self) -> BatchPlan:
        return self.train_data.plan

    @property
    def paths(self) -> Sequence[str]:
        return self.train_data.paths

    def batches(self, start: EpochStep, on_wait: Callable[[], None] = lambda: None) -> Generator[Batch, None, None]:
        """As `Feed.batches`."""
        self.epoch = start.epoch - (start.epoch > 0 and start.step == 0)  # the one before may still be validated
        for epoch, step, numbers in self.plan.batches(start):
            self.epoch = epoch
            if epoch >= self.frozen:
                break
            numbers, rows = self._rows(epoch, step, numbers)
            vectors = self.vectors[epoch % len(self.vectors)][rows]
            yield Batch(epoch, step, numbers, self.plan.positions(step), vectors[:, :, None, None])
        for batch in self.train_data.batches(EpochStep(epoch, step), on_wait):
            self.epoch = batch.epoch
            yield batch

    def _rows(self, epoch: int, step: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of the images of a batch, and where their vectors stand in the view of this epoch."""
        if not self.augmented:
            return numbers, numbers
        positions = self.plan.positions(step)
        if epoch < len(self.vectors):
            return numbers, positions
        order = self._order(epoch % len(self.vectors))
        if self.plan.weights is None:
            return numbers, order[numbers]
        again = epoch_indices(self.plan.num_images, seed=self.plan.seed, epoch=epoch)[positions]
        return order[again], again

    def _order(self, view: int) -> Tensor:
        """The numbers of the images in a view; where each stands there once, the position of each number instead."""
        if view not in self.orders:
            order = self.plan.epoch_indices(view)
            self.orders[view] = order.argsort() if self.plan.weights is None else order
        return self.orders[view]

    def augment(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """As `Feed.vary`; the vectors are of images that have been varied."""
        if batch.epoch >= self.frozen:
            return self.train_data.augment(batch)
        targets = self.train_data.targets(batch.indices)
        device = self.train_data.recipe.speed.device
        return batch.images.to(device, non_blocking=True), targets.to(device, non_blocking=True)


@dataclass
class CachedValFeatures:
    """An Evaluation that gives vectors as long as `still_frozen` says so."""

    images: EvalLoader
    vectors: Tensor  # (M, features)
    still_frozen: Callable[[], bool]
    backend: str = ""  # that computed the vectors

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        if not self.still_frozen():
            yield from self.images
            return
        for start in range(0, len(self.vectors), EVAL_BATCH):
            yield start, self.vectors[start : start + EVAL_BATCH, :, None, None]


@dataclass(frozen=True, eq=False)
class _CompleteEpoch(BatchPlan):
    """One epoch to its end, in its own order or by number; the last batch is what is left."""

    by_number: bool = False

    def batches(self, start: EpochStep) -> Iterator[tuple[int, int, Tensor]]:
        numbers = torch.arange(self.num_images) if self.by_number else self.epoch_indices(start.epoch)
        for step, batch in enumerate(numbers.split(self.batch)):
            yield start.epoch, step, batch


def _num_frozen_epochs(context: TrainContext) -> int:
    part, steps = context.recipe.freeze, context.train_data.plan.steps_per_epoch
    epochs = -(-context.total_steps // steps)
    return epochs if freeze.freezes_backbone(part, len(context.net.stages)) else min(part.head_epochs, epochs)


def _reason_not_cached(context: TrainContext) -> str:
    """Why the same view would not give the same vector, or could not be drawn; empty when nothing hinders."""
    if ranks.world_size() > 1:
        return "each of the processes has its share of the images"
    mixing = context.recipe.augment.mixup_alpha or context.recipe.augment.cutmix_alpha
    if mixing:
        return "images are mixed anew in each batch"
    lots = any(
        isinstance(module, StochasticDepth) or (isinstance(module, nn.Dropout) and module.p)
        for module in context.net.modules()
    )
    return "it draws lots (dropout, stochastic depth)" if lots else ""


def _is_augmented(recipe: Recipe) -> bool:
    part = recipe.augment
    return part.crop != "none" or bool(part.flip or part.jitter or part.pca_std or part.trivial or part.erase)


def _max_views(context: TrainContext) -> int:
    """How many views of each image there should be."""
    return min(_num_frozen_epochs(context), MAX_VIEWS) if _is_augmented(context.recipe) else 1


def _num_views(context: TrainContext) -> int:
    """As many of them as fit into memory; 0 when the vectors of not even one do."""
    of_one = 4 * context.net.head.in_features * (len(context.train_data.paths) + len(context.val_labels))  # bytes
    return min(_max_views(context), int(MEMORY_FRACTION * ram_cache.free_memory() / max(of_one, 1)))


def _compute(context: TrainContext, views: int) -> Features:
    recipe, train_data = context.recipe, context.train_data
    count, batch = len(train_data.paths), EVAL_BATCH
    was_training = context.net.training
    # In fp32 whatever the precision of the training is: the head learns from these numbers in every epoch.
    runner = ModelRunner(context.net.eval(), precision="fp32")
    job = runner.job(views * count + len(context.val_labels), batch, exact=recipe.speed.deterministic)
    train = torch.empty(views, count, context.net.head.in_features)
    own = train_data.plan
    plan = _CompleteEpoch(count, batch, own.seed, own.weights, blocks=own.blocks, by_number=not _is_augmented(recipe))
    for view, positions, images in progress_bar(
        _augmented_batches(train_data, plan, views),
        description="running the frozen backbone",
        total=views * -(-count // batch),
        unit="batches",
    ):
        train[view, positions] = job.forward_pooled(images).cpu()
    val = torch.empty(len(context.val_labels), context.net.head.in_features)
    if context.val is not None:
        for start, images in context.val.iter_uncached():
            val[start : start + len(images)] = job.forward_pooled(images).cpu()
    context.net.train(was_training)
    return Features(train, val, ", ".join(dict.fromkeys(used.backend for used in job.used)))


def _augmented_batches(train_data: TrainData, plan: BatchPlan, views: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(view, positions, normalized images) of each view."""
    workers = train_data.recipe.data.workers or 0
    for view in range(views):
        place = EpochStep(view, 0)
        if train_data.stacked_images is not None:
            batches = loader.tensor_batches(train_data.stacked_images, plan, start=place)
        else:
            batches = loader.train_batches(
                train_data.images, plan, train_data.image_transform(), start=place, workers=workers
            )
        for batch in batches:
            yield view, batch.positions, train_data.augment(batch)[0]


def _cache_key(context: TrainContext) -> str:
    """What the vectors depend on; the weights are those that the recipe names, or its seed."""
    recipe = context.recipe
    facts = (
        "by position",
        recipe.model,
        recipe.data,
        recipe.augment,
        recipe.seed,
        "fp32",
        _max_views(context),
        context.train_data.paths,
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _read(path: Path, key: str) -> Features | None:
    """None when there is no such file, or when it is damaged or of other images."""
    try:
        with safe_open(path, framework="pt") as file:
            wanted, content, backend = (*(file.metadata() or {}).get("of", "").split(" ", 2), "", "", "")[:3]
            if wanted != key or not backend:
                return None
            # Copied, since in a file they begin anywhere: how a product is rounded depends on where its factors lie.
            vectors = Features(file.get_tensor("train").clone(), file.get_tensor("val").clone(), backend)
    except (OSError, SafetensorError):
        return None
    return vectors if content == _digest(vectors) else None


def _write(path: Path, key: str, vectors: Features) -> None:
    with replace_file(path) as temporary:
        # One entry: the library writes several in an order that changes from run to run.
        metadata = {"of": f"{key} {_digest(vectors)} {vectors.backend}"}
        safetensors.torch.save_file({"train": vectors.train, "val": vectors.val}, temporary, metadata=metadata)


def _digest(vectors: Features) -> str:
    made = hashlib.sha256()
    for tensor in (vectors.train, vectors.val):
        made.update(tensor.numpy().data)
    return made.hexdigest()
