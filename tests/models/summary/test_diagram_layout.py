"""What a drawing is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from resnets.models import zoo
from resnets.models.summary.diagram_layout import Anatomy, Piece, anatomy


def anatomy_of(name: str, **changes: Any) -> Anatomy:
    with torch.device("meta"):
        net = zoo.create_model(name, **changes)
    return anatomy(net, zoo.find(name).imgsz)


def texts(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text + (f" /{piece.stride}" if piece.stride > 1 else "") for piece in pieces]


def test_a_bottleneck_with_its_projection() -> None:
    parts = anatomy_of("resnet152")
    assert texts(parts.stem) == ["7×7 conv, 64 /2", "BN · ReLU", "3×3 max pool /2"]
    assert [(stage.name, stage.shape) for stage in parts.stages] == [
        ("stage1", (256, 56, 56)),
        ("stage2", (512, 28, 28)),
        ("stage3", (1024, 14, 14)),
        ("stage4", (2048, 7, 7)),
    ]
    assert [[times for _, times in stage.runs] for stage in parts.stages] == [[1, 2], [1, 7], [1, 35], [1, 2]]
    (first, _), (other, _) = parts.stages[1].runs
    assert texts(first.branch) == ["1×1 conv, 128", "BN · ReLU", "3×3 conv, 128 /2", "BN · ReLU", "1×1 conv, 512", "BN"]
    assert first.shortcut is not None
    assert texts(first.shortcut.pieces) == ["1×1 conv, 512 /2", "BN"]
    assert texts(first.after) == ["ReLU"]
    assert other.shortcut is not None
    assert other.shortcut.pieces == ()
    assert texts(parts.head) == ["global avg pool", "dense, 1000"]


@pytest.mark.parametrize(
    ("name", "changes", "options"),
    [
        ("resnet34", {}, ("identity", "B")),
        ("resnet34", {"shortcut": "A"}, ("identity", "A")),
        ("resnet34", {"shortcut": "C"}, ("C",)),
        ("resnet50d", {}, ("identity", "D")),
        ("keras_resnet50v2", {}, ("identity", "pool", "B")),
        ("cifar_highway20", {}, ("highway",)),
        ("plain34", {}, ()),
        ("tiny", {}, ("B",)),
    ],
)
def test_the_kinds_of_shortcut(name: str, changes: dict[str, Any], options: tuple[str, ...]) -> None:
    assert sorted(anatomy_of(name, **changes).options) == sorted(options)


def test_the_stride_of_keras_v2_is_in_the_last_block_of_a_stage() -> None:
    stage = anatomy_of("keras_resnet50v2").stages[0]
    assert [[piece.stride for piece in block.branch if piece.large] for block, _ in stage.runs] == [
        [1, 1, 1],
        [1, 1, 1],
        [1, 2, 1],
    ]
    last = stage.runs[-1][0].shortcut
    assert last is not None
    assert texts(last.pieces) == ["1×1 max pool /2"]


def test_where_a_shortcut_begins_in_a_preactivation_network() -> None:
    first, other = (block for block, _ in anatomy_of("resnet50_v2").stages[1].runs)
    assert texts(first.before) == texts(other.before) == ["BN · ReLU"]
    assert first.shortcut is not None
    assert first.shortcut.shared
    assert other.shortcut is not None
    assert not other.shortcut.shared


def test_attention_is_one_piece_and_groups_are_told() -> None:
    block = anatomy_of("se_resnet18").stages[0].runs[0][0]
    assert texts(block.branch)[-1] == "Squeeze Excite"
    block = anatomy_of("resnext50_32x4d").stages[0].runs[0][0]
    assert [piece.note for piece in block.branch if piece.note] == ["32 groups"]


def test_a_highway_has_a_gate_but_none_where_the_shape_changes() -> None:
    first, other = (block for block, _ in anatomy_of("cifar_highway20").stages[1].runs)
    assert first.shortcut is None
    assert other.shortcut is not None
    assert other.shortcut.gate == Piece("T: 3×3 conv, 32", "sigmoid", large=True)


def test_stochastic_depth_wraps_a_branch_without_hiding_it() -> None:
    plain, wrapped = anatomy_of("resnet18"), anatomy_of("resnet18", drop_path_rate=0.2)
    assert wrapped == plain


def test_the_drawing_follows_the_modules_and_not_the_name() -> None:
    with torch.device("meta"):
        net = zoo.create_model("resnet18")
    del net.stages["stage3"].block2
    net.stages["stage4"].block2.shortcut = torch.nn.Conv2d(512, 512, 1, device="meta")
    parts = anatomy(net, 224)
    assert [len(stage.runs) for stage in parts.stages] == [1, 2, 1, 2]
    assert "C" in parts.options
