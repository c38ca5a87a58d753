"""Freeze layers, and keep the batch norm of frozen layers in eval mode; the network keeps it so in `.train()`, too."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.backbone import Backbone
from resnets.models.resnet import find_backbone, head_modules
from resnets.recipes import recipe


def apply(net: nn.Module, section: recipe.Freeze, *, epoch: int = 0) -> str:
    """Freeze what the recipe freezes of the backbone in this epoch (from 0), and unfreeze everything else.

    Returns:
        What is frozen, in one line: "frozen: 161 weight and bias tensors, statistics of 53 batch norms"; empty when nothing is.
    """
    backbone = find_backbone(net)
    frozen = _frozen_modules(backbone, section, epoch)
    num_tensors, frozen_norms = 0, []
    for path, module in backbone.named_modules():
        if isinstance(module, _BatchNorm) and (section.norm != "train" or module in frozen):
            frozen_norms.append(path)
            module.eval()
        for parameter in module.parameters(recurse=False):
            is_frozen = module in frozen or (section.norm == "frozen" and isinstance(module, _BatchNorm))
            parameter.requires_grad_(not is_frozen)
            num_tensors += is_frozen
    backbone.frozen_norms = tuple(frozen_norms)
    if not num_tensors and not frozen_norms:
        return ""
    return f"frozen: {num_tensors} weight and bias tensors, statistics of {len(frozen_norms)} batch norms"


def freezes_backbone(section: recipe.Freeze, num_stages: int | None) -> bool:
    """Whether the whole backbone is frozen during the whole run; `num_stages` is None where it is not known."""
    if section.layers == "backbone":
        return True
    return num_stages is not None and section.layers != "none" and int(section.layers) == num_stages


def recipe_freezes_backbone(whole_recipe: recipe.Recipe) -> bool:
    """As `freezes_backbone`, for a recipe whose network may not be chosen yet."""
    entry = zoo.entries().get(whole_recipe.model.name or "")
    return freezes_backbone(whole_recipe.freeze, len(entry.spec.num_blocks) if entry else None)


def _frozen_modules(backbone: Backbone, section: recipe.Freeze, epoch: int) -> set[nn.Module]:
    stages = list(backbone.stages.values())
    if section.layers == "backbone" or epoch < section.head_epochs:
        num_frozen = len(stages)
    elif section.layers == "none":
        return set()
    else:
        num_frozen = int(section.layers)
    if num_frozen > len(stages):
        raise UserError(f"The network has {len(stages)} stages; received `freeze={num_frozen}`.")
    frozen = [backbone.stem, *stages[:num_frozen]]
    if num_frozen == len(stages):  # a pre-activation network has its last norm between the stages and the head
        frozen = [child for child in backbone.children() if child not in head_modules(backbone)]
    return {module for child in frozen for module in child.modules()}
