"""Work that is done ahead, in order, and not further ahead than is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from resnets.data.parallel import in_order


@pytest.mark.parametrize("workers", [None, 0, 1, 4])
def test_results_keep_the_order_of_the_items(workers: int | None) -> None:
    done = [threading.Event() for _ in range(40)]

    def after_the_next_one(number: int) -> int:
        """With several workers, an even number is ready only after the odd one that follows it."""
        if (workers or 0) > 1 and number % 2 == 0:
            done[number + 1].wait()
        done[number].set()
        return number * number

    assert list(in_order(after_the_next_one, range(40), workers=workers, ahead=8)) == [n * n for n in range(40)]


def test_items_are_taken_only_so_far_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items(), workers=2, ahead=5)
    for wanted in range(20):
        assert next(results) == wanted
        assert len(taken) <= wanted + 1 + 5
    results.close()


def test_work_goes_on_while_the_caller_does_something_else() -> None:
    ready = threading.Event()

    def work(number: int) -> int:
        if number == 3:
            ready.set()
        return number

    results = in_order(work, range(10), workers=1, ahead=4)
    next(results)
    assert ready.wait(5)
    assert list(results) == list(range(1, 10))


def test_an_error_reaches_the_caller_at_its_place() -> None:
    def work(number: int) -> float:
        return 1 / (3 - number)

    results = in_order(work, range(10), workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
