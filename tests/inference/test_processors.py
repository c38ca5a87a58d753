"""A limit holds for its thread, and for no other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from resnets.inference import processors


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def elsewhere(function: Callable[[], Any]) -> Any:
    """What a function returns in a new thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_a_limit_is_that_of_the_thread() -> None:
    def limited() -> list[int]:
        found = [torch.get_num_threads()]
        for number in (1, 2, 3, 1):
            processors.use(number)
            found += [torch.get_num_threads(), processors.all_processors(), elsewhere(torch.get_num_threads)]
        return found

    assert elsewhere(limited) == [3, 1, 3, 3, 2, 3, 3, 3, 3, 3, 1, 3, 3]
    assert (torch.get_num_threads(), processors.all_processors()) == (3, 3)
