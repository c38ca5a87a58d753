"""Faster and Mask R-CNN equal torchvision's, in float64 and in both modes; images without objects; seeds; precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from tests.in_soak import only_in_soak
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import (
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    TwoMLPHead,
    _default_anchorgen,
)
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead

from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.rcnn.detector import RegionDetector
from resnets.models.detection.rcnn.sampling import generators, sample
from resnets.weights.formats import torchvision

CLASSES, WIDTH, UNITS = 4, 16, 32
SAMPLES = 32  # as many as each image has, so that torchvision's mean over samples is the mean over images
NAMES = (
    "fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2",
    pytest.param("fasterrcnn_resnet50_fpn_v2", marks=only_in_soak("3 s")),
    pytest.param("maskrcnn_resnet50_fpn", marks=only_in_soak("4 s")),
)  # fmt: skip
SIZES = [(97, 131), (128, 96), (33, 160)]


def torchvisions(name: str) -> nn.Module:
    """torchvision's detector of that name, as its builder composes it, on ResNet-18 and with narrow heads."""
    second, masks = name.endswith("v2"), name.startswith("mask")
    norm = nn.BatchNorm2d if second else None
    layers = {f"layer{i}": str(i - 1) for i in range(1, 5)}
    backbone = BackboneWithFPN(resnet18(), layers, [64, 128, 256, 512], WIDTH, norm_layer=norm)
    heads: dict[str, object] = {"box_head": TwoMLPHead(WIDTH * 49, UNITS)}
    if second:
        heads = {"box_head": FastRCNNConvFCHead((WIDTH, 7, 7), [WIDTH] * 4, [UNITS], norm_layer=norm)}
    if masks:
        heads["mask_head"] = MaskRCNNHeads(WIDTH, [WIDTH] * 4, 1, norm_layer=norm)
        heads["mask_predictor"] = MaskRCNNPredictor(WIDTH, WIDTH, CLASSES + 1)
    detector = (MaskRCNN if masks else FasterRCNN)(
        backbone, rpn_anchor_generator=_default_anchorgen(), box_predictor=FastRCNNPredictor(UNITS, CLASSES + 1),
        rpn_head=RPNHead(WIDTH, 3, conv_depth=2 if second else 1), rpn_post_nms_top_n_test=200,
        rpn_post_nms_top_n_train=200, **heads,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    for key, tensor in detector.state_dict().items():
        if key.endswith(("running_mean", "bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
        elif key.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif key.endswith(("cls_logits.weight", "mask_fcn_logits.weight")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return detector.double().eval()


@cache
def pair(name: str) -> tuple[RegionDetector, nn.Module]:
    """Our detector and torchvision's with the same tensors."""
    torch.manual_seed(0)
    reference = torchvisions(name)
    settings, _ = zoo.get(name)
    settings = replace(
        settings, neck_channels=WIDTH, box_head_dim=UNITS, mask_channels=WIDTH, proposals=200, train_proposals=200,
        anchor_samples=SAMPLES, proposal_samples=SAMPLES,
    )  # fmt: skip
    backbone = zoo.zoo.get_spec("resnet18")
    detector = build_detector(settings, backbone, CLASSES).double().eval()
    own, body = {}, {}
    for key, tensor in reference.state_dict().items():
        if key.startswith("backbone.body."):
            body[key.removeprefix("backbone.body.")] = tensor
        else:
            own[key.replace("backbone.fpn.", "neck.")] = tensor
    names = torchvision.keymap(backbone, top=False)
    own |= {f"backbone.{key}": tensor for key, tensor in names.to_resnets(body).items()}
    detector.load_state_dict(own, strict=True)
    assert isinstance(detector, RegionDetector)
    return detector, reference


def images(sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(3, *size, generator=generator, dtype=torch.float64) for size in sizes]


def targets_of(sizes: Sequence[tuple[int, int]], counts: Sequence[int] = (2, 1, 3)) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(7)
    targets = []
    for count, (height, width) in zip(counts, sizes, strict=False):
        corner = torch.rand(count, 2, generator=generator) * 40
        extent = 20 + torch.rand(count, 2, generator=generator) * 40
        targets.append(
            {
                "boxes": torch.cat([corner, corner + extent], 1),
                "labels": torch.randint(0, CLASSES, (count,), generator=generator),
                "masks": torch.rand(count, height, width, generator=generator) > 0.4,
            }
        )
    return targets


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_objects_are_torchvisions(name: str) -> None:
    detector, reference = pair(name)
    for count in (1, 3):
        batch = images(SIZES[:count])
        pools = [reference.roi_heads.box_roi_pool, reference.roi_heads.mask_roi_pool]
        for pool in pools[: 1 + reference.roi_heads.has_mask()]:
            pool.scales = None  # guessed from the first batch and kept
        padded = reference.transform.batch_images([image.clone() for image in batch])
        maps = reference.backbone(padded)
        proposals, _ = reference.rpn(ImageList(padded, SIZES[:count]), maps)
        expected = reference.roi_heads(maps, proposals, SIZES[:count])[0]  # masks are not pasted
        found = detector(batch).objects
        assert len(found) == count
        for ours, theirs in zip(found, expected, strict=True):
            assert len(theirs["labels"]) > 10, "too few to compare"
            assert torch.equal(ours["labels"], theirs["labels"] - 1)
            assert torch.allclose(ours["boxes"], theirs["boxes"], rtol=0, atol=1e-9)
            assert torch.allclose(ours["scores"], theirs["scores"], rtol=0, atol=1e-9)
            if "masks" in theirs:
                assert torch.allclose(ours["masks"], theirs["masks"][:, 0], rtol=0, atol=1e-9)


@torch.no_grad()
def test_the_boxes_of_regions_are_torchvisions_to_the_bit() -> None:
    detector, _ = pair("maskrcnn_resnet50_fpn_v2")
    regions = detector._regions((*detector.dense(torch.stack(images(SIZES[:1])))[:-1], torch.tensor([SIZES[0]])))
    logits, deltas = detector._predict_boxes(regions.maps, regions.proposals)
    expected = detector.roi_heads.postprocess_detections(logits, deltas, regions.proposals, regions.sizes)
    (found,) = detector._objects(regions)
    assert len(found["scores"]) > 10
    for ours, (theirs,) in zip((found["boxes"], found["scores"], found["labels"] + 1), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_without_seeds_each_training_step_draws_again() -> None:
    def numbers(*, training: bool) -> list[int]:
        return [int(torch.randint(1 << 40, (), generator=each)) for each in generators(None, 2, training=training)]

    torch.manual_seed(0)
    first, second = numbers(training=True), numbers(training=True)
    assert len({*first, *second}) == 4
    torch.manual_seed(0)
    assert numbers(training=True) == first
    assert numbers(training=False) == numbers(training=False)


class OwnSampler:
    """Our choice of samples, as torchvision's class."""

    def __init__(self, count: int, fraction: float, draws: list[torch.Generator]) -> None:
        self.count, self.fraction, self.draws = count, fraction, draws

    def __call__(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
        for of_image, draw in zip(labels, self.draws, strict=True):
            for kind, index in zip(chosen, sample(of_image, self.count, self.fraction, draw), strict=True):
                kind.append(torch.zeros(len(of_image), dtype=torch.bool).index_fill_(0, index, True))
        return chosen


TERMS = {
    "objectness": "loss_objectness", "proposal_box": "loss_rpn_box_reg", "classification": "loss_classifier",
    "box": "loss_box_reg", "mask": "loss_mask",
}  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_losses_are_torchvisions(name: str, count: int) -> None:
    detector, reference = pair(name)
    sizes, seeds = [SIZES[0]] * count, [11, 12, 13][:count]
    batch, targets = images(sizes), targets_of(sizes)
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    reference.rpn.fg_bg_sampler = OwnSampler(SAMPLES, 0.5, draws)
    reference.roi_heads.fg_bg_sampler = OwnSampler(SAMPLES, 0.25, draws)
    theirs = [{**target, "boxes": target["boxes"].double(), "labels": target["labels"] + 1} for target in targets]
    try:
        for model in (detector, reference):
            model.train()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        padded = reference.transform.batch_images([image.clone() for image in batch])
        maps = reference.backbone(padded)
        proposals, expected = reference.rpn(ImageList(padded, sizes), maps, theirs)
        expected |= reference.roi_heads(maps, proposals, sizes, theirs)[1]
        output = detector(batch, targets, seeds)
    finally:
        detector.eval(), reference.eval()
    assert output.objects == []
    assert list(output.losses) == list(TERMS)[: 4 + detector.roi_heads.has_mask()]
    for term, losses in output.losses.items():
        assert losses.shape == (count,)
        assert losses.dtype == torch.float32
        if term != "mask" or count == 1:  # torchvision's mean is over the regions of all images
            assert losses.mean().item() == pytest.approx(expected[TERMS[term]].item(), rel=1e-6), term


def light(name: str = "maskrcnn_light_resnet18", **changes: object) -> RegionDetector:
    torch.manual_seed(1)
    settings, backbone = zoo.get(name)
    settings = replace(settings, neck_channels=WIDTH, box_head_dim=UNITS, mask_channels=WIDTH, **changes)
    detector = build_detector(settings, backbone, CLASSES)
    assert isinstance(detector, RegionDetector)
    return detector


@pytest.mark.parametrize("changes", [{}, {"head_norm": True, "box_head_convs": 1}])
def test_images_without_objects_have_losses_and_gradients(changes: dict[str, object]) -> None:
    detector = light(**changes)
    sizes = [(64, 64), (50, 70)]
    losses = detector([image.float() for image in images(sizes)], targets_of(sizes, (0, 0))).losses
    assert all(torch.isfinite(loss).all() and loss.requires_grad for loss in losses.values())
    assert losses["objectness"].min() > 0
    assert losses["box"].tolist() == losses["mask"].tolist() == [0, 0]
    sum(loss.sum() for loss in losses.values()).backward()
    assert [name for name, parameter in detector.named_parameters() if parameter.grad is None] == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in detector.parameters())


def test_each_image_has_its_own_losses_whatever_its_batch() -> None:
    detector = light().double().eval()
    sizes = [(64, 96), (64, 96), (64, 96)]
    batch, targets = images(sizes), targets_of(sizes, (2, 0, 3))
    together = detector(batch, targets, [5, 6, 7]).losses
    for i in range(3):
        alone = detector(batch[i : i + 1], targets[i : i + 1], [5 + i]).losses
        for name, losses in together.items():
            assert losses[i].item() == pytest.approx(alone[name].item(), rel=1e-6), name
    # The padding of a larger image does not change which anchors are drawn, only the features at its edge.
    detector.rpn.head.cls_logits.weight.data.zero_()
    wide = [*batch[:1], images([(128, 160)])[0]]
    mixed = detector(wide, [targets[0], targets_of([(128, 160)])[0]], [5, 6]).losses
    alone = detector(batch[:1], targets[:1], [5]).losses
    assert mixed["objectness"][0].item() == pytest.approx(alone["objectness"].item(), rel=1e-6)


def test_losses_in_eval_mode_repeat_and_change_nothing() -> None:
    detector = light().eval()
    sizes = [(64, 96)]
    batch, targets = [image.float() for image in images(sizes)], targets_of(sizes)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    first = detector(batch, targets)
    torch.rand(7)
    second = detector(batch, targets)
    assert all(torch.equal(first.losses[name], second.losses[name]) for name in first.losses)
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.state_dict().items())
    assert len(first.objects) == 1


@torch.no_grad()
def test_the_objects_of_the_dense_part_are_those_of_the_detector() -> None:
    detector = light(score_floor=0.0, pool_size=5).eval()
    x = torch.randn(2, 3, 65, 97)
    dense = detector.dense(x)
    assert all(len(tensor) == 2 for tensor in dense)
    assert dense[-1].tolist() == [[65, 97]] * 2
    for ours, again in zip(detector.objects(dense), detector(x).objects, strict=True):
        assert len(ours["labels"]) == 100
        assert ours["masks"].shape == (100, 20, 20)
        assert 0 <= ours["labels"].min() <= ours["labels"].max() < CLASSES
        assert ours["boxes"].amin() >= 0
        assert ours["boxes"].amax(0)[2:].tolist() <= [97, 65]
        assert torch.equal(ours["scores"], ours["scores"].sort(descending=True)[0])
        assert all(torch.equal(ours[key], again[key]) for key in ours)


@torch.no_grad()
def test_positions_do_not_lose_precision_in_bfloat16() -> None:
    """torchvision's anchors take the type of the maps: 8 bits cannot hold a position above 256."""
    detector = light().eval()
    x = torch.randn(1, 3, 64, 640)
    exact = detector._regions(detector.dense(x)).anchors
    with torch.autocast("cpu", torch.bfloat16):
        dense = detector.dense(x)
        rounded = detector._regions(dense)
    assert dense[0].dtype == torch.bfloat16
    assert torch.equal(exact, rounded.anchors)
    assert rounded.proposals[0].dtype == torch.float32
