"""Fonts for text in figures, in any language, without empty boxes.

Matplotlib ships DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian, but neither Chinese, Japanese and
Korean nor most scripts of India. An installed font that has the missing characters is used; otherwise a character is
drawn as its code, `\\u73ab`, so that two classes never look the same. The HTML page uses the browser's fonts.
"""

from __future__ import annotations

import contextlib
import functools
import unicodedata
from collections.abc import Iterable

FIRST = "DejaVu Sans"  # comes with matplotlib
ELLIPSIS = "…"


def tidy(text: str) -> str:
    """One line without control characters, bidirectional overrides or halves of surrogate pairs.

    Half a pair is how Python names a byte of a file name that is not UTF-8; it becomes its code, `\\udcff`.
    """
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(_tidy_letter(letter) for letter in composed).split())


def _tidy_letter(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    if category == "Cf":  # soft hyphens, joiners, overrides: invisible, and a missing glyph in many fonts
        return ""
    return _code(letter) if category == "Cs" else letter


def drawable(text: str) -> str:
    """`text` on one line; a letter that no installed font has is written as its code, a symbol as its name."""
    line = tidy(text)
    missing = frozenset(line) - _letters_of(FIRST)
    if not missing:
        return line
    available = frozenset().union(*(_letters_of(family) for family in families(missing)))
    return "".join(_stand_in(letter) if letter in missing - available else letter for letter in line)


def is_drawable(texts: Iterable[str]) -> bool:
    """Whether all of `texts` appear in images as they are, and not as codes."""
    return all(drawable(text) == tidy(text) for text in texts)


@functools.lru_cache(maxsize=256)
def families(missing: frozenset[str]) -> tuple[str, ...]:
    """The font families, the first one before all others, that together have most of the letters in `missing`."""
    chosen = [FIRST]
    for family in _others() if missing else ():
        has = missing & _letters_of(family)
        if has:
            chosen.append(family)
            missing -= has
        if not missing:
            break
    return tuple(chosen)


def families_for(text: str) -> list[str]:
    """The font families that draw `text`."""
    return list(families(frozenset(text) - _letters_of(FIRST)))


def _stand_in(letter: str) -> str:
    if unicodedata.category(letter) == "So":  # an emoji: its name is more readable than its code
        name = unicodedata.name(letter, "").lower()
        if name:
            return f":{name}:"
    return _code(letter)


def _code(letter: str) -> str:
    number = ord(letter)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


@functools.cache
def has_bold(family: str) -> bool:
    """Whether a bold font is installed; matplotlib warns on stderr for one that is not."""
    from matplotlib.font_manager import fontManager

    bold = ("bold", "demibold", "semibold", "demi", 600, 700)
    return any(entry.name == family and entry.weight in bold for entry in fontManager.ttflist)


@functools.cache
def _others() -> tuple[str, ...]:
    """Every other installed family, those with plain strokes first."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    # Matplotlib caches its list of fonts; those installed since are added here.
    for path in set(findSystemFonts()) - {entry.fname for entry in fontManager.ttflist}:
        with contextlib.suppress(Exception):  # a broken font: there are others
            fontManager.addfont(path)
    regular = ("normal", "regular", "book", "roman", 400)
    names = {entry.name for entry in fontManager.ttflist if entry.style == "normal" and entry.weight in regular}
    # Last Resort draws a box for every character.
    usable = (name for name in names if not name.startswith(("Last Resort", "DejaVu", "STIX", "cm")))
    return tuple(sorted(usable, key=lambda name: (_rank(name), name)))


def _rank(family: str) -> int:
    return 2 if "Serif" in family or "Mono" in family else 0 if "Sans" in family else 1


@functools.cache
def _letters_of(family: str) -> frozenset[str]:
    """The letters that the files which matplotlib would choose for a family have in common."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    weights = ("normal", "bold") if has_bold(family) else ("normal",)
    paths = [findfont(FontProperties(family=family, weight=weight), fallback_to_default=False) for weight in weights]
    sets = [frozenset(map(chr, get_font(path).get_charmap())) for path in paths]
    return frozenset.intersection(*sets)
