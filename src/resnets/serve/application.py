"""The ASGI application, for `resnets serve` and for other people's servers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from resnets.errors import JobError, UserError
from resnets.serve import served_model
from resnets.serve.access import AllowedHosts, SameOrigin, TokenCheck
from resnets.serve.answers import Answer, error_answer, status_of
from resnets.serve.limits import BodyLimits, RateLimit
from resnets.serve.metrics import CountAnswers, Metrics
from resnets.serve.routes import inference_protocol as oip
from resnets.serve.routes import model_info, openapi, page_files, predict
from resnets.serve.served_model import ServedModel
from resnets.serve.service import Service
from resnets.serve.settings import ServerSettings
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import local_file

CLIENT_WENT_AWAY = 499  # as nginx logs it; nobody receives it
METHODS = ("GET", "POST")
CORS_HEADERS = ("Authorization", "Content-Type", "Inference-Header-Content-Length")
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def of_models(model: TrainedModel | str | Path | Mapping[str, TrainedModel], settings: ServerSettings) -> Starlette:
    """The application of one model, or of several by name; see `resnets.asgi_app`."""
    if isinstance(model, (str, Path)):
        return build([served_model.load(str(model))], settings)
    if isinstance(model, TrainedModel):
        return build([served_model.of_loaded(model, local_file.server_name(model.name))], settings)
    return build([served_model.of_loaded(each, name) for name, each in model.items()], settings)


def build(models: Sequence[ServedModel], settings: ServerSettings) -> Starlette:
    """The application of several models, of which the first answers where a request names none.

    `app.state.service` is its `Service`.
    """
    service = Service(models, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.batcher.start()
        try:
            yield
        finally:
            await run_in_threadpool(service.batcher.stop)  # it waits for threads, and answers are still sent

    page = page_files.page_routes() if settings.page else []
    open_paths = frozenset(route.path for route in page) | {"/v2/health/live", "/v2/health/ready"}
    routes = [*api_routes(service), *page]
    app = Starlette(
        routes=routes,
        middleware=middleware(settings, service.batcher.metrics, routes, open_paths),
        exception_handlers={
            HTTPException: _http_error,
            UserError: _error,
            JobError: _error,
            ClientDisconnect: _client_went_away,
            Exception: _error,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def middleware(
    settings: ServerSettings, metrics: Metrics, routes: Sequence[Route], open_paths: frozenset[str]
) -> list[Middleware]:
    """All that is before the routes, the first one outside.

    Args:
        routes: those of the application.
        open_paths: those that are answered without the token.
    """
    layers = [
        Middleware(CountAnswers, metrics, routes),
        Middleware(AllowedHosts, settings),
        Middleware(SameOrigin, settings),
    ]
    if settings.cors:
        origins = [origin.lower() for origin in settings.cors]  # as browsers send them
        layers.append(
            Middleware(CORSMiddleware, allow_origins=origins, allow_methods=METHODS, allow_headers=CORS_HEADERS)
        )
    if settings.token:
        layers.append(Middleware(TokenCheck, settings.token, open_paths))
    if settings.requests_per_second:  # after the token, so that requests without it take nothing of the rate
        layers.append(Middleware(RateLimit, settings.requests_per_second))
    return [*layers, Middleware(BodyLimits, settings.max_body_bytes)]


def api_routes(service: Service) -> list[Route]:
    """The routes for programs; `openapi.SCHEMA` describes them."""
    return [
        Route("/v1/predict", partial(predict.predict, service), methods=["POST"]),
        Route("/v1/model", partial(model_info.model_info, service)),
        Route("/metrics", partial(_metrics, service)),
        Route("/openapi.json", _openapi),
        Route("/v2", oip.server_metadata),
        Route("/v2/health/live", partial(oip.live, service)),
        Route("/v2/health/ready", partial(oip.ready, service)),
        *(
            route
            for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
            for route in (
                Route(model, partial(oip.model_metadata, service)),
                Route(f"{model}/ready", partial(oip.ready, service)),
                Route(f"{model}/infer", partial(oip.infer, service), methods=["POST"]),
            )
        ),
    ]


async def _metrics(service: Service, request: Request) -> Response:
    return Response(service.batcher.metrics.text(), headers={"Content-Type": PROMETHEUS})


async def _openapi(request: Request) -> Response:
    return Answer(openapi.SCHEMA)


async def _http_error(request: Request, error: Any) -> Response:
    return Answer({"error": error.detail}, error.status_code, error.headers)


async def _error(request: Request, error: Exception) -> Response:
    return Answer(error_answer(error), status_of(error))


async def _client_went_away(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_WENT_AWAY)
