"""Training and validation examples of a run: decoding, caching, augmentation, targets, and transfer to the device."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnets import ranks
from resnets.data.datasets.dataset import IndexedSamples, Sample, sample_paths, sample_weights
from resnets.data.image.decode import decode
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading import augmentation, mean_std, ram_cache, train_loader
from resnets.data.loading.batch import Batch
from resnets.data.loading.epoch_order import BatchPlan, EpochStep
from resnets.data.loading.eval_loader import EvalLoader
from resnets.data.loading.scheduled_augmentation import ScheduledAugmentation
from resnets.errors import UserError
from resnets.nested_tensors import map_tensors
from resnets.progress import log
from resnets.recipes.recipe import Augment, Recipe, total_steps
from resnets.tasks.base import Task

VAL_MEMORY_FRACTION = 0.15  # of the free memory, for preprocessed validation images
EVAL_BATCH = 64
MOSAIC_PART = 0.85  # of the steps; the last ones have images as they will be seen


def augments_whole_batches(section: Augment) -> bool:
    """Whether whole batches can be augmented at once, which holds for a crop from the padded image and a flip."""
    return section.crop in ("pad", "none") and not (
        section.jitter or section.pca_std or section.trivial or section.erase
    )


class TrainData:
    """The training examples of a run and all that is done to them before they enter the network."""

    def __init__(self, recipe: Recipe, task: Task, samples: Sequence[Sample], preprocess: Preprocess) -> None:
        self.recipe, self.task = recipe, task
        self.augments_batches = not task.spatial_targets and augments_whole_batches(recipe.augment)
        self.paths = sample_paths(samples)
        prepare = self._preparation(preprocess)
        is_resized = prepare.func is _resize_and_crop
        self.images = _cache_images(recipe, samples, prepare, preprocess.size if is_resized else None)
        self.stacked_images: Tensor | None = None  # (N, 3, h, w)
        if (
            self.augments_batches
            and isinstance(self.images, ram_cache.CachedImages)
            and self.images.stacked is not None
        ):
            self.stacked_images = torch.from_numpy(self.images.stacked).permute(0, 3, 1, 2)
        self.preprocess = _add_statistics(preprocess, recipe.data.normalize, self.images, self.paths)
        self.targets = task.targets(samples)
        # Those that are augmented with their images; others are looked up by `add_targets`.
        self.moving_targets = train_loader.Targets(self.targets, task.collate) if task.spatial_targets else None
        self.loss_weights, sampling_weights = task.balance(
            samples, torch.from_numpy(sample_weights(samples)), recipe.data.balance
        )
        batch = _divisible_batch(min(recipe.data.batch or 1, len(samples)))
        shard_sizes = samples.shard_sizes if isinstance(samples, IndexedSamples) else None
        self.plan = BatchPlan(
            len(samples), batch, recipe.seed, sampling_weights, ranks.rank(), ranks.world_size(), shard_sizes
        )
        self.transform = nn.Identity() if self.augments_batches else task.train_transform(recipe, self.preprocess)
        self.scheduled = self._scheduled_augmentation() if task.mosaic or task.multiscale else None
        self.batch_transform = augmentation.BatchCropFlip(
            len(samples),
            seed=recipe.seed,
            pad_pixels=(recipe.augment.pad_pixels or 0) if recipe.augment.crop == "pad" else 0,
            pad_mode=recipe.augment.pad_mode,
            flip=recipe.augment.flip,
            alternate_flip=recipe.augment.alternate_flip,
        )

    def _scheduled_augmentation(self) -> ScheduledAugmentation:
        steps = self.plan.steps_per_epoch
        return ScheduledAugmentation(
            partial(_transform_for_side, self.task, self.recipe, self.preprocess),
            imgsz=self.preprocess.size[0],
            seed=self.recipe.seed,
            num_images=self.plan.num_images,
            multiscale=self.task.multiscale,
            mosaic=self.task.mosaic,
            mosaic_end=EpochStep(*divmod(math.floor(MOSAIC_PART * total_steps(self.recipe, steps)), steps)),
            fill=self.preprocess.mean_color,
        )

    def _preparation(self, preprocess: Preprocess) -> partial[np.ndarray]:
        """Return the function that decodes an image and makes it as small as the augmentation allows."""
        section, side = self.recipe.augment, preprocess.size[0]
        if self.task.spatial_targets:
            return partial(decode)  # targets are in pixels of the original image
        if section.crop == "random_resized":
            # Large enough for the smallest crop to have the input resolution of the network.
            return partial(ram_cache.decode_resized, min_side=math.ceil(side / math.sqrt(section.scale[0])))
        if section.crop == "shorter_side":
            return partial(ram_cache.decode_resized, min_side=section.shorter_side[1])
        return partial(
            _resize_and_crop, preprocess=replace(preprocess, color="rgb", scale=255.0, mean=(0.0,) * 3, std=(1.0,) * 3)
        )

    def batches(
        self, start: EpochStep, on_wait: Callable[[], None] = lambda: None, plan: BatchPlan | None = None
    ) -> Generator[Batch, None, None]:
        """Yield batches of uint8 images from `start` on, to the end of `plan` (that of the run: without end).

        `on_wait` is as in `train_loader.train_batches`.
        """
        plan = plan or self.plan
        if self.stacked_images is not None:
            return train_loader.tensor_batches(self.stacked_images, plan, start=start)
        return train_loader.train_batches(
            self.images,
            plan,
            self.transform,
            targets=self.moving_targets,
            scheduled=self.scheduled,
            start=start,
            workers=self.recipe.data.workers or 0,
            pin_memory=self.recipe.speed.device.startswith("cuda"),
            on_wait=on_wait,
        )

    def first_batch(self, samples: Sequence[Sample]) -> list[tuple[np.ndarray, str]]:
        """Return the augmented images (H, W, 3) of the first batch, each with a caption. Spatial targets are drawn on them, and
        the caption is what the task says of these; otherwise it is the class names of the image in `samples`.
        """
        batch = next(
            train_loader.train_batches(
                self.images, self.plan, self.transform, targets=self.moving_targets, scheduled=self.scheduled
            )
        )
        images = batch.images
        if self.augments_batches and isinstance(images, Tensor):
            images = self.batch_transform(images.float(), batch.positions, batch.epoch, batch.indices).to(torch.uint8)
        arrays = [image.permute(1, 2, 0).numpy() for image in images]
        if self.task.spatial_targets:
            return [self.task.draw_target(*each) for each in zip(arrays, batch.targets, strict=True)]
        return [
            (array, ", ".join(samples[index].labels or ()))
            for array, index in zip(arrays, batch.indices.tolist(), strict=True)
        ]

    def to_device(self, batch: Batch) -> Batch:
        """Return the batch on the device: images normalized and, where that was not done before, augmented, with targets and
        weights, as the task's `loss` receives it.
        """
        recipe, device = self.recipe, self.recipe.speed.device
        layout = torch.channels_last if recipe.speed.channels_last else torch.contiguous_format
        images = map_tensors(
            batch.images, Tensor, lambda each: self.preprocess.normalize(each.to(device, non_blocking=True))
        )
        if self.augments_batches:
            images = self.batch_transform(images, batch.positions, batch.epoch, batch.indices)
        batch = self.task.prepare_batch(self.add_targets(batch._replace(images=images)), recipe)
        if isinstance(batch.images, Tensor):
            batch = batch._replace(images=batch.images.contiguous(memory_format=layout))
        return batch

    def add_targets(self, batch: Batch) -> Batch:
        """Return the batch with its targets and weights on the device, and its seeds."""
        device, targets = self.recipe.speed.device, batch.targets
        if not self.task.spatial_targets:
            indices = batch.indices
            chosen = self.targets[indices] if isinstance(self.targets, Tensor) else [self.targets[i] for i in indices]
            targets = self.task.collate(chosen)
        targets = map_tensors(targets, Tensor, lambda each: each.to(device, non_blocking=True))
        weights = self.loss_weights[batch.indices].to(device, non_blocking=True)
        seeds = [
            augmentation.derive_seed(self.recipe.seed, batch.epoch, position, "loss")
            for position in batch.positions.tolist()
        ]
        return batch._replace(targets=targets, weights=weights, seeds=seeds)

    def normalized_images(self, count: int) -> Tensor:
        """Return up to `count` random training images as the network receives them, not augmented: float32 (n, C, h, w)."""
        indices = self.plan.epoch_indices(0)[:count].tolist()
        return torch.stack([self.preprocess.normalize(augmentation.as_tensor(self.images[index])) for index in indices])

    def eval_loader(self, samples: Sequence[Sample]) -> EvalLoader:
        """Return the validation images of this rank, preprocessed as the saved weights will say.

        The ranks take consecutive parts of `samples`, so that each image is evaluated once.
        """
        rank, size = ranks.rank(), ranks.world_size()
        local_samples = samples[len(samples) * rank // size : len(samples) * (rank + 1) // size]
        return EvalLoader(
            sample_paths(local_samples),
            self.preprocess.load_placed,
            batch_size=EVAL_BATCH,
            workers=None if self.recipe.data.workers else 0,
            max_cache_bytes=round(VAL_MEMORY_FRACTION * ram_cache.free_memory() / ranks.local_world_size()),
        )


def _transform_for_side(task: Task, recipe: Recipe, preprocess: Preprocess, side: int) -> Callable[..., Any]:
    """Return the augmentation for another size of the input; the limit of the shorter side is scaled with it."""
    shorter = preprocess.resize_to and round(preprocess.resize_to * side / preprocess.size[0])
    return task.train_transform(recipe, replace(preprocess, size=(side, side), resize_to=shorter))


def _cache_images(
    recipe: Recipe, samples: Sequence[Sample], prepare: partial[np.ndarray], size: tuple[int, int] | None
) -> ram_cache.Images:
    """Return the images, cached in memory where they fit, which is logged; `size` is None where their sizes differ."""
    images = ram_cache.LazyImages(sample_paths(samples), prepare)
    advice = ""
    if prepare.func is not decode and not isinstance(samples, IndexedSamples):
        side = prepare.keywords.get("min_side") or prepare.keywords["preprocess"].resize_to or max(size or (0,))
        command = f"resnets data shard {shlex.quote(recipe.data.location)} SHARDS --resize {side}"
        advice = f"to decode less in each epoch, write them smaller once: {command}"
    decision = ram_cache.decide_cache(recipe.data.cache, images, advice=advice)
    log(f"  {decision}")
    return ram_cache.CachedImages(images, size=size) if decision.mode == "ram" else images


def _divisible_batch(batch: int) -> int:
    """Return the largest batch size up to `batch` that is divisible by the world size."""
    size = ranks.world_size()
    if batch < size:
        raise UserError(f"A batch of {batch} is too small for {size} processes: use fewer, or a larger `batch`.")
    return batch // size * size


def _add_statistics(preprocess: Preprocess, kind: str, images: ram_cache.Images, paths: Sequence[str]) -> Preprocess:
    """Add mean and standard deviation, or the mean image, of the training images, if the recipe uses them."""
    if kind == "channel":
        mean, std = mean_std.channel_mean_std(images)
        return replace(preprocess, mean=mean, std=std)
    if kind == "pixel":
        resized = images
        if images[0].shape[:2] != preprocess.size:
            resized = ram_cache.LazyImages(paths, partial(_resize_and_crop, preprocess=preprocess))
        return replace(preprocess, mean=mean_std.mean_image(resized), std=(1.0, 1.0, 1.0))
    return preprocess


def _resize_and_crop(path: str, *, preprocess: Preprocess) -> np.ndarray:
    """Return the image at the input size of the network, uint8 and not normalized."""
    return preprocess.resize_crop(preprocess.read(path))
