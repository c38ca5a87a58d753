"""Every network of the zoo with every decoder: the sizes of logits, gradients, dilation and batches of one image."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace

import pytest
import torch
from tests.in_soak import IN_SOAK

import resnets
from resnets.models import zoo as networks
from resnets.models.segmentation import zoo
from resnets.models.segmentation.build import build_segmenter
from resnets.models.segmentation.prefixes import PREFIXES
from resnets.models.segmentation.segmenter import Segmenter

SIZES = ((31, 47), (97, 131))


def shallow(name: str, **changes: object) -> Segmenter:
    """The segmenter with few blocks and narrow layers."""
    settings, spec = zoo.get(name)
    depth = 1 if spec.downsample_block == "first" else 2
    stages = range(len(spec.num_blocks))
    spec = replace(
        spec, num_blocks=tuple(depth for _ in stages), stem_channels=8, out_channels=tuple(8 + 4 * stage for stage in stages),
        mid_channels=tuple(4 for _ in spec.mid_channels),
    )  # fmt: skip
    narrow = {"decoder_channels": 16, "unet_channels": (16, 12, 8, 8, 4)}
    own = {key: value for key, value in narrow.items() if key not in settings.without_effect}
    return build_segmenter(replace(settings, **own, **changes), spec, 3)  # type: ignore[arg-type]


def test_every_network_of_the_zoo_is_a_backbone_of_every_segmenter() -> None:
    """The tensors of the backbone are those of the network, and the head has one output for each class.

    Networks that differ in nothing but their depth are built once, each with one of the segmenters in turn; with
    RESNETS_EVERY_SIZE=1 (`make soak`) with each.
    """
    specs = {}
    for entry in networks.entries().values():
        depths = tuple(1 if entry.spec.downsample_block == "first" else 2 for _ in entry.spec.num_blocks)
        specs[str(replace(entry.spec, name="", num_blocks=depths))] = replace(entry.spec, num_blocks=depths)
    assert len(specs) > 25
    turns = itertools.cycle(PREFIXES)
    for spec in specs.values():
        with torch.device("meta"):
            tensors = {f"backbone.{key}" for key in networks.build_spec(spec).backbone().state_dict()}
            for prefix in PREFIXES if IN_SOAK else [next(turns)]:
                model = build_segmenter(replace(PREFIXES[prefix], aux=True), spec, 3)
                own = model.state_dict()
                assert tensors == {key for key in own if key.startswith("backbone.")}, (prefix, spec.name)
                assert len(own["head.bias"]) == len(own["aux_head.fc.bias"]) == 3
                assert model.stride <= 8


# One network of each pattern of strides, with pre-activation, a highway network and attention.
NETWORKS = (
    "resnet18", "resnet50_v2", "keras_resnet50v2", "cifar_resnet20", "cifar_highway20", "notes_basic_resnet", "tiny",
    "se_resnet18", "tutorial_resnet50", "resnet50d",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_it_learns_at_any_size(prefix: str) -> None:
    """With every second segmenter half of the networks, and the others with the rest; with RESNETS_EVERY_SIZE=1 with all."""
    torch.manual_seed(0)
    half = len(NETWORKS) // 2
    networks = NETWORKS if IN_SOAK else NETWORKS[:half] if list(PREFIXES).index(prefix) % 2 else NETWORKS[half:]
    for number, network in enumerate(networks):
        model = shallow(f"{prefix}{network}", aux=True)
        size = SIZES[number % 2]
        both = model(torch.randn(2, 3, *size))
        assert [tuple(each.shape) for each in both] == [(2, 3, *size)] * 2
        (both.logits.square().mean() + both.aux_logits.square().mean()).backward()
        assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
        # Not smaller: from a head with nearly equal rows Adam makes channels that all tell one class from the others.
        weight = model.head.weight
        assert float(weight.detach().std()) * weight[0].numel() ** 0.5 == pytest.approx(1, rel=0.5)


@pytest.mark.parametrize("prefix", PREFIXES)
@torch.no_grad()
def test_any_size_gives_logits_of_its_own_size(prefix: str) -> None:
    model = shallow(f"{prefix}resnet18").eval()
    for size in [(height, width) for height in (31, 64, 97) for width in (47, 131)]:
        x = torch.randn(1, 3, *size)
        assert model(x).shape == (1, 3, *size)
        assert model.dense(x).shape[-2:] == tuple(-(-side // model.stride) for side in size)


@pytest.mark.parametrize(
    ("name", "output_stride", "stride"),
    [
        ("fcn_resnet18", 32, 32), ("fcn_resnet18", 16, 16), ("fcn_resnet18", 4, 4), ("fcn_tiny", 1, 1), ("fcn_tiny", 2, 2),
        ("fcn_cifar_resnet20", 8, 4), ("fcn_notes_basic_resnet", 64, 64), ("light_resnet18", 8, 4), ("light_resnet18", 4, 4),
        ("light_notes_basic_resnet", 16, 4), ("upernet_tiny", 1, 1), ("deeplabv3plus_resnet18", 4, 4), ("unet_resnet18", 8, 1),
        ("deeplabv3plus_tiny", 8, 2), ("deeplabv3plus_resnet18", 32, 4),
    ],
)  # fmt: skip
@torch.no_grad()
def test_every_output_stride_that_the_network_allows(name: str, output_stride: int, stride: int) -> None:
    model = shallow(name, output_stride=output_stride).eval()
    assert model.stride == stride
    assert max(model.backbone.feature_strides.values()) <= output_stride
    assert model.dense(torch.randn(1, 3, 65, 97)).shape[-2:] == (-(-65 // stride), -(-97 // stride))


def test_stages_that_are_not_used_compute_nothing() -> None:
    model = shallow("pspnet_resnet18", output_stride=0, num_stages=2).train()
    assert model.stride == 8
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    unused = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert unused
    assert all(key.startswith(("backbone.stage3.", "backbone.stage4.")) for key in unused)
    assert not any(model.get_parameter(key).requires_grad for key in unused)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_batch_of_one_image_trains(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Norms of one value for each channel keep their statistics then, which is told once; with two images they follow them."""
    torch.manual_seed(0)
    model = shallow(f"{prefix}tiny")
    assert bool(model.pooled_norms) is (prefix in ("deeplabv3_", "deeplabv3plus_", "pspnet_", "upernet_"))
    norms = [model.get_submodule(path) for path in model.pooled_norms]
    for count, moves in ((1, False), (1, False), (2, True)):
        before = [norm.running_mean.clone() for norm in norms]
        model(torch.randn(count, 3, 31, 47)).sum().backward()
        assert [not torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True)] == [
            moves
        ] * len(norms)
    said = capsys.readouterr().err
    assert said.count("a batch of one image has no statistics") == bool(norms)
    assert all(path in said for path in model.pooled_norms)


def test_the_summary_has_every_parameter_in_a_row_and_torchs_multiply_adds() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for name in ("unet_resnet18", "upernet_tiny", "deeplabv3plus_tiny"):
        summary = resnets.summary(name, imgsz=(64, 96), num_classes=3, aux=name == "upernet_tiny")
        assert sum(row.parameters for row in summary.layers) == summary.totals.parameters
        model = resnets.create_model(name, num_classes=3).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.dense(torch.zeros(1, 3, 64, 96))
        if name != "upernet_tiny":  # whose second head is in the table, too
            assert 2 * summary.multiply_adds == counter.get_total_flops()
    assert resnets.summary("light_resnet18").imgsz == (224, 224)


def test_settings_of_a_prefix_are_valid_and_make_what_its_name_says() -> None:
    for prefix, settings in PREFIXES.items():
        assert settings.architecture == prefix.rstrip("_")
        dataclasses.replace(settings)
