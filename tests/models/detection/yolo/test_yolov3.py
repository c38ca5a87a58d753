"""YOLOv3 on the networks of the zoo: losses in train mode, objects in eval mode."""

from dataclasses import replace

import pytest
import torch
from tests.in_soak import IN_SOAK, only_in_soak
from torch import Tensor, nn
from torchvision.ops import box_iou, nms

from resnets.models import zoo as networks
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.yolo.anchors import COCO_ANCHORS
from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.models.resnet import find_backbone, head_modules

# One network of each pattern of strides, and one of each kind of block.
PATTERNS = ["resnet18", "keras_resnet50v2", "cifar_resnet20", "notes_basic_resnet", "tiny"]
KINDS = ["resnet50_v2", "tutorial_resnet50", "cifar_highway20", "se_resnet18"]


def small(backbone: str, num_classes: int = 3, **changes: object) -> YOLOv3:
    settings, spec = zoo.get(f"yolov3_{backbone}")
    spec = replace(spec, num_blocks=tuple(min(number, 2) for number in spec.num_blocks))
    if len(spec.num_blocks) == 4:
        mid = (8, 8, 8, 8) if spec.mid_channels else ()
        spec = replace(spec, stem_channels=16, out_channels=(16, 24, 32, 48), mid_channels=mid)
    torch.manual_seed(0)
    detector = build_detector(replace(settings, neck_channels=16, **changes), spec, num_classes)  # type: ignore[arg-type]
    assert isinstance(detector, YOLOv3)
    return detector


def example(*boxes: tuple[float, float, float, float], label: int = 0) -> dict[str, Tensor]:
    return {"boxes": torch.tensor(boxes).view(-1, 4), "labels": torch.full((len(boxes),), label)}


# Networks that differ in nothing but their depth are built once.
BUILT = {
    str(replace(entry.spec, name="", num_blocks=(1,) * len(entry.spec.num_blocks))): name
    for name, entry in reversed(networks.entries().items())
}


@pytest.mark.parametrize("name", networks.entries() if IN_SOAK else BUILT.values())
def test_every_network_builds(name):
    with torch.device("meta"):
        detector = build_detector(*zoo.get(f"yolov3_{name}"), num_classes=20)
    assert isinstance(detector, YOLOv3)
    assert detector.anchors.device.type == "cpu"  # it is a constant, which no checkpoint gives back
    assert {parameter.device.type for parameter in detector.parameters()} == {"meta"}
    assert find_backbone(detector) is detector.backbone
    assert head_modules(detector) == [detector.levels, detector.neck]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("yolov3_resnet18", 31_873_569), ("yolov3_light_resnet18", 16_474_785), ("yolov3_resnet50", 45_237_281)],
)
def test_number_of_parameters(name, parameters):
    with torch.device("meta"):
        detector = build_detector(*zoo.get(name), num_classes=20)
    assert sum(parameter.numel() for parameter in detector.parameters()) == parameters


@pytest.mark.parametrize("name", PATTERNS + KINDS)
def test_losses_and_gradients(name):
    detector = small(name)
    images = [torch.randn(3, 64, 96), torch.randn(3, 50, 70)]
    targets = [example((5, 5, 30, 40), (40, 20, 60, 60), (8, 9, 13, 17)), example()]
    output = detector(images, targets)
    assert output.objects == []
    assert {name: loss.shape for name, loss in output.losses.items()} == dict.fromkeys(
        ["box", "objectness", "class"], (2,)
    )
    assert output.losses["box"][1] == output.losses["class"][1] == 0
    sum(loss.sum() for loss in output.losses.values()).backward()
    without = {name for name, parameter in detector.named_parameters() if parameter.grad is None}
    unread = (
        "backbone.stage4" if name == "notes_basic_resnet" else "none"
    )  # of stride 64, which YOLOv3 has no scale for
    assert {name for name in without if not name.startswith(unread)} == set()
    assert all(parameter.grad.isfinite().all() for parameter in detector.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("box_loss", ["paper", "giou"])
def test_images_without_objects_have_losses_and_gradients(box_loss):
    detector = small("tiny", box_loss=box_loss)
    losses = detector([torch.randn(3, 64, 96), torch.randn(3, 50, 70)], [example(), example()]).losses
    assert losses["objectness"].min() > 0
    assert losses["box"].tolist() == losses["class"].tolist() == [0, 0]
    sum(loss.sum() for loss in losses.values()).backward()
    assert [name for name, parameter in detector.named_parameters() if parameter.grad is None] == []
    assert all(parameter.grad.isfinite().all() for parameter in detector.parameters())


def test_losses_in_eval_mode_repeat_and_change_nothing():
    detector = small("tiny").eval()
    images, targets = torch.randn(2, 3, 64, 64), [example((5, 5, 30, 40), label=2), example()]
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    first = detector(images, targets).losses
    torch.rand(7)
    second = detector(images, targets).losses
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "tutorial_resnet50", "notes_resnet50", "tiny"])
def test_objects_at_odd_sizes(name):
    """Also behind stems that do not pad, whose maps are smaller than the image divided by the stride."""
    detector = small(name, score_floor=0.0).eval()
    for height, width in ((33, 65), (64, 64), (101, 77), (50, 131)):
        images = torch.randn(1, 3, height, width)
        with torch.no_grad():
            output = detector(images, [example((5, 5, 30, 30))])
        (found,) = output.objects
        boxes, scores = found["boxes"], found["scores"]
        assert len(boxes) > 0
        assert found["labels"].dtype == torch.int64
        assert (boxes >= 0).all()
        assert (boxes[:, 0::2] <= width).all()
        assert (boxes[:, 1::2] <= height).all()
        assert (scores[:-1] >= scores[1:]).all()
        assert all(loss.isfinite().all() for loss in output.losses.values())


def test_forward_is_dense_and_objects():
    detector = small("tiny", score_floor=0.0).eval()
    images = torch.randn(2, 3, 40, 70)
    with torch.no_grad():
        dense = detector.dense(images)
        objects = detector.objects(dense)
        (first, second), losses = detector(images).objects, detector(images).losses
    assert losses == {}
    positions = 3 * (8 * 12 + 4 * 6 + 2 * 3)
    assert [tuple(part.shape) for part in dense] == [(2, positions, 4), (2, positions, 3), (2, 2)]
    assert dense[-1].tolist() == [[40, 70]] * 2
    for one, other in ((first, objects[0]), (second, objects[1])):
        assert all(torch.equal(one[key], other[key]) for key in ("boxes", "scores", "labels"))


def test_no_position_in_the_padding_has_a_score():
    detector = small("tiny").eval()
    with torch.no_grad():
        _, scores, _ = detector.dense(torch.randn(1, 3, 40, 70))
    cells = scores[0, : 3 * 8 * 12].view(8, 12, 3, 3)  # of stride 8
    assert (cells[:5, :9] > 0).all()
    assert not cells[5:].any()
    assert not cells[:, 9:].any()


def test_losses_do_not_depend_on_the_rest_of_the_batch():
    detector = small("tiny").eval()
    image, target = torch.randn(3, 64, 64), example((5, 5, 30, 40), label=2)
    with torch.no_grad():
        alone = detector([image], [target]).losses
        together = detector([torch.randn(3, 64, 64), image], [example(), target]).losses
    for name, loss in alone.items():
        torch.testing.assert_close(together[name][1:], loss)


def test_suppression_is_greedy_for_each_class():
    detector = small("tiny", candidates=50, max_objects=30, score_floor=0.3)
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(200, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 5 + torch.rand(200, 2, generator=generator) * 30], 1)
    scores = torch.rand(200, 3, generator=generator)
    (found,) = detector.objects((boxes[None], scores[None], torch.tensor([[60.0, 70.0]])))
    clipped = torch.stack([boxes[:, 0::2].clamp(0, 70), boxes[:, 1::2].clamp(0, 60)], 2).flatten(1)
    lowest = scores.flatten().sort(descending=True).values[49]
    expected = []
    for label in range(3):
        rows = (scores[:, label] >= lowest).nonzero()[:, 0]
        kept = rows[nms(clipped[rows], scores[rows, label], 0.45)].tolist()
        expected += [(float(scores[row, label]), label, clipped[row].tolist()) for row in kept]
    expected = sorted(expected, reverse=True)[:30]
    assert found["scores"].tolist() == [score for score, _, _ in expected]
    assert found["labels"].tolist() == [label for _, label, _ in expected]
    torch.testing.assert_close(found["boxes"], torch.tensor([box for *_, box in expected]))


def test_a_fresh_network_finds_hardly_anything():
    """Without the biases the objectness alone would start at ln 2 for each of the positions (4 x 4 x 21 x 3)."""
    detector = small("resnet18")
    losses = detector(torch.randn(4, 3, 128, 128), [example()] * 4).losses
    assert (losses["objectness"] < 0.02 * 1008).all()


def test_losses_under_autocast_are_float32():
    detector = small("tiny")
    with torch.autocast("cpu", torch.bfloat16):
        losses = detector(torch.randn(2, 3, 64, 64), [example((5, 5, 30, 40), label=2), example()]).losses
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    sum(loss.sum() for loss in losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in detector.parameters())


@pytest.mark.parametrize("box_loss", ["paper", pytest.param("giou", marks=only_in_soak("8 s"))])
def test_eight_images_can_be_learned(box_loss):
    """Rectangles of three colors: after 60 steps each is found, and nothing else."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 64, 64, generator=generator) * 0.1
    targets = []
    for index, image in enumerate(images):
        (width, left), (height, top) = torch.randint(12, 32, (2, 2), generator=generator).tolist()
        image[:, top : top + height, left : left + width] = torch.eye(3)[index % 3][:, None, None]
        targets.append(example((left, top, left + width, top + height), label=index % 3))
    anchors = tuple(value * 64 / 416 for anchor in COCO_ANCHORS for value in anchor)
    settings = replace(zoo.get("yolov3_resnet18")[0], neck_channels=32, box_loss=box_loss, anchors=anchors)
    spec = networks.get_spec("resnet18", stem_channels=16, num_blocks=(1, 1, 1, 1), out_channels=(16, 24, 32, 48))
    torch.manual_seed(0)
    detector = build_detector(settings, spec, 3)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=60)
    for _ in range(60):
        loss = sum(term.mean() for term in detector(images, targets).losses.values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = detector.eval()(images).objects
    for objects, target in zip(found, targets, strict=True):
        sure = objects["scores"] > 0.5
        assert objects["labels"][sure].tolist() == target["labels"].tolist()
        assert box_iou(objects["boxes"][sure], target["boxes"]) > 0.7
