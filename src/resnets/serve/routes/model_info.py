"""GET /v1/model: what the model is, and what it takes."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from resnets.serve.answers import Answer
from resnets.serve.served_model import ServedModel, has_fixed_size
from resnets.serve.service import Service


async def model_info(service: Service, request: Request) -> Answer:
    """The model of `?model=`, by default the first one."""
    served = service.model(request, request.query_params.get("model"))
    limits = {"max_body_bytes": service.settings.max_body_bytes, "max_pixels": service.settings.max_pixels}
    return Answer({**describe(served), "models": list(service.models), "limits": limits})


def describe(served: ServedModel) -> dict[str, Any]:
    """The description of a model for JSON."""
    model = served.model
    height, width = model.preprocess.size if has_fixed_size(model) else (None, None)
    return {
        "name": served.name,
        "task": model.task.name,
        "architecture": model.spec.name if model.spec else None,
        "class_names": list(model.class_names),
        "has_class_names": model.has_class_names,
        "input": {"description": model.describe_input(), "height": height, "width": width},
        "heatmap": served.has_heatmaps,
        "metrics": model.metrics,
        "sha256": served.sha256 or None,
        "certificate": served.certificate,
    }
