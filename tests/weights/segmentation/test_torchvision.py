"""torchvision's segmenters: their names, the published files, and the download of one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tests.in_soak import IN_SOAK
from torchvision.models import get_model_weights
from torchvision.models import segmentation as library
from torchvision.models.segmentation import DeepLabV3_ResNet50_Weights, FCN_ResNet50_Weights

import resnets
from resnets.errors import UserError
from resnets.models.segmentation import zoo
from resnets.models.segmentation.build import build_segmenter
from resnets.weights import download_published
from resnets.weights.hub import catalog, download, library_names
from resnets.weights.segmentation import torchvision as segmenters
from resnets.weights.segmentation.checkpoint import segmenter_settings

PUBLISHED = [entry for entry in catalog.entries().values() if entry.format == segmenters.FORMAT]


NETWORKS = [("fcn_resnet50", True), ("deeplabv3_resnet50", False), ("deeplabv3_resnet101", True)]
if IN_SOAK:
    architectures = ("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101")
    NETWORKS = [(name, aux) for name in architectures for aux in (False, True)]


@pytest.mark.parametrize(("name", "aux"), NETWORKS)
def test_the_names_of_all_tensors_both_ways(name: str, aux: bool) -> None:
    with torch.device("meta"):
        net = getattr(library, name)(weights=None, weights_backbone=None, num_classes=5, aux_loss=aux)
    tensors = net.state_dict()
    assert segmenters.recognizes(tensors)
    found = segmenters.find(tensors)
    assert (found.spec.name, found.num_classes, found.settings.aux) == (name.partition("_")[2], 5, aux)
    ours = found.keymap.to_resnets(tensors)
    assert found.keymap.from_resnets(ours).keys() == tensors.keys()
    assert segmenters.architecture(found.settings, found.spec) == name


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_published_facts(entry: catalog.PublishedWeights) -> None:
    weights = get_model_weights(entry.model)["COCO_WITH_VOC_LABELS_V1"]
    assert entry.url == weights.url
    assert entry.digest.removeprefix("sha256:") in weights.url
    assert entry.miou == weights.meta["_metrics"]["COCO-val2017-VOC-labels"]["miou"]
    assert entry.megabytes == weights.meta["_file_size"]
    assert entry.num_classes == len(weights.meta["categories"])
    assert [entry.preprocess().resize_to] == weights.transforms().resize_size
    assert entry.preprocess() == segmenters.PREPROCESS
    settings, spec = zoo.get(entry.model)
    with torch.device("meta"):
        model = build_segmenter(dataclasses.replace(settings, aux=True), spec, entry.num_classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == weights.meta["num_params"]


def test_the_published_names_are_all_there() -> None:
    wanted = {f"{architecture}_{network}" for architecture in segmenters.RULES for network in segmenters.NETWORKS}
    assert {entry.model for entry in PUBLISHED} == wanted
    names = segmenters.default_class_names(21)
    assert (names[0], names[15], len(set(names))) == ("background", "person", 21)
    assert list(names[1:]) == FCN_ResNet50_Weights.DEFAULT.meta["categories"][1:]


@pytest.mark.parametrize(
    ("changes", "network"),
    [({"output_stride": 16}, "resnet50"), ({"align_corners": True}, "resnet50"), ({}, "resnet50_v1"), ({}, "resnet18")],
)
def test_what_torchvision_has_not(changes: dict[str, object], network: str) -> None:
    settings, spec = zoo.get(f"fcn_{network}")
    with pytest.raises(UserError, match="torchvision has no"):
        segmenters.architecture(dataclasses.replace(settings, **changes), spec)  # type: ignore[arg-type]


def test_a_published_file_is_downloaded_and_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RESNETS_MIRROR", (tmp_path / "mirror").as_uri())
    file = tmp_path / "mirror" / "weights.invalid" / "fcn_resnet50_coco.pth"
    file.parent.mkdir(parents=True)
    with torch.device("meta"):
        net = library.fcn_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    tensors = {  # in half precision to be small
        key: torch.full(each.shape, 0.01, dtype=torch.float16 if each.is_floating_point() else each.dtype)
        for key, each in net.state_dict().items()
    }
    torch.save(tensors, file)
    entry = dataclasses.replace(
        catalog.find("fcn_resnet50.coco_with_voc_labels_v1"),
        url=f"https://weights.invalid/{file.name}", digest=f"sha256:{download.sha256(file)[:8]}",
    )  # fmt: skip
    monkeypatch.setitem(catalog.entries(), entry.name, entry)
    found = download_published.read(entry.name)
    assert (found.task, found.spec.name, found.metrics["miou"]) == ("segmentation", "resnet50", 0.605)
    assert found.class_names == segmenters.default_class_names(21)
    assert found.provenance["published"] == entry.name
    assert segmenter_settings(found).aux
    assert found.tensors["backbone.stem.conv.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("weights", "model", "meant"),
    [
        ("DEFAULT", "fcn_resnet50", "fcn_resnet50.coco_with_voc_labels_v1"),
        (True, "deeplabv3_resnet101", "deeplabv3_resnet101.coco_with_voc_labels_v1"),
        ("coco_with_voc_labels_v1", "fcn_resnet101", "fcn_resnet101.coco_with_voc_labels_v1"),
        (DeepLabV3_ResNet50_Weights.DEFAULT, "deeplabv3_resnet50", "deeplabv3_resnet50.coco_with_voc_labels_v1"),
        ("ResNet50_Weights.IMAGENET1K_V2", "fcn_resnet50", "resnet50.tv_in1k_v2"),
        ("DEFAULT", "unet_resnet18", "imagenet"),
        ("imagenet", "fcn_resnet50", "imagenet"),
    ],
)
def test_the_words_of_torchvision(weights: object, model: str, meant: str) -> None:
    assert library_names.translate_weights(weights, model) == meant


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "fcn_resnet18",
            {"weights": "COCO_WITH_VOC_LABELS_V1"},
            "published no COCO_WITH_VOC_LABELS_V1 for 'fcn_resnet18'",
        ),
        ("fcn_resnet50", {"weights": DeepLabV3_ResNet50_Weights.DEFAULT}, "are of 'deeplabv3_resnet50'"),
        (
            "fcn_resnet50",
            {"weights": True},
            "RESNETS_OFFLINE is set and fcn_resnet50.coco_with_voc_labels_v1 is not here",
        ),
        ("fcn_resnet50.coco_with_voc_labels_v1", {}, "RESNETS_OFFLINE is set and fcn_resnet50.coco_with_voc_labels_v1"),
    ],
)
def test_what_does_not_fit(name: str, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resnets.create_model(name, **arguments)
