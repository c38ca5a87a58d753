"""Text of any language in images."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib.tables._g_l_y_f import Glyph
from matplotlib.font_manager import fontManager

from resnets.report.figures import canvas, font_fallback

NOWHERE = "\U0010fff0"  # for private use; no font has it


@pytest.fixture
def font(tmp_path):
    """Install a font that has the letter NOWHERE, and take it away again."""
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "own"])
    builder.setupCharacterMap({ord(NOWHERE): "own", 0x20: "own"})
    builder.setupGlyf({".notdef": Glyph(), "own": Glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "own": (500, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Nowhere Sans", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    path = tmp_path / "nowhere.ttf"
    builder.save(path)
    before = list(fontManager.ttflist)
    fontManager.addfont(path)
    _forget()
    yield "Nowhere Sans"
    fontManager.ttflist[:] = before
    _forget()


def _forget() -> None:
    for cached in (
        font_fallback._others,
        font_fallback._letters_of,
        font_fallback.families,
        font_fallback.has_bold,
        canvas.text_width,
    ):
        cached.cache_clear()


@pytest.mark.parametrize(
    "name", ["rose", "Ромашка", "Ωμέγα", "Å é ñ", "ورد", "שלום", "tab\u00e9 (2)", "$5 & $10", "<b>"]
)
def test_letters_of_the_font_that_comes_with_matplotlib_stay(name):
    assert font_fallback.drawable(name) == name
    assert font_fallback.families_for(name) == [font_fallback.FIRST]


def test_a_letter_that_no_font_has_becomes_its_code_and_a_symbol_its_name():
    assert font_fallback.drawable(f"a{NOWHERE}b") == "a\\U0010fff0b"
    assert not font_fallback.is_drawable(["rose", NOWHERE])
    assert font_fallback.is_drawable(["rose", "Ромашка"])
    # Two classes must not look the same.
    assert font_fallback.drawable("\U0010fff0") != font_fallback.drawable("\U0010fff1")
    if font_fallback.families(frozenset("🫎")) == (font_fallback.FIRST,):
        assert font_fallback.drawable("🫎") in (":moose:", "\\U0001face")


def test_an_installed_font_is_used_for_what_the_first_one_lacks(font):
    assert font_fallback.drawable(f"a{NOWHERE}") == f"a{NOWHERE}"
    assert font_fallback.families_for(f"a{NOWHERE}") == [font_fallback.FIRST, font]
    assert font_fallback.is_drawable([NOWHERE])


def test_a_name_is_one_tidy_line():
    assert font_fallback.tidy("two\nlines\tand\x00more ") == "two lines and more"
    assert font_fallback.tidy("e\u0301") == "é"
    assert font_fallback.tidy("turned\u202e back") == "turned back"
    assert font_fallback.tidy(b"caf\xe9.jpg".decode("utf-8", "surrogateescape")) == "caf\\udce9.jpg"


def test_nothing_is_written_to_stderr_and_no_warning_raised(tmp_path):
    code = (
        "from resnets.report.figures import confusion_matrix\nimport numpy as np\n"
        "names = ['玫瑰 花', 'Ромашка', 'ورد توليب', '장미', '🌹', 'กุหลาบ', 'गुलाब', '$x$ $y', 'a\\nb', 'c\\udcff']\n"
        f"confusion_matrix.draw(np.eye(10, dtype=int) + 1, names, {str(tmp_path / 'matrix.png')!r})\n"
    )
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error:Glyph", "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert (tmp_path / "matrix.png").stat().st_size > 1000
