"""The style of all figures, and their files."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from resnets.errors import JobError
from resnets.report.figures import canvas, training_curves

GAUDY = {
    "axes.facecolor": "black", "text.color": "white", "font.size": 40.0, "lines.linewidth": 9.0, "savefig.dpi": 10.0,
    "text.usetex": True, "font.family": ["monospace"], "figure.dpi": 300.0, "xtick.major.size": 30.0,
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("b.JPEG", "JPEG")])
def test_size_and_format(tmp_path, name, kind):
    with canvas.figure(tmp_path / name, 301, 203, "heading"):
        pass
    with Image.open(tmp_path / name) as image:
        assert (image.size, image.format) == ((301, 203), kind)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_a_user_set_for_matplotlib_neither_shows_nor_changes(tmp_path, rows):
    plain = training_curves.draw(rows(6), tmp_path / "plain.png").read_bytes()
    with matplotlib.rc_context(GAUDY):
        before = dict(matplotlib.rcParams)
        assert training_curves.draw(rows(6), tmp_path / "gaudy.png").read_bytes() == plain
        assert dict(matplotlib.rcParams) == before


def test_threads_draw_the_same(tmp_path, rows):
    alone = [training_curves.draw(rows(count), tmp_path / f"alone{count}.png").read_bytes() for count in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda count: training_curves.draw(rows(count), tmp_path / f"{count}.png"), (1, 2)))
    assert [path.read_bytes() for path in together] == alone


def test_an_unwritable_path_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="Cannot write"), canvas.figure(tmp_path / "file" / "a.png", 10, 10, ""):
        pass


def test_matplotlib_is_not_imported_before_something_is_drawn():
    modules = "training_curves, lr_find_curve, image_grid"
    code = f"import sys; from resnets.report.figures import {modules}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for path in Path(canvas.__file__).parent.glob("*.py"):
        assert not re.search(r"^(import|from) (matplotlib|jinja2)", path.read_text("utf-8"), re.MULTILINE)
