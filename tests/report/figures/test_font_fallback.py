"""Text of any language in figures."""

from __future__ import annotations

import warnings

import pytest

from resnets.report.figures import canvas, font_fallback

NOWHERE = "\U0010fff0"  # for private use; no font has it
NAMES = ["玫瑰 花", "Ромашка", "ورد توليب", "장미", "🌹", "กุหลาบ", "गुलाब", "$x$ $y", "a\nb\x00", "c\udcff"]


@pytest.mark.parametrize(
    "name", ["rose", "Ромашка", "Ωμέγα", "Å é ñ", "ورد", "שלום", "tab\u00e9 (2)", "$5 & $10", "<b>"]
)
def test_letters_of_the_font_that_comes_with_matplotlib_stay(name):
    assert font_fallback.drawable(name) == name


def test_a_letter_that_no_font_has_becomes_its_code():
    assert font_fallback.drawable(f"a{NOWHERE}b") == "a\\U0010fff0b"
    assert not font_fallback.is_drawable(["rose", NOWHERE])
    assert font_fallback.is_drawable(["rose", "Ромашка"])


def test_a_name_is_one_tidy_line():
    assert font_fallback.tidy("two\nlines\tand\x00more ") == "two lines and more"
    assert font_fallback.tidy("e\u0301") == "é"
    assert font_fallback.tidy("turned\u202e back") == "turned back"
    assert font_fallback.drawable(b"caf\xe9.jpg".decode("utf-8", "surrogateescape")) == "caf\\udce9.jpg"


def test_a_long_name_loses_its_middle():
    assert font_fallback.shortened("a name that fits", 16) == "a name that fits"
    short = font_fallback.shortened("the beginning is here and the end is there", 18)
    assert short == "the beginnin…there"
    assert len(font_fallback.shortened("x" * 100_000, 20)) <= 20


def test_text_of_any_language_is_drawn_without_a_warning(tmp_path, caplog):
    with warnings.catch_warnings(), canvas.figure(tmp_path / "a.png", 300, 300, "") as page:
        warnings.simplefilter("error")
        for k, name in enumerate(NAMES):
            page.text(0, k / 10, font_fallback.drawable(name), fontfamily=font_fallback.families())
        page.canvas.draw()
    assert caplog.records == []
