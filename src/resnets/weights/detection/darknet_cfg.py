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
    """The settings, the backbone and the number of classes of a network of the zoo with the same layers."""
    outputs = [section.values for section in sections if section.kind == "yolo"]
    try:
        num_classes = int(outputs[0]["classes"])
        anchors = tuple(float(value) for value in str(outputs[0]["anchors"]).split(","))
        ignore_iou = float(outputs[0].get("ignore_thresh", 0.5))
    except (IndexError, KeyError, ValueError):
        raise UserError(f"'{path}' has no section [yolo] with classes and anchors.") from None
    given = [_comparable(section) for section in sections[1:]]
    num_sums = sum(kind == "shortcut" for kind, _ in given)
    for name in zoo.list_models("yolov3_*"):
        settings, backbone = zoo.get(name)
        if num_sums != (sum(backbone.num_blocks) if backbone.block == "residual" else 0):
            continue
        settings = replace(settings, anchors=anchors, ignore_iou=ignore_iou)
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
