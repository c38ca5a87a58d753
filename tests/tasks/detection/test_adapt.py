"""Weights of another model in a detector."""

from dataclasses import replace

import pytest
import torch

from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.detection import zoo as detectors
from resnets.tasks.classification.task import Classification
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.task import Detection
from resnets.weights.checkpoint import Checkpoint

SPEC = zoo.get_spec("tiny")
SMALL = {"neck_channels": 8, "box_head_dim": 8, "mask_channels": 8}


def task(name: str, class_names: tuple[str, ...], **values: object) -> Detection:
    settings = detectors.get(name)[0]
    small = {key: value for key, value in SMALL.items() if key not in settings.without_effect}
    return Detection(class_names, DetectionConfig(**(vars(settings) | small | values)))


def checkpoint(of: Detection, model: torch.nn.Module) -> Checkpoint:
    return Checkpoint(SPEC, Preprocess(), of.class_names, model.state_dict(), task="detection", config=vars(of.config))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("maskrcnn_light_tiny", {}),
        ("yolov3_light_tiny", {}),
        ("yolov3_light_tiny", {"anchors": tuple(range(10, 22))}),  # two of each level
    ],
)
def test_the_rows_of_a_class_follow_its_name(name: str, values: dict) -> None:
    """The detector finds the same objects, of classes whose order has changed."""
    torch.manual_seed(0)
    old, new = (task(name, names, **values) for names in (("cat", "dog", "owl"), ("ant", "owl", "cat")))
    parent, model = old.build(SPEC).eval(), new.build(SPEC).eval()
    with torch.no_grad():
        for tensor in parent.parameters():
            tensor += 0.05 * torch.randn_like(tensor)
    described = new.adapt(model, checkpoint(old, parent), old.build(SPEC))
    assert described == "the detector keeps what it has for 2 of 3 classes: 'owl', 'cat'; new: 'ant'"
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, after = parent.dense(images), model.dense(images)
    if name.startswith("yolov3"):  # scores of each class
        torch.testing.assert_close(after[1][..., [1, 2]], before[1][..., [2, 0]])
    assert torch.equal(after[0], before[0])
    if name.startswith("maskrcnn"):
        own, theirs = model.roi_heads, parent.roi_heads
        for layer, rows in (
            ("box_predictor.cls_score", 1),
            ("box_predictor.bbox_pred", 4),
            ("mask_predictor.mask_fcn_logits", 1),
        ):
            one, other = (each.get_submodule(layer).weight for each in (own, theirs))
            assert torch.equal(one[: 1 * rows], other[: 1 * rows])  # the background
            assert torch.equal(one[2 * rows : 3 * rows], other[3 * rows : 4 * rows])  # the owl
            assert torch.equal(one[3 * rows : 4 * rows], other[1 * rows : 2 * rows])  # the cat


def test_a_classifier_becomes_the_backbone() -> None:
    torch.manual_seed(0)
    spec = replace(SPEC, num_classes=2)
    classifier = build(spec)
    parent = Checkpoint(spec, Preprocess(), ("a", "b"), classifier.state_dict())
    detection = task("fasterrcnn_light_tiny", ("cat",))
    model = detection.build(SPEC)
    described = detection.adapt(model, parent, Classification(("a", "b")).build(spec))
    assert described == "new neck and heads for 1 classes; the weights are of the task classification"
    expected = classifier.backbone().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.backbone.state_dict().items())
