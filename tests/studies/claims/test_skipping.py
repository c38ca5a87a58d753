"""`skipping`: sizes, errors and controls of small networks, and a training that cheats."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.studies import known_images

from resnets.studies import inputs, judge_study, registry
from resnets.studies.claims import skipping
from resnets.studies.inputs import StudyNetwork
from resnets.studies.measurements import inserted_blocks, short_training
from resnets.studies.study import Measurement, Setup

NUMBERS = {"images": 40, "steps": 4}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skipping, "STATISTIC_STEPS", 2)
    monkeypatch.setattr(skipping, "BATCH", 10)


def measure(seeds: int = 3) -> Measurement:
    networks, _ = known_images.load(known_images.checkpoint_file())
    images = inputs.read_images(known_images.folder(), 40, networks)
    return skipping.measure(Setup(NUMBERS, range(seeds), networks, images))


def test_the_statistic_is_the_change_of_the_new_blocks() -> None:
    found = measure()
    (values,) = found.effects.values()
    for seed in range(3):
        own = [row for row in found.rows if row.get("seed") == seed and row["kind"] == skipping.WITH]
        assert sorted({row["step"] for row in own}) == [0, 1, 3, 4]
        change = [
            sum(math.log10(row["size"]) for row in own if row["step"] == step) / len({row["block"] for row in own})
            for step in (0, 4)
        ]
        assert values[seed] == pytest.approx(change[1] - change[0])
        assert own[-1]["error"] is not None
    trained = [row for row in found.rows if row["kind"] == skipping.TRAINED]
    assert len(trained) == 6
    assert found.controls[1].holds  # at a rate of 0 nothing moves
    (verdict,) = judge_study.judge_all(registry.find("skipping"), found, 0.01).values()
    assert verdict.interval.num_values == 3


def test_no_image_is_both_trained_on_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    trained, measured = set[bytes](), set[bytes]()

    def seen(found: set[bytes], real: Callable[..., Any]) -> Callable[..., Any]:
        def call(net: object, images: torch.Tensor, *arguments: object, **values: object) -> Any:
            found.update(image.numpy().tobytes() for image in images)
            return real(net, images, *arguments, **values)

        return call

    monkeypatch.setattr(short_training, "train", seen(trained, short_training.train))
    for name in ("error_percent", "branch_sizes"):
        monkeypatch.setattr(skipping, name, seen(measured, getattr(skipping, name)))
    measure(seeds=1)
    assert (len(trained), len(measured)) == (20, 20)
    assert not trained & measured


def test_a_rate_that_is_not_0_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.optim.SGD.__init__

    def always_moving(self: torch.optim.SGD, parameters: object, lr: float, **values: float) -> None:
        real(self, parameters, lr=lr or 0.001, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.optim.SGD, "__init__", always_moving)
    assert not measure(seeds=1).controls[1].holds


def test_without_shortcuts_the_errors_must_be_more_with_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {skipping.WITH: 30.0, skipping.WITHOUT: 40.0}

    def known(network: StudyNetwork, kind: str, seed: int, *_: object) -> tuple[list[dict[str, Any]], float]:
        error = 29.0 if (kind, seed) == (skipping.WITHOUT, exception) else errors[kind]
        same = {"network": network.name, "kind": kind, "block": "stage1.block2", "seed": seed, "size": 1.0}
        return [same | {"step": step, "error": error} for step in (0, 4)], 0.0

    monkeypatch.setattr(skipping, "_train", known)
    for exception, holds in ((None, True), (2, False)):  # noqa: B007
        assert measure().controls[0].holds == holds


def test_shortcuts_that_were_not_taken_away_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = inserted_blocks.insert
    monkeypatch.setattr(inserted_blocks, "insert", lambda net, seed, with_shortcut: real(net, seed, with_shortcut=True))
    assert not measure(seeds=1).controls[0].holds
