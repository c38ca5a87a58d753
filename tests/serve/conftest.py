"""A server that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.serve.running import END_SECONDS, reference, running, serve


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client of a server of the tiny classifier."""
    with running([serve(reference())]) as (address, _), httpx.Client(base_url=address, timeout=END_SECONDS) as client:
        yield client
