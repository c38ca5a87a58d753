"""`resnets serve`."""

from typing import Annotated

from typer import Argument, Option

from resnets.cli import flags, output
from resnets.cli.process_settings import wait_without_spinning


def serve(
    checkpoints: Annotated[
        list[str],
        Argument(
            help="Checkpoints, run directories, exported files, or names of `weights list`. The first is the default.",
            metavar="CHECKPOINT",
        ),
    ],
    host: Annotated[str, Option(help="Address to listen at; others than 127.0.0.1 need a token.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port; 0 for one that is free.", min=0, max=65535)] = 8000,
    token_file: Annotated[
        str | None, Option(help="File with the token that requests have to send: Authorization: Bearer TOKEN.")
    ] = None,
    no_token: Annotated[bool, Option("--no-token", help="All who reach the server may use it.")] = False,
    batch: Annotated[int, Option(*flags.BATCH, help="Images computed together at most.", min=1)] = 16,
    queue: Annotated[int, Option(help="Images that wait at most; beyond it, requests are refused.", min=1)] = 256,
    timeout: Annotated[
        float, Option(help="Seconds from the last byte of a request until it is predicted.", min=0.001)
    ] = 30.0,
    body_timeout: Annotated[
        float,
        Option(
            help="Seconds for a client to send an image or a form, which must arrive at 1 kB/s at least.", min=0.001
        ),
    ] = 30.0,
    drain: Annotated[float, Option(help="Seconds for open requests after SIGTERM.", min=0.001)] = 30.0,
    max_megabytes: Annotated[float, Option(help="Size of a request at most.", min=0.001)] = 20.0,
    max_pixels: Annotated[int | None, Option(help="Pixels of an image at most.  [default: 89 million]", min=1)] = None,
    rate: Annotated[float, Option(help="Requests of one client a second; 0 for any number.", min=0.0)] = 0.0,
    cors: Annotated[
        list[str] | None, Option(help="An origin whose pages may ask, such as https://example.org.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, Option(help="A name of this server beside localhost; * for any name.")
    ] = None,
    no_page: Annotated[bool, Option("--no-page", help="Leave out the page for browsers.")] = False,
    device: Annotated[str, Option(help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[str, Option(help="auto, torch, compile, openvino or onnxruntime.")] = "auto",
    precision: Annotated[str, Option(help="auto, bf16, fp32 (the reference) or int8.")] = "auto",
) -> None:
    """Answer requests for predictions over HTTP, with a page for browsers, until SIGTERM or Ctrl-C.

    The address is printed once requests are accepted. Only this machine can reach it, unless `--host` says otherwise.

    Example: resnets serve runs/flowers
    """
    wait_without_spinning()
    from resnets.serve.check_packages import check_installed
    from resnets.serve.settings import ServerSettings, read_token

    check_installed()
    from resnets.serve import run

    token = read_token(token_file) if token_file is not None else ""
    settings = ServerSettings(
        batch=batch, queue=queue, timeout_seconds=timeout, drain_seconds=drain, max_body_bytes=round(max_megabytes * 1e6),
        max_pixels=ServerSettings.max_pixels if max_pixels is None else max_pixels, requests_per_second=rate,
        body_seconds=body_timeout,
        cors=tuple(cors or ()), allow_host=tuple(allow_host or ()), token=token, page=not no_page,
    )  # fmt: skip
    options = {"device": device, "backend": backend, "precision": precision}
    run.serve_files(checkpoints, settings, host=host, port=port, no_token=no_token, announce=output.echo, **options)
