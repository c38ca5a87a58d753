"""Build everything that the loop needs (`TrainContext`) from a complete recipe."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from resnets import ranks
from resnets.data.datasets.dataset import Sample
from resnets.data.split import stratify_groups
from resnets.models.stems import WhiteningConv2d
from resnets.recipes.recipe import Ema, total_steps
from resnets.report.figures import image_grid
from resnets.training import distributed, precision, reproducibility, torch_compile
from resnets.training.optimization import fast_convolutions, lr_schedule, optimizers, small_map_convolutions
from resnets.training.optimization.ema import WeightAverage
from resnets.training.optimization.lookahead import Lookahead
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_network import build_network
from resnets.training.setup.prepare_run import PreparedRun
from resnets.training.state import TrainContext
from resnets.training.train_data import TrainData
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint


def build_context(
    prepared: PreparedRun, provenance: dict[str, Any] | None = None, *, has_state: bool = False
) -> TrainContext:
    """Build everything that the loop needs, on its device. With `has_state`, a saved state replaces the weights afterwards."""
    recipe, task, dataset = prepared.recipe, prepared.task, prepared.dataset
    if recipe.speed.compile:
        torch_compile.check_compiler()
    device = distributed.local_device(recipe.speed.device)
    recipe = replace(recipe, speed=replace(recipe.speed, device=device))
    if recipe.speed.threads is not None:
        torch.set_num_threads(recipe.speed.threads)
    if recipe.speed.deterministic:
        reproducibility.use_deterministic_algorithms()
    train, val = dataset.subset("train"), dataset.subset("val") if "val" in dataset.splits else []
    test = dataset.subset("test") if recipe.track.test_each_epoch and "test" in dataset.splits else []
    net = build_network(recipe, task, prepared.spec, prepared.parent, has_state=has_state)
    # The same weights on all ranks, but a different random stream on each: dropout, stochastic depth.
    if ranks.world_size() > 1:
        reproducibility.seed_everything(recipe.seed + ranks.rank())
    parent_preprocess = None if prepared.parent is None else prepared.parent.preprocess
    train_data = TrainData(recipe, task, train, task.preprocess(recipe, parent_preprocess))
    if prepared.parent is None and not has_state:
        _whiten(net, train_data)
    layout = torch.channels_last if recipe.speed.channels_last else torch.contiguous_format
    net = net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    if fast_convolutions.applies_to(recipe.speed):
        fast_convolutions.replace_convolutions(net)
    if small_map_convolutions.applies_to(recipe.speed):
        small_map_convolutions.replace_convolutions(net)
    if recipe.speed.sync_bn:
        net = distributed.convert_sync_batchnorm(net, device)
    steps = train_data.plan.steps_per_epoch
    total = total_steps(recipe, steps)
    hold = min(recipe.freeze.head_epochs * steps, total)
    curve = lr_schedule.build_curve(recipe.schedule, total_steps=total, steps_per_epoch=steps, hold_steps=hold)
    stem_curve = lr_schedule.build_stem_curve(recipe.schedule, steps_per_epoch=steps)
    config = {key: value for key, value in vars(recipe.task).items() if key != "name"}

    def save_weights(path: Path, model: nn.Module, row: dict[str, Any]) -> None:
        # Without times, so that the same run gives the same bytes.
        metrics = {name: value for name, value in row.items() if name not in run_dir.TIMING_COLUMNS}
        content = (prepared.spec, train_data.preprocess, dataset.class_names, model.state_dict(), task.name, config)
        checkpoints.save(path, Checkpoint(*content, metrics=metrics, provenance=provenance or {}))

    return TrainContext(
        recipe=recipe,
        task=task,
        net=net,
        optimizer=optimizers.build_optimizer(
            net,
            recipe.optim,
            lr=recipe.optim.lr,
            backbone_lr_factor=recipe.freeze.backbone_lr_factor,
            batch=train_data.plan.batch_size,
            fused=recipe.speed.precision != "fp16",
        ),
        lr_controller=lr_schedule.LRController(curve, recipe.schedule, stem_curve),
        ema=_weight_average(net, recipe.ema, total),
        train_data=train_data,
        total_steps=total,
        val=train_data.eval_loader(val) if val else None,
        val_samples=val,
        test=train_data.eval_loader(test) if test else None,
        test_samples=test,
        val_clusters=stratify_groups.cluster_indices(val),
        save_weights=save_weights,
        device=device,
        precision=recipe.speed.precision,
        scaler=precision.grad_scaler(recipe.speed.precision, device),
    )


WHITENING_IMAGES = 5000  # as in KellerJordan/cifar10-airbench


def _whiten(net: nn.Module, train_data: TrainData) -> None:
    """Compute the kernels of a whitening stem from the training images."""
    for module in net.modules():
        if isinstance(module, WhiteningConv2d):
            module.whiten_(train_data.normalized_images(WHITENING_IMAGES))


def _weight_average(net: nn.Module, section: Ema, total_steps: int) -> AveragedModel | None:
    if section.lookahead_steps is not None:
        return Lookahead(net, interval=section.lookahead_steps, total_steps=total_steps)
    return WeightAverage(net, section.decay) if section.decay else None


def draw_batch(train_data: TrainData, samples: Sequence[Sample], out: Path) -> None:
    """Draw the first training batch as the network sees it, with the class names of each image, or of what is seen of it."""
    tiles = [image_grid.Tile(image, [image_grid.Caption(text)]) for image, text in train_data.first_batch(samples)]
    image_grid.draw(tiles[: image_grid.MAX_IMAGES], out)
