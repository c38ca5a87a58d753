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
    serve,
    tiny_model,
    work,
)

from resnets.serve.engine import Engine, EngineStoppedError
from resnets.serve.served_model import ServedModel
from resnets.serve.settings import ServerSettings


@pytest.fixture(scope="module", autouse=True)
def two_processors() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def served() -> ServedModel:
    return serve(tiny_model())


@pytest.fixture(scope="module")
def gate(served: ServedModel) -> Gate:
    return Gate(served.model)


def started(served: ServedModel, **settings: float) -> Engine:
    engine = Engine([served], ServerSettings(**settings))  # type: ignore[arg-type]
    engine.start()
    assert engine.wait_until_started(END_SECONDS)
    return engine


@pytest.fixture
def engine(served: ServedModel, gate: Gate) -> Iterator[Engine]:
    engine = started(served, batch=4)
    assert engine.num_computing == 2
    gate.close()
    yield engine
    gate.opened.set()
    engine.stop()


def test_both_compute_at_once_each_on_one_processor(engine: Engine, served: ServedModel, gate: Gate) -> None:
    numbers: list[int] = []
    hook = served.model.model.register_forward_hook(lambda *_: numbers.append(torch.get_num_threads()))
    works = [work(served, content) for content in images()[:2]]
    engine.submit(works)
    for _ in works:
        gate.wait_for_batch()
    gate.opened.set()
    labels = [each.label for each in results(works)]
    assert labels == [reference().predict([content])[0].label for content in images()[:2]]
    assert gate.sizes == [1, 1]
    while engine._unanswered:  # an image counts until a moment after its answer
        assert engine.error is None
    engine.submit([alone := work(served, images()[2])])
    results([alone])
    hook.remove()
    assert numbers == [1, 1, 2]  # one that is alone has both
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert found == [2]  # the threads of others are left as they were


def test_what_is_ready_is_divided_among_those_that_are_free(served: ServedModel) -> None:
    engine = Engine([served], ServerSettings(batch=4))
    works = [work(served, images()[0]) for _ in range(15)]
    engine._decoded.extend(works)
    taken = [engine._take() for _ in range(2)]
    assert [len(each.works) for each in taken if each] == [4, 4]  # at most a batch
    engine._computed.clear()
    assert [len(each.works) for each in (engine._take(), engine._take()) if each] == [4, 3]
    engine._computed.clear()
    engine._decoded.extend(works[:5])
    for each in works[:5]:
        each.future = type(each.future)()
    assert [len(each.works) for each in (engine._take(), engine._take()) if each] == [3, 2]


def test_answers_are_those_of_the_model_in_any_order(served: ServedModel) -> None:
    engine = started(served, batch=3)
    check_answers_in_any_order(engine, served)
    engine.stop()


def test_a_thread_that_hangs_leaves_the_other_one(served: ServedModel) -> None:
    engine = started(served, timeout_seconds=1e-9)
    numbers, entered, released = itertools.count(), threading.Semaphore(0), threading.Event()
    held = {0, 4}  # batches

    def hang(*_: object) -> None:
        if next(numbers) in held:
            entered.release()
            assert released.wait(END_SECONDS)

    hook = served.model.model.register_forward_pre_hook(hang)
    stuck = [work(served, images()[0]), work(served, images()[1])]
    engine.submit(stuck[:1])
    assert entered.acquire(timeout=END_SECONDS)
    while engine._decoding:
        assert engine.error is None
    assert engine.is_ready
    for content in images()[:3]:
        engine.submit([each := work(served, content)])
        results([each])
    engine.submit(stuck[1:])
    assert entered.acquire(timeout=END_SECONDS)
    assert not engine.is_ready  # both threads have taken longer than requests wait
    released.set()
    assert [each.error for each in results(stuck)] == [None, None]
    hook.remove()
    while engine._computed:  # a batch ends a moment after its answers
        assert engine.error is None
    assert engine.is_ready
    engine.stop()


def test_the_end_of_one_thread_is_told_to_those_who_wait_for_the_other(served: ServedModel, gate: Gate) -> None:
    engine = started(served, batch=1)
    gate.close()
    works = [work(served, content) for content in images()[:4]]
    engine.submit(works)
    for _ in range(2):
        gate.wait_for_batch()
    decoded(engine, 2)
    numbers = itertools.count()

    def end(*_: object) -> None:
        if next(numbers) == 0:
            raise SystemExit(3)
        for each in works:  # the first one has ended by now, or ends now
            with pytest.raises(EngineStoppedError):
                each.future.result(END_SECONDS)

    hook = served.model.model.register_forward_hook(end)
    gate.opened.set()
    for each in works:
        with pytest.raises(EngineStoppedError):
            each.future.result(END_SECONDS)
    engine.stop()
    hook.remove()
    assert isinstance(engine.error, SystemExit)
    assert not engine.is_ready
    assert not any(thread.is_alive() for thread in engine._threads)
    with pytest.raises(EngineStoppedError):
        engine.submit([work(served, images()[0])])


def test_one_that_is_stopped_answers_what_both_compute(engine: Engine, served: ServedModel, gate: Gate) -> None:
    works = [work(served, content) for content in images()[:3]]
    engine.submit(works[:2])
    for _ in works[:2]:
        gate.wait_for_batch()
    engine.submit(works[2:])
    decoded(engine, 1)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    for each in works:
        with pytest.raises(EngineStoppedError):
            each.future.result(END_SECONDS)
    assert stopping.is_alive()  # it waits for the threads
    gate.opened.set()
    stopping.join(END_SECONDS)
    assert not any(thread.is_alive() for thread in engine._threads)
