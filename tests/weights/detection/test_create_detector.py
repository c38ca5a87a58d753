"""`create_model` with the names of detectors: new, on the backbone of a classifier, and with a detector's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.weights.detection.saved_detector import saved
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights, MaskRCNN_ResNet50_FPN_Weights

import resnets
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo as networks
from resnets.models.detection.prefixes import prefix_of
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.hub import library_names


def test_a_new_detector() -> None:
    model = resnets.create_model("fasterrcnn_light_tiny", num_classes=5, in_channels=1, stem="cifar", proposals=7)
    assert model.training
    assert model.rpn.eval().post_nms_top_n() == 7
    assert model.roi_heads.box_predictor.cls_score.out_features == 6
    assert model.backbone.stem.conv.in_channels == 1
    found = model.eval()(torch.rand(2, 1, 64, 64)).objects
    assert [each["boxes"].shape[1:] for each in found] == [(4,), (4,)]
    assert resnets.create_model("yolov3_light_tiny").neck.scales[0].prediction.out_channels == 3 * (5 + 90)
    with torch.device("meta"):
        model = resnets.create_model("maskrcnn_resnet50_fpn")
    assert model.roi_heads.mask_predictor.mask_fcn_logits.out_channels == 91  # as in torchvision


@pytest.mark.parametrize("name", ["fasterrcnn_light_tiny", "yolov3_light_tiny", "maskrcnn_light_tiny"])
def test_the_weights_of_a_detector(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = saved(tmp_path / "net.safetensors", name)
    image = torch.rand(1, 3, 64, 96)
    model = resnets.create_model(name, weights=tmp_path / "net.safetensors")
    assert not model.training
    for one, other in zip(model.dense(image), expected.dense(image), strict=True):
        assert torch.equal(one, other)
    others = resnets.create_model(name, weights=tmp_path / "net.safetensors", num_classes=7, in_channels=1)
    assert "new, untrained layers for 7 classes" in capsys.readouterr().err
    kept = expected.state_dict()
    changed = {key for key, each in others.state_dict().items() if each.shape != kept[key].shape}
    assert {key.split(".")[0] for key in changed} == {"backbone", "neck" if name.startswith("yolo") else "roi_heads"}
    assert all(torch.equal(each, kept[key]) for key, each in others.state_dict().items() if key not in changed)
    gray = others.state_dict()["backbone.stem.conv.weight"]
    torch.testing.assert_close(gray, kept["backbone.stem.conv.weight"].sum(1, keepdim=True))
    prefix = prefix_of(name)
    other = {"yolov3_light_": "yolov3_tiny"}.get(prefix, f"{prefix.replace('light_', '')}tiny")
    with pytest.raises(UserError, match=f"another detector than '{other}': neck_channels="):
        resnets.create_model(other, weights=tmp_path / "net.safetensors")
    with pytest.raises(UserError, match="leave out proposals"):
        resnets.create_model(name, weights=tmp_path / "net.safetensors", proposals=3)


def test_the_weights_of_a_classifier_are_those_of_the_backbone(tmp_path: Path) -> None:
    net = networks.build("tiny", num_classes=4)
    path = tmp_path / "net.safetensors"
    checkpoints.save(
        path, Checkpoint(networks.get_spec("tiny", num_classes=4), Preprocess(size=(32, 32)), (), net.state_dict())
    )
    model = resnets.create_model("yolov3_light_tiny", weights=path, num_classes=2)
    assert model.training
    assert all(torch.equal(each, net.state_dict()[key]) for key, each in model.backbone.state_dict().items())
    with pytest.raises(UserError, match="are of tiny; 'yolov3_light_cifar_resnet20' has the network cifar_resnet20"):
        resnets.create_model("yolov3_light_cifar_resnet20", weights=path)


@pytest.mark.parametrize(
    ("weights", "model", "meant"),
    [
        ("DEFAULT", "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn.coco_v1"),
        (True, "fasterrcnn_resnet50", "fasterrcnn_resnet50_fpn.coco_v1"),
        ("coco_v1", "maskrcnn_resnet50_fpn_v2", "maskrcnn_resnet50_fpn_v2.coco_v1"),
        (FasterRCNN_ResNet50_FPN_Weights.COCO_V1, "fasterrcnn_resnet50", "fasterrcnn_resnet50_fpn.coco_v1"),
        ("ResNet50_Weights.IMAGENET1K_V2", "fasterrcnn_resnet50", "resnet50.tv_in1k_v2"),
        ("imagenet", "fasterrcnn_resnet50", "imagenet"),
        ("DEFAULT", "yolov3_resnet18", "imagenet"),
    ],
)
def test_the_words_of_torchvision(weights: object, model: str, meant: str) -> None:
    assert library_names.translate_weights(weights, model) == meant


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("fasterrcnn_resnet18", {"weights": "COCO_V1"}, "no COCO_V1 for 'fasterrcnn_resnet18'"),
        ("fasterrcnn_resnet50", {"weights": MaskRCNN_ResNet50_FPN_Weights.COCO_V1}, "are of 'maskrcnn_resnet50_fpn'"),
        ("fasterrcnn_resnet50", {"weights": True}, "RESNETS_OFFLINE is set and fasterrcnn_resnet50_fpn.coco_v1 is not here"),
        ("fasterrcnn_resnet50_fpn.coco_v1", {}, "RESNETS_OFFLINE is set and fasterrcnn_resnet50_fpn.coco_v1 is not here"),
        ("yolov3_tiny", {"weights": "imagenet"}, "no published ImageNet weights for 'tiny'"),
        ("yolov3_resnet19", {}, "no detector 'yolov3_resnet19'"),
        ("yolov3_tiny", {"num_classes": 0}, "is a detector, on which"),
        ("yolov3_tiny", {"include_top": False}, "is a detector, on which"),
        ("yolov3_tiny", {"nms_io": 0.4}, "no setting 'nms_io'"),
    ],
)  # fmt: skip
def test_what_does_not_fit(name: str, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resnets.create_model(name, **arguments)
