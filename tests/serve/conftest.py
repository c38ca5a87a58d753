"""Servers and models that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.serve.running import END_SECONDS, Gate, reference, running, serve, tiny_model

from resnets.serve.served_model import ServedModel


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client of a server of the tiny classifier."""
    with running([serve(reference())]) as (address, _), httpx.Client(base_url=address, timeout=END_SECONDS) as client:
        yield client


@pytest.fixture(scope="module")
def served() -> ServedModel:
    """A model whose computation `gate` may hold."""
    return serve(tiny_model())


@pytest.fixture(scope="module")
def gate(served: ServedModel) -> Gate:
    return Gate(served.model)
