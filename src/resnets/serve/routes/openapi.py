"""The description of the routes for programs, as OpenAPI 3.1 has it."""

from typing import Any

_ERROR = {
    "description": "Why there is no answer.",
    "content": {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
}
_JSON: dict[str, Any] = {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}
_TEXT = {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}
_IMAGE = {"type": "string", "format": "binary"}


def _query(name: str, kind: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


_MODEL = _query("model", "string", "The name of a model; by default the first one.")
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"const": "1"}}


def _get(summary: str, answer: dict[str, Any] = _JSON, parameters: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    responses = {"200": answer, "default": _ERROR}
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": responses}}


def _of_model(path: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    """The routes of the Open Inference Protocol for a model at that path."""
    infer = {
        "summary": "Open Inference Protocol: predictions, with tensors in JSON or in binary form.",
        "parameters": list(parameters),
        "requestBody": {"required": True, "content": {"application/json": {}, "application/octet-stream": {}}},
        "responses": {"200": _JSON, "default": _ERROR},
    }
    return {
        path: _get("Open Inference Protocol: inputs and outputs of a model.", parameters=parameters),
        f"{path}/ready": _get("Open Inference Protocol: whether a model answers.", parameters=parameters),
        f"{path}/infer": {"post": infer},
    }


SCHEMA: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "resnets", "version": "1"},
    "paths": {
        "/v1/predict": {
            "post": {
                "summary": "The prediction for an image, or for each file of a form.",
                "parameters": [
                    _MODEL,
                    _query("top_k", "integer", "Number of classes of a classifier's answer."),
                    _query("heatmap", "integer", "1 for the heat maps of these classes."),
                    _query("heatmap_class", "string", "The heat map of this class, in place of those."),
                    _query("score", "number", "Least score of an object of a detector."),
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "image/*": {"schema": _IMAGE},
                        "application/octet-stream": {"schema": _IMAGE},
                        "multipart/form-data": {
                            "schema": {"type": "object", "properties": {"files": {"type": "array", "items": _IMAGE}}}
                        },
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {"image": {"type": "string", "contentEncoding": "base64"}},
                                "required": ["image"],
                            }
                        },
                    },
                },
                "responses": {
                    "200": _JSON,
                    "422": {**_JSON, "description": "No image can be read; `error` says why."},
                    "default": _ERROR,
                },
            }
        },
        "/v1/model": _get("What the model is, and what it takes.", parameters=(_MODEL,)),
        "/metrics": _get("Counts and times, for Prometheus.", _TEXT),
        "/openapi.json": _get("This description."),
        "/v2": _get("Open Inference Protocol: the server."),
        "/v2/health/live": _get("Open Inference Protocol: whether the process can go on; if not, start it again."),
        "/v2/health/ready": _get("Open Inference Protocol: whether requests will be answered."),
        **_of_model("/v2/models/{name}", _NAME),
        **_of_model("/v2/models/{name}/versions/{version}", _NAME, _VERSION),
    },
}
