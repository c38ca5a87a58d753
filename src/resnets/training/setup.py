"""Set up a run: split and check the images, build network, optimizer and data from a complete recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnets import ranks
from resnets.data.check import check
from resnets.data.datasets import open_dataset, read_shards
from resnets.data.datasets.dataset import Dataset, IndexedSamples
from resnets.data.image.decode import DecodeError, inspect
from resnets.data.loading import ram_cache
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.split import stratify_groups
from resnets.data.split.inherit_split import inherit_split
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split
from resnets.errors import LIST_LIMIT, UserError, format_list, pluralize
from resnets.models import spec as specs
from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.progress import log
from resnets.recipes.recipe import Recipe, total_steps
from resnets.report.figures import image_grid
from resnets.training import distributed, reproducibility, torch_compile
from resnets.training.configuration.autoconfig import SMALL_IMAGE_SIZE, DatasetInfo
from resnets.training.optimization import ema, freeze, lr_schedule, optimizers
from resnets.training.run_dir import run_dir
from resnets.training.state import TrainContext
from resnets.training.train_data import TrainData, input_preprocess
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

NUM_SIZE_SAMPLES = 200  # images whose headers are read for their sizes


def dataset_info(dataset: Dataset, recipe: Recipe, parent: Checkpoint | None) -> DatasetInfo:
    """Return the facts that the choices of `resnets.training.configuration.autoconfig` depend on."""
    samples = dataset.subset("train")
    paths = (sample.path for sample in samples[:: max(len(samples) // NUM_SIZE_SAMPLES, 1)])
    sides = [side for side in ordered_map(_shorter_side, paths, workers=None, ahead=NUM_SIZE_SAMPLES) if side]
    spec = _requested_spec(recipe, dataset.classes, parent)
    net = _meta_network(spec)
    return DatasetInfo(
        num_train=len(samples),
        shorter_sides=sides,
        model_size=spec.imgsz,
        min_size=max(
            net.min_size, *net.feature_strides.values()
        ),  # smaller images would leave a feature map of one position
        num_features=net.head.in_features,
        weights_size=None if parent is None else parent.preprocess.size[0],
        builtin_digits=recipe.data.location == "digits" and open_dataset.is_builtin(recipe.data.location),
    )


def _shorter_side(path: str) -> int | None:
    try:
        info = inspect(path)
    except DecodeError:  # reported when the images are checked
        return None
    return min(info.width, info.height)


def split_dataset(dataset: Dataset, recipe: Recipe, before: Mapping[str, str] | None = None) -> Dataset:
    """Return the dataset with each image in a split, its own or that of the recipe, after a check of all images.

    Args:
        before: the split of each image by the SHA-256 of its file, which is used where the dataset has no val split.

    Raises:
        UserError: there are no training images, or images cannot be read or have no label.
    """
    section = recipe.data
    if isinstance(dataset.samples, IndexedSamples):
        return _check_shards(dataset, recipe)
    if unlabeled := [sample.path for sample in dataset.samples if sample.label is None]:
        raise UserError(
            f"{len(unlabeled)} images have no label, such as '{unlabeled[0]}'; training needs a label for each image."
        )
    if section.split_file is not None:
        return drop_unreadable(read_split(section.split_file, dataset), section.on_bad)
    dataset = drop_unreadable(dataset, section.on_bad)
    if (section.folds is None) != (section.fold is None):
        raise UserError("`data.folds` and `data.fold` belong together: `data.folds=5` `data.fold=1`")
    if before and section.val_fraction and section.folds is None and "val" not in dataset.splits:
        inherited = inherit_split(
            dataset, before, val_fraction=section.val_fraction, seed=section.split_seed, group_by=section.group_by
        )
        if inherited is not None:
            return inherited
    own_val = "val" in dataset.splits  # then nothing is split; `conflicts` has refused given values
    return make_split(
        dataset,
        val_fraction=None if own_val or section.folds is not None else section.val_fraction,
        seed=section.split_seed if not own_val and (section.val_fraction or section.folds is not None) else None,
        group_by=section.group_by,
        folds=section.folds,
        fold=section.fold,
    )


def _check_shards(dataset: Dataset, recipe: Recipe) -> Dataset:
    section = recipe.data
    if section.split_file is not None or section.folds is not None or section.group_by is not None:
        return make_split(dataset)  # raises the error
    if "train" not in dataset.splits:
        raise UserError(f"'{dataset.root}' has no train split, only {', '.join(dataset.splits)}.")
    return dataset


def drop_unreadable(dataset: Dataset, on_bad: str) -> Dataset:
    """Return the dataset without the images that cannot be read, or raise an error that lists them.

    The images of shards were checked when they were written. Each rank checks an equal number of images.
    """
    if isinstance(dataset.samples, IndexedSamples):
        return dataset
    rank, size, count = ranks.rank(), ranks.world_size(), len(dataset.samples)
    local_samples = dataset.samples[count * rank // size : count * (rank + 1) // size]
    gathered = distributed.all_gather_object(check.verify_images(local_samples))
    results = [result for rank_results in gathered for result in rank_results]  # (SHA-256, error) of each image
    failures = [error for _, error in results if error]
    if failures and on_bad == "error":
        left = {sample.label for sample, (_, error) in zip(dataset.samples, results, strict=True) if error is None}
        lost = sorted(set(dataset.classes) - {str(label) for label in left})
        details = f" Without these no image of {format_list(lost)} is left." if lost else ""
        details += (
            f" Besides, there are class folders without images: {format_list(dataset.empty_classes)}."
            if dataset.empty_classes
            else ""
        )
        raise UserError(ram_cache.report_unreadable(failures) + details)
    readable = tuple(
        replace(sample, sha256=digest)
        for sample, (digest, error) in zip(dataset.samples, results, strict=True)
        if error is None
    )
    if not failures:
        return replace(dataset, samples=readable)
    log(f"left out {pluralize(len(failures), 'image')} that cannot be read:")
    for failure in failures[:LIST_LIMIT]:
        log(f"  {failure}")
    if len(failures) > LIST_LIMIT:
        log(f"  and {len(failures) - LIST_LIMIT:,} more")
    if not readable:
        raise UserError(f"None of the {count:,} images of '{dataset.root}' can be read.")
    labels = {sample.label for sample in readable}
    if emptied := [name for name in dataset.classes if name not in labels]:
        log(f"left out the class {format_list(emptied)}: none of its images can be read")
    return replace(
        dataset,
        samples=readable,
        classes=tuple(name for name in dataset.classes if name in labels),
        unreadable=tuple(failure.path for failure in failures),
    )


def network_spec(recipe: Recipe, classes: Sequence[str], parent: Checkpoint | None) -> specs.ResNetSpec:
    """Return the specification of the recipe's network, checked against the image size and the frozen layers.

    Raises:
        UserError: the network or a setting does not exist, the weights are of another network, the images are too small.
    """
    spec = _requested_spec(recipe, classes, parent)
    side = recipe.data.imgsz or spec.imgsz
    if spec.pool == "window":  # its last layer fits one image size
        spec = replace(spec, imgsz=side)
    net = _meta_network(spec)
    if side < net.min_size:
        smaller = "" if "cifar" in spec.stem else "; or `stem=cifar`, which keeps the resolution"
        raise UserError(
            f"{spec.name} needs images of at least {net.min_size} pixels; received `imgsz={side}`{smaller}."
        )
    freeze.apply(net, recipe.freeze)
    return spec


def _requested_spec(recipe: Recipe, classes: Sequence[str], parent: Checkpoint | None) -> specs.ResNetSpec:
    if parent is None:
        return zoo.get_spec(recipe.model.name or "", num_classes=len(classes), **_spec_overrides(recipe))
    if recipe.model.name != parent.spec.name:
        raise UserError(
            f"The weights are of {parent.spec.name}; received `model={recipe.model.name}`. Leave `model` out."
        )
    return replace(parent.spec, num_classes=len(classes), **_spec_overrides(recipe))


def check_batch_norm(recipe: Recipe, spec: specs.ResNetSpec, world_size: int = 1) -> None:
    """Raise UserError where a batch norm in train mode would see a single value per channel, which has no variance."""
    batch, side = recipe.data.batch or 1, recipe.data.imgsz or spec.imgsz
    sizes = [len(indices) for indices in torch.arange(max(batch // world_size, 1)).chunk(recipe.optim.accumulate)]
    min_batch = min(sizes) * (world_size if recipe.speed.sync_bn else 1)
    net = _meta_network(spec).train()
    freeze.apply(net, recipe.freeze, epoch=recipe.freeze.head_epochs)
    try:
        net(torch.empty(min_batch, spec.in_channels, side, side, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        slices = f", `optim.accumulate={recipe.optim.accumulate}`" if recipe.optim.accumulate > 1 else ""
        shared = f" on {world_size} processes" if world_size > 1 else ""
        raise UserError(
            f"`batch={batch}`{slices}{shared} leaves a single image in a step, and images of `imgsz={side}` a single value "
            f"per channel: batch norm needs more than one. Use a larger `batch`, or `freeze.norm=eval`."
        ) from None


def _meta_network(spec: specs.ResNetSpec) -> ResNet:
    """Return the network on the meta device, without memory for its weights."""
    with torch.device("meta"):
        return specs.build(spec)


def _spec_overrides(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of the specification that the recipe changes."""
    values = {key: value for key, value in vars(recipe.model).items() if key not in ("name", "weights")}
    return {key: value for key, value in values.items() if value is not None}


def build_network(recipe: Recipe, classes: Sequence[str], parent: Checkpoint | None) -> tuple[ResNet, specs.ResNetSpec]:
    """Return the network with random weights drawn with the recipe's seed, or with those of `parent`."""
    spec = network_spec(recipe, classes, parent)
    reproducibility.seed_everything(recipe.seed)
    net = specs.build(spec)
    if parent is None:
        return net, spec
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    same_shapes = shapes == {n: t.shape for n, t in parent.tensors.items()}
    if tuple(classes) == parent.classes and same_shapes:
        net.load_state_dict(checkpoints.network(parent).state_dict())
        log("the weights have the same classes: their head is kept")
    else:
        new_tensors = checkpoints.load_backbone(net, parent)
        reason = "" if parent.classes else "; the weights have no class names, so their head is not kept"
        log(f"new head for {len(classes)} classes: {', '.join(new_tensors)}{reason}")
    return net, spec


def build_context(
    recipe: Recipe, dataset: Dataset, parent: Checkpoint | None, provenance: dict[str, Any]
) -> TrainContext:
    """Build everything that the loop needs, on its device."""
    if recipe.speed.compile:
        torch_compile.check_compiler()
    device = distributed.local_device(recipe.speed.device)
    recipe = replace(recipe, speed=replace(recipe.speed, device=device))
    if recipe.speed.threads is not None:
        torch.set_num_threads(recipe.speed.threads)
    if recipe.speed.deterministic:
        reproducibility.use_deterministic_algorithms()
    train, val = dataset.subset("train"), dataset.subset("val") if "val" in dataset.splits else []
    net, spec = build_network(recipe, dataset.classes, parent)
    if (
        ranks.world_size() > 1
    ):  # same weights on all ranks, but a different random stream on each: dropout, stochastic depth
        reproducibility.seed_everything(recipe.seed + ranks.rank())
    train_data = TrainData(
        recipe, train, dataset.classes, input_preprocess(recipe, None if parent is None else parent.preprocess)
    )
    layout = torch.channels_last if recipe.speed.channels_last else torch.contiguous_format
    net = net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    if recipe.speed.sync_bn:
        net = distributed.convert_sync_batchnorm(net, device)  # type: ignore[assignment]
    total = total_steps(recipe, train_data.plan.steps_per_epoch)
    hold = recipe.freeze.head_epochs * train_data.plan.steps_per_epoch
    curve = lr_schedule.build_curve(
        recipe.schedule, total_steps=total, steps_per_epoch=train_data.plan.steps_per_epoch, hold_steps=min(hold, total)
    )

    def save_weights(path: Path, model: nn.Module, row: dict[str, Any]) -> None:
        tensors = model.state_dict()
        # Without times, so that the same run gives the same bytes.
        metrics = {name: value for name, value in row.items() if name not in run_dir.TIMING_COLUMNS}
        checkpoint = Checkpoint(
            spec, train_data.preprocess, dataset.classes, tensors, metrics=metrics, provenance=provenance
        )
        checkpoints.save(path, checkpoint)

    return TrainContext(
        recipe=recipe,
        net=net,
        optimizer=optimizers.build_optimizer(
            net, recipe.optim, lr=recipe.optim.lr, backbone_lr_factor=recipe.freeze.backbone_lr_factor
        ),
        lr_controller=lr_schedule.LRController(curve, recipe.schedule),
        ema=ema.build_average(net, recipe.ema.decay) if recipe.ema.decay else None,
        train_data=train_data,
        total_steps=total,
        val=train_data.eval_loader(val) if val else None,
        val_labels=train_data.label_indices(val),
        val_units=stratify_groups.unit_indices(val),
        save_weights=save_weights,
        device=device,
        precision=recipe.speed.precision,
    )


def log_warnings(recipe: Recipe, dataset: Dataset, parent: Checkpoint | None) -> None:
    """Log warnings about settings that probably cost accuracy."""
    side = recipe.data.imgsz or 0
    shorter_side = input_preprocess(recipe, None if parent is None else parent.preprocess).shorter_side
    if notice := read_shards.upscale_warning(dataset, shorter_side):
        log(f"warning: {notice}, or take a smaller `imgsz`")
    stem = recipe.model.stem or zoo.find(recipe.model.name or "").spec.stem
    if side <= SMALL_IMAGE_SIZE and "cifar" not in str(stem) and recipe.model.weights == "none":
        log(
            f"warning: the 7x7 stem of {recipe.model.name} leaves {side // 4}x{side // 4} of an image of {side} pixels; "
            "`stem=cifar` keeps its detail"
        )
    if recipe.freeze.layers != "none" and recipe.model.weights == "none":
        layers = "backbone"
        if not freeze.recipe_freezes_backbone(recipe):
            stages = int(recipe.freeze.layers)
            layers = f"stem with the first {pluralize(stages, 'stage')}" if stages else "stem"
        log(f"warning: the {layers} is frozen at random weights; `weights` gives it trained ones")


def describe_dataset(dataset: Dataset) -> str:
    """Return the number of images in each split, in one line."""
    sizes = {split: len(dataset.subset(split)) for split in dataset.splits}
    words = {"train": "to train", "val": "to validate", "test": "to test"}
    shared = ", ".join(f"{sizes[split]:,} {words[split]}" for split in sizes)
    return f"{pluralize(sum(sizes.values()), 'image')} in {len(dataset.classes):,} classes: {shared}"


def describe_run(recipe: Recipe, dataset: Dataset) -> str:
    """Return the length of the run in steps and epochs."""
    train, val = len(dataset.subset("train")), len(dataset.subset("val")) if "val" in dataset.splits else 0
    steps = max(train // (recipe.data.batch or 1), 1)
    total = total_steps(recipe, steps)
    return (
        f"{len(dataset.classes)} classes; {train} training and {val} validation images; {steps} steps an epoch, "
        f"{total} steps in {math.ceil(total / steps)} epochs; nothing was trained (`dry_run`)"
    )


def draw_batch(train_data: TrainData, out: Path) -> None:
    """Draw the first training batch as the network sees it, with its classes."""
    images, labels = train_data.first_batch()
    names = [train_data.classes[label] for label in labels]
    tiles = [image_grid.Tile(image, name) for image, name in zip(images, names, strict=True)]
    image_grid.draw(tiles[: image_grid.MAX_IMAGES], out)
