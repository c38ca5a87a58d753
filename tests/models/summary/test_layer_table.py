"""The layer table: the seed document's printed one, Keras' own, and torch's count of operations."""

from __future__ import annotations

import cProfile
import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.in_soak import IN_SOAK
from torch.utils.flop_counter import FlopCounterMode

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.summary import layer_table
from resnets.models.summary.layer_table import Row

TOTALS = layer_table.Totals(25_636_712, 25_583_592, 53_120)


def on_meta(name: str, **changes: Any) -> torch.nn.Module:
    with torch.device("meta"):
        return zoo.build(name, **changes)


def facts(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """Type, shape, parameters and the numbers of the connected rows: everything but the names."""
    number = {row.name: place for place, row in enumerate(rows)}
    return [(row.type, row.shape, row.parameters, tuple(number[source] for source in row.connected_to)) for row in rows]


def printed_rows(text: str) -> list[Row]:
    """The rows of a table as Keras 2 printed it, which folds long cells into a second line."""
    head, body = re.split(r"\n=+\n", text)[:2]
    assert "Connected to" in head.splitlines()[-1]
    cells: list[list[Any]] = []
    for line in body.splitlines():
        begins = re.match(r"(\w+) \((\w+)\)? \[?\((None[\d, ]*)\)? (\d+) ", line)
        if begins:
            shape = tuple(int(side) for side in begins[3].split(", ")[1:])
            cells.append([begins[1], begins[2], (None, *shape), int(begins[4]), []])
        elif folded := re.match(r"(\w+)\)", line):
            cells[-1][1] += folded[1]
        cells[-1][4] += re.findall(r"'(\w+)\[0\]\[0\]'", line)
    return [Row(name, kind, shape, count, 0, tuple(sources)) for name, kind, shape, count, sources in cells]


def test_the_tutorials_printed_table(shared: Callable[[str], Path]) -> None:
    document = shared("seeds/000_b3cf382112b9bb8b.txt").read_text()
    printed = printed_rows(document)
    assert len(printed) == 175
    net = on_meta("tutorial_resnet50")
    assert facts(layer_table.rows(net, 224, layout="hwc")) == facts(printed)
    totals = [int(count.replace(",", "")) for count in re.findall(r"params: ([\d,]+)", document)]
    assert layer_table.Totals(*totals) == layer_table.totals(net) == TOTALS


def keras_rows(model: Any) -> list[Row]:
    return [
        Row(
            name=layer.name,
            type=type(layer).__name__,
            shape=tuple(layer.output.shape),
            parameters=layer.count_params(),
            multiply_adds=0,
            connected_to=tuple(tensor._keras_history.operation.name for tensor in sources(layer)),
        )
        for layer in model.layers
    ]


def sources(layer: Any) -> list[Any]:
    if type(layer).__name__ == "InputLayer":
        return []
    return layer.input if isinstance(layer.input, list) else [layer.input]


def tutorial_model() -> Any:
    """The tutorial's network, built from its description: branch, then shortcut, then their sum."""
    from keras import Model, layers

    def normalized(x: Any, filters: int, size: int, strides: int = 1) -> Any:
        return layers.BatchNormalization()(layers.Conv2D(filters, size, strides, "same" if size == 3 else "valid")(x))

    def block(x: Any, inner: int, strides: int, *, projects: bool) -> Any:
        y = layers.Activation("relu")(normalized(x, inner, 1, strides))
        y = layers.Activation("relu")(normalized(y, inner, 3))
        y = normalized(y, 4 * inner, 1)
        return layers.Activation("relu")(layers.Add()([y, normalized(x, 4 * inner, 1, strides) if projects else x]))

    image = layers.Input((224, 224, 3))
    x = layers.MaxPooling2D(3, 2)(layers.Activation("relu")(normalized(image, 64, 7, 2)))
    for inner, count, strides in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            x = block(x, inner, 1 if number else strides, projects=number == 0)
    return Model(image, layers.Dense(1000)(layers.GlobalMaxPooling2D()(x)))


def test_the_order_is_that_of_keras() -> None:
    wanted = keras_rows(tutorial_model())
    found = layer_table.rows(on_meta("tutorial_resnet50"), 224, layout="hwc")
    assert facts(found) == facts(wanted)


def without_padding(rows: Sequence[Row]) -> list[Row]:
    """Keras pads in a layer of its own where torch's convolutions do it themselves: in the blocks, not in the stem."""
    skipped = {row.name: row.connected_to[0] for row in rows if row.type == "ZeroPadding2D" and "block" in row.name}
    return [
        Row(
            row.name,
            row.type,
            row.shape,
            row.parameters,
            0,
            tuple(skipped.get(name, name) for name in row.connected_to),
        )
        for row in rows
        if row.name not in skipped
    ]


def layered(rows: Sequence[Row]) -> list[Counter[tuple[object, ...]]]:
    """The layers by depth, in order; each with what it is and, hashed, the whole graph that leads to it.

    Keras Applications adds the branch to the shortcut, so that of two layers of one depth the shortcut's comes first.
    """
    depth = {row.name: 0 for row in rows}
    for row in reversed(rows):
        for name in row.connected_to:
            depth[name] = max(depth[name], depth[row.name] + 1)
    levels = [depth[row.name] for row in rows]
    assert levels == sorted(levels, reverse=True)
    origin: dict[str, int] = {}
    for row in rows:
        origin[row.name] = hash((row.type, row.shape, row.parameters, *sorted(origin[n] for n in row.connected_to)))
    parts = itertools.groupby(rows, lambda row: depth[row.name])
    return [Counter((row.type, row.shape, row.parameters, origin[row.name]) for row in part) for _, part in parts]


@pytest.mark.parametrize(("ours", "theirs"), [("keras_resnet50", "ResNet50"), ("keras_resnet50v2", "ResNet50V2")])
def test_the_layers_of_keras_applications(ours: str, theirs: str) -> None:
    import keras

    model = getattr(keras.applications, theirs)(weights=None)
    net = on_meta(ours)
    wanted = without_padding(keras_rows(model))
    assert layered(layer_table.rows(net, 224, layout="hwc")) == layered(wanted)
    trainable = sum(prod(weight.shape) for weight in model.trainable_weights)
    assert layer_table.totals(net) == layer_table.Totals(
        model.count_params(), trainable, model.count_params() - trainable
    )


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", (97, 65)), ("se_resnet18", 64), ("cbam_resnet18", 64), ("resnext50_32x4d", 64), ("cifar_highway20", 32),
     ("keras_resnet50v2", 65), ("notes_basic_resnet", 224)],
)  # fmt: skip
def test_multiply_adds_are_half_of_torchs_operations(name: str, size: int | tuple[int, int]) -> None:
    net = on_meta(name).eval()
    height, width = (size, size) if isinstance(size, int) else size
    with FlopCounterMode(display=False) as counter:  # a multiplication and an addition are two
        net(torch.empty(1, 3, height, width, device="meta"))
    assert layer_table.multiply_adds(net, size) * 2 == counter.get_total_flops()


KINDS = ["resnet18", "resnet34_a", "resnet50_v1", "resnet50_v2", "resnet50d", "resnext50_32x4d", "cbam_resnet18",
         "keras_resnet50v2", "cifar_highway20", "tutorial_resnet50", "notes_resnet50", "tiny"]  # fmt: skip
if IN_SOAK:  # in `make soak`
    KINDS = [name for name in zoo.list_models() if not re.search(r"101|1001|110|152|164|200|1202", name)]


@pytest.mark.parametrize("name", KINDS)
def test_the_rows_of_every_network_are_whole(name: str) -> None:
    entry = zoo.find(name)
    net = on_meta(name)
    rows = layer_table.rows(net, entry.imgsz)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for place, row in enumerate(rows):
        assert all(names.index(source) < place for source in row.connected_to)
    assert rows[0].type == "InputLayer"
    assert rows[-1].shape == (None, entry.spec.num_classes)
    totals = layer_table.totals(net)
    assert sum(row.parameters for row in rows) == totals.parameters
    assert totals.trainable == entry.parameters
    assert sum(row.multiply_adds for row in rows) == entry.multiply_adds


def calls(function: Callable[[], object]) -> int:
    """How many calls of Python functions it makes: what it costs, whatever the speed of the machine."""
    profile = cProfile.Profile()
    profile.runcall(function)
    return sum(entry.callcount for entry in profile.getstats())


def test_the_work_grows_with_the_number_of_layers_and_not_with_its_square() -> None:
    few, many = on_meta("cifar_resnet56"), on_meta("cifar_resnet110")
    assert calls(lambda: layer_table.rows(many, 32)) < 1.3 * (110 / 56) * calls(lambda: layer_table.rows(few, 32))


def test_attention_is_in_the_table() -> None:
    rows = {row.name: row for row in layer_table.rows(on_meta("cbam_resnet18"), 64)}
    attention = "stage1.block1.branch.attention"
    once, again = rows[f"{attention}.expand"], rows[f"{attention}.expand_1"]
    assert (once.parameters, again.parameters) == (4 * 64 + 64, 0)  # one layer that is called twice
    assert once.connected_to == (f"{attention}.act",)
    assert again.connected_to == (f"{attention}.act_1",)
    highway = {row.name: row for row in layer_table.rows(on_meta("cifar_highway20"), 32)}
    block = "stage1.block1"
    assert highway[f"{block}.add"].connected_to == (f"{block}.mul", f"{block}.mul_1")
    assert set(highway[f"{block}.mul_1"].connected_to) == {f"{block}.sub", "stem.act"}


def test_frozen_parameters_do_not_count_as_trainable() -> None:
    net = zoo.build("tiny")
    before = layer_table.totals(net)
    for parameter in net.stem.parameters():
        parameter.requires_grad = False
    after = layer_table.totals(net)
    frozen = sum(parameter.numel() for parameter in net.stem.parameters())
    assert after == layer_table.Totals(before.parameters, before.trainable - frozen, before.non_trainable + frozen)


def test_shapes_can_be_had_with_channels_last_and_with_a_batch() -> None:
    net = on_meta("tiny", in_channels=1)
    assert layer_table.rows(net, (40, 32))[0].shape == (None, 1, 40, 32)
    assert layer_table.rows(net, (40, 32), layout="hwc", batch=8)[0].shape == (8, 40, 32, 1)
    with pytest.raises(UserError, match=r"'hcw'.*Did you mean 'hwc'"):
        layer_table.rows(net, 32, layout="hcw")


@pytest.mark.parametrize(
    ("count", "text"),
    [(4_089_184_256, "4.09 G"), (7_801_405_440, "7.80 G"), (252_887_680, "253 M"), (2_781_664, "2.78 M")],
)
def test_large_numbers_have_three_digits(count: int, text: str) -> None:
    assert layer_table.short(count) == text
