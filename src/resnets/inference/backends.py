"""The ways to compute a network's body here, each made for images of one shape in batches of one size.

A backend gives pooled vectors, in float32; the classifier's own layer, a thousandth of the work, is computed in float32
after it. So a logit is never rounded to the 8 bits of bf16, where many classes would be equal.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from resnets.errors import UserError, suggestion
from resnets.inference import hardware, openvino_cache
from resnets.inference.fold_batchnorm import Body, fold
from resnets.models.resnet import ResNet

PRECISIONS = ("fp32", "bf16")
STREAM = 8  # images of a batch at least for each stream of OpenVINO
PART_PIXELS = 4 * 224 * 224  # of the images that a stream takes at a time: with small parts none waits long for another
OF_TENSORS = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

Compute = Callable[[Tensor], Tensor]


class Backend:
    """float32 images (n, C, h, w), any n -> pooled vectors (n, features), float32, on the network's device.

    Attributes:
        name: one of `NAMES`, or "reference".
        precision: "fp32" or "bf16"; of the reference, that of the network's tensors, such as "fp64".
        batch: the number that goes through together, the last ones filled up with zeros; 0 where any number does.
        layout: in which `compute` gets them.
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
        if not self.batch:
            return self._run(images)
        return torch.cat([self._run(part) for part in images.split(self.batch)])

    def _run(self, images: Tensor) -> Tensor:
        count = len(images)
        if self.batch > count:
            images = torch.cat([images, images.new_zeros(self.batch - count, *images.shape[1:])])
        images = images.to(self.device, non_blocking=True).contiguous(memory_format=self.layout)
        return self.compute(images)[:count].float()


def reference(net: ResNet) -> Backend:
    """The network as it is, mostly in fp32: what every other backend is compared with."""
    body = Body(net).eval()
    return Backend("reference", precision_of(net), 0, _device(net), body)


def precision_of(net: ResNet) -> str:
    """What the tensors of the network are: "fp32", "fp64", "bf16" or "fp16"."""
    return OF_TENSORS[next(net.parameters()).dtype]


def build(name: str, net: ResNet, precision: str, shape: tuple[int, ...]) -> Backend:
    """Make a backend of this name ready, which takes from a second to a minute.

    Args:
        net: in fp32; it is copied.
        shape: (batch, C, h, w).

    Raises:
        UserError: there is no such backend here.
        Exception: whatever a compiler says that cannot compile this.
    """
    check(name, _device(net))
    return MAKERS[name](net, precision, shape)


def check(name: str, device: torch.device) -> None:
    """Raises UserError for a backend that is unknown, not installed, or not for this device."""
    if name not in MAKERS:
        raise UserError(f"There is no backend '{name}'; there is {', '.join(MAKERS)}.{suggestion(name, MAKERS)}")
    if name == "openvino" and device.type != "cpu":
        raise UserError(f"`backend=openvino` computes on the CPU; received `device={device}`. Use `backend=compile`.")
    if name == "openvino" and not hardware.has_openvino():
        raise UserError("`backend=openvino` needs a library that is not installed: pip install 'resnets[openvino]'")


def available(device: torch.device) -> tuple[str, ...]:
    """The backends that can be tried on this device."""
    return tuple(name for name in MAKERS if name != "openvino" or (device.type == "cpu" and hardware.has_openvino()))


def _torch(net: ResNet, precision: str, shape: tuple[int, ...]) -> Backend:
    return Backend("torch", precision, 0, _device(net), _cast(_folded(net), precision))


def _compile(net: ResNet, precision: str, shape: tuple[int, ...]) -> Backend:
    """torch.compile with the weights as constants, so that they are laid out once for the kernels (freezing)."""
    device = _device(net)
    compute = _cast(_folded(net), precision)
    graphs = device.type == "cuda"
    made = torch.compile(compute, dynamic=False, options={"freezing": True, "triton.cudagraphs": graphs})

    def run(images: Tensor) -> Tensor:
        pooled = made(images)
        return pooled.clone() if graphs else pooled  # the next run of a CUDA graph writes over it

    backend = Backend("compile", precision, shape[0], device, run)
    backend(torch.zeros(shape))  # the first call compiles
    return backend


def _openvino(net: ResNet, precision: str, shape: tuple[int, ...]) -> Backend:
    """A batch is shared out to streams that compute by themselves: threads that share every layer wait for each other, all
    the more where others decode images meanwhile. With too few images for that, all threads work on one.
    """
    if precision == "bf16" and "BF16" not in openvino_cache.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("OpenVINO has no bf16 on this processor and would compute in fp32.")
    threads = torch.get_num_threads()
    streams, part = shares(shape[0], threads, shape[2] * shape[3])
    model = openvino_cache.model(net, (part, *shape[1:]))
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = openvino_cache.core().compile_model(model, "CPU", hints)
    requests = [compiled.create_infer_request() for _ in range(shape[0] // part)]  # which wait for a stream

    def run(images: Tensor) -> Tensor:
        for request, pixels in zip(requests, images.split(part), strict=True):
            request.start_async([pixels.numpy()], share_inputs=True)
        for request in requests:
            request.wait()
        return torch.cat([torch.from_numpy(request.get_output_tensor().data) for request in requests])

    return Backend("openvino", precision, shape[0], torch.device("cpu"), run, torch.contiguous_format)


def shares(batch: int, threads: int, pixels: int) -> tuple[int, int]:
    """How many streams of OpenVINO a batch of images of so many pixels is for, and how many each takes at a time.

    All streams get equally many parts, so that none is idle at the end of a batch.
    """
    streams = next(n for n in range(max(min(threads, batch // STREAM), 1), 0, -1) if batch % n == 0)
    most = batch // streams
    if streams == 1:
        return 1, most
    return streams, next(n for n in range(most, 0, -1) if most % n == 0 and (n == 1 or n * pixels <= PART_PIXELS))


MAKERS: dict[str, Callable[[ResNet, str, tuple[int, ...]], Backend]] = {
    "torch": _torch,
    "compile": _compile,
    "openvino": _openvino,
}
NAMES = tuple(MAKERS)


def _folded(net: ResNet) -> nn.Module:
    return fold(Body(net)).requires_grad_(False).to(memory_format=torch.channels_last)


def _cast(body: nn.Module, precision: str) -> Compute:
    """All in one type, but for the norms that could not be folded: their statistics need the digits."""
    dtype = TYPES[precision]
    body = body.to(dtype)
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    if precision == "fp32":
        return body

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, images: Tensor) -> Tensor:
            return self.body(images.to(dtype))

    return Cast()


def _device(net: nn.Module) -> torch.device:
    return next(net.parameters()).device
