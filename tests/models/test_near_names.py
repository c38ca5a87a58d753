"""What is said of an unknown name."""

from __future__ import annotations

import re

import pytest

import resnets
from resnets.errors import UserError
from resnets.models import model_names, zoo
from resnets.models.near_names import describe_unknown


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *[(word, "resnet50") for word in ("ResNet-50", "resnet_50", "torchvision.models.resnet50", "models.resnet50")],
        *[
            (word, "resnet50")
            for word in ("torchvision/resnet50", "resnet50_v1.5", "gluon_resnet50_v1b", "tv_resnet50")
        ],
        *[("ResNet50V2", "resnet50_v2"), ("resnetv2_50", "resnet50_v2"), ("resnext50", "resnext50_32x4d")],
        *[("resnet20", "cifar_resnet20"), ("resnet20_cifar", "cifar_resnet20"), ("WRN28-10", "wrn_28_10")],
        *[("seresnet50", "se_resnet50"), ("wideresnet50", "wide_resnet50_2"), ("resnet81", "resnet18")],
    ],
)
def test_what_other_programs_call_a_network_is_suggested(word: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"no network '{re.escape(word)}'\. Did you mean '{meant}'\?"):
        zoo.find(word)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *[
            (word, "fasterrcnn_resnet50")
            for word in ("fasterrcn_resnet50", "FasterRCNN-ResNet50", "faster_rcnn_resnet50")
        ],
        *[("fasterrcnn_light_tin", "fasterrcnn_light_tiny"), ("fasterrcnn_lite_tiny", "fasterrcnn_light_tiny")],
        *[("yolo3_tiny", "yolov3_tiny"), ("yolov3_ResNet-50", "yolov3_resnet50"), ("yolov3_c4_tiny", "yolov3_tiny")],
        ("fasterrcnn_resnet50_fpn_v3", "fasterrcnn_resnet50_fpn_v2"),
    ],
)
def test_the_nearest_detector_is_suggested(word: str, meant: str) -> None:
    message = describe_unknown(word, zoo.specs())
    assert message.endswith(f" '{word}'. Did you mean '{meant}'?")
    with pytest.raises(UserError, match=re.escape(message)):
        resnets.create_model(word)


def test_only_names_that_exist_are_suggested() -> None:
    known = {*zoo.entries(), *model_names.list_built_on_networks()}
    words = ["fasterrcn_nonsense", "fasterrcnn_", "yolov3", "fasterrcnn_c4_tiny", "retinanet_resnet50", "dc5_resnet50"]
    words += [name.replace("n", "", 1) for name in sorted(known)[::50]]
    messages = [describe_unknown(word, zoo.specs()) for word in words if word not in known]
    found = [name for message in messages for name in re.findall(r"Did you mean '(.*)'", message)]
    assert len(found) > 10
    assert set(found) <= known


def test_where_no_name_is_near_a_command_lists_them() -> None:
    message = describe_unknown("fasterrcnn_nonsense", zoo.specs())
    assert message == "There is no detector 'fasterrcnn_nonsense'. `resnets models fasterrcnn_` lists them all."
    assert describe_unknown("xyz", zoo.specs()).endswith("`resnets models` lists them all.")
