"""The table of published weights against the libraries that publish them, and against the networks that they fill."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import timm as timm_library
import torch
import torchvision.models
from keras.src.applications import resnet as keras_resnet
from tests.in_soak import IN_SOAK
from timm.models import get_pretrained_cfg

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.weights.formats import registry, timm
from resnets.weights.hub import catalog

ENTRIES = catalog.entries()


def of_format(name: str) -> list[str]:
    return [entry.name for entry in ENTRIES.values() if entry.format == name]


CLASSIFIERS = [name for name, entry in ENTRIES.items() if entry.format not in (catalog.DETECTOR, catalog.SEGMENTER)]


def test_how_many_there_are() -> None:
    """A row that is lost is noticed; the docs name these figures."""
    expected = {
        "torchvision": 17, "torchvision_detector": 4, "torchvision_segmenter": 4, "timm": 87, "huggingface": 6, "keras": 12,
    }  # fmt: skip
    counts = {kind: len(of_format(kind)) for kind in expected}
    assert counts == expected
    assert sum(counts.values()) == len(ENTRIES)


def test_torchvisions_are_all_there() -> None:
    families = re.compile(r"resnet\d+|wide_resnet\d+_2|resnext\d+_\d+x\d+d")
    models = [name for name in torchvision.models.list_models() if families.fullmatch(name)]
    wanted = {
        f"{name}.tv_in1k_{weights.name[-2:].lower()}"
        for name in models
        for weights in torchvision.models.get_model_weights(name)
    }
    assert wanted == set(of_format("torchvision"))


@pytest.mark.parametrize("name", of_format("torchvision"))
def test_torchvisions_facts(name: str) -> None:
    entry = ENTRIES[name]
    weights = torchvision.models.get_model_weights(entry.model)[f"IMAGENET1K_{name[-2:].upper()}"]
    transforms, metrics = weights.transforms(), weights.meta["_metrics"]["ImageNet-1K"]
    assert entry.url == weights.url
    assert entry.digest.removeprefix("sha256:") in weights.url
    assert re.fullmatch("sha256:[0-9a-f]{8}", entry.digest)
    assert (entry.top1, entry.top5) == (metrics["acc@1"], metrics["acc@5"])
    assert entry.megabytes == weights.meta["_file_size"]
    assert entry.num_classes == len(weights.meta["categories"])
    assert entry.preprocess() == Preprocess(
        size=tuple(transforms.crop_size * 2),
        resize_to=transforms.resize_size[0],
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
    assert entry.comparable


@pytest.mark.parametrize("name", of_format("timm"))
def test_timms_facts(name: str) -> None:
    entry, given = ENTRIES[name], get_pretrained_cfg(name)
    assert entry.url == f"https://huggingface.co/{given.hf_hub_id}/resolve/main/model.safetensors"
    assert entry.digest == ""
    assert (entry.num_classes, entry.license) == (given.num_classes, given.license)
    side = given.input_size[1]
    assert entry.preprocess() == Preprocess(
        size=(side, side),
        resize_to=math.floor(side / given.crop_pct),
        interpolation=given.interpolation,
        mean=given.mean,
        std=given.std,
    )
    assert given.crop_mode == "center"


FAMILIES = sorted({name.split(".")[0] for name in of_format("timm")})
DEEP = re.compile("101|152|200")  # whose blocks are those of shallower ones, repeated


@pytest.mark.parametrize("family", [each for each in FAMILIES if IN_SOAK or not DEEP.search(each)])
def test_timms_networks_have_the_tensors_of_ours(family: str) -> None:
    specs = {
        repr(ENTRIES[name].spec()): ENTRIES[name].spec() for name in of_format("timm") if name.split(".")[0] == family
    }
    (spec,) = specs.values()
    if family in timm.NAMES:  # tests/contracts/test_weights.py compares the tensors of these
        assert spec == dataclasses.replace(timm.spec_of(family), num_classes=spec.num_classes)
        return
    with torch.device("meta"):
        state = timm_library.create_model(family).state_dict()
    # Strict: every tensor of both sides once, each of the right shape.
    assert len(registry.find("timm").keymap(spec).to_resnets(state)) == len(state)


@pytest.mark.parametrize("family", ["resnet26d", "resnext50d_32x4d", "seresnext50_32x4d"])
def test_networks_that_the_zoo_does_not_list_compute_the_same(family: str) -> None:
    """The other unlisted ones differ from these only in how often a block is repeated, or how wide it is."""
    torch.manual_seed(1)
    theirs = timm_library.create_model(family).eval()
    for name, tensor in theirs.state_dict().items():
        if "bn" in name or "downsample" in name:
            tensor.copy_(torch.rand_like(tensor.float()) * 0.5 + 0.5)
    spec = next(ENTRIES[name].spec() for name in of_format("timm") if name.split(".")[0] == family)
    with torch.device("meta"):
        ours = build(spec)
    ours.load_state_dict(registry.find("timm").keymap(spec).to_resnets(theirs.state_dict()), assign=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        wanted, found = theirs(images), ours.eval()(images)
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


def test_timms_sets_of_our_networks_are_all_there() -> None:
    families = {name.split(".")[0] for name in of_format("timm")}
    published = {
        name
        for name in timm_library.list_models(pretrained=True)
        if name.split(".")[0] in families and get_pretrained_cfg(name).num_classes == 1000
    }
    doubles = {name for name in published if name.endswith((".tv_in1k", ".tv2_in1k"))}  # torchvision's own files
    assert published - doubles == set(of_format("timm"))
    for name in doubles:
        assert catalog.find(name).format == "torchvision"
        assert get_pretrained_cfg(name).url == catalog.find(name).url


@pytest.mark.parametrize("name", of_format("keras"))
def test_kerass_facts(name: str) -> None:
    entry = ENTRIES[name]
    notop = name.endswith("_notop")
    own = entry.model.removeprefix("keras_")
    assert entry.file_name == f"{own}_weights_tf_dim_ordering_tf_kernels{'_notop' if notop else ''}.h5"
    assert entry.url == keras_resnet.BASE_WEIGHTS_PATH + entry.file_name
    assert entry.digest == f"md5:{keras_resnet.WEIGHTS_HASHES[own][notop]}"
    assert entry.num_classes == (0 if notop else 1000)
    assert entry.preprocess() == (Preprocess.tf() if own.endswith("v2") else Preprocess.caffe())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_entry_is_whole(name: str) -> None:
    entry = ENTRIES[name]
    assert zoo.find(entry.model)
    assert entry.spec().num_classes == 1000
    assert entry.url.startswith("https://")
    assert entry.preprocess().size == (entry.side, entry.side)
    assert (entry.top1 is None) == (entry.measured == "") == (entry.protocol == "")
    assert entry.top1 is None or 60 < entry.top1 < 90
    assert entry.top5 is None or entry.top1 < entry.top5 < 100  # type: ignore[operator]


def test_names_that_do_not_exist() -> None:
    with pytest.raises(UserError, match=r"'resnet50\.a1_in1'\. Did you mean 'resnet50\.a1_in1k'\?"):
        catalog.find("resnet50.a1_in1")
    with pytest.raises(UserError, match="weights list"):
        catalog.find("zzz")


def test_names_of_repositories() -> None:
    assert catalog.find("timm/resnet50.a1_in1k") is catalog.find("resnet50.a1_in1k")
    assert catalog.find("timm/resnet50.tv2_in1k") is catalog.find("resnet50.tv_in1k_v2")
    assert catalog.find("microsoft/resnet-50") is catalog.find("resnet50.microsoft")
    assert not catalog.known("microsoft/resnet-51")
    assert not catalog.known("resnet50")


def test_patterns() -> None:
    assert catalog.matching("keras_resnet50.*", ENTRIES) == ["keras_resnet50.imagenet", "keras_resnet50.imagenet_notop"]
    assert "resnet50.microsoft" in catalog.matching("MICROSOFT", ENTRIES)
    assert catalog.matching("nothing", ENTRIES) == []


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("resnet18", "resnet18.a1_in1k"),
        ("resnet50", "resnet50.tv_in1k_v2"),  # CC-BY-NC weights with 81.18 % are not chosen
        ("resnext101_64x4d", "resnext101_64x4d.tv_in1k_v1"),
        ("keras_resnet50", "keras_resnet50.imagenet"),
        ("se_resnet50", "seresnet50.ra2_in1k"),
        ("resnet50_v2", "resnetv2_50.a1h_in1k"),
    ],
)
def test_the_best(model: str, name: str) -> None:
    assert catalog.best(model).name == name


def test_the_best_is_the_best_of_those_that_can_be_compared() -> None:
    for model in {ENTRIES[name].model for name in CLASSIFIERS}:
        best = catalog.best(model)
        assert best.num_classes == 1000
        assert "-nc" not in best.license
        rivals = [
            entry
            for entry in ENTRIES.values()
            if (entry.model, entry.overrides) == (model, best.overrides)
            and entry.comparable
            and "-nc" not in entry.license
        ]
        assert all((entry.top1 or 0) <= (best.top1 or 0) for entry in rivals)


def test_the_best_where_there_is_none() -> None:
    with pytest.raises(UserError, match="no published ImageNet weights for 'resnet50_v1'"):
        catalog.best("resnet50_v1")
    with pytest.raises(UserError, match="no network 'resnet5'"):
        catalog.best("resnet5")


def test_an_accuracy_of_another_size_cannot_be_compared() -> None:
    entry = catalog.find("resnet50.tv_in1k_v2")
    assert not dataclasses.replace(entry, measured="288/288").comparable
    assert dataclasses.replace(entry, measured="288/288").protocol == "torchvision, 1-crop 288 of 288"


def test_weights_of_the_package_are_named_where_none_are_published() -> None:
    with pytest.raises(UserError, match=r"for 'cifar_resnet20'\. Others are: cifar_resnet20\.cifar10\."):
        catalog.best("cifar_resnet20")
