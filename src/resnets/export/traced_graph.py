"""Trace a graph once, and write it in any format with its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.export import describe, to_onnx, to_openvino, to_pt2
from resnets.export.graph import ExportedGraph, example_input
from resnets.export.trace import trace
from resnets.hashing import sha256
from resnets.inference.exported.int8_files import INT8
from resnets.weights.checkpoint import Checkpoint

FORMATS = ("onnx", "openvino", "torch")


class TracedGraph:
    """A graph, and the checkpoint that it was built of.

    Args:
        graph: as `resnets.export.graph.build` returns it.
        input_kind: of its input, as in `resnets.inference.exported.metadata.INPUTS`.
        size: height and width of the network's input; None for any, as that of a graph which resizes has.
        checkpoint: whose header the files get.
        file: that of the checkpoint.
    """

    def __init__(
        self, graph: ExportedGraph, input_kind: str, size: tuple[int, int] | None, checkpoint: Checkpoint, file: Path
    ) -> None:
        self.graph, self.input_kind, self.checkpoint, self.file = graph, input_kind, checkpoint, file
        self.size = None if input_kind == "full" else size

    @cached_property
    def program(self) -> Any:
        """The `torch.export.ExportedProgram`."""
        return trace(self.graph, self._example, self.input_kind, self.size)

    @cached_property
    def sha256(self) -> str:
        """That of the checkpoint's file."""
        return sha256(self.file)

    @property
    def _example(self) -> Any:
        return example_input(self.size, self.checkpoint.spec.in_channels, self.input_kind)

    def metadata(self, to: str, precision: str = "fp32") -> dict[str, Any]:
        """The metadata of a file of the format `to`."""
        quantizer = (describe.QUANTIZERS[to],) if precision == INT8 else ()
        resizer = ("pillow",) if self.input_kind == "full" else ()  # whose version decides the order of the axes
        return describe.metadata(
            self.checkpoint,
            self.file,
            sha256=self.sha256,
            input_kind=self.input_kind,
            outputs=self.graph.output_names,
            size=self.size,
            packages=(*describe.PACKAGES[to], *quantizer, *resizer),
            precision=precision,
        )

    def onnx_model(self) -> Any:
        """The graph as an `onnx.ModelProto`."""
        return to_onnx.convert(self.program, self.graph.output_names)

    def openvino_model(self) -> Any:
        """The graph as an `openvino.Model`."""
        height, width = self.size or (None, None)
        channels = self.checkpoint.spec.in_channels
        shape = (None, channels, height, width) if self.input_kind == "none" else (None, height, width, 3)
        return to_openvino.convert(self.program, self.graph.output_names, shape)

    def contents(self, to: str) -> dict[str, bytes]:
        """The graph in the format `to`: the content of each file of a folder by its name, or of a single file, whose name is "".

        Raises:
            UserError: a package is not installed, or the network is too large for the format.
            JobError: the folder of temporary files is full.
        """
        if to == "openvino":
            return to_openvino.to_bytes(self.openvino_model(), self.metadata(to))
        if to == "onnx":
            return {"": to_onnx.to_bytes(self.onnx_model(), self.metadata(to))}
        return {"": to_pt2.to_bytes(self.program, self.metadata(to))}

    def write(self, to: str, path: Path) -> None:
        """Write the graph as a file or folder of the format `to`. Raises as `contents` and `write_contents`."""
        write_contents(path, self.contents(to))


def write_contents(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write what `TracedGraph.contents` returns; a file or folder at `path` is replaced.

    Raises:
        JobError: `path` cannot be written to.
    """
    if "" in contents:
        atomic_write.write_bytes(path, contents[""])
        return
    with atomic_write.replace_folder(path) as folder:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
