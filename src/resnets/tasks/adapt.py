"""Load weights of another model into a new one: its backbone, and the rows of its head that are of the same classes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from resnets.message_format import format_list
from resnets.models.resnet import ResNet, find_backbone, head_tensor_names
from resnets.weights.checkpoint import Checkpoint, check_fit


class ClassRows(NamedTuple):
    """The rows of a layer: groups, each of which begins with rows that are of no class, as the background, and has those of each
    class after these.
    """

    groups: int = 1
    no_class: int = 0
    per_class: int = 1


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


def load_by_classes(
    model: nn.Module,
    parent: Checkpoint,
    parent_model: nn.Module,
    class_names: Sequence[str],
    class_rows: Callable[[str], ClassRows | None],
    *,
    same_task: bool,
    model_noun: str,
    new_layers: str,
) -> str:
    """Load what fits of `parent` into a model with several layers behind its backbone, such as a detector, and say it in a line.

    The backbone has to fit. Other tensors are taken where name and shape are equal, and rows of a class where its name is.

    Args:
        class_rows: the rows of the layer of a name; None if they are not of classes.
        model_noun, new_layers: what the line calls the model and the layers behind its backbone.

    Raises:
        UserError: as `load_parent`.
    """
    load_backbone(model, parent, parent_model)
    if not same_task:
        return f"new {new_layers} for {len(class_names)} classes; the weights are of the task {parent.task}"
    own, kept, new = model.state_dict(), dict[str, Tensor](), list[str]()
    for name in head_tensor_names(model):
        rows = class_rows(name.rpartition(".")[0])
        tensor = _bind(rows, own[name], parent.tensors.get(name), class_names, parent.class_names)
        if tensor is None:
            new.append(name)
        else:
            kept[name] = tensor
    model.load_state_dict(kept, strict=False)
    known = [name for name in class_names if name in parent.class_names]
    others = [name for name in class_names if name not in parent.class_names]
    described = f"the {model_noun} keeps what it has for {len(known)} of {len(class_names)} classes"
    described += f": {format_list(known)}" if known else ""
    described += f"; new: {format_list(others)}" if others else ""
    return described + (f"; new layers: {format_list(new, 5, quote=False)}" if new else "")


def _bind_rows(model: nn.Module, head_names: list[str], parent: Checkpoint, class_names: tuple[str, ...]) -> bool:
    """Copy the head of `parent`, its last layer row by row; False if it has another form.

    Only the last layer of a `ResNet` is known to have one row for each class; a task with another head replaces `Task.adapt`.
    """
    if not isinstance(model, ResNet):
        return False
    loaded: dict[str, Tensor] = {}
    own = model.state_dict(keep_vars=True)
    last_layer = {id(tensor) for tensor in model.head.fc.parameters()}
    for name in head_names:
        rows = ClassRows() if id(own[name]) in last_layer else None
        bound = _bind(rows, own[name].detach(), parent.tensors.get(name), class_names, parent.class_names)
        if bound is None:
            return False
        loaded[name] = bound
    model.load_state_dict(loaded, strict=False)
    return True


def _bind(
    rows: ClassRows | None,
    own: Tensor,
    tensor: Tensor | None,
    class_names: Sequence[str],
    parent_names: Sequence[str],
) -> Tensor | None:
    """`own` with the values of `tensor`, row by row if the rows are of classes; None if it does not fit."""
    if tensor is None or tensor.shape[1:] != own.shape[1:]:
        return None
    if rows is None:
        return tensor if tensor.shape == own.shape else None
    groups, no_class, per_class = rows
    sizes = [groups * (no_class + per_class * len(names)) for names in (class_names, parent_names)]
    if [len(own), len(tensor)] != sizes:
        return None
    bound, source = (each.reshape(groups, -1, *each.shape[1:]) for each in (own.clone(), tensor))
    bound[:, :no_class] = source[:, :no_class]
    for index, class_name in enumerate(class_names):
        if class_name in parent_names:
            to, old = (no_class + per_class * each for each in (index, list(parent_names).index(class_name)))
            bound[:, to : to + per_class] = source[:, old : old + per_class]
    return bound.reshape(own.shape)
