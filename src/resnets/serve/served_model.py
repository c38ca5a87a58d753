"""A trained model as the server uses it: with a name, the hash of its file, and one job for all requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from resnets.data.image.decode import opened
from resnets.data.image.open_image_file import DecodeError
from resnets.data.image.placement import Placement
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.inference import processors
from resnets.inference.exported import int8_files, read_exported
from resnets.inference.exported.metadata import CERTIFICATE
from resnets.inference.model_runner import OutputsJob, OutputsRunner
from resnets.serve import container_limits
from resnets.serve.pixel_budget import PixelBudget
from resnets.tasks import load_model
from resnets.tasks.exported.exported_model import ExportedModel
from resnets.tasks.inputs.batching import Prepared
from resnets.tasks.inputs.read_image import read_image
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import find_weights, local_file

ENDLESS = 10**9  # images; the rule that chooses a backend takes such a job for a long one
SIDE = 64  # pixels, of an image of the warm-up where a model takes any size

# Pillow decodes JPEG 2000 while it holds the interpreter, some 0.1 s for a million pixels: nothing else is answered meanwhile.
# Its other decoders let other threads run. So this one is bounded, and no image is decoded in a process of its own.
MAX_JPEG2000_PIXELS = 2**21  # 1920x1080 is less
MAX_SIDE = 32_768  # pixels; Pillow resizes a longer line for many seconds, and no other thread of Python runs meanwhile
PIXELS_AT_ONCE = 100_000_000  # of images that are being decoded, or were and keep their size; each takes some 12 bytes

Input = Prepared | Image.Image | np.ndarray  # what `TrainedModel.predict` takes without decoding anything


_budget = PixelBudget(PIXELS_AT_ONCE)  # one for all models, as the memory is


class _OneJob:
    """Computes all requests in one job, so that a backend is chosen once and none is built for each batch."""

    def __init__(self, runner: OutputsRunner, count: int | None, last_outputs: dict[int, float]) -> None:
        self.backend, self.precision = runner.backend, runner.precision
        # A backend that is built for batches of one size computes single images, since it fills up smaller batches with zeros.
        self._job = _TimedJob(runner.job(count, 1), last_outputs)

    def job(
        self, count: int | None, batch: int, *, precision: str | None = None, exact: bool | None = None
    ) -> OutputsJob:
        """The job, whatever is asked for; see `ModelRunner.job`."""
        return self._job


class _TimedJob:
    """A job that notes when each thread got its last outputs, as `ServedModel.last_outputs`."""

    def __init__(self, job: OutputsJob, last_outputs: dict[int, float]) -> None:
        self.used, self._job, self._last_outputs = job.used, job, last_outputs

    def outputs(self, images: Tensor) -> Any:
        found = self._job.outputs(images)
        self._last_outputs[threading.get_ident()] = time.monotonic()
        return found


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that answers requests.

    Attributes:
        name: in addresses: letters, digits, ".", "_" and "-".
        model: computes all predictions in one job.
        has_heatmaps: whether there are heat maps of its answers.
        sha256: of its file; empty for a model that was in memory.
        certificate: what was proved of an exported file; None for another one.
        last_outputs: when a thread last got outputs of its network, in seconds of `time.monotonic`, by the number of the thread.
    """

    name: str
    model: TrainedModel
    has_heatmaps: bool
    sha256: str = ""
    certificate: Mapping[str, Any] | None = None
    last_outputs: Mapping[int, float] = field(default_factory=dict)

    @property
    def num_threads(self) -> int:
        """How many threads may compute it at once, each with a processor of its own and all with the same weights.

        One on a GPU; and where torch.compile has written the number of processors into its code.
        """
        is_shared = self.model.device.type == "cpu" and self.model.runner.backend != "compile"
        return processors.all_processors() if is_shared else 1

    @property
    def takes_tensors(self) -> bool:
        """Whether it can be given the normalized input of the network."""
        is_outside = not isinstance(self.model, ExportedModel) or self.model.file.metadata["input"] == "none"
        return is_outside and self.model.preprocess.resize != "none"

    def decode(self, content: bytes, name: str, max_pixels: int, room: ExitStack | None = None) -> Input:
        """An encoded image as the model takes it. Raises ImageError for one that cannot be read, or is too large.

        The header is looked at before memory is allocated for the pixels, and they wait until there is room for them.

        Args:
            room: what a model that takes images of any size gives back when the image is not needed any more; None: at once.
        """
        container_limits.check(content, name)
        with opened(content, name, max_pixels) as found:
            width, height = found.image.size
            check_sides(name, width, height)
            if found.image.format == "JPEG2000" and width * height > MAX_JPEG2000_PIXELS:
                limit = f"at most {MAX_JPEG2000_PIXELS:,} are read of this format. Send it as JPEG or PNG."
                raise DecodeError(name, "bomb", f"is a JPEG 2000 image of {width}x{height} pixels; {limit}")
            with ExitStack() as here:
                keeps_size = self.model.preprocess.resize == "none"
                (room if keeps_size and room else here).enter_context(_budget.taken(width * height))
                if keeps_size:  # it may be too large to be computed as a whole: the task divides it
                    return read_image(found, name, self.model.preprocess, full_size=True)[0]
                return self.model.prepare(found, name)

    def of_pixels(self, pixels: np.ndarray, name: str) -> Input:
        """uint8 RGB (H, W, 3) as the model takes it. Raises ImageError for a size that the network does not take."""
        return pixels if self.model.preprocess.resize == "none" else self.model.prepare(pixels, name)

    def warm_up(self) -> None:
        """Predict an image, so that the backend is chosen and built before the first request."""
        height, width = self.model.preprocess.size if has_fixed_size(self.model) else (SIDE, SIDE)
        random = np.random.default_rng(0)
        coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
        image = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        list(self.model.stream([self.of_pixels(image, "warm-up")], batch=1, workers=0))


def check_sides(name: str, width: int, height: int) -> None:
    """Raise DecodeError for an image of a side that would hold up all other requests."""
    if max(width, height) > MAX_SIDE:
        reason = f"has {width}x{height} pixels; a side of at most {MAX_SIDE:,} is read. Cut it into parts."
        raise DecodeError(name, "bomb", reason)


def has_fixed_size(model: TrainedModel) -> bool:
    """Whether all inputs of the network have one size."""
    preprocess = model.preprocess
    return preprocess.crop == "center" or preprocess.resize in ("stretch", "pad")


def whole_image(height: int, width: int) -> Placement:
    """The placement of an input that was prepared elsewhere: the image is taken to be the input."""
    return Placement((height, width), (height, width), (1.0, 1.0))


def load(path: str, device: str = "auto", *, backend: str = "auto", precision: str = "auto") -> ServedModel:
    """That of a checkpoint, of a run directory, of a name of the catalog, or of an exported file; raises as `load_model.load`."""
    model = load_model.load(path, device, backend=backend, precision=precision)
    found = of_loaded(model, local_file.server_name(path))
    return found if found.sha256 else replace(found, sha256=sha256(find_weights.find_file(path)))


def of_loaded(model: TrainedModel, name: str) -> ServedModel:
    """A model in memory, which is not changed itself, as it is served.

    Raises:
        UserError: its last layer was not trained.
    """
    model.check_trained()
    last_outputs: dict[int, float] = {}
    try:
        heatmaps = _OneJob(model.heatmap_runner(), None, last_outputs)
    except UserError:
        heatmaps = None
    runner = _OneJob(model.runner, ENDLESS if has_fixed_size(model) else None, last_outputs)
    served = model.with_runners(runner, heatmaps)
    address = local_file.as_address(name)
    found = ServedModel(address, served, heatmaps is not None, last_outputs=last_outputs)
    if isinstance(model, ExportedModel):
        digest = int8_files.content_sha256(model.file)
        return replace(found, sha256=digest, certificate=_certificate(model.file.path))
    return found


def load_all(paths: Iterable[str], **options: str) -> list[ServedModel]:
    """Those of several files. Raises as `load`, and UserError for two of one name."""
    models: dict[str, ServedModel] = {}
    for path in paths:
        served = load(path, **options)
        if served.name in models:
            raise UserError(f"Two models would have the name '{served.name}'; received '{path}' last. Rename its file.")
        models[served.name] = served
    return list(models.values())


def _certificate(file: Path) -> Mapping[str, Any] | None:
    try:
        values = json.loads(read_exported.read_bytes(file.with_name(file.name + CERTIFICATE)), parse_constant=_refuse)
    except (OSError, UserError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
