"""Backends that compute the backbone of a network: torch, torch.compile and OpenVINO, in fp32 or bf16.

A backend is built for images of one shape and returns pooled features in float32. The head, about a thousandth of the work,
is computed in float32 after it, so that logits are not rounded to the 8 bits of bf16, which would make many of them equal.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.inference import openvino_cache, tf32
from resnets.inference.fold_batchnorm import PooledBackbone, fold
from resnets.inference.import_openvino import has_openvino
from resnets.message_format import suggestion
from resnets.models.resnet import ResNet

PRECISIONS = ("fp32", "bf16")
MIN_STREAM_IMAGES = 8  # of a batch, for each stream of OpenVINO
REQUEST_PIXELS = 4 * 224 * 224  # of the images of one request: with small requests, streams wait less for each other
PRECISIONS_BY_DTYPE = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

Compute = Callable[[Tensor], Tensor]


class Backend:
    """Maps float32 images (n, C, h, w), for any n, to float32 pooled features (n, F) on the network's device.

    Attributes:
        name: one of `NAMES`, or "reference".
        precision: "fp32" or "bf16"; for the reference, that of the network's tensors, such as "fp64".
        batch: number of images computed together, the last batch padded with zeros; 0 where any number can be.
        layout: memory format of the images that `compute` receives.
    """

    def __init__(
        self,
        name: str,
        precision: str,
        batch: int,
        device: torch.device,
        compute: Compute,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        self.name, self.precision, self.batch = name, precision, batch
        self.device, self.compute, self.layout = device, compute, layout

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        with tf32.disabled(self.device):
            if not self.batch:
                return self._run(images)
            return torch.cat([self._run(chunk) for chunk in images.split(self.batch)])

    def _run(self, images: Tensor) -> Tensor:
        count = len(images)
        if self.batch > count:
            images = torch.cat([images, images.new_zeros(self.batch - count, *images.shape[1:])])
        images = images.to(self.device, non_blocking=True).contiguous(memory_format=self.layout)
        return self.compute(images)[:count].float()


def reference(net: ResNet) -> Backend:
    """The network itself, unchanged, usually in fp32: the other backends are compared with it."""
    return Backend("reference", precision_of(net), 0, _device(net), PooledBackbone(net).eval())


def precision_of(net: ResNet) -> str:
    """The precision of the network's tensors: "fp32", "fp64", "bf16" or "fp16"."""
    return PRECISIONS_BY_DTYPE[next(net.parameters()).dtype]


def build(name: str, net: ResNet, precision: str, shape: tuple[int, ...]) -> Backend:
    """Build the backend of that name, which takes from a second to a minute.

    Args:
        net: in fp32; it is copied.
        shape: (batch, C, h, w).

    Returns:
        The backend, ready to compute.

    Raises:
        UserError: the backend is unknown, not installed, or not for this device.
        Exception: any error of a compiler that cannot compile this network.
    """
    check(name, _device(net))
    return BUILDERS[name](net, precision, shape)


def check(name: str, device: torch.device) -> None:
    """Raise UserError for a backend that is unknown, not installed, or not for this device."""
    if name not in BUILDERS:
        raise UserError(
            f"There is no backend '{name}'; the backends are {', '.join(BUILDERS)}.{suggestion(name, BUILDERS)}"
        )
    if name == "openvino" and device.type != "cpu":
        raise UserError(f"`backend=openvino` computes on the CPU; received `device={device}`. Use `backend=compile`.")
    if name == "openvino" and not has_openvino():
        raise UserError("`backend=openvino` needs OpenVINO, which is not installed: pip install 'resnets[openvino]'")


def available(device: torch.device) -> tuple[str, ...]:
    """The names of the backends that can be built on this device."""
    return tuple(name for name in BUILDERS if name != "openvino" or (device.type == "cpu" and has_openvino()))


def _torch(net: ResNet, precision: str, shape: tuple[int, ...]) -> Backend:
    return Backend("torch", precision, 0, _device(net), _cast(_folded_backbone(net), precision))


def _compile(net: ResNet, precision: str, shape: tuple[int, ...]) -> Backend:
    """torch.compile with the weights as constants (freezing), so that their layout is changed for its kernels once."""
    device = _device(net)
    compute = _cast(_folded_backbone(net), precision)
    cuda_graphs = device.type == "cuda"
    compiled = torch.compile(compute, dynamic=False, options={"freezing": True, "triton.cudagraphs": cuda_graphs})

    def run(images: Tensor) -> Tensor:
        pooled = compiled(images)
        return pooled.clone() if cuda_graphs else pooled  # the next run of a CUDA graph overwrites its output

    backend = Backend("compile", precision, shape[0], device, run)
    backend(torch.zeros(shape))  # the first call compiles
    return backend


def _openvino(net: ResNet, precision: str, shape: tuple[int, ...]) -> Backend:
    """OpenVINO with the batch divided among independent streams of one thread each.

    Threads that share each layer wait for each other, especially while other threads decode images. A batch of too few images
    is computed by all threads together.
    """
    if precision == "bf16" and "BF16" not in openvino_cache.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("OpenVINO has no bf16 on this processor and would compute in fp32.")
    threads = torch.get_num_threads()
    num_streams, request_size = split_batch(shape[0], threads, shape[2] * shape[3])
    model = openvino_cache.load_or_convert(net, (request_size, *shape[1:]))
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY" if num_streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": num_streams,
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = openvino_cache.core().compile_model(model, "CPU", hints)
    requests = [compiled.create_infer_request() for _ in range(shape[0] // request_size)]

    def run(images: Tensor) -> Tensor:
        for request, pixels in zip(requests, images.split(request_size), strict=True):
            request.start_async([pixels.numpy()], share_inputs=True)
        for request in requests:
            request.wait()
        return torch.cat([torch.from_numpy(request.get_output_tensor().data) for request in requests])

    return Backend("openvino", precision, shape[0], torch.device("cpu"), run, torch.contiguous_format)


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


BUILDERS: dict[str, Callable[[ResNet, str, tuple[int, ...]], Backend]] = {
    "torch": _torch,
    "compile": _compile,
    "openvino": _openvino,
}
NAMES = tuple(BUILDERS)


def _folded_backbone(net: ResNet) -> nn.Module:
    return fold(PooledBackbone(net)).requires_grad_(False).to(memory_format=torch.channels_last)


def _cast(backbone: nn.Module, precision: str) -> Compute:
    """The backbone in one precision, except for norms that could not be folded: their statistics need float32."""
    dtype = DTYPES[precision]
    backbone = backbone.to(dtype)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    if precision == "fp32":
        return backbone

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, images: Tensor) -> Tensor:
            return self.backbone(images.to(dtype))

    return Cast()


def _device(net: nn.Module) -> torch.device:
    return next(net.parameters()).device
