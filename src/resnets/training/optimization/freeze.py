"""What does not learn, and BN that stays as it is: the network keeps a frozen norm in eval mode through its `.train()`."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.recipes import recipe


def apply(net: ResNet, part: recipe.Freeze, *, epoch: int = 0) -> str:
    """Freeze what the recipe freezes in this epoch (from 0), and release the rest.

    Returns:
        What is frozen, in one line: "frozen: 161 tensors, 53 BN in eval"; empty when nothing is.
    """
    frozen = _frozen_modules(net, part, epoch)
    tensors, held = 0, []
    for path, child in net.named_modules():
        if isinstance(child, _BatchNorm) and (part.norm != "train" or child in frozen):
            held.append(path)
            child.eval()
        for parameter in child.parameters(recurse=False):
            off = child in frozen or (part.norm == "frozen" and isinstance(child, _BatchNorm))
            parameter.requires_grad_(not off)
            tensors += off
    net.frozen_norms = tuple(held)
    return f"frozen: {tensors} tensors, {len(held)} BN in eval" if tensors or held else ""


def freezes_backbone(part: recipe.Freeze, stages: int | None) -> bool:
    """Whether the backbone is frozen as a whole for the whole run; `stages` of it, None where that is not known."""
    return part.layers == "backbone" or (stages is not None and part.layers != "none" and int(part.layers) == stages)


def recipe_freezes_backbone(whole_recipe: recipe.Recipe) -> bool:
    """The same for a recipe, whose network may not be chosen yet."""
    known = zoo.entries().get(whole_recipe.model.name or "")
    return freezes_backbone(whole_recipe.freeze, len(known.spec.num_blocks) if known else None)


def _frozen_modules(net: ResNet, part: recipe.Freeze, epoch: int) -> set[nn.Module]:
    stages = list(net.stages.values())
    if part.layers == "backbone" or epoch < part.head_epochs:
        still = len(stages)
    elif part.layers == "none":
        return set()
    else:
        still = int(part.layers)
    if still > len(stages):
        raise UserError(f"The network has {len(stages)} stages; received `freeze={still}`.")
    frozen = [net.stem, *stages[:still]]
    if still == len(stages):  # the last norm of a pre-activation net stands between its stages and its head
        frozen = [child for name, child in net.named_children() if name != "head"]
    return {each for module in frozen for each in module.modules()}
