"""Load weights of another model into a new one: its backbone, and the rows of its head that are of the same classes."""

import torch
from torch import Tensor, nn

from resnets.message_format import format_list
from resnets.models.resnet import ResNet, find_backbone, head_tensor_names
from resnets.weights.checkpoint import Checkpoint, check_fit


def load_parent(
    model: nn.Module, parent: Checkpoint, parent_model: nn.Module, class_names: tuple[str, ...], *, same_task: bool
) -> str:
    """Load the backbone of `parent` into `model`, and what fits of its head.

    Args:
        parent_model: the model of `parent`, on the meta device, which tells its backbone from its head.
        class_names: those of `model`.
        same_task: whether the head of `parent` is of the same task. Then tensors of equal names are taken; where the classes
            differ, the rows of the last layer are found by the names of the classes.

    Returns:
        What is kept and what is new, in a line.

    Raises:
        UserError: a tensor of the backbone is missing, left over or of another shape or type.
    """
    load_backbone(model, parent, parent_model)
    new_names = head_tensor_names(model)
    own = model.state_dict()
    classes = f" for {len(class_names)} classes" if class_names else ""
    described = f"new head{classes}: {', '.join(new_names)}"
    if not same_task:
        return f"{described}; the weights are of the task {parent.task}"
    if class_names and not parent.class_names:
        return f"{described}; the weights have no class names, so their head is not kept"
    if parent.class_names == class_names and all(
        name in parent.tensors and parent.tensors[name].shape == own[name].shape for name in new_names
    ):
        model.load_state_dict({name: parent.tensors[name] for name in new_names}, strict=False)
        return "the weights have the same classes: their head is kept" if class_names else "the head is kept"
    kept = [name for name in class_names if name in parent.class_names]
    if not kept or not _bind_rows(model, new_names, parent, class_names):
        return described
    new = [name for name in class_names if name not in parent.class_names]
    others = f"; new: {format_list(new)}" if new else ""
    return f"the head keeps its rows of {len(kept)} of {len(class_names)} classes: {format_list(kept)}{others}"


def load_backbone(model: nn.Module, parent: Checkpoint, parent_model: nn.Module) -> None:
    """Load the backbone of `parent` into that of `model`; raises as `load_parent` does."""
    parent_names = {id(tensor): name for name, tensor in parent_model.state_dict(keep_vars=True).items()}
    in_backbone = find_backbone(parent_model).state_dict(keep_vars=True)
    heads = set(head_tensor_names(parent_model))
    tensors = {
        name: parent.tensors[parent_names[id(tensor)]]
        for name, tensor in in_backbone.items()
        if parent_names[id(tensor)] not in heads and parent_names[id(tensor)] in parent.tensors
    }
    backbone = find_backbone(model)
    own_heads = set(head_tensor_names(backbone)) if backbone is model else set()
    expected = {name: tensor for name, tensor in backbone.state_dict().items() if name not in own_heads}
    check_fit(expected, tensors, "The backbone of the checkpoint does not fit the network")
    backbone.load_state_dict(tensors, strict=False)  # only a head may be missing, as was checked above


@torch.no_grad()
def _bind_rows(model: nn.Module, head_names: list[str], parent: Checkpoint, class_names: tuple[str, ...]) -> bool:
    """Copy the head of `parent`, its last layer row by row; False if it has another form.

    Only the last layer of a `ResNet` is known to have one row for each class; a task with another head replaces `Task.adapt`.
    """
    loaded: dict[str, Tensor] = {}
    to, old = len(class_names), len(parent.class_names)
    if not isinstance(model, ResNet) or model.head.fc.out_features != to:
        return False
    rows = [
        (index, parent.class_names.index(name)) for index, name in enumerate(class_names) if name in parent.class_names
    ]
    own = model.state_dict(keep_vars=True)
    last_layer = {id(tensor) for tensor in model.head.fc.parameters()}
    for name in head_names:
        source, target = parent.tensors.get(name), own[name].detach().clone()
        if source is None or source.shape[1:] != target.shape[1:]:
            return False
        if id(own[name]) in last_layer:
            if source.shape[0] != old:
                return False
            for index, old_index in rows:
                target[index] = source[old_index]
        elif source.shape == target.shape:  # a hidden layer
            target = source
        else:
            return False
        loaded[name] = target
    model.load_state_dict(loaded, strict=False)
    return True
