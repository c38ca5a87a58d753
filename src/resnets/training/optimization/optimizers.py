"""Parameter groups and optimizers."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from resnets.recipes import recipe

HEAD = "head."  # what is new when the classes are


def param_groups(net: nn.Module, part: recipe.Optim, *, lr: float, backbone_lr_factor: float = 1.0) -> list[dict]:
    """Four groups: backbone and head, each with and without weight decay; `base_lr` is what the schedule multiplies.

    With `decay_norm_and_bias` off, vectors (the scale and shift of norms, biases) are not decayed.
    """
    made: list[dict] = []
    for place, share in (("backbone", backbone_lr_factor), ("head", 1.0)):
        named = [(name, each) for name, each in net.named_parameters() if name.startswith(HEAD) == (place == "head")]
        matrices = [each for _, each in named if each.ndim > 1 or part.decay_norm_and_bias]
        vectors = [each for _, each in named if not (each.ndim > 1 or part.decay_norm_and_bias)]
        for params, decay in ((matrices, part.weight_decay), (vectors, 0.0)):
            if params:
                made.append({"params": params, "weight_decay": decay, "lr": lr * share, "base_lr": lr * share})
    return made


def build_optimizer(net: nn.Module, part: recipe.Optim, *, lr: float, backbone_lr_factor: float = 1.0) -> Optimizer:
    """The optimizer over all parameters of the net; those without a gradient are left alone by each of the three."""
    params = param_groups(net, part, lr=lr, backbone_lr_factor=backbone_lr_factor)
    if part.name == "sgd":
        return SGD(params, lr=lr, momentum=part.momentum, nesterov=part.nesterov and part.momentum > 0, fused=True)
    # `momentum` is Adam's first beta under another name; 0.9 is the default of both.
    kind = Adam if part.name == "adam" else AdamW
    return kind(params, lr=lr, betas=(part.momentum, 0.999), fused=True)


def set_lr_factor(optimizer: Optimizer, share: float) -> None:
    """Set the rate of each group to `share` of its full rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * share
