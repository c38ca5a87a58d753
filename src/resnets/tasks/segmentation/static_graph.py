"""The dense part of a segmenter as a static graph, and how many pixels two backends give another class."""

from typing import Any

from torch import Tensor, nn

from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.message_format import pluralize
from resnets.tasks.segmentation.forward import largest_batch

TOLERANCE = {"fp32": 1e-3, "bf16": 0.01}  # of the part of the pixels


class Dense(nn.Module):
    """The logits of a segmenter at the stride of its decoder."""

    def __init__(self, segmenter: Any) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.segmenter.dense(x)
        return logits


def static_graph(model: nn.Module) -> StaticGraph:
    """All but the upsampling to the size of the image is static."""
    dense = Dense(model)
    return StaticGraph(dense, dense, lambda logits: logits, compare, TOLERANCE, largest_batch)


def compare(logits: Tensor, reference: Tensor) -> Agreement:
    """The part of the pixels whose class differs."""
    different = (logits.argmax(1) != reference.argmax(1)).float().mean(dim=(1, 2))
    count, worst = len(logits), float(different.max())
    text = f"on {pluralize(count, 'image')} the same class for {1 - worst:.2%} of the pixels, or more"
    return Agreement(count, worst, text, quantity="the part of the pixels with another class")
