"""Backends that compute the static part of a model: torch, torch.compile and OpenVINO, in fp32 or bf16.

A backend is built for images of one shape. What follows the static part is computed in float32, so that the outputs of the
model are not rounded to the 8 bits of bf16, which would make many of them equal.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.inference import openvino_cache, processors, tf32, winograd
from resnets.inference.fold_batchnorm import fold
from resnets.inference.import_openvino import has_openvino
from resnets.inference.openvino_streams import OpenVinoStreams
from resnets.inference.static_graph import StaticGraph, concatenate, to_float
from resnets.message_format import suggestion
from resnets.nested_tensors import map_tensors, slice_examples

PRECISIONS = ("fp32", "bf16")
MIN_STREAM_IMAGES = 8  # of a batch, for each stream of OpenVINO
REQUEST_PIXELS = 4 * 224 * 224  # of the images of one request: with small requests, streams wait less for each other
PRECISIONS_BY_DTYPE = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

Compute = Callable[[Tensor], Any]


class Backend:
    """Maps float32 images (n, C, h, w), for any n, to the outputs of the model, float32, on its device.

    Attributes:
        name: one of `NAMES`, or "reference".
        precision: "fp32" or "bf16"; for the reference, that of the model's tensors, such as "fp64".
        batch: number of images computed together, the last batch padded with zeros; 0 where any number can be.
        compute: the static part: images -> a tensor or a tuple of tensors.
        finish: what follows it, as in `StaticGraph`.
        layout: memory format of the images that `compute` receives.
    """

    def __init__(
        self,
        name: str,
        precision: str,
        batch: int,
        device: torch.device,
        compute: Compute,
        finish: Callable[[Any], Any] = lambda outputs: outputs,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        self.name, self.precision, self.batch = name, precision, batch
        self.device, self.compute, self.finish, self.layout = device, compute, finish, layout

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Any:
        with tf32.disabled(self.device):
            chunks = images.split(self.batch) if self.batch else (images,)
            return to_float(self.finish(concatenate([self._run(chunk) for chunk in chunks])))

    def _run(self, images: Tensor) -> Any:
        padding = max(self.batch - len(images), 0)
        if padding:
            images = torch.cat([images, images.new_zeros(padding, *images.shape[1:])])
        images = images.to(self.device, non_blocking=True).contiguous(memory_format=self.layout)
        outputs = to_float(self.compute(images))
        return slice_examples(outputs, 0, len(images) - padding) if padding else outputs


def reference(graph: StaticGraph) -> Backend:
    """The model itself, unchanged, usually in fp32: the other backends are compared with it."""
    parameter = next(graph.model.parameters())
    return Backend("reference", PRECISIONS_BY_DTYPE[parameter.dtype], 0, parameter.device, graph.model.eval())


def build(name: str, graph: StaticGraph, precision: str, shape: tuple[int, ...]) -> Backend:
    """Build the backend of that name, which takes from a second to a minute.

    Args:
        graph: of a model in fp32; its static part is copied.
        shape: (batch, C, h, w).

    Returns:
        The backend, ready to compute.

    Raises:
        UserError: the backend is unknown, not installed, or not for this device.
        Exception: any error of a compiler that cannot compile this model.
    """
    check(name, _device(graph))
    return BUILDERS[name](graph, precision, shape)


def check(name: str, device: torch.device) -> None:
    """Raise UserError for a backend that is unknown, not installed, or not for this device."""
    if name not in BUILDERS:
        known = f"the backends are {', '.join(BUILDERS)}.{suggestion(name, BUILDERS)}"
        raise UserError(f"There is no backend '{name}'; {known}")
    if name == "openvino" and device.type != "cpu":
        raise UserError(f"`backend=openvino` computes on the CPU; received `device={device}`. Use `backend=compile`.")
    if name == "openvino" and not has_openvino():
        raise UserError("`backend=openvino` needs OpenVINO, which is not installed: pip install 'resnets[openvino]'")


def available(device: torch.device) -> tuple[str, ...]:
    """The names of the backends that can be built on this device."""
    return tuple(name for name in BUILDERS if name != "openvino" or (device.type == "cpu" and has_openvino()))


def _torch(graph: StaticGraph, precision: str, shape: tuple[int, ...]) -> Backend:
    static = _folded(graph, precision)
    if precision == "fp32" and _device(graph).type == "cpu" and winograd.is_faster_here():
        winograd.replace_convolutions(static)
    return Backend("torch", precision, 0, _device(graph), static, graph.finish)


def _compile(graph: StaticGraph, precision: str, shape: tuple[int, ...]) -> Backend:
    """torch.compile with the weights as constants (freezing), so that their layout is changed for its kernels once."""
    device = _device(graph)
    cuda_graphs = device.type == "cuda"
    static = _folded(graph, precision)
    compiled = torch.compile(static, dynamic=False, options={"freezing": True, "triton.cudagraphs": cuda_graphs})

    def run(images: Tensor) -> Any:
        outputs = compiled(images)
        return (
            map_tensors(outputs, Tensor, Tensor.clone) if cuda_graphs else outputs
        )  # which the next run would overwrite

    backend = Backend("compile", precision, shape[0], device, run, graph.finish)
    backend(torch.zeros(shape))  # the first call compiles
    return backend


def _openvino(graph: StaticGraph, precision: str, shape: tuple[int, ...]) -> Backend:
    """OpenVINO with the batch divided among independent streams of one thread each.

    Threads that share each layer wait for each other, especially while other threads decode images. A batch of too few images
    is computed by all threads together. Built for one image, it computes any number: several images in streams, too. A caller
    that is limited to one processor (`processors.use`) uses one stream, so that several callers compute at once.
    """
    if precision == "bf16" and "BF16" not in openvino_cache.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("OpenVINO has no bf16 on this processor and would compute in fp32.")
    threads = processors.all_processors()
    num_streams, request_size = split_batch(shape[0], threads, shape[2] * shape[3])
    model = openvino_cache.load_or_convert(graph.static, (request_size, *shape[1:]))
    made = OpenVinoStreams(model, threads, {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision]})
    made.compile(num_streams if torch.get_num_threads() == threads else threads)

    def read(request: Any) -> list[np.ndarray]:
        return [request.get_output_tensor(index).data for index in range(len(model.outputs))]

    def run(images: Tensor) -> Any:
        is_alone = torch.get_num_threads() > 1
        streams = threads if shape[0] == 1 and (len(images) > 1 or not is_alone) else num_streams
        parts = [part.numpy() for part in images.split(request_size)]
        outputs = [torch.from_numpy(each) for each in made.run(parts, streams, read, at_once=is_alone)]
        return tuple(outputs) if openvino_cache.returns_tuple(model) else outputs[0]

    batch = 0 if shape[0] == 1 else shape[0]
    return Backend("openvino", precision, batch, torch.device("cpu"), run, graph.finish, torch.contiguous_format)


def split_batch(batch: int, threads: int, pixels: int) -> tuple[int, int]:
    """The number of OpenVINO streams for a batch, and the number of images in a request.

    All streams get the same number of requests, so that none is idle at the end of a batch.

    Args:
        batch: number of images.
        threads: of the processor.
        pixels: of one image.
    """
    num_streams = next(n for n in range(max(min(threads, batch // MIN_STREAM_IMAGES), 1), 0, -1) if batch % n == 0)
    per_stream = batch // num_streams
    if num_streams == 1:
        return 1, per_stream
    sizes = (n for n in range(per_stream, 0, -1) if per_stream % n == 0 and (n == 1 or n * pixels <= REQUEST_PIXELS))
    return num_streams, next(sizes)


BUILDERS: dict[str, Callable[[StaticGraph, str, tuple[int, ...]], Backend]] = {
    "torch": _torch,
    "compile": _compile,
    "openvino": _openvino,
}
NAMES = tuple(BUILDERS)


def _folded(graph: StaticGraph, precision: str) -> nn.Module:
    """The static part in one precision, except for norms that could not be folded: their statistics need float32."""
    dtype = DTYPES[precision]
    static = fold(graph.static).requires_grad_(False).to(memory_format=torch.channels_last).to(dtype)
    for module in static.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    if precision == "fp32":
        return static

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.static = static

        def forward(self, images: Tensor) -> Any:
            return self.static(images.to(dtype))

    return Cast()


def _device(graph: StaticGraph) -> torch.device:
    return next(graph.model.parameters()).device
