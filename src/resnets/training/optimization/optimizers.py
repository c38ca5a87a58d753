"""Parameter groups and optimizers."""

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from resnets.models.resnet import find_backbone, head_modules
from resnets.models.stems import WhiteningConv2d
from resnets.recipes import recipe
from resnets.training.optimization.muon import MuonAndSGD


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


def muon_groups(net: nn.Module, section: recipe.Optim, batch: int) -> list[dict]:
    """Return four groups: the kernels of the backbone; its biases, shifts and scales; the head; the bias of a whitening stem.

    The first is for Muon, which does not decay it. The learning rates of the others, and the decay, are for the sum of the
    losses of a batch; our losses are means.
    """
    head = {id(value) for module in head_modules(net) for value in module.parameters()}
    stem = {
        id(value)
        for module in find_backbone(net).stem.modules()
        if isinstance(module, WhiteningConv2d)
        for value in module.parameters()
    }
    groups: dict[str, dict] = {
        "kernels": {"lr": section.lr, "muon": True},
        "biases": {"lr": section.bias_lr * batch, "muon": False},
        "head": {"lr": section.head_lr * batch, "muon": False},
        "stem": {"lr": section.bias_lr * batch, "muon": False, "stem": True},
    }
    for group in groups.values():
        decay = 0.0 if group["muon"] else section.weight_decay * batch / group["lr"]
        group |= {"params": [], "base_lr": group["lr"], "weight_decay": decay}
    for value in net.parameters():
        name = (
            "head" if id(value) in head else "stem" if id(value) in stem else "kernels" if value.ndim == 4 else "biases"
        )
        groups[name]["params"].append(value)
    return [group for group in groups.values() if group["params"]]


def build_optimizer(
    net: nn.Module, section: recipe.Optim, *, lr: float, backbone_lr_factor: float = 1.0, batch: int = 1,
    fused: bool = True,
) -> Optimizer:  # fmt: skip
    """Return the optimizer over all parameters of the network; it skips those without a gradient.

    With scaled gradients (fp16), SGD must not be fused: after an overflow in its first step, torch 2.14 goes on from momentum
    that was allocated and never set.
    """
    if section.name == "muon":
        return MuonAndSGD(
            muon_groups(net, section, batch), momentum=section.momentum, sgd_momentum=section.sgd_momentum
        )
    params = param_groups(net, section, lr=lr, backbone_lr_factor=backbone_lr_factor)
    if section.name == "sgd":
        nesterov = section.nesterov and section.momentum > 0
        return SGD(params, lr=lr, momentum=section.momentum, nesterov=nesterov, fused=fused)
    # `momentum` is the first beta of Adam; 0.9 is the default of both.
    optimizer_class = Adam if section.name == "adam" else AdamW
    return optimizer_class(params, lr=lr, betas=(section.momentum, 0.999), fused=fused)


def set_lr_factor(optimizer: Optimizer, factor: float, stem_factor: float) -> None:
    """Set the learning rate of each group to `factor` times its `base_lr`; that of a whitening stem to `stem_factor` times."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * (stem_factor if group.get("stem") else factor)
