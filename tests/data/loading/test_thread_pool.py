"""Work that is done ahead, in order, and not further ahead than is asked."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnets.data.loading import thread_pool
from resnets.data.loading.thread_pool import call_with_timeout, ordered_map
from resnets.errors import JobError, UserError


@pytest.mark.parametrize("workers", [None, 0, 1, 4])
def test_results_keep_the_order_of_the_items(workers: int | None) -> None:
    done = [threading.Event() for _ in range(40)]

    def after_the_next_one(number: int) -> int:
        """With several workers, an even number is ready only after the odd one that follows it."""
        if (workers or 0) > 1 and number % 2 == 0:
            done[number + 1].wait()
        done[number].set()
        return number * number

    assert list(ordered_map(after_the_next_one, range(40), workers=workers, ahead=8)) == [n * n for n in range(40)]


def test_items_are_taken_only_so_far_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = ordered_map(lambda number: number, items(), workers=2, ahead=5)
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

    results = ordered_map(work, range(10), workers=1, ahead=4)
    next(results)
    assert ready.wait(5)
    assert list(results) == list(range(1, 10))


def test_an_error_is_raised_in_the_order_of_the_items() -> None:
    def work(number: int) -> float:
        return 1 / (3 - number)

    results = ordered_map(work, range(10), workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "items", [["a.jpg", "dead.jpg"], [Path("a.jpg"), Path("dead.jpg")], [(0, "a.jpg"), (1, "dead.jpg")]]
)
def test_an_item_that_never_ends_is_named(items: list[object], workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "0.002")
    never = threading.Event()
    results = ordered_map(lambda item: "dead" in str(item) and never.wait(), items, workers=workers, ahead=4)
    assert next(results) is False
    with pytest.raises(JobError, match=r"^'dead.jpg' could not be read within 0.002 minutes.*RESNETS_TIMEOUT_MINUTES"):
        next(results)
    never.set()


def test_calls_one_after_the_other_have_one_thread() -> None:
    """Also after an error."""
    first = call_with_timeout(lambda _: threading.current_thread(), "")
    assert first is not threading.current_thread()
    with pytest.raises(FileNotFoundError):
        call_with_timeout(os.stat, "nowhere")
    assert call_with_timeout(lambda _: threading.current_thread(), "") is first


def test_a_call_within_a_call_has_another_thread() -> None:
    def call(_: str) -> bool:
        return call_with_timeout(lambda _: threading.get_ident(), "") != threading.get_ident()

    assert call_with_timeout(call, "")


def test_only_some_threads_are_kept_after_many_calls_at_once() -> None:
    count = 3 * thread_pool.MAX_IDLE
    together = threading.Barrier(count)
    callers = [threading.Thread(target=call_with_timeout, args=(lambda _: together.wait(60), "")) for _ in range(count)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert 0 < len(thread_pool._idle) <= thread_pool.MAX_IDLE


def test_a_call_that_never_ends_is_named_and_the_next_one_has_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    stuck: list[threading.Thread] = []

    def wait(_: str) -> None:
        stuck.append(threading.current_thread())
        never.wait()

    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "0.002")
    with pytest.raises(JobError, match=r"^'dead' could not be read within 0.002 minutes"):
        call_with_timeout(wait, "dead")
    monkeypatch.delenv("RESNETS_TIMEOUT_MINUTES")
    assert call_with_timeout(lambda _: threading.current_thread(), "") not in stuck
    never.set()
    stuck[0].join(60)
    assert not stuck[0].is_alive()


def test_a_forked_process_starts_its_own_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of its parent are not there."""
    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "0.5")  # for which it would wait for one of them
    call_with_timeout(os.stat, tmp_path)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if call_with_timeout(os.path.isdir, tmp_path) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_timeout_of_the_file_system_is_raised_unchanged() -> None:
    def work(_: int) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    with pytest.raises(TimeoutError, match="Connection timed out"):
        next(ordered_map(work, range(3), workers=1, ahead=1))


def test_the_end_of_the_program_does_not_wait_for_a_stuck_file(tmp_path: Path) -> None:
    """A pipe that nobody writes into stands in for the file on a lost disk."""
    os.mkfifo(tmp_path / "stuck")
    code = """
import sys
from resnets.data.loading.thread_pool import call_with_timeout, ordered_map
call_with_timeout(str, "")  # whose thread waits for the next call
list(ordered_map(lambda path: open(path).read(), sys.argv[1:], workers=1, ahead=1))
"""
    command = [sys.executable, "-c", code, tmp_path / "stuck"]
    environment = {**os.environ, "RESNETS_TIMEOUT_MINUTES": "0.001"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "stuck' could not be read within" in done.stderr


def test_a_wrong_timeout_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "soon")
    with pytest.raises(UserError, match="RESNETS_TIMEOUT_MINUTES is 'soon'"):
        next(ordered_map(str, range(3), workers=1, ahead=1))
