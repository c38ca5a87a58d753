"""Batches, a bounded queue, and what happens to the others when something goes wrong with one."""

from __future__ import annotations

import io
import re
import threading
import time
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.serve.running import (
    END_SECONDS,
    Gate,
    check_answers_in_any_order,
    decoded,
    images,
    results,
    segmenter,
    serve,
    tiny_model,
    work,
)

from resnets.data.image.decode import MAX_PIXELS
from resnets.errors import UserError
from resnets.resource_limits import cpu_count
from resnets.serve import batcher as batcher_module
from resnets.serve.batcher import HANG_SECONDS, Batcher, BatcherStoppedError, QueueFullError, Work
from resnets.serve.served_model import ServedModel
from resnets.serve.settings import ServerSettings


def sample(batcher: Batcher, name: str, **labels: str) -> float:
    return batcher.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def batcher(served: ServedModel, gate: Gate) -> Iterator[Batcher]:
    batcher = Batcher([served], ServerSettings(batch=4, queue=12))
    batcher.start()
    assert batcher.wait_until_started(END_SECONDS)
    gate.close()
    yield batcher
    gate.opened.set()
    batcher.stop()


def held(batcher: Batcher, served: ServedModel, gate: Gate) -> Work:
    """An image whose computation waits at the gate."""
    first = work(served, images()[0])
    batcher.submit([first])
    gate.wait_for_batch()
    return first


def test_what_came_meanwhile_is_computed_together(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    first = held(batcher, served, gate)
    others = [work(served, content) for content in images()]
    batcher.submit(others)
    decoded(batcher, 8)
    gate.opened.set()
    results([first, *others])
    assert gate.sizes == [1, 4, 4]
    assert sample(batcher, "resnets_batch_size_sum") == 9
    total = sum(each.probability for each in results([first, *others]))
    assert sample(batcher, "resnets_top_probability_sum", model="tiny") == pytest.approx(total)
    assert sample(batcher, "resnets_top_probability_count", model="tiny") == 9
    assert sample(batcher, "resnets_batch_size_count") == 3
    assert sample(batcher, "resnets_queue_seconds_count") == 9
    assert sample(batcher, "resnets_decode_seconds_count") == 9


def test_any_order_and_batches_give_the_predictions_of_the_model(served: ServedModel) -> None:
    """From many threads at once, as requests come."""
    batcher = Batcher([served], ServerSettings(batch=5))
    check_answers_in_any_order(batcher, served)
    batcher.stop()


def test_a_damaged_image_has_its_error_and_the_others_their_answers(
    batcher: Batcher, served: ServedModel, gate: Gate
) -> None:
    first = held(batcher, served, gate)
    good, cut, text = work(served, images()[1]), work(served, images()[1][:200]), work(served, b"hello")
    batcher.submit([good, cut, text])
    assert "is cut short" in cut.future.result(END_SECONDS).error  # before the batch is computed
    assert "is text, not an image" in text.future.result(END_SECONDS).error
    gate.opened.set()
    assert [each.error for each in results([first, good])] == [None, None]
    assert sample(batcher, "resnets_images_refused_total", reason="truncated") == 1
    assert sample(batcher, "resnets_images_refused_total", reason="not-an-image") == 1


def test_the_queue_is_bounded_and_a_request_is_taken_whole_or_not(
    batcher: Batcher, served: ServedModel, gate: Gate
) -> None:
    first = held(batcher, served, gate)
    others = [work(served, images()[0]) for _ in range(11)]
    batcher.submit(others)
    with pytest.raises(QueueFullError, match="12 images wait"):
        batcher.submit([work(served, images()[0])])
    others[0].future.cancel()
    with pytest.raises(QueueFullError, match="11 images wait"):
        batcher.submit([work(served, images()[0]) for _ in range(2)])
    last = work(served, images()[0])
    batcher.submit([last])
    gate.opened.set()
    results([first, *others[1:], last])
    assert sample(batcher, "resnets_images_refused_total", reason="queue") == 3
    assert sample(batcher, "resnets_queue_length") == 0


def test_what_nobody_waits_for_is_not_computed(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    first = held(batcher, served, gate)
    others = [work(served, content) for content in images()[:4]]
    batcher.submit(others)
    decoded(batcher, 4)
    assert [each.future.cancel() for each in others[:3]] == [True] * 3
    gate.opened.set()
    results([first, others[3]])
    assert gate.sizes == [1, 1]


def test_images_of_which_users_want_more_or_less_are_computed_together(
    batcher: Batcher, served: ServedModel, gate: Gate
) -> None:
    """And each answer has what its user asked for. Those that need another computation are computed apart."""
    first = held(batcher, served, gate)
    wanted: list[dict[str, Any]] = [{"top_k": 1}, {}, {"top_k": 2, "heatmap": "top"}, {"top_k": 1, "heatmap": "top"}]
    works = [work(served, images()[0], **options) for options in wanted]
    batcher.submit(works)
    decoded(batcher, 4)
    gate.opened.set()
    found = results(works)
    assert sample(batcher, "resnets_batch_size_count") == 3
    assert sample(batcher, "resnets_batch_size_sum") == 5
    assert [(len(each.top), len(each.heatmaps)) for each in found] == [(1, 0), (4, 0), (2, 2), (1, 1)]
    for each in found:
        assert each.top == found[1].top[: len(each.top)]
        assert [heatmap.class_name for heatmap in each.heatmaps] == [
            label for label, _ in each.top[: len(each.heatmaps)]
        ]
    results([first])


class Content:
    """What a request brings, and whether it is still in memory."""

    def __init__(self, served: ServedModel, released: threading.Event) -> None:
        content = np.zeros(1_000_000, np.uint8)  # bytes have no weak references
        self.kept = weakref.ref(content)
        self.entered = threading.Event()
        self.work = Work(served, "image", partial(self._decode, served, released, content))

    def _decode(self, served: ServedModel, released: threading.Event, content: np.ndarray) -> Any:
        self.entered.set()
        assert released.wait(END_SECONDS)
        return served.decode(images()[0], "image", MAX_PIXELS, self.work.room)


def test_nothing_is_kept_of_requests_that_nobody_waits_for(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    """While all threads that decode are busy, clients may send and hang up as often as they like."""
    released = threading.Event()
    busy = [Content(served, released) for _ in range(cpu_count())]
    batcher.submit([each.work for each in busy])
    assert all(each.entered.wait(END_SECONDS) for each in busy)
    for _ in range(50):
        waiting = Content(served, released)
        batcher.submit([waiting.work])
        assert waiting.kept() is not None
        waiting.work.future.cancel()
        assert waiting.kept() is None
    assert not batcher._waiting
    busy[0].work.future.cancel()  # this one is dropped by its thread
    released.set()
    gate.opened.set()
    results([each.work for each in busy[1:]])
    last = work(served, images()[0])  # decoded after all of those before it
    batcher.submit([last])
    results([last])
    assert busy[0].kept() is None
    assert busy[0].work.input is None
    assert sample(batcher, "resnets_queue_length") == 0


def test_decoded_images_that_nobody_waits_for_take_no_memory(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    first = held(batcher, served, gate)
    others = [work(served, content) for content in images()[:4]]
    batcher.submit(others)
    decoded(batcher, 4)
    before = batcher._decoded_bytes
    for each in others[1:]:
        each.future.cancel()
    assert [each.input is None for each in others] == [False, True, True, True]
    assert batcher._decoded_bytes == before * 2 / 5  # with the one that is computed
    assert list(batcher._decoded) == others[:1]
    gate.opened.set()
    results([first, others[0]])
    while batcher._computed:  # a batch ends a moment after its answers
        assert batcher.error is None
    assert batcher._decoded_bytes == 0


def test_images_wait_to_be_decoded_while_decoded_ones_fill_the_memory(
    batcher: Batcher, served: ServedModel, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = held(batcher, served, gate)
    monkeypatch.setattr(batcher_module, "DECODED_BYTES", 1)  # of which the one that is computed takes more
    others = [work(served, images()[0]) for _ in range(cpu_count() + 1)]
    batcher.submit(others)
    condition: Any = batcher._changed["waiting"]
    while len(condition._waiters) < cpu_count():  # each thread that decodes has looked, and waits again
        assert batcher.error is None
    assert list(batcher._waiting) == others
    gate.opened.set()
    results([first, *others])


def test_an_error_is_that_of_one_image(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    """A hook of the network refuses one image; those that came with it are computed again without it."""
    first = held(batcher, served, gate)
    works = [work(served, content) for content in images()[:3]]
    batcher.submit(works)
    decoded(batcher, 3)
    prepared = served.model.prepare(images()[1], "image").inputs[0][0]

    def refuse(_: object, arguments: tuple[torch.Tensor, ...]) -> None:
        if any(torch.equal(each, prepared) for each in arguments[0]):
            raise RuntimeError("this image is too much")

    hook = served.model.model.register_forward_pre_hook(refuse)
    gate.opened.set()
    assert [each.label for each in results([first, works[0], works[2]])]
    with pytest.raises(RuntimeError, match="too much"):
        works[1].future.result(END_SECONDS)
    hook.remove()
    assert batcher.is_ready


def test_a_dead_thread_is_told_to_everybody(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    first = held(batcher, served, gate)
    other = work(served, images()[1])
    batcher.submit([other])

    def end(*_: object) -> None:
        raise SystemExit(3)

    hook = served.model.model.register_forward_hook(end)
    gate.opened.set()
    for each in (first, other):
        with pytest.raises(BatcherStoppedError):
            each.future.result(END_SECONDS)
    hook.remove()
    assert isinstance(batcher.error, SystemExit)
    assert not batcher.is_ready
    with pytest.raises(BatcherStoppedError):
        batcher.submit([work(served, images()[0])])


def test_the_end_of_a_decoding_thread_is_one_of_the_batcher(batcher: Batcher, served: ServedModel) -> None:
    def end() -> Any:
        raise SystemExit(3)

    broken = Work(served, "image", end)
    batcher.submit([broken])
    with pytest.raises(BatcherStoppedError):
        broken.future.result(END_SECONDS)
    assert not batcher.is_ready


def test_a_batcher_that_is_stopped_answers_all_that_wait(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    first = held(batcher, served, gate)
    other = work(served, images()[1])
    batcher.submit([other])
    gate.opened.set()
    batcher.stop()
    for each in (first, other):
        assert each.future.done()
    with pytest.raises(BatcherStoppedError):
        batcher.submit([work(served, images()[0])])


def test_it_is_ready_when_it_is_warm_and_not_when_it_drains_or_hangs(served: ServedModel, gate: Gate) -> None:
    gate.close()
    batcher = Batcher([served], ServerSettings(timeout_seconds=1e-9))
    assert not batcher.is_ready
    batcher.start()
    gate.wait_for_batch()  # the warm-up
    assert not batcher.is_ready
    gate.opened.set()
    assert batcher.wait_until_started(END_SECONDS)
    assert batcher.is_ready
    gate.close()
    first = held(batcher, served, gate)
    assert not batcher.is_ready  # its batch takes longer than requests wait
    gate.opened.set()
    results([first])
    while batcher._computed:  # the batch ends a moment after its answers
        assert batcher.error is None
    assert batcher.is_ready
    stuck, entered, released = cpu_count(), threading.Semaphore(0), threading.Event()

    def wait() -> Any:
        entered.release()
        assert released.wait(END_SECONDS)
        return served.decode(images()[0], "image", MAX_PIXELS)

    works = [Work(served, "image", wait) for _ in range(stuck)]
    batcher.submit(works)
    for _ in works:
        assert entered.acquire(timeout=END_SECONDS)
    assert not batcher.is_ready  # all threads that decode are busy for longer
    released.set()
    results(works)
    batcher.draining = True
    assert not batcher.is_ready
    batcher.stop()


def test_a_thread_that_gets_no_outputs_for_10_minutes_is_a_fault(served: ServedModel, gate: Gate) -> None:
    """Nothing but another start ends it. One thread computes two models of a batch, in the order of their names."""
    second, passed = serve(tiny_model(), "two"), 0.0
    second_gate = Gate(second.model)
    settings = ServerSettings(timeout_seconds=1e-9)
    batcher = Batcher([served, second], settings, lambda: time.monotonic() + passed)
    batcher.start()
    assert batcher.wait_until_started(END_SECONDS)
    gate.close()
    first = held(batcher, served, gate)
    others = [work(served, images()[0]), work(second, images()[0])]
    batcher.submit(others)
    decoded(batcher, 2)
    assert batcher.fault is None
    passed = HANG_SECONDS + 1
    assert re.fullmatch(r"A thread of the server has computed for \d+ s without a result\.", batcher.fault or "")
    batcher.settings = ServerSettings(timeout_seconds=HANG_SECONDS + 2)  # for which the answer is still waited for
    assert batcher.fault is None
    batcher.settings, passed = settings, 0.0
    second_gate.close()
    gate.opened.set()
    second_gate.wait_for_batch()
    (batch,) = batcher._computed
    assert set(batch.works) == set(others)
    assert others[0].future.done()
    batch.since -= HANG_SECONDS - 60  # it began long ago, and goes on
    passed = 120.0
    assert batcher.fault is None
    passed = HANG_SECONDS + 1
    assert batcher.fault is not None
    second_gate.opened.set()
    results([first, *others])
    while batcher._computed:  # a batch ends a moment after its answers
        assert batcher.error is None
    assert batcher.fault is None
    batcher.stop()


def test_masks_do_not_wait_for_the_other_images_of_a_request() -> None:
    """Each is as large as its image, and no limit would bound those of all requests together."""
    served = serve(segmenter())
    batcher = Batcher([served], ServerSettings(batch=4))
    masks: list[weakref.ref[np.ndarray]] = []
    kept: list[int] = []

    def to_answer(prediction: Any) -> tuple[int, int]:
        masks.append(weakref.ref(prediction.mask))
        kept.append(sum(each() is not None for each in masks))
        return prediction.size

    sent = images()[:6]
    works = [
        Work(served, "image", partial(served.decode, content, "image", MAX_PIXELS), to_answer=to_answer)
        for content in sent
    ]
    batcher.submit(works)
    assert results(works) == [Image.open(io.BytesIO(content)).size[::-1] for content in sent]
    assert len(kept) == 6
    assert max(kept) <= 2  # with that of the image before, until the next one takes its name
    batcher.stop()
    assert not any(each() is not None for each in masks)


def test_an_error_of_an_answer_is_that_of_one_image(batcher: Batcher, served: ServedModel, gate: Gate) -> None:
    first = held(batcher, served, gate)
    works = [work(served, content) for content in images()[:2]]

    def refuse(_: Any) -> None:
        raise RuntimeError("no answer")

    works[1].to_answer = refuse
    batcher.submit(works)
    decoded(batcher, 2)
    gate.opened.set()
    assert results([first, works[0]])[1].label
    with pytest.raises(RuntimeError, match="no answer"):
        works[1].future.result(END_SECONDS)
    while batcher._computed:
        assert batcher.error is None
    assert sample(batcher, "resnets_top_probability_count", model="tiny") == 2
    assert batcher.is_ready


def test_a_model_that_cannot_be_computed_ends_the_batcher(served: ServedModel) -> None:
    def refuse(*_: object) -> None:
        raise UserError("'x.onnx' cannot be computed.")

    hook = served.model.model.register_forward_hook(refuse)
    batcher = Batcher([served], ServerSettings())
    batcher.start()
    assert not batcher.wait_until_started(END_SECONDS)
    hook.remove()
    assert isinstance(batcher.error, UserError)
    batcher.stop()
