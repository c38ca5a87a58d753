from __future__ import annotations

import pytest

from resnets.training import console


@pytest.mark.parametrize(
    ("rows", "total_steps", "text"),
    [
        ([(10, 114.0)], 500, "1 h 33 min"),
        ([(10, 500.0), (20, 512.0)], 500, "10 min"),  # at the speed of the last epoch
        ([(10, 5.0)], 100, "45 s"),
    ],
)
def test_the_time_left_is_that_of_the_run(rows: list[tuple[int, float]], total_steps: int, text: str) -> None:
    logged = [{"step": step, "time_seconds": seconds} for step, seconds in rows]
    assert console.format_time_left(logged, total_steps) == f", about {text} of training left"
