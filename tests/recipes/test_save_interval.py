from __future__ import annotations

import time

import pytest

from resnets.errors import UserError
from resnets.recipes.save_interval import Interval


@pytest.mark.parametrize(
    ("text", "shown"), [("200", "200 steps"), (" 1 ", "1 steps"), ("60s", "60 s"), ("0.5s", "0.5 s")]
)
def test_steps_and_seconds_are_told_apart(text, shown):
    assert str(Interval.read(text)) == shown


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-3", "-1s", "1.5", "5min", "nans", "infs", "many"])
def test_anything_else_is_named(text):
    with pytest.raises(UserError) as caught:
        Interval.read(text)
    assert f"received '{text}'" in str(caught.value)


def test_steps_count_from_the_last_save():
    interval = Interval.read("3")
    interval.start(7)
    assert [step for step in range(8, 12) if interval.passed(step)] == [10, 11]
    interval.start(10)
    assert not interval.passed(12)


def test_seconds_count_from_the_last_save():
    long, short = Interval.read("1e9s"), Interval.read("1e-9s")
    long.start(0)
    assert not long.passed(1_000_000)
    short.start(0)
    begun = time.monotonic()
    while time.monotonic() == begun:  # a clock may stand still for some microseconds
        pass
    assert short.passed(0)
