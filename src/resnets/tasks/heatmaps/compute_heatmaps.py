"""Compute heat maps: of one image for a class, or beside the predictions of many.

The model is a `TrainedModel` in each function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from resnets.data.image.placement import Placement
from resnets.errors import UserError
from resnets.inference.exported.metadata import LOGITS, MAPS
from resnets.inference.model_runner import ModelRunner, OutputsRunner
from resnets.inference.static_graph import StaticGraph
from resnets.message_format import suggestion
from resnets.models.resnet import ResNet
from resnets.tasks.heatmaps.class_activation import FeaturesAndLogits, class_maps, has_linear_head
from resnets.tasks.heatmaps.heatmap import Heatmap
from resnets.tasks.inputs.read_image import ImageInput, name_of

Mapped = Callable[[Any], Sequence[str]]  # a prediction -> the classes whose maps belong to it


def has_network_in_memory(model: Any) -> bool:
    """Whether the model is a classifier whose network is in memory, which `heatmap_runner` needs."""
    return isinstance(model.model, ResNet) and not next(model.model.parameters()).is_meta


def heatmap_runner(model: Any) -> ModelRunner:
    """Computes "logits" and "features" of images, as `FeaturesAndLogits`, with the backend of the model.

    A backend computes the last feature map; all else follows in torch.

    Raises:
        UserError: the model is not a classifier.
    """
    check_classifier(model)
    net = model.model
    whole, logits = FeaturesAndLogits(net).eval(), model.task.static_graph(net)

    def compare(outputs: Any, reference: Any) -> Any:
        return logits.compare(outputs["logits"], reference["logits"])

    graph = StaticGraph(whole, net.backbone().eval(), whole.finish, compare, logits.tolerance)
    return ModelRunner(graph, model.runner.backend, model.runner.precision)


def exported_heatmap_runner(model: Any) -> OutputsRunner:
    """Computes "logits" and "maps" of images, those of all classes, by an exported file.

    Raises:
        UserError: the model is not a classifier, or its file does not have the maps.
    """
    check_classifier(model)
    runner = model.file_runner
    if MAPS not in runner.file.metadata["outputs"]:
        raise UserError(
            f"'{model.name}' was exported without heat maps: export it with `heatmap`, or use the checkpoint."
        )
    found: OutputsRunner = runner.with_outputs([LOGITS, MAPS], lambda found: {"logits": found[0], "maps": found[1]})
    return found


def check_classifier(model: Any) -> None:
    """Raise UserError for a model of another kind."""
    if not isinstance(model.model, ResNet):
        raise UserError(f"Heat maps are of classifiers; '{model.name}' is a model for {model.task.name}.")


def check_class(name: str, known: Sequence[str]) -> None:
    """Raise UserError for a class that the model does not have."""
    if name not in known:
        raise UserError(f"The model has no class '{name}'.{suggestion(name, known)}")


def check_named(heatmap: Any, known: Sequence[str]) -> None:
    """Raise UserError for an option `heatmap` that names a class that the model does not have."""
    for name in heatmap if isinstance(heatmap, tuple) else ():
        check_class(name, known)


def heatmap_of(model: Any, image: ImageInput, class_name: str | None) -> Heatmap:
    """The heat map of a class on an image; None is the class with the highest logit.

    Raises:
        UserError: there is no such class, it is not an image, or the model is not a classifier.
        ImageError: the image cannot be read.
    """
    known = model.class_names
    if class_name is not None:
        check_class(class_name, known)
    job = model.heatmap_runner().job(1, 1)
    pixels, placement = model.place(image, name_of(image, 0))
    model.check_size(pixels)
    (outputs,) = model.outputs_by_image([pixels], job)
    index = int(outputs["logits"][0].argmax()) if class_name is None else known.index(class_name)
    return _heatmaps(model, image, outputs, placement, [index])[0]


def with_heatmaps(
    model: Any, images: Iterable[ImageInput], mapped: Mapped, *, batch: int, workers: int | None, **options: Any
) -> Iterator[Any]:
    """The predictions of the model's task, each with `heatmaps` of the classes that `mapped` names.

    Args:
        options: of the task's `predict`.
    """
    indices = {name: index for index, name in enumerate(model.class_names)}

    def find(name: str, outputs: Any, placement: Placement) -> Any:
        prediction = model.task.predict(name, outputs["logits"], placement, **options)
        classes = [indices[each] for each in mapped(prediction)]
        return replace(prediction, heatmaps=tuple(_heatmaps(model, name, outputs, placement, classes)))

    found: Iterator[Any] = model.predict_views(
        images, find, batch=batch, workers=workers, runner=model.heatmap_runner()
    )
    return found


def _heatmaps(
    model: Any, image: ImageInput, outputs: dict[str, Tensor], placement: Placement, classes: Sequence[int]
) -> list[Heatmap]:
    """Those of one image, from its "logits" (1, K) and "maps" (1, K, h, w) or "features" (1, C, h, w)."""
    if "maps" in outputs:
        maps = outputs["maps"][0, list(classes)]
        offsets = outputs["logits"][0, list(classes)] - maps.mean((1, 2))
    else:
        features = outputs["features"].to(model.device, model.dtype)
        maps, offsets = (each[0].float().cpu() for each in class_maps(model.model, features, classes))
    return [
        Heatmap(
            class_name=model.class_names[index],
            values=values.numpy(),
            logit=float(outputs["logits"][0, index]),
            offset=float(offset),
            is_exact=has_linear_head(model.model),
            box=_box(placement),
            size=placement.original,
            image=image,
        )
        for index, values, offset in zip(classes, maps, offsets, strict=True)
    ]


def _box(placement: Placement) -> tuple[float, float, float, float]:
    """The whole input in pixels of the image: left, top, right, bottom."""
    (scale_y, scale_x), (offset_y, offset_x) = placement.scale, placement.offset
    height, width = placement.size
    return -offset_x / scale_x, -offset_y / scale_y, (width - offset_x) / scale_x, (height - offset_y) / scale_y
