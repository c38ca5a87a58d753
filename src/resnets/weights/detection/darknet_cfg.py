"""The layers of a YOLOv3 in darknet's `.cfg`: its sections as text, and the network of the zoo that has them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from resnets.errors import UserError
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.settings import DetectorSettings
from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.models.spec import ResNetSpec
from resnets.weights.detection.darknet_layers import Section, layers_of

MAX_DIGITS = 6  # of a number of channels
MIN_WIDTH = 4  # of a neck, whose last scale has a fourth of it


def parse(text: str, path: str | Path) -> list[Section]:
    """The sections of a `.cfg`; lines that begin with # or ; are comments."""
    sections: list[Section] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        key, sign, value = (part.strip() for part in line.partition("="))
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(line[1:-1], {}))
        elif sign and sections:
            sections[-1].values[key] = value
        else:
            raise UserError(f"'{path}', line {number}: expected [section] or key=value; received '{line[:60]}'.")
    if not sections or sections[0].kind not in ("net", "network"):
        raise UserError(f"'{path}' is not a .cfg file of darknet: it does not begin with [net].")
    return sections


def identify(sections: Sequence[Section], path: str | Path) -> tuple[DetectorSettings, ResNetSpec, int]:
    """The settings, the backbone and the number of classes of a network of the zoo with the same layers, and a neck as wide."""
    outputs = [section.values for section in sections if section.kind == "yolo"]
    try:
        num_classes = int(outputs[0]["classes"])
        anchors = tuple(float(value) for value in str(outputs[0]["anchors"]).split(","))
        ignore_iou = float(outputs[0].get("ignore_thresh", 0.5))
    except (IndexError, KeyError, ValueError):
        raise UserError(f"'{path}' has no section [yolo] with classes and anchors.") from None
    neck_channels = _neck_channels(sections)
    given = [_comparable(section) for section in sections[1:]]
    num_sums = sum(kind == "shortcut" for kind, _ in given)
    for name in zoo.list_models("yolov3_*"):
        settings, backbone = zoo.get(name)
        if settings.is_light:  # the same layers, of another width
            continue
        if num_sums != (sum(backbone.num_blocks) if backbone.block == "residual" else 0):
            continue
        settings = replace(settings, neck_channels=neck_channels, anchors=anchors, ignore_iou=ignore_iou)
        try:
            with torch.device("meta"):
                model = build_detector(settings, backbone, num_classes)
            assert isinstance(model, YOLOv3)
            expected = layers_of(model).sections
        except UserError:
            continue
        if given == [_comparable(section) for section in expected]:
            return settings, backbone, num_classes
    raise UserError(f"'{path}' has the layers of no YOLOv3 of the zoo, such as 'yolov3_resnet18'.")


def _neck_channels(sections: Sequence[Section]) -> int:
    """The width of the neck: half of that of the layer before the first prediction. All layers are compared afterwards."""
    first = next(index for index, section in enumerate(sections) if section.kind == "yolo")
    width = str(sections[max(first - 2, 0)].values.get("filters", ""))
    is_width = width.isdecimal() and len(width) <= MAX_DIGITS
    return max(int(width) // 2 if is_width else 0, MIN_WIDTH)


def _comparable(section: Section) -> tuple[str, dict[str, object]]:
    """What a section says about the layer; numbers as numbers."""
    values: dict[str, object] = {}
    for key, value in section.values.items():
        if section.kind != "yolo" or key in ("mask", "classes", "num"):
            text = str(value).replace(" ", "")
            values[key] = tuple(float(part) for part in text.split(",")) if text[:1] in "-0123456789" else text
    return section.kind, values


def lines(sections: Sequence[Section]) -> Iterator[str]:
    """The lines of a `.cfg` with these sections."""
    for section in sections:
        yield f"[{section.kind}]"
        yield from (f"{key}={value}" for key, value in section.values.items())
        yield ""
