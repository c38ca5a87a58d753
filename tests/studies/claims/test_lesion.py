"""`lesion`: errors against those of networks without the block, and a sabotaged deletion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.studies import known_images
from torch import nn

from resnets.models import zoo
from resnets.models.blocks import ResidualBlock
from resnets.studies import judge_study, registry
from resnets.studies.claims import lesion
from resnets.studies.measurements import edit_blocks
from resnets.studies.measurements.lesion_variants import DELETED, REORDERED, SINGLE
from resnets.studies.study import Measurement, Setup


def measure(*files: object) -> Measurement:
    networks, images = known_images.load(*(files or (known_images.checkpoint_file(),)))  # type: ignore[arg-type]
    return lesion.measure(Setup(NUMBERS, (), networks, images))


NUMBERS = {"images": 120, "images_of_several": 20}


@torch.no_grad()
def test_the_added_errors_are_those_of_the_network_without_the_block() -> None:
    found = measure()
    (network,), images = known_images.load(known_images.checkpoint_file())
    inputs, net = images.stacked(known_images.PREPROCESS), network.net

    def error() -> float:
        return 100 * float((net(inputs).argmax(dim=1) != images.labels).double().mean())

    base = error()
    assert base < 20
    single = [row for row in found.rows if row["kind"] == SINGLE]
    by_block = {row["blocks"]: row for row in single}
    assert [row["keeps_shape"] for row in single] == [True, True, False, True, False, True]
    kept = []
    for name, block in edit_blocks.named_blocks(net).items():
        norm = block.branch.norm2  # type: ignore[union-attr]
        before = norm.weight.clone(), norm.bias.clone()  # type: ignore[union-attr, operator]
        nn.init.zeros_(norm.weight)  # type: ignore[arg-type]
        nn.init.zeros_(norm.bias)  # type: ignore[arg-type]
        assert by_block[name]["base_error"] + by_block[name]["added_error"] == pytest.approx(error())
        norm.weight.copy_(before[0])  # type: ignore[union-attr, operator]
        norm.bias.copy_(before[1])  # type: ignore[union-attr, operator]
        kept += [by_block[name]["added_error"]] if by_block[name]["keeps_shape"] else []
    (values,) = found.effects.values()
    assert values.mean() == pytest.approx(sum(kept) / len(kept))
    assert [control.holds for control in found.controls] == [True, True]
    assert set(found.obstacles.values()) == {""}
    several = [row for row in found.rows if row["kind"] == DELETED]
    added = {keeps: [row["added_error"] for row in single if row["keeps_shape"] == keeps] for keeps in (True, False)}
    for note, (verb, values) in zip(found.notes, (("keeps", added[True]), ("changes", added[False])), strict=False):
        assert (
            note == f"{network.name}: a block that {verb} the shape adds {min(values):.1f} to {max(values):.1f} points"
        )
    assert len(found.notes) == 3
    assert {row["kind"] for row in found.rows} == {SINGLE, DELETED, REORDERED}
    # All blocks that keep the shape are deleted in each of the last draws.
    last = edit_blocks.without(net, [row["blocks"] for row in single if row["keeps_shape"]])
    few, labels = inputs[:100], images.labels[:100]  # whole batches are measured
    ((_, logits),) = edit_blocks.logits_of(net, few, {0: last})
    wrong = (logits.argmax(dim=1) != labels).double() - (net(few).argmax(dim=1) != labels).double()
    assert several[-1]["added_error"] == pytest.approx(100 * float(wrong.mean()))
    assert several[-1]["images"] == 100


def test_a_plain_network_is_a_control_and_no_subject() -> None:
    plain = known_images.checkpoint_file("cifar_plain20", seed=1)
    found = measure(known_images.checkpoint_file(), plain)
    assert list(found.effects) == ["cifar_resnet20"]
    (control,) = [each for each in found.controls if each.name == "cifar_plain20: without a block"]
    rows = [row for row in found.rows if row["network"] == "cifar_plain20"]
    assert rows[0]["base_error"] <= 25  # half of chance
    error = sum(row["base_error"] + row["added_error"] for row in rows) / len(rows)
    assert control.found == f"an error of {error:.1f} %"
    assert control.holds == (error > 25)


def test_a_plain_network_that_has_not_learned_is_no_control() -> None:
    networks, images = known_images.load(known_images.checkpoint_file(), known_images.checkpoint_file("cifar_plain20"))
    with torch.no_grad():
        networks[1].net.fc.weight.neg_()
        networks[1].net.fc.bias.neg_()
    found = lesion.measure(Setup(NUMBERS, (), networks, images))
    assert not any("without a block" in each.name for each in found.controls)
    assert any(note.startswith("cifar_plain20 is no control: a network has not learned") for note in found.notes)
    (verdict,) = judge_study.judge_all(registry.find("lesion"), found, 0.05).values()
    assert verdict.word != "undecided" or "control" not in verdict.reason


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"block": "gated"},
        {"block": "gated_shortcut"},
        {"attention": "se"},
        {"attention": "cbam"},
        {"name": "cifar_highway20"},
        {"name": "cifar_preresnet110"},
        {"name": "cifar_fast"},
    ],
    ids=str,
)
def test_a_right_deletion_holds_the_controls_of_every_kind_of_block(changes: dict[str, str]) -> None:
    (network,), images = known_images.load(known_images.checkpoint_file())
    name = changes.get("name", "cifar_resnet20")
    size = {} if name == "cifar_fast" else {"num_blocks": (1,) * 3}
    torch.manual_seed(0)
    net = zoo.build(name, num_classes=2, **size, **{key: value for key, value in changes.items() if key != "name"})
    controls = lesion._controls(replace(network, net=net.eval()), images, next(iter(edit_blocks.deletable(net))))
    assert [control.holds for control in controls] == [True, True]


class Nothing(nn.Module):
    """In place of a shortcut: zeros of its shape."""

    def __init__(self, shortcut: nn.Module) -> None:
        super().__init__()
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0 * self.shortcut(x)


def without_all(block: ResidualBlock) -> nn.Module:
    return edit_blocks.with_parts(block, branch=edit_blocks.ZeroBranch(), shortcut=Nothing(block.shortcut))


@pytest.mark.parametrize(
    ("sabotage", "held"),
    [
        (without_all, [True, False]),
        (lambda block: block, [False, False]),
    ],
    ids=["the shortcut is deleted, too", "nothing is deleted"],
)
def test_a_wrong_deletion_fails_a_control(sabotage: object, held: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_blocks, "without_branch", sabotage)
    found = measure(known_images.checkpoint_file(blocks=1))
    assert [control.holds for control in found.controls] == held
    (verdict,) = judge_study.judge_all(registry.find("lesion"), found, 0.05).values()
    assert verdict.word == "undecided"


def test_a_network_that_has_not_learned_the_images_is_not_judged() -> None:
    networks, images = known_images.load(known_images.checkpoint_file())
    with torch.no_grad():
        networks[0].net.fc.weight.neg_()
        networks[0].net.fc.bias.neg_()
    found = lesion.measure(Setup(NUMBERS, (), networks, images))
    (verdict,) = judge_study.judge_all(registry.find("lesion"), found, 0.05).values()
    assert "has not learned these images: its error is" in verdict.reason
