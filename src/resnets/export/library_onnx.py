"""The ONNX file in a folder of Hugging Face's transformers or of timm, for transformers.js.

transformers.js reads `config.json`, `preprocessor_config.json` and `onnx/model.onnx`, with the input `pixel_values` and the
output `logits`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from resnets.errors import UserError
from resnets.export import graph, to_onnx
from resnets.export.traced_graph import TracedGraph
from resnets.models.resnet import ResNet
from resnets.tasks import load_model
from resnets.weights.checkpoint import UNTRAINED, Checkpoint
from resnets.weights.formats import fold_into_tensors

LIBRARIES = ("huggingface", "timm")
INPUT_NAME = "pixel_values"
ONNX_FILE = Path("onnx", "model.onnx")  # in the folder


class Logits(nn.Module):
    """Normalized images -> the logits alone, in a tuple."""

    def __init__(self, network: nn.Module, index: int) -> None:
        super().__init__()
        self.network, self.index = network, index

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.network(images)[self.index],)


def traced_logits(checkpoint: Checkpoint, file: Path) -> TracedGraph:
    """The graph of a classifier for the ONNX file of a folder: its tensors are those that `resnets weights convert` writes.

    The temperature is in the last layer, so the softmax of the logits gives the probabilities.

    Args:
        file: that of the checkpoint.

    Raises:
        UserError: it is not a classifier, or its last layer was not trained.
    """
    if checkpoint.provenance.get("head") == UNTRAINED:
        raise UserError(f"The last layer of '{file}' was not trained, so it has no answers to export.")
    folded = fold_into_tensors.in_rgb(fold_into_tensors.with_temperature(checkpoint))
    task, model = load_model.load_network(folded)
    if not isinstance(model, ResNet):
        raise UserError(
            f"A folder of {' or '.join(LIBRARIES)} holds a classifier; '{file}' is a model for {task.name}."
        )
    built = graph.build(task, model, folded.preprocess, "none")
    network = Logits(built.network, built.output_names.index(graph.LOGITS))
    only = graph.ExportedGraph(built.before, network, (graph.LOGITS,)).eval()
    return TracedGraph(only, "none", graph.input_size(folded.preprocess), folded, file)


def onnx_model(traced: TracedGraph) -> Any:
    """The `onnx.ModelProto` of the logits, whose input is called as transformers.js calls it."""
    return to_onnx.convert(traced.program, traced.graph.output_names, INPUT_NAME)
