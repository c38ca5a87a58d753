"""Two threads that compute: at once, with one model, and what happens to one when something goes wrong in the other."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest
import torch
from tests.serve.running import (
    END_SECONDS,
    Gate,
    check_answers_in_any_order,
    decoded,
    images,
    reference,
    results,
    work,
)

from resnets.serve.batcher import Batcher, BatcherStoppedError
from resnets.serve.served_model import ServedModel
from resnets.serve.settings import ServerSettings


@pytest.fixture(scope="module", autouse=True)
def two_processors() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def started(served: ServedModel, **settings: float) -> Batcher:
    batcher = Batcher([served], ServerSettings(**settings))  # type: ignore[arg-type]
    batcher.start()
    assert batcher.wait_until_started(END_SECONDS)
    return batcher


@pytest.fixture
def batcher(served: ServedModel, gate: Gate) -> Iterator[Batcher]:
    batcher = started(served, batch=4)
    assert batcher.num_computing == 2
    gate.close()
    yield batcher
    gate.opened.set()
    batcher.stop()


def test_both_compute_at_once_each_on_one_processor(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    numbers: list[int] = []
    hook = served.model.model.register_forward_hook(lambda *_: numbers.append(torch.get_num_threads()))
    works = [work(served, content) for content in images()[:2]]
    batcher.submit(works)
    for _ in works:
        gate.wait_for_batch()
    gate.opened.set()
    labels = [each.label for each in results(works)]
    assert labels == [reference().predict([content])[0].label for content in images()[:2]]
    assert gate.sizes == [1, 1]
    while batcher._unanswered:  # an image counts until a moment after its answer
        assert batcher.error is None
    batcher.submit([alone := work(served, images()[2])])
    results([alone])
    hook.remove()
    assert numbers == [1, 1, 2]  # one that is alone has both
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert found == [2]  # the threads of others are left as they were


def test_what_is_ready_is_divided_among_those_that_are_free(served: ServedModel) -> None:
    batcher = Batcher([served], ServerSettings(batch=4))
    works = [work(served, images()[0]) for _ in range(15)]
    batcher._decoded.extend(works)
    taken = [batcher._take() for _ in range(2)]
    assert [len(each.works) for each in taken if each] == [4, 4]  # at most a batch
    batcher._computed.clear()
    assert [len(each.works) for each in (batcher._take(), batcher._take()) if each] == [4, 3]
    batcher._computed.clear()
    batcher._decoded.extend(works[:5])
    for each in works[:5]:
        each.future = type(each.future)()
    assert [len(each.works) for each in (batcher._take(), batcher._take()) if each] == [3, 2]


def test_answers_are_those_of_the_model_in_any_order(served: ServedModel) -> None:
    batcher = started(served, batch=3)
    check_answers_in_any_order(batcher, served)
    batcher.stop()


def test_a_thread_that_hangs_leaves_the_other_one(served: ServedModel) -> None:
    batcher = started(served, timeout_seconds=1e-9)
    numbers, entered, released = itertools.count(), threading.Semaphore(0), threading.Event()
    held = {0, 4}  # batches

    def hang(*_: object) -> None:
        if next(numbers) in held:
            entered.release()
            assert released.wait(END_SECONDS)

    hook = served.model.model.register_forward_pre_hook(hang)
    stuck = [work(served, images()[0]), work(served, images()[1])]
    batcher.submit(stuck[:1])
    assert entered.acquire(timeout=END_SECONDS)
    while batcher._decoding:
        assert batcher.error is None
    assert batcher.is_ready
    for content in images()[:3]:
        batcher.submit([each := work(served, content)])
        results([each])
    batcher.submit(stuck[1:])
    assert entered.acquire(timeout=END_SECONDS)
    assert not batcher.is_ready  # both threads have taken longer than requests wait
    released.set()
    assert [each.error for each in results(stuck)] == [None, None]
    hook.remove()
    while batcher._computed:  # a batch ends a moment after its answers
        assert batcher.error is None
    assert batcher.is_ready
    batcher.stop()


def test_the_end_of_one_thread_is_told_to_those_who_wait_for_the_other(served: ServedModel, gate: Gate) -> None:
    batcher = started(served, batch=1)
    gate.close()
    works = [work(served, content) for content in images()[:4]]
    batcher.submit(works)
    for _ in range(2):
        gate.wait_for_batch()
    decoded(batcher, 2)
    numbers = itertools.count()

    def end(*_: object) -> None:
        if next(numbers) == 0:
            raise SystemExit(3)
        for each in works:  # the first one has ended by now, or ends now
            with pytest.raises(BatcherStoppedError):
                each.future.result(END_SECONDS)

    hook = served.model.model.register_forward_hook(end)
    gate.opened.set()
    for each in works:
        with pytest.raises(BatcherStoppedError):
            each.future.result(END_SECONDS)
    batcher.stop()
    hook.remove()
    assert isinstance(batcher.error, SystemExit)
    assert not batcher.is_ready
    assert not any(thread.is_alive() for thread in batcher._threads)
    with pytest.raises(BatcherStoppedError):
        batcher.submit([work(served, images()[0])])


def test_one_that_is_stopped_answers_what_both_compute(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    works = [work(served, content) for content in images()[:3]]
    batcher.submit(works[:2])
    for _ in works[:2]:
        gate.wait_for_batch()
    batcher.submit(works[2:])
    decoded(batcher, 1)
    stopping = threading.Thread(target=batcher.stop)
    stopping.start()
    for each in works:
        with pytest.raises(BatcherStoppedError):
            each.future.result(END_SECONDS)
    assert stopping.is_alive()  # it waits for the threads
    gate.opened.set()
    stopping.join(END_SECONDS)
    assert not any(thread.is_alive() for thread in batcher._threads)
