"""POST /v1/predict: images in, the JSON of `resnets predict --jsonl` out."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from resnets.errors import UserError
from resnets.serve.answers import UNREADABLE, Answer
from resnets.serve.batcher import Work
from resnets.serve.routes import json_body
from resnets.serve.served_model import ServedModel
from resnets.serve.service import Service

PARAMETERS = ("model", "top_k", "heatmap", "heatmap_class", "score")
MAX_FILES, MAX_FIELDS, MAX_FIELD_BYTES = 64, 8, 2**16  # of a form
# Python reads more as numbers: blanks, underscores, other digits than these, and "nan".
NUMBERS = {int: re.compile("[0-9]{1,9}"), float: re.compile(r"[0-9]{1,9}(\.[0-9]{0,30})?(e-?[0-9]{1,2})?")}
CHARSETS = (b"utf-8", b"utf8")


class _MemoryParser(MultiPartParser):
    """Keeps files in memory, which the limit of the body bounds, and not in a temporary file."""

    spool_max_size = 2**40


async def predict(service: Service, request: Request) -> Answer:
    """The prediction for the image in the body, or for the files of a form: `{"predictions": [...]}`."""
    served, options = _arguments(service, request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _predict_form(service, request, served, options)
    content = await request.body()
    if kind == "application/json":
        content = await run_in_threadpool(_image_of_json, content)
    work = _work(service, served, content, "[0]", options)
    return await service.in_thread(_answer, *await service.predict(request, [work]))


async def _predict_form(service: Service, request: Request, served: ServedModel, options: dict[str, Any]) -> Answer:
    # Starlette would look up any name, which Python keeps for ever, and some of its codecs cannot decode a form.
    if parse_options_header(request.headers["content-type"])[1].get(b"charset", CHARSETS[0]).lower() not in CHARSETS:
        raise HTTPException(400, "The form has another charset than utf-8.")
    try:
        form = await _MemoryParser(
            request.headers,
            request.stream(),
            max_files=min(MAX_FILES, service.settings.queue),  # which more would never fit into
            max_fields=MAX_FIELDS,
            max_part_size=MAX_FIELD_BYTES,
        ).parse()
    except MultiPartException as error:
        raise HTTPException(400, f"The form cannot be read: {error.message}") from error
    files = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
    if not files:
        raise HTTPException(400, "The form has no files in its field `files`.")
    works = [
        _work(service, served, await file.read(), file.filename or f"[{index}]", options)
        for index, file in enumerate(files)
    ]
    await form.close()
    return await service.in_thread(_answer_form, await service.predict(request, works))


def _work(service: Service, served: ServedModel, content: bytes, name: str, options: Mapping[str, Any]) -> Work:
    return service.work(served, content, name, options, partial(_values, served, name))


def _values(served: ServedModel, name: str, prediction: Any) -> dict[str, Any]:
    """A prediction for JSON, with the name of its image."""
    return served.model.task.answer(prediction) | {"path": name}


def _answer(values: Mapping[str, Any]) -> Answer:
    return Answer(values, UNREADABLE if values["error"] is not None else 200)


def _answer_form(values: Sequence[Mapping[str, Any]]) -> Answer:
    all_failed = all(each["error"] is not None for each in values)
    return Answer({"predictions": values}, UNREADABLE if all_failed else 200)


def _arguments(service: Service, request: Request) -> tuple[ServedModel, dict[str, Any]]:
    """The model, and the options of its predictions; UserError for any that it does not take."""
    query = request.query_params
    for name in query:
        if name not in PARAMETERS:
            raise UserError(f"There is no parameter of that name; there is {', '.join(PARAMETERS)}.")
        if len(query.getlist(name)) > 1:
            raise UserError(f"`{name}` is given twice.")
    served = service.model(request, query.get("model"))
    options: dict[str, Any] = {}
    for name, kind in (("top_k", int), ("score", float)):
        if name in query:
            if not NUMBERS[kind].fullmatch(query[name]):
                raise UserError(f"`{name}` is a number; received '{query[name][:20]}'.")
            options[name] = kind(query[name])
    if query.get("heatmap", "0") not in ("0", "1"):
        raise UserError(f"`heatmap` is 0 or 1; received '{query['heatmap'][:20]}'.")
    if "heatmap_class" in query:
        options["heatmap"] = (query["heatmap_class"],)
    elif query.get("heatmap") == "1":
        options["heatmap"] = "top"
    if "heatmap" in options:
        served.model.heatmap_runner()
    served.model.task.check_options(options)
    return served, options


def _image_of_json(content: bytes) -> bytes:
    """The image of `{"image": BASE64}`. Raises UserError for anything else."""
    values = json_body.parse(content)
    if "url" in values:
        raise UserError("No URL is fetched: send the image itself.")
    if values.keys() != {"image"} or not isinstance(values["image"], str):
        raise UserError('The JSON of a request is {"image": "..."}, with the base64 of the bytes of an image.')
    try:
        return base64.b64decode(values["image"], validate=True)
    except (binascii.Error, ValueError):
        raise UserError("`image` is not the base64 of the bytes of an image.") from None
