"""Compute the pooled features of a frozen backbone once, so that the head is trained on them in seconds.

Images are augmented again in each epoch, so the features of the first epochs are cached, with the augmentation of those epochs
and in their order. In these epochs the head is trained on exactly what it would get from the backbone; later epochs use
the same features again in another order. When a recipe unfreezes the backbone, its images are used from there on.
"""

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
from resnets.data.loading import ram_cache
from resnets.data.loading.batch import Batch
from resnets.data.loading.epoch_order import BatchPlan, EpochStep, epoch_indices
from resnets.data.loading.eval_loader import EvalBatch, EvalLoader
from resnets.inference.model_runner import ModelRunner
from resnets.inference.static_graph import static_part
from resnets.message_format import pluralize
from resnets.models.resnet import ResNet, find_backbone
from resnets.models.shortcuts import Dropped
from resnets.models.variants.block_variants import BatchStochasticDepth
from resnets.progress import log, progress_bar
from resnets.recipes.recipe import Recipe
from resnets.training.optimization import freeze
from resnets.training.state import TrainContext
from resnets.training.train_data import EVAL_BATCH, TrainData

MAX_VERSIONS = 4  # of each training image, augmented as in the first epochs, whose features are cached
MEMORY_FRACTION = 0.25  # of the free memory, for all features
FILE = "pooled.safetensors"


class Features(NamedTuple):
    """Pooled features of all images in fp32, and the names of the backends that computed them."""

    train: Tensor  # (versions, N, features), by position in the epoch; by image index without augmentation
    val: Tensor  # (M, features)
    backend: str


def cache_features(context: TrainContext, epoch: int, run: Path) -> None:
    """Make `context` use cached features in the epochs with a frozen backbone, from `epoch` (from 0) on.

    Nothing changes where the backbone is trained, or where its features are random: mixed images, dropout, stochastic depth.
    The features are saved under `run/state` for a resumed run.
    """
    frozen = _num_frozen_epochs(context)
    if epoch >= frozen or (reason := _reason_not_cached(context)):
        if epoch < frozen:
            log(f"the frozen backbone is run in every epoch: {reason}")
        return
    path, key = run / "state" / FILE, _cache_key(context)
    features = _read(path, key)
    if features is None:
        version_bytes = 4 * _num_features(context) * (len(context.train_data.paths) + len(context.val_samples))
        fitting = int(MEMORY_FRACTION * ram_cache.free_memory() / max(version_bytes, 1))
        versions = min(_max_versions(context), fitting)
        if not versions:
            log("the frozen backbone is run in every epoch: its features do not fit into memory")
            return
        features = _compute(context, versions)
        _write(path, key, features)
    versions = len(features.train)  # as chosen at the start of the run, whatever memory is free now
    log(f"the frozen backbone was run once, on {pluralize(versions, 'version')} of each training image")
    augmented = _is_augmented(context.recipe)
    train_data = CachedTrainFeatures(context.train_data, features.train, frozen, augmented=augmented)
    if context.val is not None:
        val = CachedValFeatures(context.val, features.val, lambda: train_data.epoch < frozen, features.backend)
        context.val = val  # type: ignore[assignment]
    context.train_data = train_data  # type: ignore[assignment]  # it has the attributes that the loop uses
    context.uses_cached_features = True


def validation_features(context: TrainContext, epoch: int, run: Path) -> tuple[Tensor, str] | None:
    """Return the cached features (M, features) of the validation images in epoch `epoch` (from 1) and the backend that
    computed them; None where the epoch was validated on images.
    """
    if context.val is None or not 1 <= epoch <= _num_frozen_epochs(context) or _reason_not_cached(context):
        return None
    if isinstance(context.val, CachedValFeatures):
        return context.val.features, context.val.backend
    features = _read(run / "state" / FILE, _cache_key(context))  # the run was finished before
    return None if features is None else (features.val, features.backend)


@dataclass
class CachedTrainFeatures:
    """A TrainData with features in place of images in the first `num_frozen` epochs; `epoch` is that of the last batch."""

    train_data: TrainData
    features: Tensor  # (versions, N, features)
    num_frozen: int
    epoch: int = 0
    augmented: bool = True
    orders: dict[int, Tensor] = field(default_factory=dict)  # image indices of each version

    @property
    def plan(self) -> BatchPlan:
        return self.train_data.plan

    @property
    def paths(self) -> Sequence[str]:
        return self.train_data.paths

    def batches(self, start: EpochStep, on_wait: Callable[[], None] = lambda: None) -> Generator[Batch, None, None]:
        """See `TrainData.batches`."""
        self.epoch = start.epoch - (start.epoch > 0 and start.step == 0)  # the previous epoch may not be validated yet
        for epoch, step, indices in self.plan.batches(start):
            self.epoch = epoch
            if epoch >= self.num_frozen:
                break
            indices, rows = self._rows(epoch, step, indices)
            features = self.features[epoch % len(self.features)][rows]
            yield Batch(epoch, step, indices, self.plan.positions(step), features[:, :, None, None])
        for batch in self.train_data.batches(EpochStep(epoch, step), on_wait):
            self.epoch = batch.epoch
            yield batch

    def _rows(self, epoch: int, step: int, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image indices of a batch, and the rows of their features in the version of this epoch."""
        if not self.augmented:
            return indices, indices
        positions = self.plan.positions(step)
        if epoch < len(self.features):
            return indices, positions
        order = self._order(epoch % len(self.features))
        if self.plan.weights is None:
            return indices, order[indices]
        again = epoch_indices(self.plan.num_images, seed=self.plan.seed, epoch=epoch)[positions]
        return order[again], again

    def _order(self, version: int) -> Tensor:
        """Return the image indices of a version; without oversampling, the position of each image index instead."""
        if version not in self.orders:
            order = self.plan.epoch_indices(version)
            self.orders[version] = order.argsort() if self.plan.weights is None else order
        return self.orders[version]

    def to_device(self, batch: Batch) -> Batch:
        """See `TrainData.to_device`; the features are those of augmented images."""
        if batch.epoch >= self.num_frozen:
            return self.train_data.to_device(batch)
        assert isinstance(batch.images, Tensor)
        features = batch.images.to(self.train_data.recipe.speed.device, non_blocking=True)
        recipe, task = self.train_data.recipe, self.train_data.task
        return task.prepare_batch(self.train_data.add_targets(batch._replace(images=features)), recipe)


@dataclass
class CachedValFeatures:
    """An EvalLoader that yields features as long as `still_frozen()` is true."""

    images: EvalLoader
    features: Tensor  # (M, features)
    still_frozen: Callable[[], bool]
    backend: str = ""  # that computed the features

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[EvalBatch]:
        if not self.still_frozen():
            yield from self.images
            return
        for start in range(0, len(self.features), EVAL_BATCH):
            yield EvalBatch(start, self.features[start : start + EVAL_BATCH, :, None, None], ())


@dataclass(frozen=True, eq=False)
class _CompleteEpoch(BatchPlan):
    """One complete epoch, in its own order or by image index; the last batch may be smaller."""

    by_index: bool = False

    def batches(self, start: EpochStep) -> Iterator[tuple[int, int, Tensor]]:
        indices = torch.arange(self.num_images) if self.by_index else self.epoch_indices(start.epoch)
        for step, batch in enumerate(indices.split(self.batch_size)):
            yield start.epoch, step, batch


def _num_frozen_epochs(context: TrainContext) -> int:
    section, steps = context.recipe.freeze, context.train_data.plan.steps_per_epoch
    epochs = -(-context.total_steps // steps)
    always = freeze.freezes_backbone(section, len(find_backbone(context.net).stages))
    return epochs if always else min(section.head_epochs, epochs)


def _reason_not_cached(context: TrainContext) -> str:
    """Return why the features cannot be cached, or an empty string."""
    if not isinstance(context.net, ResNet):
        return "the head works on feature maps, not on one vector for each image"
    if context.task.spatial_targets:
        return "the targets change with the augmentation of their images"
    if ranks.world_size() > 1:
        return "each process sees other images in each epoch"
    if context.recipe.augment.mixup_alpha or context.recipe.augment.cutmix_alpha:
        return "images are mixed in each batch"
    is_random = any(
        isinstance(module, StochasticDepth | BatchStochasticDepth | Dropped)
        or (isinstance(module, nn.Dropout) and module.p)
        for module in context.net.modules()
    )
    return "the backbone or head is stochastic (dropout, stochastic depth)" if is_random else ""


def _num_features(context: TrainContext) -> int:
    assert isinstance(context.net, ResNet)
    return context.net.head.in_features


def _is_augmented(recipe: Recipe) -> bool:
    section = recipe.augment
    changes = (section.flip, section.jitter, section.pca_std, section.trivial, section.erase)
    return section.crop != "none" or any(changes)


def _max_versions(context: TrainContext) -> int:
    """Return the number of versions of each image if memory were unlimited."""
    return min(_num_frozen_epochs(context), MAX_VERSIONS) if _is_augmented(context.recipe) else 1


def _compute(context: TrainContext, versions: int) -> Features:
    recipe, train_data = context.recipe, context.train_data
    count, batch = len(train_data.paths), EVAL_BATCH
    was_training = context.net.training
    # In fp32 whatever the precision of the training is, since these features are used in every epoch.
    runner = ModelRunner(static_part(context.task.static_graph(context.net.eval())), precision="fp32")
    job = runner.job(versions * count + len(context.val_samples), batch, exact=recipe.speed.deterministic)
    train = torch.empty(versions, count, _num_features(context))
    own, by_index = train_data.plan, not _is_augmented(recipe)
    plan = _CompleteEpoch(count, batch, own.seed, own.weights, shard_sizes=own.shard_sizes, by_index=by_index)
    batches = (batch for version in range(versions) for batch in train_data.batches(EpochStep(version, 0), plan=plan))
    total, description = versions * -(-count // batch), "running the frozen backbone"
    for each in progress_bar(batches, description=description, total=total, unit="batches"):
        images = train_data.to_device(each).images
        assert isinstance(images, Tensor)
        train[each.epoch, each.positions] = job.outputs(images)
    val = torch.empty(len(context.val_samples), _num_features(context))
    if context.val is not None:
        for start, batch_images, _ in context.val.iter_uncached():
            assert isinstance(batch_images, Tensor)
            val[start : start + len(batch_images)] = job.outputs(batch_images)
    context.net.train(was_training)
    return Features(train, val, ", ".join(dict.fromkeys(used.backend for used in job.used)))


def _cache_key(context: TrainContext) -> str:
    """Return a hash of all that the features depend on; the weights follow from the recipe and its seed."""
    recipe, paths = context.recipe, context.train_data.paths
    sections = (recipe.model, recipe.data, recipe.augment, recipe.seed)
    inputs = ("by position", *sections, "fp32", _max_versions(context), paths)
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def _read(path: Path, key: str) -> Features | None:
    """Read the features; return None where the file is missing or damaged, or has another key."""
    try:
        with safe_open(path, framework="pt") as file:
            saved_key, content, backend = (*(file.metadata() or {}).get("of", "").split(" ", 2), "", "", "")[:3]
            if saved_key != key or not backend:
                return None
            # Copied, since tensors in a file have any alignment, and the rounding of a product depends on it.
            features = Features(file.get_tensor("train").clone(), file.get_tensor("val").clone(), backend)
    except (OSError, SafetensorError):
        return None
    return features if content == _digest(features) else None


def _write(path: Path, key: str, features: Features) -> None:
    with replace_file(path) as temporary:
        # A single entry, since safetensors writes several in an order that changes from run to run.
        metadata = {"of": f"{key} {_digest(features)} {features.backend}"}
        safetensors.torch.save_file({"train": features.train, "val": features.val}, temporary, metadata=metadata)


def _digest(features: Features) -> str:
    digest = hashlib.sha256()
    for tensor in (features.train, features.val):
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
