"""The batcher: threads that decode images, and threads that compute batches of what is ready as soon as they are free.

On a CPU, as many compute as there are processors, each on one of them and all with the same weights, since threads that share
each layer wait for each other. An image that is alone is computed on all processors. There is no timer: while images are
computed, the next ones gather. Neither batch nor thread changes an answer but by rounding, as the outputs for an image do not
depend on others.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from resnets.data.image.open_image_file import DecodeError
from resnets.errors import ImageError, JobError, UserError
from resnets.inference import processors
from resnets.message_format import pluralize
from resnets.resource_limits import cpu_count
from resnets.serve.metrics import Metrics
from resnets.serve.served_model import Input, ServedModel
from resnets.serve.settings import ServerSettings
from resnets.tasks.inputs.batching import Prepared

# Of decoded images that wait or are computed; beyond it, each thread decodes at most one more. Those that are as large as their
# files say are bounded by their pixels, too: see `ServedModel.decode`.
DECODED_BYTES = 2**28
END_SECONDS = 10.0  # for the threads to end
# A thread that has got no outputs from the network for so long counts as one that hangs. It is given a batch, or about 2 million
# pixels of a large image, at a time: minutes at most, also on a slow processor.
HANG_SECONDS = 600.0


class QueueFullError(Exception):
    """More images wait than the settings allow."""


class BatcherStoppedError(Exception):
    """The batcher does not compute any more: the server ends, or a thread died."""


@dataclass(eq=False)
class Work:
    """An image to predict.

    Attributes:
        prepare: decodes it; raises ImageError. None once it was called, so that the bytes are not kept.
        options: of the task's predictions.
        to_answer: what the future gets of the prediction. It is called as soon as there is one, so that masks as large as their
            images do not wait for the other images of a request.
        future: gets the answer; if it is cancelled, nothing is computed, and nothing of the image is kept.
        room: what the decoded image takes of a bound for several images; it is closed when the image is dropped.
    """

    model: ServedModel
    name: str
    prepare: Callable[[], Input] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    to_answer: Callable[[Any], Any] = lambda prediction: prediction
    future: Future[Any] = field(default_factory=Future)
    room: ExitStack = field(default_factory=ExitStack)
    arrived_seconds: float = field(default_factory=time.monotonic)
    input: Input | None = None

    @property
    def group(self) -> tuple[str, str]:
        """What images that are computed together have in common: the model, and the options of the computation."""
        chosen = self.model.model.task.widest_options([self.options])
        return self.model.name, repr(sorted(each for each in self.options.items() if each[0] not in chosen))

    def drop(self) -> None:
        """Keep nothing of the image."""
        self.prepare = self.input = None
        self.room.close()


@dataclass(eq=False)
class _Batch:
    """What a thread computes, the bytes of its images, with how many processors, and since when."""

    works: list[Work]
    num_bytes: int
    processors: int
    since: float
    thread: int = field(default_factory=threading.get_ident)


class _State(Enum):
    NEW, STARTING, READY, STOPPED, FAILED = range(5)


class Batcher:
    """Predicts images for any number of threads that wait for them.

    Args:
        clock: seconds, as `time.monotonic`.

    Attributes:
        num_computing: the number of threads that compute.
        error: what ended a thread; None while all is well.
        draining: whether the server is about to end, so that no new request should come.
    """

    def __init__(
        self, models: Sequence[ServedModel], settings: ServerSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.models, self.settings, self.clock = {each.name: each for each in models}, settings, clock
        self.metrics = Metrics(models, lambda: self._unanswered)
        self.num_computing = min((each.num_threads for each in models), default=1)
        self.error: BaseException | None = None
        self.draining = False
        self._state = _State.NEW
        self._lock = threading.RLock()
        self._changed = {name: threading.Condition(self._lock) for name in ("waiting", "decoded", "state")}
        self._waiting: deque[Work] = deque()
        self._decoded: deque[Work] = deque()
        self._decoding: dict[Work, float] = {}  # each since when
        self._computed: set[_Batch] = set()
        self._decoded_bytes = self._unanswered = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads, unless they were started before. An application inside of another one gets no other signal."""
        with self._lock:
            if self._state is not _State.NEW:
                return
            self._state = _State.STARTING
            loops = [self._warm_up_and_compute] + [self._compute_loop] * (self.num_computing - 1)
            loops += [self._decode_loop] * cpu_count()
            self._threads = [
                threading.Thread(target=self._guard, args=(loop,), name="resnets-serve", daemon=True) for loop in loops
            ]
            for thread in self._threads:
                thread.start()
        atexit.register(self.stop)  # a thread in native code must not outlive the interpreter

    def stop(self) -> None:
        """End the threads; what still waits gets a BatcherStoppedError."""
        atexit.unregister(self.stop)
        self._end(_State.STOPPED, BatcherStoppedError("the server ends"))
        last = time.monotonic() + END_SECONDS
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(last - time.monotonic(), 0))

    @property
    def is_ready(self) -> bool:
        """Whether requests will be answered: it is warm, no thread died, and of those that compute, as of those that decode, one
        at least has taken no longer than requests wait.
        """
        longest = self.clock() - self.settings.timeout_seconds
        with self._lock:
            num_decoding = len(self._threads) - self.num_computing
            is_stalled = sum(batch.since < longest for batch in self._computed) >= self.num_computing
            is_stalled |= 0 < num_decoding <= sum(since < longest for since in self._decoding.values())
            return self._state is _State.READY and not self.draining and not is_stalled

    @property
    def fault(self) -> str | None:
        """Why it does not answer as it should, which only another start of the process mends; None if all is well.

        A thread has ended by an error; or one hangs: it has got no outputs from the network for 10 minutes, and for longer than
        requests wait. A large image, whose windows are computed one after the other, may take any time.
        """
        if self.error is not None:
            return "A thread of the server has ended by an error, which its log names."
        most = max(HANG_SECONDS, self.settings.timeout_seconds)
        with self._lock:
            seconds = max((self.clock() - self._last_step(batch) for batch in self._computed), default=0.0)
        return f"A thread of the server has computed for {seconds:.0f} s without a result." if seconds > most else None

    def _last_step(self, batch: _Batch) -> float:
        """When the thread of a batch began with it, or last got outputs from a network."""
        return max([batch.since] + [model.last_outputs.get(batch.thread, 0.0) for model in self.models.values()])

    def wait_until_started(self, timeout_seconds: float) -> bool:
        """Wait until it is warm, has failed or was stopped. Returns whether it is warm."""
        with self._lock:
            started = (_State.READY, _State.STOPPED, _State.FAILED)
            self._changed["state"].wait_for(lambda: self._state in started, timeout_seconds)
            return self._state is _State.READY

    def submit(self, works: Sequence[Work]) -> None:
        """Take the images of a request; their futures get the predictions.

        Raises:
            QueueFullError: there is no room for all of them.
            BatcherStoppedError: nothing is computed any more.
        """
        self.start()
        with self._lock:
            if self._state in (_State.STOPPED, _State.FAILED):
                raise BatcherStoppedError("nothing is computed any more")
            if self._unanswered + len(works) > self.settings.queue:
                self.metrics.refused.labels("queue").inc(len(works))
                raise QueueFullError(f"{pluralize(self._unanswered, 'image')} waiting")
            self._unanswered += len(works)
            self._waiting.extend(works)
            self._changed["waiting"].notify(len(works))
        for work in works:
            work.future.add_done_callback(partial(self._answered, work))

    def _answered(self, work: Work, future: Future[Any]) -> None:
        with self._lock:
            self._unanswered -= 1
            if future.cancelled():  # its client may send the next one at once, so what waits must not hold its bytes
                self._remove(work)

    def _remove(self, work: Work) -> None:
        """Drop an image that waits to be decoded or computed. One that is being decoded is dropped by the thread that does it."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(work)
        with contextlib.suppress(ValueError):
            self._decoded.remove(work)
            self._free(_num_bytes(work.input))
        work.drop()

    def _free(self, num_bytes: int) -> None:
        """Count bytes of decoded images out."""
        self._decoded_bytes -= num_bytes
        self._changed["waiting"].notify_all()

    def _guard(self, loop: Callable[[], None]) -> None:
        """Run a thread; if it fails, the whole batcher has failed."""
        try:
            loop()
        except BaseException as error:
            self.error = error
            if not isinstance(error, (JobError, UserError)):
                traceback.print_exception(error)
            self._end(_State.FAILED, BatcherStoppedError("a thread of the server ended"))

    def _end(self, state: _State, reason: Exception) -> None:
        with self._lock:
            if self._state not in (_State.STOPPED, _State.FAILED):
                self._state = state
            left = [*self._waiting, *self._decoding, *self._decoded]
            left += [work for batch in self._computed for work in batch.works]
            self._waiting.clear()
            self._decoded.clear()
            for condition in self._changed.values():
                condition.notify_all()
        for work in left:
            _fulfill(work, reason)

    @property
    def _is_over(self) -> bool:
        return self._state in (_State.STOPPED, _State.FAILED)

    # The threads that decode

    def _decode_loop(self) -> None:
        processors.use(1)
        while (work := self._next_waiting()) is not None:
            self._decode(work)
            with self._lock:
                del self._decoding[work]

    def _next_waiting(self) -> Work | None:
        """The image that came first, once there is memory for it; None at the end."""

        def can_go_on() -> bool:
            return self._is_over or (bool(self._waiting) and self._decoded_bytes < DECODED_BYTES)

        with self._lock:
            self._changed["waiting"].wait_for(can_go_on)
            if self._is_over:
                return None
            work = self._waiting.popleft()
            self._decoding[work] = self.clock()
            return work

    def _decode(self, work: Work) -> None:
        prepare, work.prepare = work.prepare, None
        if prepare is None:  # it was cancelled
            return
        try:
            with self.metrics.decode_seconds.time():
                work.input = prepare()
        except ImageError as error:
            self.metrics.refused.labels(error.kind if isinstance(error, DecodeError) else "size").inc()
            _fulfill(work, work.to_answer(work.model.model.task.unreadable(work.name, error.reason)))
        except Exception as error:
            _fulfill(work, error)
        else:
            with self._lock:
                if work.future.done():  # cancelled, or told that the batcher has ended
                    return work.drop()
                self._decoded_bytes += _num_bytes(work.input)
                self._decoded.append(work)
                self._changed["decoded"].notify()

    # The threads that compute

    def _warm_up_and_compute(self) -> None:
        together = processors.all_processors()
        for model in self.models.values():
            for number in dict.fromkeys([together, 1 if self.num_computing > 1 else together]):
                processors.use(number)
                model.warm_up()
        with self._lock:
            if self._state is _State.STARTING:
                self._state = _State.READY
            self._changed["state"].notify_all()
        self._compute_loop()

    def _compute_loop(self) -> None:
        with self._lock:
            self._changed["state"].wait_for(lambda: self._state is not _State.STARTING)
        while (batch := self._take()) is not None:
            processors.use(batch.processors)
            for work in batch.works:
                self.metrics.queue_seconds.observe(batch.since - work.arrived_seconds)
            for _, group in groupby(sorted(batch.works, key=lambda work: work.group), lambda work: work.group):
                self._compute(list(group))
            with self._lock:
                self._computed.remove(batch)
                self._free(batch.num_bytes)
            del batch  # while it waits for the next one

    def _take(self) -> _Batch | None:
        """A part of the images that are ready, if other threads are free, too; waits for one. None at the end."""
        with self._lock:
            self._changed["decoded"].wait_for(lambda: self._is_over or self._decoded)
            if self._is_over:
                return None
            num_free = self.num_computing - len(self._computed)
            most = min(math.ceil(len(self._decoded) / num_free), self.settings.batch)
            works: list[Work] = []
            while self._decoded and len(works) < most:
                work = self._decoded.popleft()
                if work.future.set_running_or_notify_cancel():
                    works.append(work)
                else:
                    self._free(_num_bytes(work.input))
            together = processors.all_processors()
            alone = together if self.num_computing == 1 else together // max(self._unanswered, 1)
            num_bytes = sum(_num_bytes(work.input) for work in works)
            batch = _Batch(works, num_bytes, max(alone, 1), self.clock())
            self._computed.add(batch)
            return batch

    def _compute(self, works: list[Work]) -> None:
        """Predict the images of a group; after an error one by one, so that it is that of one image."""
        start = time.monotonic()
        inputs = [work.input for work in works]
        model, batch = works[0].model.model, self.settings.batch
        options = {**works[0].options, **model.task.widest_options([work.options for work in works])}
        answers: list[Any] = []
        probabilities: list[float] = []
        try:
            stream = model.stream(inputs, batch=batch, workers=0, **options)  # type: ignore[arg-type]
            for work, prediction in zip(works, stream, strict=True):
                answers.append(work.to_answer(model.task.narrow(prediction, work.options)))
                if model.task.has_single_class and prediction.error is None:
                    probabilities.append(prediction.probability)
        except Exception as error:
            if len(works) == 1:
                _fulfill(works[0], error)
                return
            for work in works:
                self._compute([work])
            return
        self.metrics.batch_size.observe(len(works))
        self.metrics.compute_seconds.observe(time.monotonic() - start)
        for probability in probabilities:
            self.metrics.top_probability.labels(works[0].model.name).observe(probability)
        for work, answer in zip(works, answers, strict=True):
            _fulfill(work, answer)


def _fulfill(work: Work, result: Any) -> None:
    """Give a work its answer or its exception, unless nobody waits any more."""
    work.drop()
    with contextlib.suppress(InvalidStateError):
        if isinstance(result, Exception):
            work.future.set_exception(result)
        else:
            work.future.set_result(result)


def _num_bytes(image: Input | None) -> int:
    if isinstance(image, Prepared):
        return sum(view.nbytes for views in image.inputs for view in views)
    if isinstance(image, np.ndarray):
        return image.nbytes
    return 0 if image is None else 3 * image.width * image.height
