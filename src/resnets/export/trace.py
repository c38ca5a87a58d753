"""Trace a graph by torch.export, with a batch of any size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

AXES = {"normalize": (1, 2), "full": (1, 2), "none": (2, 3)}  # height and width, by the kind of the input


@contextmanager
def without_stack_traces() -> Iterator[None]:
    """Let torch not look up which lines of Python made each node, which no file names: a quarter of the time of large graphs.

    The setting is one of the process; to others that trace at the same time nothing is lost but these names. Older
    versions of torch do not know it.
    """
    before = getattr(torch.fx.config, "do_not_emit_stack_traces", False)
    torch.fx.config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        torch.fx.config.do_not_emit_stack_traces = before


def trace(graph: nn.Module, example: Tensor, input_kind: str, size: tuple[int, int] | None) -> Any:
    """The graph as a `torch.export.ExportedProgram` that holds no path of this machine.

    Args:
        example: two images or more; a size of 1 would be taken for a constant.
        input_kind: of the input, as in `resnets.inference.exported.metadata.INPUTS`.
        size: height and width of the input, or None for any.
    """
    shapes: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if size is None or input_kind == "full":
        shapes |= dict.fromkeys(AXES[input_kind], torch.export.Dim.DYNAMIC)
    with torch.no_grad(), without_stack_traces():
        program = torch.export.export(graph, (example,), dynamic_shapes=(shapes,))
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
                node.meta.pop(key, None)
    return program
