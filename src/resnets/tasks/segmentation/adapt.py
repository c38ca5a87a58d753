"""Weights of another model in a segmenter: a classifier's backbone, or a segmenter with other classes."""

from collections.abc import Sequence

from torch import Tensor, nn

from resnets.message_format import format_list
from resnets.models.resnet import head_tensor_names
from resnets.tasks.adapt import load_backbone
from resnets.weights.checkpoint import Checkpoint

CLASS_LAYERS = ("head", "aux_head.fc")  # one row for each class


def load_segmenter(
    model: nn.Module, parent: Checkpoint, parent_model: nn.Module, class_names: Sequence[str], *, same_task: bool
) -> str:
    """Load what fits of `parent`, and say in a line what is kept and what is new.

    The backbone has to fit. Tensors of decoder and heads are taken where name and shape are equal, and rows of a class where its
    name is.
    """
    load_backbone(model, parent, parent_model)
    if not same_task:
        return f"new decoder and head for {len(class_names)} classes; the weights are of the task {parent.task}"
    own, kept, new = model.state_dict(), dict[str, Tensor](), list[str]()
    for name in head_tensor_names(model):
        tensor = parent.tensors.get(name)
        if tensor is not None and name.rpartition(".")[0] in CLASS_LAYERS:
            tensor = _bound(own[name], tensor, class_names, parent.class_names)
        if tensor is None or tensor.shape != own[name].shape:
            new.append(name)
        else:
            kept[name] = tensor
    model.load_state_dict(kept, strict=False)
    known = [name for name in class_names if name in parent.class_names]
    others = [name for name in class_names if name not in parent.class_names]
    described = f"the segmenter keeps what it has for {len(known)} of {len(class_names)} classes"
    described += f": {format_list(known)}" if known else ""
    described += f"; new: {format_list(others)}" if others else ""
    return described + (f"; new layers: {format_list(new, 5, quote=False)}" if new else "")


def _bound(own: Tensor, tensor: Tensor, class_names: Sequence[str], parent_names: Sequence[str]) -> Tensor | None:
    """`own` with the rows of `tensor` of the same classes; None if it does not fit."""
    if tensor.shape[1:] != own.shape[1:] or len(tensor) != len(parent_names):
        return None
    bound = own.clone()
    for index, name in enumerate(class_names):
        if name in parent_names:
            bound[index] = tensor[list(parent_names).index(name)]
    return bound
