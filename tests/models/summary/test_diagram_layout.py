"""What a drawing is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from resnets.models import zoo
from resnets.models.summary.diagram_layout import Box, DiagramLayout, diagram_layout


def layout_of(name: str, **changes: Any) -> DiagramLayout:
    with torch.device("meta"):
        net = zoo.build(name, **changes)
    return diagram_layout(net, zoo.find(name).imgsz)


def texts(boxes: tuple[Box, ...]) -> list[str]:
    return [box.text + (f" /{box.stride}" if box.stride > 1 else "") for box in boxes]


def test_a_bottleneck_with_its_projection() -> None:
    layout = layout_of("resnet152")
    assert texts(layout.stem) == ["7×7 conv, 64 /2", "BN · ReLU", "3×3 max pool /2"]
    assert [(stage.name, stage.shape) for stage in layout.stages] == [
        ("stage1", (256, 56, 56)),
        ("stage2", (512, 28, 28)),
        ("stage3", (1024, 14, 14)),
        ("stage4", (2048, 7, 7)),
    ]
    assert [[times for _, times in stage.runs] for stage in layout.stages] == [[1, 2], [1, 7], [1, 35], [1, 2]]
    (first, _), (other, _) = layout.stages[1].runs
    assert texts(first.branch) == ["1×1 conv, 128", "BN · ReLU", "3×3 conv, 128 /2", "BN · ReLU", "1×1 conv, 512", "BN"]
    assert first.shortcut is not None
    assert texts(first.shortcut.boxes) == ["1×1 conv, 512 /2", "BN"]
    assert texts(first.after) == ["ReLU"]
    assert other.shortcut is not None
    assert other.shortcut.boxes == ()
    assert texts(layout.head) == ["global avg pool", "dense, 1000"]


@pytest.mark.parametrize(
    ("name", "changes", "options"),
    [
        ("resnet34", {}, ("identity", "B")),
        ("resnet34", {"shortcut": "A"}, ("identity", "A")),
        ("resnet34", {"shortcut": "C"}, ("C",)),
        ("resnet50d", {}, ("identity", "D")),
        ("keras_resnet50v2", {}, ("identity", "pool", "B")),
        ("cifar_highway20", {}, ("highway",)),
        ("cifar_resnet20", {"block": "gated"}, ("gated",)),
        ("cifar_resnet20", {"block": "gated_shortcut"}, ("gated_shortcut",)),
        ("cifar_resnet20", {"block": "scaled", "shortcut_scale": 0.5}, ("scaled",)),
        ("cifar_resnet20", {"shortcut_dropout": 0.5}, ("dropped", "A")),
        ("plain34", {}, ()),
        ("tiny", {}, ("B",)),
    ],
)
def test_the_kinds_of_shortcut(name: str, changes: dict[str, Any], options: tuple[str, ...]) -> None:
    assert sorted(layout_of(name, **changes).options) == sorted(options)


def test_the_stride_of_keras_v2_is_in_the_last_block_of_a_stage() -> None:
    stage = layout_of("keras_resnet50v2").stages[0]
    assert [[box.stride for box in block.branch if box.large] for block, _ in stage.runs] == [
        [1, 1, 1],
        [1, 1, 1],
        [1, 2, 1],
    ]
    last = stage.runs[-1][0].shortcut
    assert last is not None
    assert texts(last.boxes) == ["1×1 max pool /2"]


def test_where_a_shortcut_begins_in_a_preactivation_network() -> None:
    first, other = (block for block, _ in layout_of("resnet50_v2").stages[1].runs)
    assert texts(first.before) == texts(other.before) == ["BN · ReLU"]
    assert first.shortcut is not None
    assert first.shortcut.shared
    assert other.shortcut is not None
    assert not other.shortcut.shared


def test_attention_is_one_box_and_groups_are_noted() -> None:
    block = layout_of("se_resnet18").stages[0].runs[0][0]
    assert texts(block.branch)[-1] == "Squeeze Excite"
    block = layout_of("resnext50_32x4d").stages[0].runs[0][0]
    assert [box.note for box in block.branch if box.note] == ["32 groups"]


def test_a_highway_has_a_gate_but_none_where_the_shape_changes() -> None:
    first, other = (block for block, _ in layout_of("cifar_highway20").stages[1].runs)
    assert first.shortcut is None
    assert other.shortcut is not None
    assert other.shortcut.gate == Box("T: 3×3 conv, 32", "sigmoid", large=True)


@pytest.mark.parametrize(
    ("changes", "before", "branch_end", "shortcut", "after"),
    [
        ({"block": "scaled", "shortcut_scale": 0.5, "branch_scale": 0.25}, [], ["BN", "× 0.25"], ["× 0.5"], ["ReLU"]),
        ({"block": "norm_after"}, [], ["BN · ReLU", "3×3 conv, 16"], [], ["BN · ReLU"]),
        ({"block": "act_before"}, [], ["3×3 conv, 16", "BN · ReLU"], [], []),
        ({"block": "act_only"}, ["ReLU"], ["3×3 conv, 16", "BN"], [], []),
        ({"norm": "none"}, [], ["ReLU", "3×3 conv, 16"], [], ["ReLU"]),
    ],
)
def test_the_layers_of_a_block_are_where_they_are_called(
    changes: dict[str, Any], before: list[str], branch_end: list[str], shortcut: list[str], after: list[str]
) -> None:
    block = layout_of("cifar_resnet20", **changes).stages[0].runs[0][0]
    assert block.shortcut is not None
    assert texts(block.before) == before
    assert texts(block.branch)[-2:] == branch_end
    assert texts(block.shortcut.boxes) == shortcut
    assert texts(block.after) == after


def test_stochastic_depth_wraps_a_branch_without_hiding_it() -> None:
    plain, wrapped = layout_of("resnet18"), layout_of("resnet18", drop_path_rate=0.2)
    assert wrapped == plain


def test_the_drawing_follows_the_modules_and_not_the_name() -> None:
    with torch.device("meta"):
        net = zoo.build("resnet18")
    del net.stages["stage3"].block2
    net.stages["stage4"].block2.shortcut = torch.nn.Conv2d(512, 512, 1, device="meta")
    layout = diagram_layout(net, 224)
    assert [len(stage.runs) for stage in layout.stages] == [1, 2, 1, 2]
    assert "C" in layout.options
