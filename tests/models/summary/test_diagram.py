"""The drawing of a network: on one page, legible, and nothing over anything else."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from PIL import Image
from tests.in_soak import IN_SOAK

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.summary import diagram

NAMES = [
    "resnet34_a",
    "resnet50_v2",
    "cbam_resnet50",
    "cifar_highway32",
    "notes_resnet50",
    "tiny",
]
if IN_SOAK:  # in `make soak`
    NAMES += [
        "resnet50d",
        "resnet152_v2",
        "plain34",
        "resnet18",
        "resnet34_c",
        "resnext101_64x4d",
        "keras_resnet50v2",
        "cifar_resnet110",
        "wrn_28_10",
    ]


def net_of(name: str, **changes: Any) -> torch.nn.Module:
    with torch.device("meta"):
        return zoo.build(name, **changes)


def drawn(name: str) -> Figure:
    figure = diagram.figure(net_of(name), zoo.find(name).imgsz, title=name)
    FigureCanvasAgg(figure)  # which can measure letters
    return figure


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_a_page_and_nothing_covers_text(name: str) -> None:
    figure = drawn(name)
    width, height = figure.get_size_inches()
    assert width <= 15
    assert height <= 11
    (axes,) = figure.axes
    texts = axes.texts
    frames = [text.get_window_extent() for text in texts]
    for text, frame in zip(texts, frames, strict=True):
        assert text.get_fontsize() >= 6
        assert figure.bbox.contains(frame.x0, frame.y0), text.get_text()
        assert figure.bbox.contains(frame.x1, frame.y1), text.get_text()
    for (one, first), (other, second) in itertools.combinations(zip(texts, frames, strict=True), 2):
        assert not first.overlaps(second), f"{one.get_text()} is over {other.get_text()}"
    # The smallest box that a text's middle lies in holds all of it: no word runs out of its box or under a badge.
    boxes = [patch.get_window_extent() for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    lines = [line_of(patch) for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    for text, frame in zip(texts, frames, strict=True):
        x, y = (frame.x0 + frame.x1) / 2, (frame.y0 + frame.y1) / 2
        box = min((box for box in boxes if box.contains(x, y)), key=lambda box: box.width, default=figure.bbox)
        assert box.x0 <= frame.x0, text.get_text()
        assert frame.x1 <= box.x1, text.get_text()
        if box.width > 1.5 * figure.dpi:  # a sheet or the page, on which lines can be seen
            crossed = any(line.intersects_bbox(frame, filled=False) for line in lines)
            hidden = text.get_text() in ("+", "T")  # the circle of a join covers the line
            assert hidden or not crossed, f"a line crosses {text.get_text()}"
        for badge in (box for box in boxes if box.width < 0.3 * figure.dpi):
            assert badge.contains(x, y) or not badge.overlaps(frame), f"{text.get_text()} is under a badge"


def line_of(patch: FancyArrowPatch) -> Curve:
    """The way of a line in pixels, without the point that closes its arrow, which lies nowhere."""
    path = patch.get_transform().transform_path(patch.get_path())
    drawn = path.codes != Curve.CLOSEPOLY
    return Curve(path.vertices[drawn], path.codes[drawn])


def test_a_deep_network_is_not_larger_than_a_shallow_one() -> None:
    shallow, deep = drawn("resnet50"), drawn("resnet152")
    assert tuple(shallow.get_size_inches()) == tuple(deep.get_size_inches())
    written = [text.get_text() for text in deep.axes[0].texts]
    assert [text for text in written if text.startswith("× ")] == ["× 2", "× 7", "× 35", "× 2"]


def test_the_diagram_has_the_expected_texts() -> None:
    written = {text.get_text() for text in drawn("resnet50").axes[0].texts}
    assert {"resnet50", "stem", "stage1", "stage4", "head", "+", "/2"} <= written
    assert {"56 × 56 × 64", "14 × 14 × 1024  ·  6 blocks", "3×3 conv, 256", "dense, 1000"} <= written
    assert "25,557,032 parameters  ·  4.09 G multiply-adds  ·  images of 224 × 224 × 3" in written
    assert {"identity shortcut", "projection where the shape changes (option B)"} <= written
    plain = {text.get_text() for text in drawn("plain34").axes[0].texts}
    assert "+" not in plain
    assert not any("shortcut" in text for text in plain)


def test_an_svg_can_be_searched_and_is_the_same_each_time(tmp_path: Path) -> None:
    net = net_of("cifar_highway20")
    for name in ("one.svg", "two.svg"):
        diagram.draw(net, tmp_path / name, 32, title="a $highway$ <&>")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    written = ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a $highway$ <&>", "T: 3×3 conv, 32", "gate: T · branch + (1 − T) · input"} <= set(written)


def test_a_png_is_large_enough_to_read(tmp_path: Path) -> None:
    diagram.draw(net_of("tiny"), tmp_path / "tiny.png", (48, 64))
    with Image.open(tmp_path / "tiny.png") as image:
        assert image.width >= 1500
        darkest, lightest = image.convert("L").getextrema()
        assert darkest < 60
        assert lightest == 255


def test_other_formats_and_unwritable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"net\.bmp.*\.svg or \.png"):
        diagram.draw(net_of("tiny"), tmp_path / "net.bmp", 32)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        diagram.draw(net_of("tiny"), tmp_path / "file" / "net.svg", 32)
    with pytest.raises(ValueError, match="too small for this network"):
        diagram.draw(net_of("tutorial_resnet50"), tmp_path / "net.svg", 8)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
