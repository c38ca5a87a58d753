"""Text of any language in figures, without empty boxes.

Matplotlib ships DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian, but neither Chinese, Japanese and
Korean nor most scripts of India. The usual fonts for these are used where one is installed; otherwise a character is
drawn as its code, `\\u73ab`, so that two classes never look the same. The HTML page uses the browser's fonts.
"""

import functools
import unicodedata
from collections.abc import Iterable

FIRST = "DejaVu Sans"  # comes with matplotlib
OTHERS = (  # come with Linux distributions, Windows or macOS
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Leelawadee UI", "Arial Unicode MS"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji"),
)


def tidy(text: str) -> str:
    """One line without control characters and invisible ones, such as bidirectional overrides."""
    letters = ((letter, unicodedata.category(letter)) for letter in unicodedata.normalize("NFC", text))
    line = "".join(" " if category == "Cc" else letter for letter, category in letters if category != "Cf")
    return " ".join(line.split())


def drawable(text: str) -> str:
    """`text` on one line; a character that no font has is written as its code."""
    return "".join(
        letter if letter in _letters() else letter.encode("ascii", "backslashreplace").decode() for letter in tidy(text)
    )


def is_drawable(texts: Iterable[str]) -> bool:
    """Whether all of `texts` appear in figures as they are, and not as codes."""
    return all(drawable(text) == tidy(text) for text in texts)


def shortened(text: str, limit: int) -> str:
    """`text` as it is drawn, at most `limit` letters wide: its middle is left out, since names often differ at their end."""
    line = drawable(text)
    if _width(line) <= limit:
        return line
    head, tail = line[:limit], line[-limit:]
    while _width(head) + _width(tail) >= limit:
        if _width(head) > 2 * _width(tail):
            head = head[:-1]
        else:
            tail = tail[1:]
    return f"{head.rstrip()}…{tail.lstrip()}"


def _width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


@functools.cache
def families() -> list[str]:
    """The font families that draw names; matplotlib takes each letter from the first one that has it."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [FIRST, *(name for name in OTHERS if name in installed)]


def font_file(line: str) -> str:
    """The file of the first font that has all letters of `line`, for texts drawn by Pillow; DejaVu Sans where none has them."""
    files = list(_letters_by_file())
    return next((file for file in files if set(line) <= _letters_by_file()[file]), files[0])


@functools.cache
def _letters_by_file() -> dict[str, frozenset[str]]:
    from matplotlib.font_manager import findfont, get_font

    return {file: frozenset(map(chr, get_font(file).get_charmap())) for file in map(findfont, families())}


@functools.cache
def _letters() -> frozenset[str]:
    return frozenset().union(*_letters_by_file().values())
