from __future__ import annotations

import time

import pytest

from resnets.errors import UserError
from resnets.training.interval import Interval


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
    interval = Interval.read("0.05s")
    interval.start(0)
    assert not interval.passed(1_000_000)
    time.sleep(0.06)
    assert interval.passed(0)
    interval.start(0)
    assert not interval.passed(0)
