"""What is said of a file, and what is asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.in_soak import IN_SOAK

from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.weights import checkpoint as checkpoints
from resnets.weights import identify, load_weights
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import timm, torchvision
from resnets.weights.formats.keymap import expected_tensors
from resnets.weights.identify import choose, inspect


def zeros(name: str, module=torchvision, **changes) -> dict[str, torch.Tensor]:
    """Tensors of a network under another library's names, of no size on the disk to speak of."""
    spec = zoo.get_spec(name, **changes)
    ours = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in expected_tensors(spec).items()}
    return module.keymap(spec).from_resnets(ours)


def saved(path: Path, tensors) -> Path:
    torch.save(tensors, path)
    return path


def test_a_plain_file_of_torchvision(tmp_path: Path) -> None:
    found = inspect(saved(tmp_path / "r18.pth", zeros("resnet18", num_classes=7)))
    assert (found.single_candidate().spec, found.single_candidate().format) == (
        zoo.get_spec("resnet18", num_classes=7),
        "torchvision",
    )
    text = "\n".join(found.lines())
    for words in ("resnet18", "depth:    18", "classes:  7", "channels: 3", "2+2+2+2 blocks", "7x7 stem"):
        assert words in text


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152"] if IN_SOAK else ["resnet50"])
def test_v1_and_v15_look_alike_and_a_name_is_asked_for(name: str, tmp_path: Path) -> None:
    found = inspect(saved(tmp_path / "r.pth", zeros(name, num_classes=2)))
    assert [candidate.spec.name for candidate in found.candidates] == [name, f"{name}_v1"]
    with pytest.raises(
        UserError, match=rf"3x3 convolution \(`model='{name}'`: V1.5.*first 1x1 \(`model='{name}_v1'`: V1,"
    ):
        found.single_candidate()
    assert "doubt:" in "\n".join(found.lines())
    assert choose(found, f"{name}_v1", {}).spec == zoo.get_spec(f"{name}_v1", num_classes=2)


def test_option_a_asks_for_its_side_and_whether_there_are_shortcuts(tmp_path: Path) -> None:
    found = inspect(saved(tmp_path / "r.pth", zeros("cifar_resnet20")))
    text = "\n".join(found.lines())
    assert "plain network" in text
    assert "give `settings.zero_pad_both_sides=false` or `settings.zero_pad_both_sides=true`" in text
    with pytest.raises(UserError, match="both sides"):
        choose(found, "cifar_resnet20", {})
    assert choose(found, "cifar_resnet20", {"zero_pad_both_sides": True}).spec.zero_pad_both_sides
    assert choose(found, "cifar_plain20", {}).spec == zoo.get_spec("cifar_plain20")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module.model."])
def test_a_prefix_is_removed_and_named(prefix: str, tmp_path: Path) -> None:
    tensors = {prefix + name: tensor for name, tensor in zeros("resnet18").items()}
    found = inspect(saved(tmp_path / "r.pth", {"state_dict": tensors, "epoch": 3}))
    assert found.prefix == prefix
    assert found.single_candidate().spec == zoo.get_spec("resnet18")
    assert f"'{prefix}' before every name" in "\n".join(found.lines())
    assert "state_dict" in "\n".join(found.lines())


@pytest.mark.parametrize("name", [name for name in timm.NAMES if "50" in name or "18" in name])
def test_timms_networks_are_told_apart(name: str, tmp_path: Path) -> None:
    spec = timm.spec_of(name)
    tensors = timm.keymap(spec).from_resnets(
        {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in expected_tensors(spec).items()}
    )
    candidates = identify.FORMATS["timm"].candidates(identify.WeightsFile("x", "safetensors", tensors, {}))
    assert name in [timm.architecture(candidate.spec) for candidate in candidates if candidate.spec.stride_at == "3x3"]
    assert len(candidates) == (2 if name == "resnet50" else 1)


def test_names_that_the_file_does_not_have_are_no_reason(tmp_path: Path) -> None:
    """A network with shortcuts of option A has no downsample layers, so they are not what shows its format."""
    text = "\n".join(inspect(saved(tmp_path / "r.pth", zeros("cifar_resnet20"))).lines())
    assert "because:  the names conv1, layer1.0.bn1 are torchvision's" in text
    assert "downsample" not in text


def test_a_published_network_without_downsample_layers(shared) -> None:
    assert "downsample" not in "\n".join(inspect(shared("data/weights/resnet20-12fca82f.th")).lines())


def test_a_network_that_the_zoo_does_not_list(tmp_path: Path) -> None:
    found = inspect(saved(tmp_path / "r.pth", zeros("resnet50", num_blocks=(2, 2, 2, 2), in_channels=4)))
    assert [candidate.spec.name for candidate in found.candidates] == ["resnet26", "resnet26_v1"]
    assert found.candidates[0].spec.in_channels == 4


def test_a_checkpoint_of_resnets_is_identified_by_its_header(tmp_path: Path) -> None:
    spec = zoo.get_spec("tiny", num_classes=2)
    made = Checkpoint(spec, identify.checkpoints.Preprocess(), ("a", "b"), build(spec).state_dict())
    checkpoints.save(tmp_path / "c.safetensors", made)
    found = inspect(tmp_path / "c.safetensors")
    assert (found.container, found.single_candidate().spec) == ("resnets", spec)
    assert found.lines()[0] == "format:   resnets (resnets)"
    with pytest.raises(UserError, match="leave out `prefix`, `ignore`"):
        inspect(tmp_path / "c.safetensors", prefix="module.", ignore=["a*"])


def test_names_that_no_format_has(tmp_path: Path) -> None:
    found = inspect(saved(tmp_path / "r.pth", {"blob.weight": torch.zeros(3)}))
    assert "blob.weight" in "\n".join(found.lines())
    with pytest.raises(UserError, match=r"blob\.weight.*`map="):
        found.single_candidate()
    with pytest.raises(UserError, match="`map="):
        choose(found, "resnet18", {})
    tensors = zeros("resnet18")
    tensors["linear.weight"] = tensors.pop("fc.weight")
    found = inspect(saved(tmp_path / "r.pth", tensors))
    assert "unknown:  fc.bias, linear.weight" in "\n".join(found.lines())


def test_a_file_that_the_catalog_knows_by_its_hash_needs_no_name(tmp_path: Path, monkeypatch) -> None:
    path = saved(tmp_path / "r.pth", zeros("resnet50", num_classes=1000))
    entries = identify.catalog.entries()
    size, digest = round(path.stat().st_size / 2**20, 3), f"sha256:{sha256(path)}"
    known = dataclasses.replace(entries["resnet50.tv_in1k_v1"], digest=digest[: len("sha256:") + 8], megabytes=size)
    monkeypatch.setattr(identify.catalog, "entries", lambda: {known.name: known})
    candidate = inspect(path).single_candidate()
    assert candidate.spec == zoo.get_spec("resnet50")
    assert "the first 8 digits of its sha256" in candidate.reasons[0]
    assert "are those of resnet50.tv_in1k_v1" in candidate.reasons[0]
    assert identify.catalog.find_by_digest(sha256(path), path.stat().st_size + 2000) is None
    assert (
        load_weights._provenance(path, "torchvision", candidate.spec)
        .keys()
        .isdisjoint({"license", "published", "address"})
    )
    whole = dataclasses.replace(known, digest=digest)
    monkeypatch.setattr(identify.catalog, "entries", lambda: {known.name: whole})
    assert inspect(path).single_candidate().reasons[0] == "its sha256 is that of resnet50.tv_in1k_v1"
    assert load_weights._provenance(path, "torchvision", candidate.spec)["license"] == "bsd-3-clause"


def test_a_safetensors_file_whose_first_byte_is_that_of_a_pickle(tmp_path: Path) -> None:
    """The first byte belongs to the length of the header, so it may be any."""
    path = tmp_path / "model.safetensors"
    for pad in range(0, 300, 8):
        safetensors.torch.save_file(zeros("resnet18"), path, metadata={"pad": "x" * pad})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert inspect(path).single_candidate().spec == zoo.get_spec("resnet18")
