"""Write a YOLOv3 as darknet's `.cfg` and `.weights`, and read them back.

A `.weights` file is a header (int32 major, minor, revision; the number of images seen, int64 from version 0.2 on) and float32
numbers: for each convolution the bias, and for one with batch normalization bias, scale, mean and variance, then the weight
(`load_convolutional_weights` in darknet's `src/parser.c`).
"""

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from resnets import atomic_write
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.detection.build import build_detector
from resnets.models.detection.settings import DetectorSettings
from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import DETECTION, Checkpoint
from resnets.weights.detection import darknet_cfg
from resnets.weights.detection.checkpoint import detector_settings, network
from resnets.weights.detection.darknet_layers import DarknetLayers, Section, layers_of
from resnets.weights.detection.torchvision import default_class_names

VERSION = (0, 2, 0)
EPS = 1e-6  # which darknet adds to the standard deviation and OpenCV to the variance
GRAY = (128,) * 3  # 0.5 of 255


class DarknetDetector(NamedTuple):
    """What the two files hold: all of a detector."""

    settings: DetectorSettings
    backbone: ResNetSpec
    num_classes: int
    tensors: dict[str, Tensor]
    size: tuple[int, int]  # height and width of the images, in pixels


def write(cfg: str | Path, model: YOLOv3, height: int, width: int) -> None:
    """Write `cfg`, and beside it the file of the same name with the ending `.weights`.

    OpenCV's `cv2.dnn.readNetFromDarknet(cfg, weights)` runs them on images of `height` x `width` pixels, multiples of 32, which
    are normalized as the images of `model` are; the file does not hold the normalization.

    Raises:
        UserError: darknet has no layer for a part of the network, or a size is not a multiple of 32.
    """
    if height % 32 or width % 32 or min(height, width) < 32:
        raise UserError(f"darknet's images have sides that are multiples of 32; received {height}x{width}.")
    layers = layers_of(model)
    channels = layers.convolutions[0][0].in_channels
    net = Section("net", {"batch": 1, "width": width, "height": height, "channels": channels})
    text = "\n".join(darknet_cfg.lines([net, *layers.sections]))
    parts = [struct.pack("<iiiq", *VERSION, 0)]
    for tensors in _stored_tensors(model, layers):
        parts += [tensor.detach().cpu().numpy().astype("<f4").tobytes() for tensor in tensors.values()]
    atomic_write.write_bytes(Path(cfg).with_suffix(".weights"), b"".join(parts))
    atomic_write.write_text(cfg, text)


def read(cfg: str | Path) -> DarknetDetector:
    """The detector of a `.cfg` with the layers of a YOLOv3 of the zoo, and of the `.weights` file of the same name beside it.

    Raises:
        UserError: a file cannot be read, no network of the zoo has these layers, or the numbers are too few or too many.
    """
    sections = darknet_cfg.parse(_read_bytes(Path(cfg)).decode("utf-8", "replace"), cfg)
    settings, backbone, num_classes = darknet_cfg.identify(sections, cfg)
    with torch.device("meta"):
        model = build_detector(settings, backbone, num_classes)
    assert isinstance(model, YOLOv3)
    weights = Path(cfg).with_suffix(".weights")
    sides = [sections[0].values.get(key, 416) for key in ("width", "height")]
    try:
        width, height = map(int, sides)
    except ValueError:
        raise UserError(f"'{cfg}' has a size that is no number of pixels: {sides[0]}x{sides[1]}.") from None
    return DarknetDetector(settings, backbone, num_classes, _read_tensors(weights, model), (height, width))


def write_checkpoint(out: str | Path, checkpoint: Checkpoint) -> list[Path]:
    """Write a YOLOv3 as `.cfg`, `.weights` and `.names`, one class in each line, and return the paths.

    Raises:
        UserError: it is none, or `write` refuses it.
    """
    cfg = Path(out)
    if cfg.suffix != ".cfg":
        raise UserError(
            f"The file for darknet ends in .cfg, beside which .weights and .names are written; received '{out}'."
        )
    model = network(checkpoint)
    if not isinstance(model, YOLOv3):
        raise UserError(f"darknet has YOLOv3 only; this is a {detector_settings(checkpoint).architecture}.")
    write(cfg, model, *checkpoint.preprocess.size)
    names = cfg.with_suffix(".names")
    atomic_write.write_text(names, "".join(f"{name}\n" for name in checkpoint.class_names))
    return [cfg.with_suffix(".weights"), names]


def read_checkpoint(path: Path, class_names: Sequence[str] = ()) -> Checkpoint:
    """The detector of a `.cfg` and the `.weights` beside it. Its classes are those of `class_names` or of a `.names` file.

    As in darknet, images are fitted into the size in the `.cfg` in front of gray, and scaled to 0 to 1 (`letterbox_image` in its
    `src/image.c`). Unlike there, their sides are rounded instead of cut off, and a smaller image is smoothed.

    Raises:
        UserError: as `read` does, or the names do not fit the number of classes.
    """
    found = read(path.with_suffix(".cfg"))
    names = path.with_suffix(".names")
    if not class_names and names.is_file():
        lines = _read_bytes(names).decode("utf-8", "replace").splitlines()
        class_names = [line.strip() for line in lines if line.strip()]
    class_names = tuple(class_names) or default_class_names(found.num_classes)
    if len(class_names) != found.num_classes:
        raise UserError(f"{len(class_names)} class names do not fit a detector of {found.num_classes} classes.")
    return Checkpoint(
        spec=found.backbone,
        preprocess=Preprocess(
            size=found.size, resize="pad", resize_to=None, mean=(0.0,) * 3, std=(1.0,) * 3, background=GRAY
        ),
        class_names=class_names,
        tensors=found.tensors,
        task=DETECTION,
        config={**dataclasses.asdict(found.settings), "shorter_side": None},
    )


def _stored_tensors(model: YOLOv3, layers: DarknetLayers) -> Iterator[dict[str, Tensor]]:
    """The tensors of each convolution by their names in the model, in darknet's order; the variance as darknet needs it."""
    names = {module: name for name, module in model.named_modules()}
    for conv, norm in layers.convolutions:
        tensors: dict[str, Tensor] = {}
        if norm is not None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            variance = (norm.running_var + (norm.eps - EPS)).clamp(min=0)
            statistics = {"running_mean": norm.running_mean, "running_var": variance}
            tensors |= {f"{names[norm]}.{key}": value for key, value in (("bias", norm.bias), ("weight", norm.weight))}
            tensors |= {f"{names[norm]}.{key}": value for key, value in statistics.items()}
        elif conv.bias is not None:
            tensors[f"{names[conv]}.bias"] = conv.bias
        yield tensors | {f"{names[conv]}.weight": conv.weight}


def _read_tensors(path: Path, model: YOLOv3) -> dict[str, Tensor]:
    """The tensors of `model`, which is on the meta device, from a `.weights` file."""
    content = _read_bytes(path)
    if len(content) < 20:
        raise UserError(f"'{path}' is not a .weights file of darknet: it has {len(content)} bytes.")
    major, minor, _ = struct.unpack_from("<iii", content)
    start = 20 if major * 10 + minor >= 2 else 16
    numbers = np.frombuffer(content, "<f4", offset=start, count=max(len(content) - start, 0) // 4)
    layers = layers_of(model)
    expected = sum(tensor.numel() for tensors in _stored_tensors(model, layers) for tensor in tensors.values())
    if len(numbers) != expected or (len(content) - start) % 4:
        raise UserError(f"'{path}' has {len(numbers)} numbers; the layers need {expected}.")
    eps = {
        f"{name}.running_var": norm.eps
        for name, norm in model.named_modules()
        if isinstance(norm, torch.nn.BatchNorm2d)
    }
    found: dict[str, Tensor] = {}
    position = 0
    for tensors in _stored_tensors(model, layers):
        for name, tensor in tensors.items():
            values = torch.from_numpy(numbers[position : position + tensor.numel()].astype(np.float32)).view(
                tensor.shape
            )
            found[name] = (values - (eps[name] - EPS)).clamp(min=0) if name in eps else values
            position += tensor.numel()
    for name, tensor in model.state_dict().items():
        if name.endswith(".num_batches_tracked"):
            found[name] = torch.zeros_like(tensor, device="cpu")
    return found


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}.") from None
