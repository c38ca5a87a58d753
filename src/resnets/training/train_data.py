"""Training and validation images of a run: decoding, caching, augmentation, targets, and transfer to the device."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from resnets import ranks
from resnets.data.datasets.dataset import IndexedSamples, Sample, sample_labels, sample_paths, sample_weights
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading import augmentation, mean_std, ram_cache, train_loader
from resnets.data.loading.batch import Batch
from resnets.data.loading.epoch_order import BatchPlan, EpochStep
from resnets.data.loading.eval_loader import EvalLoader
from resnets.errors import UserError
from resnets.progress import log
from resnets.recipes.recipe import Augment, Data, Recipe
from resnets.training.optimization import loss_targets

VAL_MEMORY_FRACTION = 0.15  # of the free memory, for preprocessed validation images
EVAL_BATCH = 64


def augments_whole_batches(section: Augment) -> bool:
    """Whether whole batches can be augmented at once, which holds for a crop from the padded image and a flip."""
    return section.crop in ("pad", "none") and not (
        section.jitter or section.pca_std or section.trivial or section.erase
    )


class TrainData:
    """The training images of a run and all that is done to them before they enter the network."""

    def __init__(
        self, recipe: Recipe, samples: Sequence[Sample], class_names: Sequence[str], preprocess: Preprocess
    ) -> None:
        self.recipe, self.class_names = recipe, list(class_names)
        self.augments_batches = augments_whole_batches(recipe.augment)
        self.paths = sample_paths(samples)
        prepare = self._preparation(preprocess)
        size = preprocess.size if prepare.func is _resize_and_crop else None
        self.images = _cache_images(recipe.data, samples, prepare, size)
        self.stacked_images: Tensor | None = None  # (N, 3, h, w)
        if (
            self.augments_batches
            and isinstance(self.images, ram_cache.CachedImages)
            and self.images.stacked is not None
        ):
            self.stacked_images = torch.from_numpy(self.images.stacked).permute(0, 3, 1, 2)
        self.preprocess = _add_statistics(preprocess, recipe.data.normalize, self.images, self.paths)
        self.labels = self.label_indices(samples)
        self.loss_weights, sampling_weights = loss_targets.balance_weights(
            self.labels, torch.from_numpy(sample_weights(samples)), len(self.class_names), recipe.data.balance
        )
        batch = _divisible_batch(min(recipe.data.batch or 1, len(samples)))
        shard_sizes = samples.shard_sizes if isinstance(samples, IndexedSamples) else None
        self.plan = BatchPlan(
            len(samples), batch, recipe.seed, sampling_weights, ranks.rank(), ranks.world_size(), shard_sizes
        )
        self.batch_transform = augmentation.BatchCropFlip(
            len(samples),
            seed=recipe.seed,
            pad_pixels=(recipe.augment.pad_pixels or 0) if recipe.augment.crop == "pad" else 0,
            pad_mode=recipe.augment.pad_mode,
            flip=recipe.augment.flip,
        )

    def _preparation(self, preprocess: Preprocess) -> partial[np.ndarray]:
        """Return the function that decodes an image and makes it as small as the augmentation allows."""
        section, side = self.recipe.augment, preprocess.size[0]
        if section.crop == "random_resized":
            # Large enough for the smallest crop to have the input resolution of the network.
            return partial(ram_cache.decode_resized, min_side=math.ceil(side / math.sqrt(section.scale[0])))
        if section.crop == "shorter_side":
            return partial(ram_cache.decode_resized, min_side=section.shorter_side[1])
        return partial(
            _resize_and_crop, preprocess=replace(preprocess, color="rgb", scale=255.0, mean=(0.0,) * 3, std=(1.0,) * 3)
        )

    def label_indices(self, samples: Sequence[Sample]) -> Tensor:
        """Return the class index of each sample, int64 (N,)."""
        return torch.from_numpy(sample_labels(samples, self.class_names))

    def batches(self, start: EpochStep, on_wait: Callable[[], None] = lambda: None) -> Generator[Batch, None, None]:
        """Yield batches of uint8 images from `start` on, without end; `on_wait` as in `train_loader.train_batches`."""
        if self.stacked_images is not None:
            return train_loader.tensor_batches(self.stacked_images, self.plan, start=start)
        workers, pinned = self.recipe.data.workers or 0, self.recipe.speed.device.startswith("cuda")
        return train_loader.train_batches(
            self.images,
            self.plan,
            self.image_transform(),
            start=start,
            workers=workers,
            pin_memory=pinned,
            on_wait=on_wait,
        )

    def first_batch(self) -> tuple[list[np.ndarray], list[int]]:
        """Return the augmented images (H, W, 3) of the first batch, and their class indices."""
        batch = next(train_loader.train_batches(self.images, self.plan, self.image_transform()))
        images = batch.images
        if self.augments_batches:
            images = self.batch_transform(images.float(), batch.positions, batch.epoch).to(torch.uint8)
        return list(images.permute(0, 2, 3, 1).numpy()), self.labels[batch.indices].tolist()

    def image_transform(self) -> Callable[[Tensor], Tensor]:
        """Return the augmentation that is applied to each image by itself."""
        if self.augments_batches:
            return nn.Identity()
        values = asdict(self.recipe.augment)
        for name in ("mixup_alpha", "cutmix_alpha"):
            del values[name]
        return augmentation.train_transform(self.preprocess.size[0], fill=self.preprocess.mean_color, **values)

    def targets(self, indices: Tensor) -> Tensor:
        """Return the targets of these images, float32 (B, K)."""
        smoothing = self.recipe.loss.label_smoothing
        return loss_targets.soft_targets(
            self.labels[indices], self.loss_weights[indices], len(self.class_names), smoothing
        )

    def augment(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return augmented and normalized images (B, C, H, W) and targets (B, K) on the device."""
        recipe = self.recipe
        images = self.preprocess.normalize(batch.images.to(recipe.speed.device, non_blocking=True))
        if self.augments_batches:
            images = self.batch_transform(images, batch.positions, batch.epoch)
        targets = self.targets(batch.indices).to(images.device, non_blocking=True)
        if recipe.augment.mixup_alpha or recipe.augment.cutmix_alpha:
            with augmentation.fork_seed(recipe.seed, batch.epoch, batch.step, "mix"):
                images, targets = augmentation.mixup_cutmix(
                    images,
                    targets,
                    mixup_alpha=recipe.augment.mixup_alpha,
                    cutmix_alpha=recipe.augment.cutmix_alpha,
                )
        layout = torch.channels_last if recipe.speed.channels_last else torch.contiguous_format
        return images.contiguous(memory_format=layout), targets

    def eval_loader(self, samples: Sequence[Sample]) -> EvalLoader:
        """Return the validation images of this rank, preprocessed as the saved weights will say.

        The ranks take consecutive parts of `samples`, so that each image is evaluated once.
        """
        rank, size = ranks.rank(), ranks.world_size()
        local_samples = samples[len(samples) * rank // size : len(samples) * (rank + 1) // size]
        return EvalLoader(
            sample_paths(local_samples),
            self.preprocess.load,
            batch_size=EVAL_BATCH,
            workers=None if self.recipe.data.workers else 0,
            max_cache_bytes=round(VAL_MEMORY_FRACTION * ram_cache.free_memory() / ranks.local_world_size()),
        )


def _cache_images(
    section: Data, samples: Sequence[Sample], prepare: partial[np.ndarray], size: tuple[int, int] | None
) -> ram_cache.Images:
    """Return the images, cached in memory where they fit, which is logged; `size` is None where their sizes differ."""
    images = ram_cache.LazyImages(sample_paths(samples), prepare)
    side = prepare.keywords.get("min_side") or prepare.keywords["preprocess"].resize_to or max(size or (0,))
    command = f"resnets data shard {shlex.quote(section.location)} SHARDS --resize {side}"
    small = f"to decode less in each epoch, write them smaller once: {command}"
    decision = ram_cache.decide_cache(
        section.cache, images, advice="" if isinstance(samples, IndexedSamples) else small
    )
    log(f"  {decision}")
    return ram_cache.CachedImages(images, size=size) if decision.mode == "ram" else images


def _divisible_batch(batch: int) -> int:
    """Return the largest batch size up to `batch` that is divisible by the world size."""
    size = ranks.world_size()
    if batch < size:
        raise UserError(f"A batch of {batch} is too small for {size} processes: use fewer, or a larger `batch`.")
    return batch // size * size


def input_preprocess(recipe: Recipe, parent: Preprocess | None = None) -> Preprocess:
    """Return the preprocessing of the recipe, without the statistics that are computed from the training images.

    `parent` is the preprocessing of the given weights; `data.normalize=weights` takes its normalization.
    """
    section = recipe.data
    side = section.imgsz or 0
    preprocess = Preprocess(
        size=(side, side),
        resize=section.resize,
        resize_to=max(round(side / section.crop_fraction), side) if section.resize == "shorter" else None,
        antialias=section.antialias,
    )
    if section.normalize == "weights":
        if parent is None:
            raise UserError("`data.normalize=weights` needs `weights`; without them use imagenet or channel.")
        model = parent.with_size(side)
    elif section.normalize in ("caffe", "tf"):
        model = Preprocess.caffe(side) if section.normalize == "caffe" else Preprocess.tf(side)
    elif section.normalize == "raw":
        model = Preprocess(scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    else:
        return preprocess
    return replace(preprocess, color=model.color, scale=model.scale, mean=model.mean, std=model.std)


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
