"""Build everything that the loop needs (`TrainContext`) from a complete recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnets import ranks
from resnets.data.datasets.dataset import Dataset
from resnets.data.split import stratify_groups
from resnets.recipes.recipe import Recipe, total_steps
from resnets.report.figures import image_grid
from resnets.training import distributed, reproducibility, torch_compile
from resnets.training.optimization import ema, lr_schedule, optimizers
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_network import build_network
from resnets.training.state import TrainContext
from resnets.training.train_data import TrainData, input_preprocess
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint


def build_context(
    recipe: Recipe,
    dataset: Dataset,
    parent: Checkpoint | None,
    provenance: dict[str, Any],
    *,
    has_state: bool = False,
) -> TrainContext:
    """Build everything that the loop needs, on its device. With `has_state`, a saved state replaces the weights afterwards."""
    if recipe.speed.compile:
        torch_compile.check_compiler()
    device = distributed.local_device(recipe.speed.device)
    recipe = replace(recipe, speed=replace(recipe.speed, device=device))
    if recipe.speed.threads is not None:
        torch.set_num_threads(recipe.speed.threads)
    if recipe.speed.deterministic:
        reproducibility.use_deterministic_algorithms()
    train, val = dataset.subset("train"), dataset.subset("val") if "val" in dataset.splits else []
    net, spec = build_network(recipe, dataset.class_names, parent, log_head=not has_state)
    if (
        ranks.world_size() > 1
    ):  # same weights on all ranks, but a different random stream on each: dropout, stochastic depth
        reproducibility.seed_everything(recipe.seed + ranks.rank())
    train_data = TrainData(
        recipe, train, dataset.class_names, input_preprocess(recipe, None if parent is None else parent.preprocess)
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
            spec, train_data.preprocess, dataset.class_names, tensors, metrics=metrics, provenance=provenance
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
        val_clusters=stratify_groups.cluster_indices(val),
        save_weights=save_weights,
        device=device,
        precision=recipe.speed.precision,
    )


def draw_batch(train_data: TrainData, out: Path) -> None:
    """Draw the first training batch as the network sees it, with its classes."""
    images, labels = train_data.first_batch()
    names = [train_data.class_names[label] for label in labels]
    tiles = [image_grid.Tile(image, [image_grid.Caption(name)]) for image, name in zip(images, names, strict=True)]
    image_grid.draw(tiles[: image_grid.MAX_IMAGES], out)
