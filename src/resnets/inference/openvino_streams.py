"""A model that OpenVINO computes in one stream of all threads, or in several of one thread each, for any number of callers."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from resnets.inference import openvino_cache

Read = Callable[[Any], list[np.ndarray]]  # the outputs of a request


class OpenVinoStreams:
    """A model, compiled for each number of streams when that is first needed; each has a copy of the weights.

    Args:
        model: an `openvino.Model`.
        threads: of all streams together.
        properties: of OpenVINO's CPU plugin.
    """

    def __init__(self, model: Any, threads: int, properties: Mapping[str, str]) -> None:
        self.model, self.threads, self.properties = model, threads, properties
        self.compiled: dict[int, Any] = {}  # by the number of streams
        self.idle: dict[int, deque[Any]] = {}  # requests that nobody uses
        self._lock = threading.Lock()

    def compile(self, streams: int) -> Any:
        """The model compiled for so many streams. Raises RuntimeError if OpenVINO cannot compute it."""
        with self._lock:
            if streams not in self.compiled:
                properties: dict[str, Any] = {
                    "INFERENCE_NUM_THREADS": self.threads,
                    "NUM_STREAMS": streams,
                    "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
                    **self.properties,
                }
                self.compiled[streams] = openvino_cache.core().compile_model(self.model, "CPU", properties)
                self.idle[streams] = deque()
            return self.compiled[streams]

    def run(self, parts: Sequence[np.ndarray], streams: int, read: Read, *, at_once: bool = True) -> list[np.ndarray]:
        """The outputs of all parts of a batch, joined.

        Args:
            at_once: whether the parts are computed at the same time; otherwise they use one stream, one after the other, and
                the other streams are left to other callers.
        """
        if not at_once and len(parts) > 1:
            found = [self.run([part], streams, read) for part in parts]
            return [np.concatenate(each) for each in zip(*found, strict=True)]
        compiled = self.compile(streams)
        idle = self.idle[streams]
        used = [_pop(idle) or compiled.create_infer_request() for _ in parts]
        for request, part in zip(used, parts, strict=True):
            request.start_async([part], share_inputs=True)
        for request in used:
            request.wait()
        # Copies, since the next images overwrite the outputs of a request.
        outputs = [np.concatenate(each) for each in zip(*map(read, used), strict=True)]
        idle.extend(used)
        return outputs


def _pop(idle: deque[Any]) -> Any:
    """The request that was used last, whose memory is most likely in the processor's cache; None if all are in use."""
    try:
        return idle.pop()
    except IndexError:
        return None
