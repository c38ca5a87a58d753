"""The sheet that all figures are drawn on."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from resnets.errors import JobError
from resnets.report.figures import canvas, training_curves
from resnets.report.figures.canvas import Canvas, Frame

GAUDY = {
    "figure.facecolor": "black", "axes.facecolor": "black", "text.color": "white", "font.size": 40.0,
    "axes.grid": True, "grid.color": "red", "lines.linewidth": 9.0, "lines.marker": "x", "axes.titlesize": 40.0,
    "xtick.color": "white", "ytick.labelsize": 40.0, "axes.spines.top": True, "savefig.dpi": 10.0,
    "figure.constrained_layout.use": True, "text.usetex": True, "axes.xmargin": 0.4, "font.family": ["monospace"],
    "figure.dpi": 300.0, "axes.linewidth": 7.0, "xtick.major.size": 30.0, "axes.axisbelow": False,
}  # fmt: skip


def test_size_and_formats(tmp_path):
    page = Canvas(301, 203)
    for name, kind in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("b.JPEG", "JPEG")):
        with Image.open(page.save(tmp_path / name)) as image:
            assert (image.size, image.format, image.mode) == ((301, 203), kind, "RGB")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png", "b.JPEG"]


def test_images_and_rectangles_lie_where_they_were_put():
    page = Canvas(100, 80)
    own = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    page.image(30, 50, own)
    page.fill(Frame(5, 7, 11, 13), "#CC3311")
    seen = page.pixels()
    assert (seen[50:60, 30:50] == own).all()
    assert (seen[7:20, 5:16] == [0xCC, 0x33, 0x11]).all()
    rest = np.ones((80, 100), bool)
    rest[50:60, 30:50] = rest[7:20, 5:16] = False
    assert (seen[rest] == 255).all()


@pytest.mark.parametrize("align", ["left", "center", "right"])
@pytest.mark.parametrize("keep", ["start", "middle", "end"])
def test_text_stays_within_its_width(align, keep):
    page = Canvas(600, 60)
    page.text(300, 30, "a rather long name of a class, " * 5, size=20, max_width=200, align=align, keep=keep)
    columns = np.flatnonzero((page.pixels() < 128).any(axis=(0, 2)))
    left = {"left": 300, "center": 200, "right": 100}[align]
    assert left - 2 <= columns[0]
    assert columns[-1] <= left + 202
    assert columns[-1] - columns[0] > 150


def test_shortened_keeps_the_part_that_is_asked_for():
    line = "the beginning is here and the end is there"
    short = {keep: canvas.shortened(line, 16, 160, keep=keep) for keep in ("start", "middle", "end")}
    assert short["start"].startswith("the beginn")
    assert short["end"].endswith("end is there")
    assert short["middle"].startswith("the ")
    assert short["middle"].endswith("there")
    assert all(canvas.text_width(text, 16) <= 160 for text in short.values())
    assert canvas.shortened("short", 16, 160) == "short"


def test_dollars_are_no_formula():
    page, other = Canvas(300, 40), Canvas(300, 40)
    page.text(10, 20, "$x$", size=20)
    other.text(10, 20, "x", size=20)
    assert (page.pixels() < 128).sum() > 1.5 * (other.pixels() < 128).sum()


def test_text_is_readable_on_every_color_of_the_matrix():
    for fraction in np.linspace(0, 1, 21):
        for color in (canvas.RIGHT, canvas.WRONG):
            parts = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
            ground = "#" + "".join(f"{round(255 + (part - 255) * fraction):02X}" for part in parts)
            assert canvas.contrast(canvas.readable_on(ground), ground) >= 4.0
    assert canvas.contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert canvas.contrast("#777777", "#777777") == 1
    # The colors that must be told apart keep their distance in lightness or hue from paper, too.
    assert all(
        canvas.contrast(color, canvas.BACKGROUND) >= 2.5 for color in (canvas.TRAINING, canvas.VALIDATION, canvas.WRONG)
    )


def test_what_a_user_set_for_matplotlib_neither_shows_nor_changes(tmp_path, rows):
    plain = training_curves.draw(rows(6), tmp_path / "plain.png").read_bytes()
    with matplotlib.rc_context(GAUDY):
        before = dict(matplotlib.rcParams)
        assert training_curves.draw(rows(6), tmp_path / "gaudy.png").read_bytes() == plain
        assert dict(matplotlib.rcParams) == before


def test_threads_draw_the_same(tmp_path, rows):
    alone = [training_curves.draw(rows(count), tmp_path / f"alone{count}.png").read_bytes() for count in range(1, 5)]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda count: training_curves.draw(rows(count), tmp_path / f"{count}.png"), range(1, 5))
        )
    assert [path.read_bytes() for path in together] == alone


def test_an_unwritable_path_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="Cannot write"):
        Canvas(10, 10).save(tmp_path / "file" / "a.png")


def test_matplotlib_is_not_imported_before_something_is_drawn():
    figures = "training_curves, lr_find_curve, confusion_matrix, image_grid"
    imports = f"from resnets.report.figures import {figures}; from resnets.report.html import page"
    code = f"import sys; {imports}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for path in Path(canvas.__file__).parent.glob("*.py"):
        assert not re.search(r"^(import|from) (matplotlib|jinja2)", path.read_text("utf-8"), re.MULTILINE)
