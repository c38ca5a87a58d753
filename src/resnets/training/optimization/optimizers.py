"""Parameter groups and optimizers."""

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from resnets.models.resnet import head_modules
from resnets.recipes import recipe


def param_groups(net: nn.Module, section: recipe.Optim, *, lr: float, backbone_lr_factor: float = 1.0) -> list[dict]:
    """Return up to four groups: backbone and head, each with and without weight decay.

    The schedule multiplies `base_lr` of each group. Without `decay_norm_and_bias`, vectors (scale and shift of norms, biases)
    are not decayed.
    """
    groups: list[dict] = []
    head = {id(value) for module in head_modules(net) for value in module.parameters()}
    for in_head, factor in ((False, backbone_lr_factor), (True, 1.0)):
        parameters = [value for value in net.parameters() if (id(value) in head) == in_head]
        decayed = [value for value in parameters if value.ndim > 1 or section.decay_norm_and_bias]
        not_decayed = [value for value in parameters if not (value.ndim > 1 or section.decay_norm_and_bias)]
        for params, decay in ((decayed, section.weight_decay), (not_decayed, 0.0)):
            if params:
                groups.append({"params": params, "weight_decay": decay, "lr": lr * factor, "base_lr": lr * factor})
    return groups


def build_optimizer(
    net: nn.Module, section: recipe.Optim, *, lr: float, backbone_lr_factor: float = 1.0, fused: bool = True
) -> Optimizer:
    """Return the optimizer over all parameters of the network; it skips those without a gradient.

    With scaled gradients (fp16), SGD must not be fused: after an overflow in its first step, torch 2.14 goes on from momentum
    that was allocated and never set.
    """
    params = param_groups(net, section, lr=lr, backbone_lr_factor=backbone_lr_factor)
    if section.name == "sgd":
        nesterov = section.nesterov and section.momentum > 0
        return SGD(params, lr=lr, momentum=section.momentum, nesterov=nesterov, fused=fused)
    # `momentum` is the first beta of Adam; 0.9 is the default of both.
    optimizer_class = Adam if section.name == "adam" else AdamW
    return optimizer_class(params, lr=lr, betas=(section.momentum, 0.999), fused=fused)


def set_lr_factor(optimizer: Optimizer, factor: float) -> None:
    """Set the learning rate of each group to `factor` times its `base_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
