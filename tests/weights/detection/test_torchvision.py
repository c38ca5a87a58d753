"""torchvision's detectors: names both ways, the published files, and conversion of a file with the old names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tests.in_soak import IN_SOAK
from torch import Tensor, nn
from torchvision.models import detection as library
from torchvision.models import get_model_weights

from resnets.errors import UserError
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.prefixes import TORCHVISION
from resnets.weights import checkpoint as checkpoints
from resnets.weights import download_published
from resnets.weights.conversion import convert
from resnets.weights.detection import torchvision as detectors
from resnets.weights.detection.checkpoint import detector_settings
from resnets.weights.formats.keymap import COUNTER, read_name, write_name
from resnets.weights.hub import catalog, download
from resnets.weights.load_weights import Request

PUBLISHED = [entry for entry in catalog.entries().values() if entry.format == detectors.FORMAT]


def on_meta(name: str, num_classes: int = 90) -> dict[str, Tensor]:
    with torch.device("meta"):
        net: nn.Module = getattr(library, name)(weights=None, weights_backbone=None, num_classes=num_classes + 1)
    return net.state_dict()


def old_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As files of 2019 have them: other names, and frozen norms, which have no counters."""
    found = {}
    for name, tensor in tensors.items():
        for rule in detectors.RENAMED:
            if (values := read_name(rule.resnets, name)) is not None:
                name = write_name(rule.external, values)
        if not name.endswith(COUNTER):
            found[name] = tensor
    return found


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_names_of_all_tensors_both_ways(name: str) -> None:
    tensors = on_meta(name)
    assert detectors.recognizes(tensors)
    found, spec, num_classes = detectors.detector_of(tensors)
    assert (found, spec.name, num_classes, spec.norm_eps) == (name, "resnet50", 90, 1e-5)
    settings = TORCHVISION[name]
    keymap = detectors.keymap(settings, spec, num_classes)
    ours = keymap.to_resnets(tensors)
    with torch.device("meta"):
        expected = build_detector(settings, spec, 90).state_dict()
    assert {key: each.shape for key, each in ours.items()} == {key: each.shape for key, each in expected.items()}
    assert keymap.from_resnets(ours).keys() == tensors.keys()
    assert detectors.architecture(settings, spec) == name


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn"])
def test_the_old_names(name: str) -> None:
    """Those that torchvision renames when it loads them; the first versions are published with these."""
    old = old_names(on_meta(name))
    assert len(old) == {"fasterrcnn_resnet50_fpn": 295, "maskrcnn_resnet50_fpn": 307}[name]
    with torch.device("meta"):
        net = getattr(library, name)(weights=None, weights_backbone=None)
    counters = {key: each for key, each in net.state_dict().items() if key.endswith(COUNTER)}
    net.load_state_dict({**old, **counters}, strict=True, assign=True)
    assert detectors.renamed(old).keys() == on_meta(name).keys() - counters.keys()
    assert detectors.detector_of(detectors.renamed(old))[1].norm_eps == 0


def test_the_settings_that_torchvision_has_not() -> None:
    settings, spec = zoo.get("fasterrcnn_resnet50")
    for other in (zoo.get("fasterrcnn_light_resnet50")[0], dataclasses.replace(settings, aligned=True)):
        with pytest.raises(UserError, match="torchvision has no function"):
            detectors.architecture(other, spec)
    with pytest.raises(UserError, match="on 'resnet50_v1'"):
        detectors.architecture(settings, zoo.get("fasterrcnn_resnet50_v1")[1])


def test_another_backbone_is_found_by_its_shapes() -> None:
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    with torch.device("meta"):
        net = library.FasterRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None), num_classes=3)
    assert detectors.detector_of(net.state_dict())[1].name == "resnet18"


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.name)
def test_published_facts(entry: catalog.PublishedWeights) -> None:
    weights = get_model_weights(entry.model)["COCO_V1"]
    metrics = weights.meta["_metrics"]["COCO-val2017"]
    assert entry.url == weights.url
    assert entry.digest.removeprefix("sha256:") in weights.url
    assert (entry.box_ap, entry.mask_ap) == (metrics["box_map"], metrics.get("mask_map"))
    assert entry.megabytes == weights.meta["_file_size"]
    assert entry.num_classes + 1 == len(weights.meta["categories"])
    assert entry.spec().norm_eps == (1e-5 if entry.model.endswith("v2") else 0)
    assert entry.preprocess() == detectors.PREPROCESS
    with torch.device("meta"):
        detector = build_detector(zoo.get(entry.model)[0], entry.spec(), entry.num_classes)
    frozen = () if entry.model.endswith("v2") else (nn.BatchNorm2d,)  # whose tensors torchvision does not count
    counted = sum(
        p.numel() for m in detector.modules() if not isinstance(m, frozen) for p in m.parameters(recurse=False)
    )
    assert counted == weights.meta["num_params"]


def test_the_published_names_are_all_there() -> None:
    assert {entry.model for entry in PUBLISHED} == set(TORCHVISION)


def test_the_classes_of_coco() -> None:
    names = detectors.default_class_names(90)
    assert len(set(names)) == 90
    assert names[0] == "person"
    assert names[11] == "unused 12"
    assert sum(name.startswith("unused ") for name in names) == 10
    assert detectors.default_class_names(2) == ("class 1", "class 2")


@pytest.fixture(scope="module")
def old_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as published, in half precision to be small."""
    tensors = old_names(on_meta("fasterrcnn_resnet50_fpn"))
    path = tmp_path_factory.mktemp("detector") / "fasterrcnn_resnet50_fpn_coco.pth"
    torch.save({name: torch.full(each.shape, 0.01, dtype=torch.float16) for name, each in tensors.items()}, path)
    return path


def test_a_published_file_is_downloaded_and_converted(
    old_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RESNETS_MIRROR", (tmp_path / "mirror").as_uri())
    mirrored = tmp_path / "mirror" / "weights.invalid" / old_file.name
    mirrored.parent.mkdir(parents=True)
    mirrored.symlink_to(old_file)
    entry = dataclasses.replace(
        catalog.find("fasterrcnn_resnet50_fpn.coco_v1"),
        url=f"https://weights.invalid/{old_file.name}", digest=f"sha256:{download.sha256(old_file)[:8]}",
    )  # fmt: skip
    monkeypatch.setitem(catalog.entries(), entry.name, entry)
    found = download_published.read(entry.name)
    assert (found.task, found.spec.norm_eps, found.metrics["box_ap"]) == ("detection", 0, 0.37)
    assert found.class_names == detectors.default_class_names(90)
    assert found.provenance["published"] == entry.name
    assert detector_settings(found) == TORCHVISION["fasterrcnn_resnet50_fpn"]
    assert found.tensors["backbone.stem.conv.weight"].dtype == torch.float32


def test_a_file_is_converted_and_back(old_file: Path, tmp_path: Path) -> None:
    converted, back = tmp_path / "detector.safetensors", tmp_path / "back.pth"
    lines = convert(old_file, to="resnets", out=converted)
    assert any("fasterrcnn_resnet50_fpn on resnet50" in line for line in lines)
    assert any("eps 0" in line for line in lines)
    assert checkpoints.read(converted, task="detection").provenance["converted_from"] == old_file.name
    convert(converted, to="torchvision", out=back)
    written = torch.load(back, mmap=True)
    assert written.keys() == on_meta("fasterrcnn_resnet50_fpn").keys()
    assert written["rpn.head.conv.0.0.weight"].unique().tolist() == [torch.tensor(0.01).half().item()]
    with pytest.raises(UserError, match="to resnets, torchvision or darknet"):
        convert(converted, to="timm", out=tmp_path / "other.pth")


WITHOUT_EFFECT = [Request(model="resnet50"), *([Request(num_classes=3), Request(preprocess="tf")] if IN_SOAK else [])]


@pytest.mark.parametrize("request_", WITHOUT_EFFECT)
def test_what_has_no_effect_on_a_detector_is_refused(old_file: Path, tmp_path: Path, request_: Request) -> None:
    with pytest.raises(UserError, match=r"has no effect. `prefix='backbone.body.'` takes the backbone"):
        convert(old_file, to="resnets", out=tmp_path / "new.safetensors", request=request_)
