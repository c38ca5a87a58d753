"""Which rows of the layers of a segmenter are of classes, for weights of a segmenter with other classes."""

from resnets.tasks.adapt import ClassRows

CLASS_LAYERS = ("head", "aux_head.fc")


def class_rows(layer: str) -> ClassRows | None:
    """The rows of a layer; None if they are not of classes."""
    return ClassRows() if layer in CLASS_LAYERS else None
