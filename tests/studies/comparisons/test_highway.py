"""Whether gates that do not compute their equation, or networks of other sizes, are noticed; and a whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.in_soak import IN_SOAK
from tests.studies import known_trainings

from resnets.data.image.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from resnets.models.blocks import HighwayBlock
from resnets.models.build_network import build
from resnets.models.summary import layer_table
from resnets.report.figures import canvas
from resnets.studies import inputs, verdict
from resnets.studies.comparisons import gates
from resnets.studies.comparisons import highway as study
from resnets.studies.judge_study import judge_all
from resnets.studies.measurements import edit_blocks
from resnets.studies.run_study import run
from resnets.studies.trainings import cifar_training, cost
from resnets.tasks.classification.task import TASK
from resnets.training.setup import build_network
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

NUMBERS = study.STUDY.protocols["minutes"] | {"depth2": 32}


@pytest.mark.parametrize("depth", study.NARROWED if IN_SOAK else [20])
def test_a_narrowed_network_has_the_size_of_the_residual_one(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def control() -> bool:
        with torch.device("meta"):
            nets = [
                cifar_training.new_network(study.recipe(f"{kind}-{depth}", 0, NUMBERS))
                for kind in ("highway", "residual")
            ]
        return study.size_control(f"highway-{depth}", *nets).holds

    assert control()
    monkeypatch.setitem(study.NARROWED, depth, (16, 32, 64))
    assert not control()


def test_another_number_of_multiply_adds_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    net = torch.nn.Linear(2, 3)
    monkeypatch.setattr(layer_table, "multiply_adds", lambda *_, counts=iter((103, 100)): next(counts))
    assert not study.size_control("highway-20", net, net).holds


SABOTAGES = {
    "no input": lambda self, x: self.sigmoid(self.gate(x)) * self.branch(x),
    "a residual block": lambda self, x: self.branch(x) + x,
    "gates of one half": lambda self, x: (self.branch(x) + x) / 2,
    "gates are exchanged": lambda self, x: (
        (1 - self.sigmoid(self.gate(x))) * self.branch(x) + self.sigmoid(self.gate(x)) * x
    ),
}


@pytest.mark.parametrize("kind", [None, *SABOTAGES])
def test_other_gates_fail_the_control(kind: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind:
        monkeypatch.setattr(HighwayBlock, "forward", SABOTAGES[kind])
    net = cifar_training.new_network(study.recipe("highway-20", 0, NUMBERS))
    assert gates.gate_control("highway-20", net).holds == (kind is None)


def test_one_block_with_another_gate_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    net = cifar_training.new_network(study.recipe("highway-20", 0, NUMBERS))
    last = [each for each in net.modules() if isinstance(each, HighwayBlock)][-1]
    monkeypatch.setattr(last, "forward", lambda x: last.branch(x) + x)
    assert not gates.gate_control("highway-20", net).holds


def test_the_sign_of_the_difference_and_the_figure(tmp_path: Path) -> None:
    errors = {"residual-20": 20.0, "highway-20": 25.0, "residual-32": 20.0, "highway-32": 17.0}
    known = known_trainings.setup(
        study.STUDY,
        NUMBERS,
        range(3),
        lambda name, seed, _: errors.get(name, 20.0) + 0.01 * seed * name.startswith("h"),
    )
    found = study.measure(known)
    assert all(control.holds for control in found.controls)
    assert [control.name for control in found.controls[:3]] == [
        f"one network trained twice, seed {k}" for k in range(3)
    ]
    verdicts = judge_all(study.STUDY, found, verdict.LOOKS[3])
    assert {subject: each.word for subject, each in verdicts.items()} == {"20 layers": "shown", "32 layers": "opposite"}
    assert {row["network"]: row["parameters"] for row in found.rows}["residual-20"] == 269_722
    with canvas.figure(tmp_path / "figure.png", 1500, 900, "highway") as page:
        study.draw(found.rows, page)
        assert {text.get_text() for text in page.axes[0].texts} == set(errors)
        assert len(page.axes) == 1  # the gates were not measured


def test_a_residual_network_that_has_not_learned_decides_nothing_at_its_depth() -> None:
    known = known_trainings.setup(
        study.STUDY, NUMBERS, range(3), lambda name, seed, _: 80.0 + seed if name == "residual-32" else 20.0
    )
    found = judge_all(study.STUDY, study.measure(known), verdict.LOOKS[3])
    assert {subject: "has not learned" in each.reason for subject, each in found.items()} == {
        "20 layers": False, "32 layers": True
    }  # fmt: skip


@torch.inference_mode()
def test_the_openness_is_the_mean_of_each_gate_over_the_images(tmp_path: Path) -> None:
    spec = build_network.requested_spec(study.recipe("highway-20", 0, NUMBERS), TASK, None)
    net = build(spec).eval()
    blocks = [each for each in net.modules() if isinstance(each, HighwayBlock)]
    for number, block in enumerate(blocks):
        assert block.gate.bias is not None
        torch.nn.init.constant_(block.gate.bias, number / 4 - 2)
    images = inputs.read_training_images(known_trainings.folder(), 10).test
    preprocess = Preprocess.plain(32, IMAGENET_MEAN, IMAGENET_STD)
    (tmp_path / "weights").mkdir()
    checkpoints.save(tmp_path / "weights" / "last.safetensors", Checkpoint(spec, preprocess, (), net.state_dict()))
    expected, x = list[float](), net.stem(images.stacked(preprocess))
    for block in edit_blocks.named_blocks(net).values():
        if isinstance(block, HighwayBlock):
            expected.append(float(torch.sigmoid(block.gate(x)).mean()))
        x = block(x)
    np.testing.assert_allclose(gates.openness(tmp_path, images), expected, rtol=1e-5)


def test_a_whole_run_measures_the_gates_of_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {key: number for key, number in known_trainings.TINY.items() if key != "depth2"}
    monkeypatch.setitem(study.STUDY.protocols, "minutes", tiny)  # type: ignore[arg-type]
    monkeypatch.setattr(cifar_training, "CONTROL_STEPS", 2)
    monkeypatch.setattr(cost, "rates", lambda *_: cost.Rates(1e9, 1e9))
    result = run("highway", protocol="minutes", seeds=3, data=known_trainings.folder(), out=tmp_path, only_seed=0)
    layers = [row["layer"] for row in result.measurement.rows if row["network"] == "highway-20" and row["layer"]]
    assert layers == list(range(1, 6 + 5 + 5 + 1))
    # The gates begin at a bias of -2, and sigmoid(-2) = 0.12, which four steps hardly change.
    opened = [row["openness"] for row in result.measurement.rows if row["network"] == "highway-20" and row["layer"]]
    assert all(0.04 < value < 0.3 for value in opened)
    assert all(control.holds for control in result.measurement.controls)
