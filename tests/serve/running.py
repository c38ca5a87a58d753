"""Servers that tests run in a thread of their own process, a network that waits where a test says so, and images."""

from __future__ import annotations

import contextlib
import functools
import io
import random
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests import exported_files, tiny_checkpoint

from resnets.data.image.decode import MAX_PIXELS
from resnets.models import zoo
from resnets.serve import run, served_model
from resnets.serve.batcher import Batcher, Work
from resnets.serve.run import ModelServer
from resnets.serve.served_model import ServedModel
from resnets.serve.settings import ServerSettings
from resnets.tasks import load_model
from resnets.tasks.trained_model import TrainedModel

END_SECONDS = 60  # for what would hang; no test waits for it


@functools.cache
def reference() -> TrainedModel:
    """The tiny classifier, in fp32; not to be changed."""
    return load_model.load(exported_files.checkpoint_file(), "cpu", precision="fp32")


def tiny_model() -> TrainedModel:
    """One of its own, with which a test may do what it likes."""
    return load_model.load(exported_files.checkpoint_file(), "cpu", precision="fp32")


def segmenter() -> TrainedModel:
    """With random weights, which tell classes apart somehow."""
    from tests.tasks.segmentation.conftest import make_task

    from resnets.data.image.preprocess import Preprocess

    torch.manual_seed(0)
    task = make_task()
    network = task.build(zoo.get_spec("tiny")).eval()
    preprocess = Preprocess(size=(64, 64), resize="none", crop="none")
    return TrainedModel(task, network, preprocess, precision="fp32", name="segmenter")


def serve(model: TrainedModel, name: str = "tiny") -> ServedModel:
    return served_model.of_loaded(model, name)


def encode(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


@functools.cache
def images(count: int = 8) -> tuple[bytes, ...]:
    """PNG files of odd sizes."""
    return tuple(map(encode, tiny_checkpoint.colored_images(count)))


class Gate:
    """Holds a network before each batch until it is opened, and writes down how large each batch was."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        self.opened, self.entered, self.sizes = threading.Event(), threading.Semaphore(0), list[int]()
        self.opened.set()
        model.model.register_forward_pre_hook(self._enter)

    def _enter(self, _: object, arguments: tuple[torch.Tensor, ...]) -> None:
        self.sizes.append(len(arguments[0]))
        self.entered.release()
        assert self.opened.wait(END_SECONDS)

    def close(self) -> None:
        """Hold the next batch."""
        while self.entered.acquire(blocking=False):
            pass
        self.sizes.clear()
        self.opened.clear()

    def wait_for_batch(self) -> None:
        """Wait until a batch is at the gate."""
        assert self.entered.acquire(timeout=END_SECONDS)


def work(served: ServedModel, content: bytes, **options: Any) -> Work:
    return Work(served, "image", partial(served.decode, content, "image", MAX_PIXELS), options)


def results(works: Sequence[Work]) -> list[Any]:
    return [each.future.result(END_SECONDS) for each in works]


def decoded(batcher: Batcher, count: int) -> None:
    """Wait until so many images wait to be computed."""
    with batcher._lock:
        assert batcher._changed["decoded"].wait_for(lambda: len(batcher._decoded) == count, END_SECONDS)


@contextlib.contextmanager
def running(models: Sequence[ServedModel], settings: ServerSettings | None = None) -> Iterator[tuple[str, ModelServer]]:
    """The address of a server that is warm, and the server. It is drained at the end."""
    started = threading.Event()
    failures: list[BaseException] = []
    with run.bind("127.0.0.1", 0) as listener:
        server = ModelServer(models, settings or ServerSettings(), listener, lambda _: started.set())

        def go() -> None:
            try:
                server.run_to_end()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=go)
        thread.start()
        assert started.wait(END_SECONDS)
        try:
            assert server.batcher.wait_until_started(END_SECONDS), server.batcher.error
            yield run.address_of(listener), server
        finally:
            server.should_exit = True
            thread.join(END_SECONDS)
            assert not thread.is_alive()
    if failures:
        raise failures[0]


def serve_to_end(path: str, announced: Any) -> None:
    """Serve a checkpoint in a process of its own, whose address is sent to the other end of a pipe."""
    run.serve_files(
        [path],
        ServerSettings(drain_seconds=END_SECONDS),
        host="127.0.0.1",
        port=0,
        no_token=False,
        announce=announced.send,
        device="cpu",
        precision="fp32",
    )


def check_answers_in_any_order(batcher: Batcher, served: ServedModel) -> None:
    """Whether eight threads that submit images at once get the predictions of the model."""
    expected = {content: reference().predict([content], batch=1)[0] for content in images()}
    sent = random.Random(0).sample(images() * 12, k=96)
    works = [work(served, content) for content in sent]
    threads = [threading.Thread(target=batcher.submit, args=(works[part::8],)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for content, found in zip(sent, results(works), strict=True):
        assert found.label == expected[content].label
        assert dict(found.top) == pytest.approx(dict(expected[content].top), abs=1e-5)
