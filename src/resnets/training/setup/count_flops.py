"""The cost of a training in floating-point operations, by torch's counter."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnets.models.resnet import ResNet
from resnets.recipes.recipe import Recipe, total_steps
from resnets.training.optimization import freeze, optimizers

IMAGES = 2  # that are counted; batch norm needs more than one value
MIN_PIXELS = 1e8  # of a training whose cost is counted, since that takes two seconds


def training_flops(recipe: Recipe, model: nn.Module, *, num_train: int, side: int) -> float | None:
    """Return the operations of all steps: those of convolutions and products of matrices, a multiply-add as two, as
    `torch.utils.flop_counter.FlopCounterMode` counts them.

    None for models that are not a `ResNet`, whose cost depends on the images, and for short trainings.

    Args:
        model: on the meta device; its gradients are removed.
        num_train: number of training images.
        side: of an image, in pixels.
    """
    batch = min(recipe.data.batch or 1, num_train)
    steps = total_steps(recipe, max(num_train // batch, 1))
    if not isinstance(model, ResNet) or steps * batch * side**2 < MIN_PIXELS:
        return None
    model.train()
    freeze.apply(model, recipe.freeze)
    channels = next(each.in_channels for each in model.modules() if isinstance(each, nn.Conv2d))
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(IMAGES, channels, side, side, device="meta")).sum().backward()
    total = counter.get_total_flops() / IMAGES * batch * steps
    if recipe.optim.name == "muon":  # the others have no products
        optimizer = optimizers.build_optimizer(model, recipe.optim, lr=recipe.optim.lr)
        with FlopCounterMode(display=False) as counter:
            optimizer.step()
        total += counter.get_total_flops() * steps
    model.zero_grad(set_to_none=True)
    return total


def format_flops(flops: float) -> str:
    """Return the cost in words: "0.289 PFLOP by torch's flop counter"."""
    return f"{flops / 1e15:.3g} PFLOP by torch's flop counter"
