"""The Open Inference Protocol, version 2, over HTTP, with the extension for binary tensors. Each model has one version.

A request has one input: encoded images (BYTES), pixels (UINT8, NHWC), or what the preprocessing gives (FP32, NCHW). Each task
has the output "prediction", the JSON of `/v1/predict` as text; where each image has one class, there are "label" and
"probabilities", too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from resnets import __version__
from resnets.errors import ImageError, UserError
from resnets.serve.answers import RETRY, Answer
from resnets.serve.batcher import Work
from resnets.serve.routes.tensors import BYTES, LENGTH_HEADER, read_input, split_body, wanted_outputs, write_outputs
from resnets.serve.served_model import Input, ServedModel, check_sides, has_fixed_size, whole_image
from resnets.serve.service import Service
from resnets.tasks.inputs.batching import Prepared

VERSION = "1"  # of a model, which the protocol asks for
MAX_IMAGES = 256  # of a request
INPUT_NAMES = {BYTES: "image", "UINT8": "pixels", "FP32": "input"}
MAX_MAGNITUDE = 1e6  # of a prepared value; far beyond, a network overflows, and its answers blame its weights


@dataclass(frozen=True)
class _Reply:
    """What a request says of its answer: its `id`, and the outputs by name with whether they are binary."""

    id: str | None
    outputs: Mapping[str, bool]


class _ImageAnswer(NamedTuple):
    """The outputs for one image; `label` and `probabilities`, in the order of the classes, of a classifier only."""

    error: str | None
    text: bytes
    label: bytes = b""
    probabilities: tuple[float, ...] = ()


async def server_metadata(request: Request) -> Response:
    """GET /v2."""
    return Answer({"name": "resnets", "version": __version__, "extensions": ["binary_tensor_data"]})


async def live(service: Service, request: Request) -> Response:
    """GET /v2/health/live: 503 where only another start of the process mends what is wrong; see `Batcher.fault`."""
    fault = service.batcher.fault
    return Answer({"live": True}) if fault is None else Answer({"live": False, "error": fault}, 503)


async def ready(service: Service, request: Request) -> Response:
    """GET /v2/health/ready, and of a model: requests will be answered."""
    if "name" in request.path_params:
        _model(service, request)
    service.batcher.start()
    is_ready = service.batcher.is_ready
    return Answer({"ready": is_ready}, 200 if is_ready else 503, None if is_ready else RETRY)


async def model_metadata(service: Service, request: Request) -> Response:
    """GET /v2/models/NAME."""
    served = _model(service, request)
    model = served.model
    height, width = model.preprocess.size if has_fixed_size(model) else (-1, -1)
    inputs = [_input(BYTES, [-1]), _input("UINT8", [-1, -1, -1, 3])]
    if served.takes_tensors:
        inputs.append(_input("FP32", [-1, model.preprocess.channels, height, width]))
    outputs = [_tensor("prediction", BYTES, [-1])]
    if model.task.has_single_class:
        outputs.append(_tensor("label", BYTES, [-1]))
        outputs.append(_tensor("probabilities", "FP32", [-1, len(model.class_names)]))
    return Answer({
        "name": served.name, "versions": [VERSION], "platform": f"resnets_{model.task.name}", "inputs": inputs,
        "outputs": outputs,
    })  # fmt: skip


async def infer(service: Service, request: Request) -> Response:
    """POST /v2/models/NAME/infer."""
    served = _model(service, request)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UserError("The body of a request is not compressed.")
    body = await request.body()
    reply, works = await run_in_threadpool(_read, service, served, body, request.headers.get(LENGTH_HEADER))
    answers = await service.predict(request, works)
    for work, each in zip(works, answers, strict=True):
        if each.error is not None:
            raise ImageError(f"Image {work.name} {each.error}")
    return await service.in_thread(_write, served, reply, answers)


def _model(service: Service, request: Request) -> ServedModel:
    """The model in the path of a request. Raises HTTPException 404 where there is none of that name and version."""
    found = service.model(request, request.path_params["name"])
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        raise HTTPException(404, f"The model '{found.name}' has no such version; there is {VERSION}.")
    return found


def _tensor(name: str, kind: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": kind, "shape": shape}


def _input(kind: str, shape: list[int]) -> dict[str, Any]:
    return _tensor(INPUT_NAMES[kind], kind, shape)


def _read(service: Service, served: ServedModel, body: bytes, header_length: str | None) -> tuple[_Reply, list[Work]]:
    """What a request asks for, and its images."""
    values, binary = split_body(body, header_length)
    reply = _Reply(values.get("id"), wanted_outputs(values, _output_names(served)))
    if reply.id is not None and not isinstance(reply.id, str):
        raise UserError("`id` is a string.")
    kind, images = read_input(values, binary, min(MAX_IMAGES, service.settings.queue))
    if values["inputs"][0].get("name") != INPUT_NAMES[kind]:
        raise UserError(f"The input of the type {kind} has the name '{INPUT_NAMES[kind]}'.")
    if kind == "FP32" and not served.takes_tensors:
        raise UserError(f"The model '{served.name}' takes images only: {BYTES} or UINT8.")
    has_classes = served.model.task.has_single_class
    options = {"top_k": len(served.model.class_names)} if has_classes else {}
    to_answer = partial(_image_answer, served)
    works = []
    for index, image in enumerate(images):
        name = f"[{index}]"
        if kind == BYTES:
            works.append(service.work(served, image, name, options, to_answer))
        else:
            read = _of_tensor if kind == "FP32" else _of_pixels
            prepare = partial(read, served, service.settings.max_pixels, image, name)
            works.append(Work(served, name, prepare, options, to_answer))
    return reply, works


def _of_pixels(served: ServedModel, max_pixels: int, pixels: np.ndarray, name: str) -> Input:
    height, width, channels = pixels.shape
    if channels != 3:
        raise ImageError(f"has {channels} channels in place of 3, which come last.")
    if height * width > max_pixels:
        raise ImageError(f"has {width}x{height} pixels; at most {max_pixels:,} are read.")
    check_sides(name, width, height)
    return served.of_pixels(pixels, name)


def _of_tensor(served: ServedModel, max_pixels: int, values: np.ndarray, name: str) -> Input:
    channels, height, width = values.shape
    preprocess = served.model.preprocess
    if channels != preprocess.channels:
        raise ImageError(f"has {channels} channels in place of {preprocess.channels}, which come first.")
    if has_fixed_size(served.model) and (height, width) != preprocess.size:
        raise ImageError(f"has {height}x{width} pixels in place of {preprocess.size[0]}x{preprocess.size[1]}.")
    if height * width > max_pixels:
        raise ImageError(f"has {width}x{height} pixels; at most {max_pixels:,} are read.")
    check_sides(name, width, height)
    if not (np.abs(values) <= MAX_MAGNITUDE).all():  # which NaN is not, either
        raise ImageError(f"has values beyond {MAX_MAGNITUDE:,.0f}, or values that are not numbers.")
    tensor = torch.tensor(values)
    served.model.check_size(tensor)
    return Prepared(name, [[tensor]], placement=whole_image(height, width))


def _output_names(served: ServedModel) -> list[str]:
    return ["prediction", "label", "probabilities"] if served.model.task.has_single_class else ["prediction"]


def _image_answer(served: ServedModel, prediction: Any) -> _ImageAnswer:
    task = served.model.task
    text = json.dumps(task.answer(prediction)).encode("ascii")
    if not task.has_single_class or prediction.error is not None:
        return _ImageAnswer(prediction.error, text)
    by_name = dict(prediction.top)
    probabilities = tuple(by_name[name] for name in served.model.class_names)
    return _ImageAnswer(None, text, prediction.label.encode("utf-8", "replace"), probabilities)


def _write(served: ServedModel, reply: _Reply, answers: Sequence[_ImageAnswer]) -> Response:
    outputs: dict[str, tuple[str, Any]] = {"prediction": (BYTES, [each.text for each in answers])}
    if served.model.task.has_single_class:
        outputs |= {
            "label": (BYTES, [each.label for each in answers]),
            "probabilities": ("FP32", np.array([each.probabilities for each in answers], np.float32)),
        }
    tensors, binary = write_outputs(outputs, reply.outputs)
    answer = {"model_name": served.name, "model_version": VERSION, "outputs": tensors}
    if reply.id is not None:
        answer["id"] = reply.id
    text = Answer(answer)
    if not binary:
        return text
    headers = {LENGTH_HEADER: str(len(text.body))}
    return Response(bytes(text.body) + binary, headers=headers, media_type="application/octet-stream")
