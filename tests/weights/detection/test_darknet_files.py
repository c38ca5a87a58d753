"""Darknet's files: OpenCV's reader of them computes what our network does, and they can be read back."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.in_soak import IN_SOAK
from torch import nn

from resnets.cli.main import main
from resnets.errors import UserError
from resnets.models import zoo as networks
from resnets.models.build_network import build
from resnets.models.detection import zoo
from resnets.models.detection.settings import DetectorSettings
from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.models.spec import ResNetSpec
from resnets.weights import find_weights
from resnets.weights.detection import darknet_files as files

NUM_CLASSES = 3
LINEAR = "size=1\nstride=1\npad=1\nactivation=linear"
SMALL = DetectorSettings(architecture="yolov3", neck_channels=16)
BASIC = networks.get_spec("resnet18", stem_channels=16, num_blocks=(2, 1, 2, 1), out_channels=(16, 24, 32, 40))
BOTTLENECK = networks.get_spec(
    "resnet50", stem_channels=16, num_blocks=(1, 2, 1, 2), out_channels=(32, 48, 64, 80), mid_channels=(8, 16, 16, 32)
)
BACKBONES = {
    "basic": BASIC,
    "basic, projections everywhere": replace(BASIC, shortcut="C"),
    "bottleneck": BOTTLENECK,
    "bottleneck, stride in the 1x1": replace(BOTTLENECK, stride_at="1x1"),
    "groups, deep stem": replace(BOTTLENECK, groups=4, stem="deep"),
    "plain": replace(BASIC, block="plain"),
    "new strides": networks.get_spec("tiny"),
    "another eps": replace(BASIC, norm_eps=0.01),
}


def detector(spec: ResNetSpec, settings: DetectorSettings = SMALL) -> YOLOv3:
    """With random weights, and the statistics of random images, so that nothing grows from layer to layer."""
    torch.manual_seed(0)
    model = YOLOv3(build(spec).backbone(), settings, NUM_CLASSES)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.momentum = 1.0
    for scale in model.neck.scales:
        nn.init.normal_(scale.prediction.weight, std=0.1)
        nn.init.uniform_(scale.prediction.bias, -1, 1)
    with torch.no_grad():
        model.dense(torch.randn(4, 3, 128, 128))
    return model.eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (160, 128)] if IN_SOAK else [(96, 160)])
@pytest.mark.parametrize("name", BACKBONES)
def test_opencv_computes_the_same(name, height, width, tmp_path):
    cv2 = pytest.importorskip("cv2")
    model = detector(BACKBONES[name])
    files.write(tmp_path / "net.cfg", model, height, width)
    images = torch.randn(2, 3, height, width)
    with torch.no_grad():
        boxes, scores, _ = model.dense(images)
    net = cv2.dnn.readNetFromDarknet(str(tmp_path / "net.cfg"), str(tmp_path / "net.weights"))
    net.enableWinograd(False)  # for 3x3 convolutions, which would cost a digit
    net.setInput(images.numpy())
    outputs = dict(
        zip(net.getUnconnectedOutLayersNames(), net.forward(net.getUnconnectedOutLayersNames()), strict=True)
    )
    rows = [output.reshape(2, -1, 5 + NUM_CLASSES) for output in outputs.values()]
    rows.sort(key=lambda output: -output.shape[1])  # the smallest stride first
    theirs = np.concatenate(rows, 1) * ([width, height] * 2 + [1] * (1 + NUM_CLASSES))
    corners = np.concatenate([theirs[..., :2] - theirs[..., 2:4] / 2, theirs[..., :2] + theirs[..., 2:4] / 2], -1)
    np.testing.assert_allclose(boxes.numpy(), corners, rtol=1e-4, atol=1e-4 * max(height, width))
    ours = scores.numpy()
    np.testing.assert_allclose(ours, np.where(theirs[..., 5:] == 0, ours, theirs[..., 5:]), rtol=1e-4, atol=1e-6)
    assert (theirs[..., 5:] > 0).mean() > 0.1  # OpenCV leaves out the lowest scores


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """`yolov3_tiny` with three classes, a neck of another width and other anchors than the paper's."""
    settings, spec = zoo.get("yolov3_tiny")
    settings = replace(settings, neck_channels=20, anchors=tuple(float(side) for side in range(3, 21)), ignore_iou=0.5)
    model = detector(spec, settings)
    path = tmp_path_factory.mktemp("darknet") / "net.cfg"
    files.write(path, model, 64, 96)
    return path, model


def test_round_trip(written):
    path, model = written
    found = files.read(path)
    assert (found.settings, found.backbone, found.num_classes) == (
        model.settings,
        networks.get_spec("tiny"),
        NUM_CLASSES,
    )
    expected = model.state_dict()
    assert set(found.tensors) == set(expected)
    for name, tensor in found.tensors.items():
        if name.endswith("running_var"):  # eps is added and taken away again
            torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-8)
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(("height", "width"), [(20, 60), (60, 20)])
def test_images_are_letterboxed(written, height, width):
    """darknet (src/image.c): as large as fits, in the middle of an image of the size in the .cfg, around it 0.5."""
    preprocess = files.read_checkpoint(written[0]).preprocess
    found = preprocess(np.full((height, width, 3), 255, np.uint8))
    fitted = (32, 96) if width > height else (64, 21)
    top, left = (64 - fitted[0]) // 2, (96 - fitted[1]) // 2
    expected = torch.full((3, 64, 96), 0.5)
    expected[:, top : top + fitted[0], left : left + fitted[1]] = 1
    torch.testing.assert_close(found, expected, rtol=0, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("[net]", "[yolo]", 1), "does not begin with \\[net\\]"),
        (lambda text: text.replace("stride=2", "stride=4", 1), "the layers of no YOLOv3 of the zoo"),
        (lambda text: text.replace("filters=40", "filters=41"), "the layers of no YOLOv3 of the zoo"),
        (lambda text: text.replace("filters=40", f"filters={10**30}"), "the layers of no YOLOv3 of the zoo"),
        (lambda text: text.replace("filters=16", "filters 16", 1), "line 9: expected \\[section\\] or key=value"),
        (lambda text: text.replace("[yolo]", "[region]"), "no section \\[yolo\\]"),
        (
            lambda text: text.replace("classes=3", "classes=2").replace(f"24\n{LINEAR}", f"21\n{LINEAR}"),
            "the layers need",
        ),
    ],
)
def test_other_files_are_refused(written, tmp_path, change, message):
    path, _ = written
    (tmp_path / "net.cfg").write_text(change(path.read_text()))
    (tmp_path / "net.weights").write_bytes(path.with_suffix(".weights").read_bytes())
    with pytest.raises(UserError, match=message):
        files.read(tmp_path / "net.cfg")


def test_missing_and_short_files_are_refused(written, tmp_path):
    with pytest.raises(UserError, match=r"'none\.cfg' cannot be read: No such file"):
        files.read("none.cfg")
    path, _ = written
    (tmp_path / "net.cfg").write_text(path.read_text())
    content = path.with_suffix(".weights").read_bytes()
    for length in (0, 17, len(content) - 1, len(content) - 4):
        (tmp_path / "net.weights").write_bytes(content[:length])
        with pytest.raises(UserError, match=r"net.weights' (has|is not)"):
            files.read(tmp_path / "net.cfg")


@pytest.mark.parametrize(
    "name", ["resnet50_v2", "se_resnet18", "resnet34_a", "resnet50d", "cifar_highway20", "tutorial_resnet50"]
)
def test_what_darknet_has_no_layer_for(name, tmp_path):
    with torch.device("meta"):
        model = YOLOv3(build(networks.get_spec(name)).backbone(), SMALL, NUM_CLASSES)
    with pytest.raises(UserError, match="darknet has no layer for"):
        files.write(tmp_path / "net.cfg", model, 64, 64)
    assert not list(tmp_path.iterdir())


def test_sizes_that_darknet_cannot_upsample_to(written, tmp_path):
    _, model = written
    with pytest.raises(UserError, match="multiples of 32; received 64x100"):
        files.write(tmp_path / "net.cfg", model, 64, 100)


@pytest.mark.parametrize("suffix", [".cfg", ".weights"])
def test_where_a_checkpoint_is_needed_the_error_has_the_command_that_converts(written, suffix, monkeypatch, capsys):
    path, _ = written
    monkeypatch.chdir(path.parent)
    name = path.with_suffix(suffix).name
    with pytest.raises(UserError, match=rf"'{name}' is a file of darknet\. Convert it: resnets ") as caught:
        find_weights.read(name, task=None)
    command = str(caught.value).partition("Convert it: resnets ")[2]
    for words in (["predict", name, "."], ["train", ".", "--weights", name]):
        assert main(words) == 2
        assert command in capsys.readouterr().err
    assert main(shlex.split(command)) == 0
    assert find_weights.read("NAME.safetensors", task=None).task == "detection"
