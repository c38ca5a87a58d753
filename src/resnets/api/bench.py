"""`resnets.bench`: how fast a network is on this machine, backend by backend."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnets.data.datasets import generate_shapes
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.inference import benchmark, hardware
from resnets.inference.backends import PRECISIONS
from resnets.inference.benchmark import Row
from resnets.inference.device import resolve_device
from resnets.inference.static_graph import StaticGraph
from resnets.message_format import suggestion
from resnets.models import model_names, zoo
from resnets.models.backbone import check_size
from resnets.models.detection import zoo as detectors
from resnets.models.detection.build import build_detector
from resnets.models.resnet import ResNet, find_backbone
from resnets.models.segmentation import zoo as segmenters
from resnets.models.segmentation.build import build_segmenter
from resnets.progress import log
from resnets.tasks import load_model
from resnets.tasks.base import Task
from resnets.tasks.classification.task import Classification
from resnets.tasks.detection.task import Detection
from resnets.tasks.segmentation.plan import USUAL_IMGSZ
from resnets.tasks.segmentation.task import Segmentation

NUM_IMAGES = 32  # on which the outputs of a classifier are compared, or one batch if that is more
NUM_LARGE_IMAGES = 4  # the same for other models, whose images are larger
NUM_COCO_CLASSES, NUM_VOC_CLASSES = 80, 21
DRAWN_SIZE = 96  # side of the drawn images, before they are resized for the network


@dataclass(frozen=True)
class BenchResult:
    """The measured backends.

    Attributes:
        settings: the model, the origin of its weights ("random" for an untrained network), `imgsz`, and the machine.
        rows: a row for each backend, precision and batch size, the reference first.
    """

    settings: dict[str, Any]
    rows: list[Row]

    @property
    def advice(self) -> list[str]:
        """Which backend to use, a sentence for each batch size."""
        return benchmark.recommend(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The result for JSON."""
        rows = [row.to_dict() for row in self.rows]
        return {**self.settings, "rows": rows, "advice": self.advice}


def bench(
    model: str | Path,
    *,
    backends: Sequence[str] = (),
    precision: str = "all",
    batch: int | Sequence[int] = 16,
    imgsz: int | None = None,
    seconds: float = 3.0,
    threads: int | None = None,
    device: str = "auto",
) -> BenchResult:
    """Measure how fast a network is on this machine, backend by backend, and how much its outputs differ.

    Args:
        model: a checkpoint, a run directory, or a network of `resnets.list_models()`.
        backends: such as ["torch", "openvino"]; empty for all that are installed.
        precision: "all", "fp32" or "bf16".
        batch: number of images that go through the network together, or several numbers.
        imgsz: side of the images in pixels; None for the model's own.
        seconds: time to measure each row; building the backend is not included.
        threads: number of CPU threads; None for all.
        device: as in `resnets.load`.

    Returns:
        The result: `.rows`, one for each backend, precision and batch size; `.advice`, which backend to use; `.to_dict()` is
        what `--json` prints.

    Raises:
        UserError: there is no such model, backend or device, or the images are too small.
    """
    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        settings, rows = bench_rows(
            model, backends=backends, precision=precision, batch=batch, imgsz=imgsz, seconds=seconds, device=device
        )
        return BenchResult(settings, list(rows))
    finally:
        torch.set_num_threads(before)


def bench_rows(
    model: str | Path,
    *,
    backends: Sequence[str] = (),
    precision: str = "all",
    batch: int | Sequence[int] = 16,
    imgsz: int | None = None,
    seconds: float = 3.0,
    device: str = "auto",
) -> tuple[dict[str, Any], Iterator[Row]]:
    """As `bench`, row by row.

    Returns:
        `BenchResult.settings`, and an iterator over the rows, which measures each one when it is requested.

    Raises:
        UserError: as `bench`, before the first row.
    """
    if precision not in ("all", *PRECISIONS):
        raise UserError(f"`precision` is all, fp32 or bf16; received '{precision}'.{suggestion(precision, PRECISIONS)}")
    sizes = [batch] if isinstance(batch, int) else list(batch)
    if not sizes or min(sizes) < 1:
        raise UserError(f"`batch` must be 1 or more, or several such numbers; received {batch}.")
    device = resolve_device(device)
    names = benchmark.parse_backends(",".join(backends), torch.device(device))
    if precision == "bf16" and not names:
        given = f"`backends={','.join(backends)}`"
        raise UserError(f"`precision=bf16` has no effect with {given}: the reference computes in fp32.")
    graph, images, weights = _load(str(model), imgsz, max(sizes), device)
    settings = {"model": str(model), "weights": weights, "imgsz": images.shape[-1]}
    settings |= hardware.describe(torch.device(device))
    precisions = list(PRECISIONS) if precision == "all" else [precision]
    num_rows = (1 + len(names) * len(precisions)) * len(sizes)
    log(f"about {num_rows * seconds * 1.5:.0f} s for {num_rows} rows, and the time to build each backend")
    rows = itertools.chain.from_iterable(
        benchmark.measure(graph, images, names=names, precisions=precisions, batch=size, seconds=seconds)
        for size in sizes
    )
    return settings, rows


def _load(model: str, imgsz: int | None, num_images: int, device: str) -> tuple[StaticGraph, Tensor, str]:
    """The network for the backends, at least `num_images` images, float32 (N, C, h, w), and the origin of its weights."""
    random = not Path(model).exists() and (model in zoo.entries() or model_names.kind(model) is not None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if random:
            task, net, preprocess = _untrained(model)
        else:
            trained = load_model.load(model, device, precision="fp32")
            task, net, preprocess = trained.task, trained.model, trained.preprocess
    preprocess = preprocess.with_size(imgsz) if imgsz else preprocess
    num_images = max(num_images, NUM_IMAGES if isinstance(net, ResNet) else NUM_LARGE_IMAGES)
    drawn = generate_shapes.make_settings(size=DRAWN_SIZE)
    images = torch.stack([preprocess(generate_shapes.draw(index, drawn).pixels) for index in range(num_images)])
    backbone = find_backbone(net)
    try:
        check_size(images, backbone.min_size, backbone.fixed_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    net = net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    if random:
        net = benchmark.calibrate_batch_norms_(net, images[:NUM_IMAGES].to(device))
    return task.static_graph(net), images, "random" if random else model


def _untrained(name: str) -> tuple[Task, nn.Module, Preprocess]:
    """A classifier, a detector of COCO's classes or a segmenter of VOC's, with random weights, and the size of its images."""
    if segmenters.is_segmenter(name):
        settings, spec = segmenters.get(name)
        preprocess = Preprocess(size=(USUAL_IMGSZ,) * 2, resize="fit", resize_to=None)
        return Segmentation(), build_segmenter(settings, spec, NUM_VOC_CLASSES), preprocess
    if not detectors.is_detector(name):
        return Classification(), zoo.build(name), Preprocess.imagenet(zoo.find(name).imgsz)
    detector, spec = detectors.get(name)
    preprocess = Preprocess(size=(detector.usual_imgsz,) * 2, resize="fit", resize_to=None)
    return Detection(), build_detector(detector, spec, NUM_COCO_CLASSES), preprocess
