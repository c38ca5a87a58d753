"""Small files of weights by the libraries that own their formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from resnets.weights.readers import sandbox

RUN = sandbox._run  # before any test begins


@pytest.fixture(scope="session")
def fuzz_readers(program: Callable[[str], ModuleType]) -> ModuleType:
    """The program of that name under `tests/soak`."""
    return program("fuzz_readers")


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
