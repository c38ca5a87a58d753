"""Small files of weights by the libraries that own their formats, and published weights on a mirror on this disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.weights.narrow_resnet import NarrowResNet

from resnets.weights.hub import catalog, download
from resnets.weights.hub.catalog import PublishedWeights
from resnets.weights.readers import sandbox

RUN = sandbox._run  # before any test begins


@pytest.fixture(scope="session")
def fuzz_readers(program: Callable[[str], ModuleType]) -> ModuleType:
    """The program of that name under `tests/soak`."""
    return program("fuzz_readers")


@pytest.fixture
def real_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read as outside of tests, by a process that is started for each."""
    monkeypatch.setattr(sandbox, "_run", RUN)


@pytest.fixture(scope="session")
def real(fuzz_readers: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a function from a container's name to a folder of files that are read and not changed."""
    made: dict[str, Path] = {}

    def find(container: str) -> Path:
        if container not in made:
            made[container] = tmp_path_factory.mktemp(container)
            fuzz_readers.seeds(container, made[container])
        return made[container]

    return find


def _one_block_a_stage() -> torch.nn.Module:
    """torchvision's narrow ResNet with one block a stage, random statistics included."""
    torch.manual_seed(3)
    net = NarrowResNet(num_classes=1000, num_blocks=(1, 1, 1, 1))
    for name, tensor in net.state_dict().items():
        if "running" in name:
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    return net.eval()


@pytest.fixture(scope="session")
def theirs() -> torch.nn.Module:
    return _one_block_a_stage()


@pytest.fixture
def publish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: torch.nn.Module
) -> Callable[..., PublishedWeights]:
    """Put a file into the mirror and a row into the catalog."""
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RESNETS_MIRROR", (tmp_path / "mirror").as_uri())

    def put(
        name: str = "resnet10.tv_in1k_v9", state: Any = None, suffix: str = ".pth", **changes: Any
    ) -> PublishedWeights:
        file = tmp_path / "mirror" / "weights.invalid" / name / f"net{suffix}"
        file.parent.mkdir(parents=True)
        state = theirs.state_dict() if state is None else state
        if suffix == ".pth":
            torch.save(state, file)
        else:
            safetensors.torch.save_file(state, file, metadata={"format": "pt"})
        entry = dataclasses.replace(
            catalog.find("resnet18.tv_in1k_v1"),
            **{
                "name": name,
                "overrides": {"num_blocks": (1, 1, 1, 1), "out_channels": (8, 16, 32, 64)},
                "url": f"https://weights.invalid/{name}/{file.name}",
                "digest": f"sha256:{download.sha256(file)[:8]}",
                "top1": 99.0,
                **changes,
            },
        )
        monkeypatch.setitem(catalog.entries(), name, entry)
        return entry

    return put
