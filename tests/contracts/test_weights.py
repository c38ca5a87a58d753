"""Every published family: a file that the library itself wrote gives its logits here, and what we write it loads again.

Random weights and random statistics of normalizations, in float32 files as the libraries publish them; both networks then
compute in float64, and must agree to 1e-9 of the largest logit, at 65x97, which no stride divides. What is written back must be
the library's own tensors, bit for bit, under its own names, and its own strict loader must take it. That is done with the
shallowest network of each family; of the deeper ones, which repeat its blocks, names and shapes are compared. Keras has a
test of its own. With RESNETS_EVERY_SIZE=1, the long form in `make soak`, every network of every depth is written, read and
compared at 224x224 too, in float64 and in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import safetensors.torch
import timm as timm_library
import torch
import torchvision as torchvision_library
from tests.in_soak import IN_SOAK
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

from resnets.models import zoo
from resnets.weights import checkpoint as checkpoints
from resnets.weights import load_weights
from resnets.weights.formats import huggingface, timm, torchvision
from resnets.weights.load_weights import Request

# Those of the same blocks with other stems, shortcuts or groups are compared in tests/models/test_parity_timm.py and
# test_parity_torchvision.py, and by their names below.
SHALLOW = ("resnet18", "resnet50", "resnet18d", "seresnet18", "resnetv2_50")


def blank(make) -> nn.Module:
    """A network of a library with random weights, quickly: nothing is initialized twice."""
    with torch.device("meta"):
        net = make()
    net = net.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.4, 1.2, generator=generator)
                module.bias.uniform_(-0.3, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.num_batches_tracked.fill_(7)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                bound = (6 / module.weight[0].numel()) ** 0.5
                module.weight.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-0.3, 0.3, generator=generator)
    return net


def written(names: Iterable[str]) -> list[str]:
    """Those of the names whose files are written and read in this run."""
    return [name for name in names if IN_SOAK or name in SHALLOW]


def agree(ours: nn.Module, theirs: nn.Module) -> None:
    sizes = [(65, 97), (224, 224)] if IN_SOAK else [(65, 97)]
    if IN_SOAK:
        near(ours, theirs, sizes, 1e-4)
    near(ours.double(), theirs.double(), sizes, 1e-9)


def near(ours: nn.Module, theirs: nn.Module, sizes: list[tuple[int, int]], tolerance: float) -> None:
    for size in sizes:
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
        image = image.to(next(ours.parameters()).dtype)
        with torch.inference_mode():
            found, wanted = ours(image), theirs(image)
        wanted = wanted if isinstance(wanted, Tensor) else wanted.logits
        largest = wanted.abs().max()
        assert largest > 1e-3
        assert (found - wanted).abs().max() < tolerance * largest


def same_tensors(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(found) == list(wanted) or found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("name", written(torchvision.NAMES))
def test_torchvision_there_and_back(name: str, tmp_path: Path) -> None:
    theirs = blank(lambda: torchvision_library.models.get_model(name, weights=None))
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    source = load_weights.load(tmp_path / "theirs.pth", Request(model=name))
    (tmp_path / "theirs.pth").unlink()
    assert source.format == "torchvision"
    assert torchvision.write(tmp_path / "back.pth", source.checkpoint) == name
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    same_tensors(back, theirs.state_dict())
    theirs.load_state_dict(back, strict=True)
    (tmp_path / "back.pth").unlink()
    ours = checkpoints.network(source.checkpoint)
    del source, back  # each is as large as the network
    agree(ours, theirs)


@pytest.mark.parametrize("name", ["resnet50", *written(name for name in timm.NAMES if name not in torchvision.NAMES)])
def test_timm_there_and_back(name: str, tmp_path: Path) -> None:
    theirs = blank(lambda: timm_library.create_model(name))
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = name if name in torchvision.NAMES else None  # for V1 or V1.5 cannot be seen
    source = load_weights.load(tmp_path / "model.safetensors", Request(model=model))
    (tmp_path / "model.safetensors").unlink()
    assert source.format == "timm"
    assert timm.write(tmp_path / "back.safetensors", source.checkpoint) == name
    same_tensors(safetensors.torch.load_file(tmp_path / "back.safetensors"), theirs.state_dict())
    timm_library.models.load_checkpoint(theirs, str(tmp_path / "back.safetensors"), strict=True)
    (tmp_path / "back.safetensors").unlink()
    ours = checkpoints.network(source.checkpoint)
    del source
    agree(ours, theirs)


DEPTHS = [
    name
    for name in timm.NAMES
    if IN_SOAK or name == "resnet152" or not any(each in name for each in ("34", "101", "152"))
]


@pytest.mark.parametrize("name", DEPTHS)
def test_names_and_shapes_at_every_depth(name: str) -> None:
    """Those that timm and torchvision have in common are the same, so the comparison above need not be made twice for these."""
    with torch.device("meta"):
        state = timm_library.create_model(name).state_dict()
        keymap = timm.keymap(timm.spec_of(name))
        keymap.to_resnets(state)
        if name in torchvision.NAMES:
            torchvision.keymap(zoo.get_spec(name)).to_resnets(state)
            other = torchvision_library.models.get_model(name, weights=None).state_dict()
            assert {key: value.shape for key, value in state.items()} == {
                key: each.shape for key, each in other.items()
            }
            assert keymap.pairs == torchvision.keymap(zoo.get_spec(name)).pairs


TRANSFORMERS = [
    ("resnet18", {"layer_type": "basic", "depths": (2, 2, 2, 2), "hidden_sizes": (64, 128, 256, 512)}),
    ("resnet34", {"layer_type": "basic", "depths": (3, 4, 6, 3), "hidden_sizes": (64, 128, 256, 512)}),
    ("resnet50", {}),
    ("resnet101", {"depths": (3, 4, 23, 3)}),
    ("resnet152", {"depths": (3, 8, 36, 3)}),
    ("resnet50_v1", {"downsample_in_bottleneck": True}),
    ("resnet101_v1", {"depths": (3, 4, 23, 3), "downsample_in_bottleneck": True}),
    ("resnet152_v1", {"depths": (3, 8, 36, 3), "downsample_in_bottleneck": True}),
    ("resnet50", {"downsample_in_first_stage": True}),
    ("resnet26", {"depths": (2, 2, 2, 2)}),
]


@pytest.mark.parametrize(
    ("name", "config"),
    [case for case in TRANSFORMERS if case[0] in zoo.list_models()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_and_shapes_of_transformers(name: str, config: dict[str, object]) -> None:
    with torch.device("meta"):
        huggingface.keymap(zoo.get_spec(name)).to_resnets(
            ResNetForImageClassification(ResNetConfig(**config, num_labels=1000)).state_dict()
        )


@pytest.mark.parametrize(
    ("name", "config"),
    [case for case in TRANSFORMERS if IN_SOAK or (case[0] in (*SHALLOW, "resnet26", "resnet50_v1") and case[1])],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_transformers_there_and_back(name: str, config: dict[str, object], tmp_path: Path) -> None:
    theirs = blank(lambda: ResNetForImageClassification(ResNetConfig(**config, num_labels=9)))
    state = {key: value.clone() for key, value in theirs.state_dict().items()}
    theirs.save_pretrained(tmp_path / "theirs")
    source = load_weights.load(tmp_path / "theirs")
    assert (source.format, source.checkpoint.spec.name) == ("huggingface", name)
    assert source.checkpoint.class_names == ()  # LABEL_0 ... are what transformers writes for want of names
    huggingface.write(tmp_path / "back", source.checkpoint)
    back, report = ResNetForImageClassification.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(report.values())
    same_tensors(back.state_dict(), state)
    agree(checkpoints.network(source.checkpoint), back.eval())


def test_transformers_body_without_a_head(tmp_path: Path) -> None:
    config = ResNetConfig(**TRANSFORMERS[0][1])
    theirs = blank(lambda: ResNetModel(config))
    theirs.save_pretrained(tmp_path / "theirs")
    source = load_weights.load(tmp_path / "theirs", Request(no_top=True))
    ours = checkpoints.network(source.checkpoint).double()
    image = torch.randn(1, 3, 65, 97).double()
    with torch.inference_mode():
        wanted = theirs.double()(image).pooler_output.flatten(1)
        assert (ours.forward_pooled(image) - wanted).abs().max() < 1e-9 * wanted.abs().max()
    huggingface.write(tmp_path / "back", source.checkpoint, top=False)
    _, report = ResNetModel.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(report.values())


def test_the_same_weights_differ_between_v1_and_v15(tmp_path: Path) -> None:
    theirs = blank(lambda: torchvision_library.models.resnet50(num_classes=5))
    torch.save(theirs.state_dict(), tmp_path / "r50.pth")
    image = torch.randn(1, 3, 65, 97)
    logits = {}
    for name in ("resnet50", "resnet50_v1"):
        checkpoint = load_weights.load(tmp_path / "r50.pth", Request(model=name)).checkpoint
        with torch.inference_mode():
            logits[name] = checkpoints.network(checkpoint)(image)
    assert (logits["resnet50"] - logits["resnet50_v1"]).abs().max() > 0.05 * logits["resnet50"].abs().max()
