"""`resnets.bench`: how fast a network is on this machine, backend by backend."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnets.data.datasets import generate_shapes
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.inference import benchmark, hardware
from resnets.inference.backends import PRECISIONS
from resnets.inference.benchmark import Case, Row
from resnets.inference.device import resolve_device
from resnets.inference.exported import runtimes
from resnets.inference.exported.int8_files import INT8
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
from resnets.tasks.exported import exported_model
from resnets.tasks.exported.exported_model import ExportedModel
from resnets.tasks.segmentation.plan import USUAL_IMGSZ
from resnets.tasks.segmentation.task import Segmentation
from resnets.weights import local_file

NUM_IMAGES = 32  # on which the outputs of a classifier are compared, or one batch if that is more
NUM_LARGE_IMAGES = 4  # the same for other models, whose images are larger
NUM_COCO_CLASSES, NUM_VOC_CLASSES = 80, 21
RANDOM = "random"  # the origin of the weights of an untrained network
DRAWN_SIZE = 96  # side of the drawn images, before they are resized for the network


@dataclass(frozen=True)
class BenchResult:
    """The measured backends.

    Attributes:
        settings: the model, the origin of its weights ("random" for an untrained network), the size of the images,
            and the machine.
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
        model: a checkpoint, a run directory, a network of `resnets.list_models()`, or an exported file.
        backends: such as ["torch", "openvino"]; empty for all that are installed. Those of an exported file are "onnxruntime"
            and "openvino"; its first row is the reference for the other.
        precision: "all", "fp32", "bf16" or "int8", the file that `resnets.quantize` wrote beside the checkpoint.
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
    if precision not in ("all", *PRECISIONS, INT8):
        hint = suggestion(precision, (*PRECISIONS, INT8))
        raise UserError(f"`precision` is all, fp32, bf16 or int8; received '{precision}'.{hint}")
    sizes = [batch] if isinstance(batch, int) else list(batch)
    if not sizes or min(sizes) < 1:
        raise UserError(f"`batch` must be 1 or more, or several such numbers; received {batch}.")
    if local_file.exported_format(model):
        graph, cases = _exported(str(model), list(backends), precision, imgsz, max(sizes))
        device, weights = "cpu", str(model)
    else:
        device = resolve_device(device)
        names = benchmark.parse_backends(",".join(backends), torch.device(device))
        if precision == "bf16" and not names:
            given = f"`backends={','.join(backends)}`"
            raise UserError(f"`precision=bf16` has no effect with {given}: the reference computes in fp32.")
        graph, images, weights = _load(str(model), imgsz, max(sizes), device)
        precisions = [each for each in PRECISIONS if precision in ("all", each)]
        cases = benchmark.cases_of(graph, images, names, precisions)
        if precision == INT8 or (precision == "all" and weights != RANDOM):
            cases += _int8(str(model), names, imgsz, len(images), required=precision == INT8)
    height, width = cases[0].images.shape[-2:]
    settings = {"model": str(model), "weights": weights, "imgsz": width, "size": [height, width]}
    settings |= hardware.describe(torch.device(device))
    num_rows = len(cases) * len(sizes)
    log(f"about {num_rows * seconds * 1.5:.0f} s for {num_rows} rows, and the time to build each backend")
    rows = itertools.chain.from_iterable(benchmark.measure(graph, cases, batch=size, seconds=seconds) for size in sizes)
    return settings, rows


def _exported(
    path: str, names: Sequence[str], precision: str, imgsz: int | None, num_images: int
) -> tuple[StaticGraph, list[Case]]:
    """An exported file in each runtime that reads it; the first one is the reference for the other."""
    model = load_model.load(path, precision="auto" if precision == "all" else precision)
    assert isinstance(model, ExportedModel)
    known = [each for each in runtimes.OF_FORMAT[model.file.format] if runtimes.is_installed(each)]
    models = [exported_model.of_file(model.file, name) for name in names or known]
    cases = [_exported_case(each, imgsz, num_images) for each in models]
    return model.task.static_graph(model.model), cases


def _int8(model: str, names: Sequence[str], imgsz: int | None, num_images: int, *, required: bool) -> list[Case]:
    """The int8 file of a checkpoint, where one has passed; raises UserError if it is `required` and none has."""
    try:
        found = load_model.load(model, precision=INT8)
    except UserError:
        if required:
            raise
        return []
    assert isinstance(found, ExportedModel)
    case = _exported_case(found, imgsz, num_images)
    return [case] if case.backend in names else []


def _exported_case(model: ExportedModel, imgsz: int | None, num_images: int) -> Case:
    preprocess = model.preprocess.with_size(imgsz) if imgsz else model.preprocess
    if model.resizes:  # and so takes images of any size, of which its network's own is measured
        size = (imgsz, imgsz) if imgsz else model.checkpoint.preprocess.size
        preprocess = replace(preprocess, resize="stretch", size=size)
    choice = model.file_runner.choice
    images = _drawn_images(preprocess, num_images, model.model)
    return Case(choice.backend, choice.precision, lambda batch: model.runner.job(None, batch).outputs, images)


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
    images = _drawn_images(preprocess.with_size(imgsz) if imgsz else preprocess, num_images, net)
    backbone = find_backbone(net)
    try:
        check_size(images, backbone.min_size, backbone.fixed_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    net = net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    if random:
        net = benchmark.calibrate_batch_norms_(net, images[:NUM_IMAGES].to(device))
    return task.static_graph(net), images, RANDOM if random else model


def _drawn_images(preprocess: Preprocess, least: int, net: nn.Module) -> Tensor:
    """At least so many generated images as inputs, float32 (N, C, h, w)."""
    count = max(least, NUM_IMAGES if isinstance(net, ResNet) else NUM_LARGE_IMAGES)
    drawn = generate_shapes.make_settings(size=DRAWN_SIZE)
    return torch.stack([preprocess(generate_shapes.draw(index, drawn).pixels) for index in range(count)])


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
