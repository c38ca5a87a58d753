"""Many clients at once: each gets the answer to its own image, which is that of `predict`; and batches form by themselves."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests import tiny_checkpoint
from tests.in_soak import IN_SOAK
from tests.serve.running import END_SECONDS, Gate, encode, reference, running, serve, tiny_model

CLIENTS = 16
COUNT = 1000 if IN_SOAK else 80  # in `make soak`, and else


def encoded_images(count: int) -> list[bytes]:
    """PNG and JPEG files of different sizes, all different."""
    found = []
    for seed in range(-(-count // 8)):
        for index, pixels in enumerate(tiny_checkpoint.colored_images(8, seed)):
            found.append(encode(pixels, ("PNG", "JPEG")[index % 2]))
    return found[:count]


def test_each_client_gets_its_own_answer() -> None:
    model = tiny_model()
    gate = Gate(model)
    contents = encoded_images(COUNT)
    expected = reference().predict(contents, batch=7)
    order = random.Random(0).sample(range(COUNT), COUNT)
    with running([serve(model)]) as (address, server), httpx.Client(base_url=address, timeout=END_SECONDS) as client:

        def ask(index: int) -> dict[str, Any]:
            if index % 3:
                return client.post("/v1/predict", content=contents[index]).raise_for_status().json()
            form = client.post("/v1/predict", files={"files": (f"{index}.png", contents[index])}).raise_for_status()
            return form.json()["predictions"][0]

        value = server.batcher.metrics.registry.get_sample_value
        gate.close()
        with ThreadPoolExecutor(CLIENTS) as pool:
            asked = [pool.submit(ask, index) for index in order]
            gate.wait_for_batch()
            while value("resnets_queue_length") < CLIENTS:  # all clients wait
                client.get("/v2/health/live")
            gate.opened.set()
            answers = [each.result(END_SECONDS) for each in asked]
        assert max(gate.sizes) > CLIENTS / 2
        assert value("resnets_batch_size_sum") == value("resnets_decode_seconds_count") == COUNT
    for index, answer in zip(order, answers, strict=True):
        assert answer["label"] == expected[index].label
        found = {each["label"]: each["probability"] for each in answer["top"]}
        assert found == pytest.approx(dict(expected[index].top), abs=1e-5)
        assert answer["path"] == ("[0]" if index % 3 else f"{index}.png")
