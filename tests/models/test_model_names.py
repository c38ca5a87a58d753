"""`resnets.list_models`: networks, and detectors where no network matches."""

import pytest

import resnets
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.detection import zoo as detectors


def test_detectors_are_listed_where_no_network_matches() -> None:
    assert resnets.list_models() == zoo.list_models()
    assert resnets.list_models("resnet18") == zoo.list_models("resnet18")
    assert resnets.list_models("yolov3") == resnets.list_models("yolov3_*") == detectors.list_models("yolov3_*")
    assert resnets.list_models("fasterrcnn_light_tiny") == ["fasterrcnn_light_tiny"]
    assert resnets.list_models("vgg") == []


def test_the_specification_of_a_detector_says_what_takes_it() -> None:
    with pytest.raises(UserError, match=r"'fasterrcnn_resnet18' is the name of a detector.* create_model\(\)"):
        resnets.get_spec("fasterrcnn_resnet18")
