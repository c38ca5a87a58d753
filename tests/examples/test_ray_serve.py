"""The example for Ray Serve answers as `predict` does, by two replicas."""

from __future__ import annotations

import asyncio
import importlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from PIL import Image
from tests import exported_files
from tests.in_soak import IN_SOAK
from tests.tiny_checkpoint import colored_images

import resnets
from resnets.inference import hardware


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def address(tmp_path: Path, beside: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the example answers."""
    if not IN_SOAK:
        pytest.skip("half a minute for the start of Ray; part of `make soak`")
    monkeypatch.setenv("HOME", str(tmp_path))  # for ~/.ray/auth_token
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    ray = pytest.importorskip("ray", reason="needs ray[serve]")
    serve = pytest.importorskip("ray.serve", reason="needs ray[serve]", exc_type=ImportError)
    ray.init(num_cpus=6, include_dashboard=False, object_store_memory=100_000_000)
    try:
        port = free_port()
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(importlib.import_module("ray_serve").application(str(exported_files.checkpoint_file()), replicas=2))
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
    finally:
        ray.shutdown()


def test_two_replicas_answer_as_predict_does_and_say_when_they_are_not_healthy(address: str) -> None:
    images = [Image.fromarray(pixels) for pixels in colored_images(8)]
    expected = resnets.load(exported_files.checkpoint_file(), "cpu").predict(images)
    # A server computes in bf16 where the processor does, which `predict` does not for so few images.
    tolerance = 0.01 if hardware.native_bf16_reason(torch.device("cpu")) else 1e-5
    for image, prediction in zip(images, expected, strict=True):
        file = io.BytesIO()
        image.save(file, "PNG")
        answer = requests.post(f"{address}/v1/predict", data=file.getvalue(), timeout=60)
        assert answer.status_code == 200, answer.text
        found = {each["label"]: each["probability"] for each in answer.json()["top"]}
        assert found == pytest.approx(dict(prediction.top), abs=tolerance)
    check_health()


def check_health() -> None:
    """Of a replica whose threads have ended: Ray asks it, and starts another one."""
    built: Any = importlib.import_module("ray_serve").replica_class(
        str(exported_files.checkpoint_file()), resnets.ServerSettings()
    )
    replica = object.__new__(built)
    asyncio.run(replica.__init__())  # as Ray calls it
    replica.check_health()
    replica.app.state.service.batcher.error = SystemExit(3)
    with pytest.raises(RuntimeError, match="A thread of the server has ended"):
        replica.check_health()
