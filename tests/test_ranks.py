"""What the variables of a launcher say, and what they say when they are left over from another program."""

from __future__ import annotations

import pytest

from resnets import ranks, resource_limits

WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WHOLE, "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"RANK": "", "WORLD_SIZE": ""},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"LOCAL_RANK": "x"},
        {"LOCAL_WORLD_SIZE": "64"},
        {"LOCAL_RANK": "3", "WORLD_SIZE": "1"},
    ],
)
def test_without_a_launcher_there_is_one_rank(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert ranks.launcher_error() is None
    assert (ranks.rank(), ranks.world_size(), ranks.local_rank(), ranks.local_world_size()) == (0, 1, 0, 1)
    assert ranks.cpus_per_rank() == resource_limits.cpu_count()


def test_the_second_of_two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    assert ranks.launcher_error() is None
    assert (ranks.rank(), ranks.world_size()) == (1, 2)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"RANK": "abc"}, "RANK is 'abc', which is not a number"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE is '-1', which is not a number"),
        ({"WORLD_SIZE": "2.0"}, "WORLD_SIZE is '2.0', which is not a number"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is 0"),
        ({"WORLD_SIZE": ""}, "RANK is 1 of 1 processes"),
        ({"RANK": "2"}, "RANK is 2 of 2 processes"),
        ({"RANK": ""}, "WORLD_SIZE is 2, and RANK is not set"),
        ({"MASTER_ADDR": ""}, "WORLD_SIZE is 2, and MASTER_ADDR is not set"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT is 'x', which is not a number"),
    ],
)
def test_stray_variables_are_named_and_count_as_none(
    changed: dict[str, str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**WHOLE, **changed}.items():
        monkeypatch.setenv(name, value)
    assert fault in str(ranks.launcher_error())
    assert (ranks.rank(), ranks.world_size()) == (0, 1)
