"""What all routes share: the models, the batcher, and how a request waits for its predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from resnets.resource_limits import cpu_count
from resnets.serve.answers import RETRY
from resnets.serve.batcher import Batcher, BatcherStoppedError, QueueFullError, Work
from resnets.serve.metrics import MODEL
from resnets.serve.served_model import ServedModel
from resnets.serve.settings import ServerSettings

Found = TypeVar("Found")


class Service:
    """The models of an application, of which the first answers where none is named, and the batcher that computes them."""

    def __init__(self, models: Sequence[ServedModel], settings: ServerSettings) -> None:
        self.models = {each.name: each for each in models}
        self.settings = settings
        self.batcher = Batcher(models, settings)
        # As many answers at once as there are processors: their texts take memory.
        self._answering = ThreadPoolExecutor(cpu_count(), "resnets-answers")

    def model(self, request: Request, name: str | None = None) -> ServedModel:
        """The model of that name, which the metrics count for the request. Raises HTTPException 404."""
        if name is not None and name not in self.models:
            raise HTTPException(404, f"There is no such model; there is {', '.join(self.models)}.")
        found = next(iter(self.models.values())) if name is None else self.models[name]
        request.scope[MODEL] = found.name
        return found

    def work(
        self,
        served: ServedModel,
        content: bytes,
        name: str,
        options: Mapping[str, Any],
        to_answer: Callable[[Any], Any],
    ) -> Work:
        """The image of a file for `predict`."""
        room = ExitStack()
        prepare = partial(served.decode, content, name, self.settings.max_pixels, room)
        return Work(served, name, prepare, options, to_answer, room=room)

    async def predict(self, request: Request, works: Sequence[Work]) -> list[Any]:
        """The answers to the images of a request, whose body was read.

        Raises:
            HTTPException: 503 where too many images wait or the server ends, 504 after the timeout.
            ClientDisconnect: nobody waits any more.
            UserError: the model cannot do what was asked for.
            JobError: its outputs are not numbers.
        """
        try:
            self.batcher.submit(works)
        except QueueFullError as error:
            raise HTTPException(503, f"The server is busy: {error}. Try again.", RETRY) from error
        except BatcherStoppedError as error:
            raise HTTPException(503, f"The server does not answer any more: {error}.") from error
        found = await self._wait(request, works)
        for each in found:
            if isinstance(each, BatcherStoppedError):
                raise HTTPException(503, f"The server does not answer any more: {each}.") from each
            if isinstance(each, BaseException):
                raise each
        return found

    async def _wait(self, request: Request, works: Sequence[Work]) -> list[Any]:
        """The answers or exceptions. What is not needed any more is not computed."""
        futures = [asyncio.wrap_future(work.future) for work in works]
        found = asyncio.ensure_future(asyncio.gather(*futures, return_exceptions=True))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            done, _ = await asyncio.wait(
                {found, gone}, timeout=self.settings.timeout_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            if self.batcher.draining:  # for longer than it may
                raise HTTPException(503, "The server ends before this is answered.", RETRY) from None
            raise
        finally:
            gone.cancel()
            # At once, and not when the loop comes to it: the bytes of the request are counted out now.
            for work in works:
                work.future.cancel()
        if found in done:
            return found.result()
        if gone in done:
            raise ClientDisconnect()
        self.batcher.metrics.refused.labels("timeout").inc(len(works))
        raise HTTPException(504, f"No answer within {self.settings.timeout_seconds:g} s. Try again.", RETRY)

    async def in_thread(self, write: Callable[..., Found], *arguments: Any) -> Found:
        """What a function returns that writes an answer: that of many images takes a while, in which others are answered."""
        return await asyncio.get_running_loop().run_in_executor(self._answering, write, *arguments)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
