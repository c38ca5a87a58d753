from __future__ import annotations

import time

import pytest

from resnets.errors import UserError
from resnets.recipes.save_interval import SaveInterval


@pytest.mark.parametrize(
    ("text", "shown"), [("200", "200 steps"), (" 1 ", "1 steps"), ("60s", "60 s"), ("0.5s", "0.5 s")]
)
def test_steps_and_seconds_are_told_apart(text, shown):
    assert str(SaveInterval.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-3", "-1s", "1.5", "5min", "nans", "infs", "many"])
def test_anything_else_is_named(text):
    with pytest.raises(UserError) as caught:
        SaveInterval.parse(text)
    assert f"received '{text}'" in str(caught.value)


def test_steps_count_from_the_last_save():
    interval = SaveInterval.parse("3")
    interval.restart(7)
    assert [step for step in range(8, 12) if interval.is_due(step)] == [10, 11]
    interval.restart(10)
    assert not interval.is_due(12)


def test_seconds_count_from_the_last_save():
    long, short = SaveInterval.parse("1e9s"), SaveInterval.parse("1e-9s")
    long.restart(0)
    assert not long.is_due(1_000_000)
    short.restart(0)
    begun = time.monotonic()
    while time.monotonic() == begun:  # a clock may stand still for some microseconds
        pass
    assert short.is_due(0)
