"""`resnets.asgi_app`: predictions over HTTP, in other people's servers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resnets.serve.check_packages import check_installed
from resnets.serve.settings import ServerSettings
from resnets.tasks.trained_model import TrainedModel

if TYPE_CHECKING:
    from starlette.applications import Starlette


def asgi_app(
    model: TrainedModel | str | Path | Mapping[str, TrainedModel], settings: ServerSettings | None = None
) -> Starlette:
    """An ASGI application that answers with the predictions of a model: for a server such as uvicorn, or mounted in another
    application, such as one of FastAPI.

    Its threads start with the first request, or with its lifespan where a server runs it itself. The deadlines of
    `ServerSettings` for headers and bodies are those of `resnets serve` only: other servers have their own.

    Args:
        model: what `resnets.load` returned or takes; or several models by name, of which the first answers where none is named.
        settings: None for the defaults, which answer to localhost only: see `ServerSettings.allow_host`.

    Raises:
        UserError: there is no such model, its last layer was not trained, or a package is missing.
    """
    check_installed()
    from resnets.serve import application  # here, since it imports these packages

    return application.of_models(model, settings or ServerSettings())
