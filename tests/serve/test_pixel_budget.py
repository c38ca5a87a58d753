"""Images are decoded at once while their pixels fit, and small ones do not go past a large one."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.serve.running import END_SECONDS

from resnets.serve.pixel_budget import PixelBudget


def test_the_sum_is_bounded_and_all_are_let_in() -> None:
    budget, lock = PixelBudget(100), threading.Lock()
    inside: list[int] = []
    sums: list[tuple[int, int]] = []

    def decode(pixels: int) -> None:
        with budget.taken(pixels):
            with lock:
                inside.append(pixels)
                sums.append((len(inside), sum(inside)))
            with lock:
                inside.remove(pixels)

    sizes = random.Random(0).choices([1, 30, 60, 100, 1000], k=300)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, sizes, timeout=END_SECONDS))
    assert len(sums) == 300
    assert all(total <= 100 or count == 1 for count, total in sums)


def test_two_that_fit_are_decoded_together_and_a_third_waits() -> None:
    budget, third = PixelBudget(100), threading.Event()

    def decode_third() -> None:
        with budget.taken(1):
            third.set()

    with budget.taken(60), budget.taken(40):
        thread = threading.Thread(target=decode_third)
        thread.start()
        while not budget._turn.locked():
            assert thread.is_alive()
        assert not third.is_set()
    assert third.wait(END_SECONDS)
    thread.join(END_SECONDS)
