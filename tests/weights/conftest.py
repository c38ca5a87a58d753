"""Small files of weights by the libraries that own their formats."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from resnets.weights import sandbox

RUN = sandbox._run


@pytest.fixture(scope="session")
def fuzz_readers() -> ModuleType:
    """The program of that name under `tests/soak`."""
    path = Path(__file__).parents[1] / "soak" / "fuzz_readers.py"
    spec = importlib.util.spec_from_file_location("fuzz_readers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_readers"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def forked_readers(fuzz_readers: ModuleType) -> Iterator[None]:
    """The processes that read files are forked from one that has torch ready; `real_sandbox` starts one in earnest."""
    yield fuzz_readers.fork()
    sandbox._run = RUN


@pytest.fixture
def real_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read as in earnest, by a process that is started for each."""
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
