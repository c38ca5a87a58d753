"""A model on Ray Serve: the routes of `resnets serve` on any number of replicas and machines.

    pip install 'resnets[serve]' 'ray[serve]'
    python examples/ray_serve.py runs/first --replicas 2

It joins the Ray cluster of `RAY_ADDRESS`, or starts one on this machine; `checkpoint` is a path that each machine can read. Only
programs of the machine reach it, until `--host 0.0.0.0` opens it; then it needs `--token-file`, and `--allow-host` with the names
by which it is reached.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ray import serve

import resnets


def replica_class(checkpoint: str, settings: resnets.ServerSettings) -> type:
    """The class of a replica, which loads the model and answers as `resnets serve` does."""

    def build() -> object:  # in each replica
        return resnets.asgi_app(resnets.load(checkpoint), settings)

    @serve.ingress(build)
    class Replica:
        def check_health(self) -> None:
            """Ray asks this every few seconds, and starts another replica in place of one that raises."""
            fault = self.app.state.service.batcher.fault  # type: ignore[attr-defined]  # `app` is what `build` returned
            if fault is not None:
                raise RuntimeError(fault)

    return Replica


def application(
    checkpoint: str, replicas: int = 1, cpus: float = 2, settings: resnets.ServerSettings | None = None
) -> serve.Application:
    """A deployment of the model.

    Args:
        settings: who may ask, and how much; None for the defaults, which answer to localhost only.
    """
    replica = serve.deployment(num_replicas=replicas, ray_actor_options={"num_cpus": cpus}, max_ongoing_requests=64)
    return replica(replica_class(checkpoint, settings or resnets.ServerSettings())).bind()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--host", default="127.0.0.1", help="address of each machine that answers")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--token-file", type=Path, help="file with the token that requests have to send")
    parser.add_argument("--allow-host", action="append", default=[], help="a name by which the cluster is reached")
    arguments = parser.parse_args()
    token = arguments.token_file.read_text().strip() if arguments.token_file else ""
    if arguments.host != "127.0.0.1" and not token:
        parser.error("--host opens the model to other machines: give it a --token-file")
    serve.start(http_options={"host": arguments.host, "port": arguments.port})
    settings = resnets.ServerSettings(token=token, allow_host=tuple(arguments.allow_host))
    serve.run(application(arguments.checkpoint, arguments.replicas, settings=settings), blocking=True)


if __name__ == "__main__":
    main()
