"""What does not learn, and BN that stays as it is: a frozen norm keeps its statistics through every `.train()`."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resnets.errors import UserError
from resnets.models.resnet import ResNet
from resnets.training import recipe


class _Held:
    """Mixed into a norm's class while it is frozen, so that nobody's call of `.train()` lets its statistics move."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)  # type: ignore[misc]


def hold(norm: nn.Module) -> None:
    """Put a BN in eval mode for good (until `release`). Its state_dict and its type's name for isinstance are kept."""
    if not isinstance(norm, _Held):
        norm.__class__ = type(f"Held{type(norm).__name__}", (_Held, type(norm)), {})
    norm.train()


def release(norm: nn.Module) -> None:
    """Undo `hold`."""
    if isinstance(norm, _Held):
        norm.__class__ = type(norm).__mro__[2]


def apply(net: ResNet, part: recipe.Freeze, *, epoch: int = 0) -> str:
    """Freeze what the recipe freezes in this epoch (from 0), and release the rest.

    Returns:
        What is frozen, in one line: "frozen: 161 tensors, 53 BN in eval"; empty when nothing is.
    """
    frozen = _frozen(net, part, epoch)
    tensors = held = 0
    for child in net.modules():
        if isinstance(child, _BatchNorm):
            still = part.norm != "train" or child in frozen
            (hold if still else release)(child)
            held += still
        for parameter in child.parameters(recurse=False):
            off = child in frozen or (part.norm == "frozen" and isinstance(child, _BatchNorm))
            parameter.requires_grad_(not off)
            tensors += off
    return f"frozen: {tensors} tensors, {held} BN in eval" if tensors or held else ""


def _frozen(net: ResNet, part: recipe.Freeze, epoch: int) -> set[nn.Module]:
    stages = list(net.stages.values())
    if part.part == "body" or epoch < part.head_epochs:
        still = len(stages)
    elif part.part == "none":
        return set()
    else:
        still = int(part.part)
    if still > len(stages):
        raise UserError(f"The network has {len(stages)} stages; received --freeze {still}.")
    whole = [net.stem, *stages[:still]]
    if still == len(stages):  # the last norm of a pre-activation net stands between its stages and its head
        whole = [child for name, child in net.named_children() if name != "head"]
    return {each for module in whole for each in module.modules()}
