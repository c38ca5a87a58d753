"""A model on Ray Serve: the routes of `resnets serve` on any number of replicas and machines.

    pip install 'resnets[serve]' 'ray[serve]'
    python examples/ray_serve.py runs/first --replicas 2

It joins the Ray cluster of `RAY_ADDRESS`, or starts one on this machine; `checkpoint` is a path that each machine can read.
"""

from __future__ import annotations

import argparse

from ray import serve

import resnets


def application(checkpoint: str, replicas: int = 1, cpus: float = 2) -> serve.Application:
    """A deployment whose replicas each load the model and answer as `resnets serve` does."""

    def build() -> object:  # in each replica
        return resnets.asgi_app(resnets.load(checkpoint))

    replica = serve.deployment(num_replicas=replicas, ray_actor_options={"num_cpus": cpus}, max_ongoing_requests=64)
    return replica(serve.ingress(build)()).bind()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--replicas", type=int, default=1)
    arguments = parser.parse_args()
    serve.run(application(arguments.checkpoint, arguments.replicas), blocking=True)


if __name__ == "__main__":
    main()
