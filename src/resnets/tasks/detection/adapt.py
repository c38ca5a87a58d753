"""Weights of another model in a detector: a classifier's backbone, or a detector with other classes."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from resnets.message_format import format_list
from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.models.resnet import head_tensor_names
from resnets.tasks.adapt import load_backbone
from resnets.weights.checkpoint import Checkpoint


class ClassRows(NamedTuple):
    """The rows of a layer: groups, each of which begins with rows that are of no class, as the background, and has those of each
    class after these.
    """

    groups: int
    no_class: int
    per_class: int


# By the ends of the names of layers, of Faster and Mask R-CNN.
CLASS_ROWS = {
    "box_predictor.cls_score": ClassRows(1, 1, 1),
    "box_predictor.bbox_pred": ClassRows(1, 4, 4),
    "mask_predictor.mask_fcn_logits": ClassRows(1, 1, 1),
}


def load_detector(
    model: nn.Module, parent: Checkpoint, parent_model: nn.Module, class_names: Sequence[str], *, same_task: bool
) -> str:
    """Load what fits of `parent`, and say in a line what is kept and what is new.

    The backbone has to fit. Tensors of neck and heads are taken where name and shape are equal, and rows of a class where its
    name is.
    """
    load_backbone(model, parent, parent_model)
    names = head_tensor_names(model)
    if not same_task:
        return f"new neck and heads for {len(class_names)} classes; the weights are of the task {parent.task}"
    own, kept, new = model.state_dict(), dict[str, Tensor](), list[str]()
    for name in names:
        rows = _class_rows(model, name)
        tensor = _bound(rows, own[name], parent.tensors.get(name), class_names, parent.class_names)
        if tensor is None:
            new.append(name)
        else:
            kept[name] = tensor
    model.load_state_dict(kept, strict=False)
    known = [name for name in class_names if name in parent.class_names]
    others = [name for name in class_names if name not in parent.class_names]
    described = f"the detector keeps what it has for {len(known)} of {len(class_names)} classes"
    described += f": {format_list(known)}" if known else ""
    described += f"; new: {format_list(others)}" if others else ""
    return described + (f"; new layers: {format_list(new, 5, quote=False)}" if new else "")


def _class_rows(model: nn.Module, name: str) -> ClassRows | None:
    """The rows of the tensor `name`; None if they are not of classes."""
    layer = name.rpartition(".")[0]
    if isinstance(model, YOLOv3):  # of each anchor four numbers of the box, and the objectness
        return ClassRows(model.anchors_per_level, 5, 1) if layer.endswith("prediction") else None
    return next((rows for end, rows in CLASS_ROWS.items() if layer.endswith(end)), None)


def _bound(
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
