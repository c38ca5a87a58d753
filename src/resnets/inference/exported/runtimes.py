"""The runtimes that compute exported files: ONNX Runtime and OpenVINO, on the CPU, in the precision of the file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from resnets.errors import UserError
from resnets.inference import openvino_cache, processors
from resnets.inference.backends import split_batch
from resnets.inference.exported.read_exported import ONNX, OPENVINO, ExportedFile
from resnets.inference.import_openvino import has_openvino, import_openvino
from resnets.inference.openvino_streams import OpenVinoStreams
from resnets.inference.optional_packages import has_onnxruntime, import_optional
from resnets.message_format import suggestion

ONNXRUNTIME = "onnxruntime"
OF_FORMAT = {ONNX: (ONNXRUNTIME, OPENVINO), OPENVINO: (OPENVINO,)}
EXTRAS = {ONNXRUNTIME: "onnx", OPENVINO: "openvino"}
_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "u8": "uint8", "f32": "float32"}
F32_HINT = {"INFERENCE_PRECISION_HINT": "f32"}  # without it, OpenVINO computes in bf16 where the processor has it


Shape = tuple[int | None, ...]  # None for a size that may vary


@dataclass(frozen=True)
class Signature:
    """What the graph of a file takes and returns, as its runtime says.

    Attributes:
        inputs: type of the elements ("uint8", "float32" or another name) and shape of each.
        outputs: their shapes by name.
    """

    inputs: Sequence[tuple[str, Shape]]
    outputs: Mapping[str, Shape]


class Runtime(Protocol):
    """Computes the outputs of a file.

    Attributes:
        name, version: of the package.
        precision: in which it computes float32, such as "f32" or "bf16".
    """

    name: str
    version: str
    precision: str

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """The outputs of these names for a batch of images of any strides."""


class OnnxRuntime:
    """ONNX Runtime; the weights are read from memory, so that nothing beside the file is opened."""

    name, precision = ONNXRUNTIME, "f32"

    def __init__(self, content: bytes) -> None:
        onnxruntime = import_optional(ONNXRUNTIME, EXTRAS[ONNXRUNTIME])
        self.version = str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what fails is raised, too
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of several types of the library
            raise UserError(f"ONNX Runtime cannot read it: {first_line(error)}") from None
        self.signature = Signature(
            [(_TYPES.get(each.type, each.type), _known(each.shape)) for each in self.session.get_inputs()],
            {each.name: _known(each.shape) for each in self.session.get_outputs()},
        )

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """See `Runtime`."""
        found: list[np.ndarray] = self.session.run(list(outputs), {self.session.get_inputs()[0].name: images})
        return found


class OpenVino:
    """OpenVINO; `hints` are properties of its CPU plugin."""

    name = OPENVINO

    def __init__(self, model: Any, hints: dict[str, str] | None = None) -> None:
        self.version = str(import_openvino().__version__).partition("-")[0]
        self.model, self.threads = model, processors.all_processors()
        self.streams = OpenVinoStreams(model, self.threads, F32_HINT if hints is None else hints)
        try:
            compiled = self.streams.compile(1)
        except RuntimeError as error:
            raise UserError(f"OpenVINO cannot read it: {first_line(error)}") from None
        self.signature = Signature(
            [(_TYPES.get(each.element_type.get_type_name(), ""), _openvino_shape(each)) for each in model.inputs],
            {name: _openvino_shape(each) for each in model.outputs for name in each.get_names()},
        )
        self.precision = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """See `Runtime`. Batches are divided among streams as by the backend of OpenVINO, for the same reasons."""

        def read(request: Any) -> list[np.ndarray]:
            return [request.get_tensor(name).data for name in outputs]

        if self.threads > 1 and torch.get_num_threads() == 1:
            # One of several callers. Batches of changing sizes would take the memory of the largest one in each stream.
            return self.streams.run(np.split(images, len(images)), self.threads, read, at_once=False)
        streams, size = split_batch(len(images), self.threads, images[0].size // 3)
        parts = np.split(images, len(images) // size) if streams > 1 else [images]
        return self.streams.run(parts, streams, read)


def choose(file: ExportedFile, name: str = "auto") -> str:
    """The name of the runtime that computes `file`; "auto" for the first one that is installed.

    Raises:
        UserError: this runtime does not read the format, or is not installed.
    """
    known = OF_FORMAT[file.format]
    if name != "auto" and name not in known:
        hint = suggestion(name, known)
        raise UserError(f"'{file.path}' is computed by {' or '.join(known)}; received `backend={name}`.{hint}")
    chosen = next((each for each in known if is_installed(each)), known[0]) if name == "auto" else name
    if not is_installed(chosen):
        raise UserError(
            f"'{file.path}' needs {chosen}, which is not installed: pip install 'resnets[{EXTRAS[chosen]}]'"
        )
    return chosen


def is_installed(name: str) -> bool:
    """Whether the runtime of this name is installed; it is not imported."""
    return has_onnxruntime() if name == ONNXRUNTIME else has_openvino()


def open_runtime(file: ExportedFile, name: str = "auto", hints: dict[str, str] | None = None) -> OnnxRuntime | OpenVino:
    """The runtime that computes `file`, ready to run. Raises as `choose`, and UserError for a graph that it cannot read.

    Args:
        hints: as those of `OpenVino`.
    """
    chosen = choose(file, name)
    try:
        if chosen == ONNXRUNTIME:
            return OnnxRuntime(file.content[0])
        return OpenVino(file.openvino_model() if file.format == OPENVINO else read_onnx(file.content[0]), hints)
    except UserError as error:
        raise UserError(f"'{file.path}': {error}") from None


def read_onnx(content: bytes) -> Any:
    """An ONNX file as an `openvino.Model`."""
    try:
        return openvino_cache.core().read_model(content)
    except RuntimeError as error:
        raise UserError(f"OpenVINO cannot read it: {first_line(error)}") from None


def _known(sizes: Iterable[Any]) -> Shape:
    return tuple(size if isinstance(size, int) else None for size in sizes)


def _openvino_shape(port: Any) -> Shape:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return ()
    return tuple(size.get_length() if size.is_static else None for size in shape)


def first_line(error: Exception) -> str:
    """The first line of a message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
