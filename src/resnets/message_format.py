"""The wording that messages share: suggestions, plurals, sizes, lists, and text that is safe for a terminal."""

import difflib
from collections.abc import Iterable, Mapping


def suggestion(received: str, known: Iterable[str], shown: Mapping[str, str] | None = None) -> str:
    """` Did you mean 'x'?` for the nearest of the `known` names, or an empty string when none is near.

    `shown` has how a name is written for the user where that is longer, such as a path.
    """
    near = difflib.get_close_matches(received, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{(shown or {}).get(near[0], near[0])}'?" if near else ""


LIST_LIMIT = 20  # a message names this many files or classes, and counts the rest


def pluralize(count: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_duration(seconds: float) -> str:
    """`45 s`, `12 min`, `2 h 5 min`, rounded; minutes from 90 seconds and hours from 90 minutes on."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min" if minutes >= 90 else f"{minutes} min"


def format_bytes(size: float) -> str:
    """`65.4 MB`: bytes in the largest unit, of powers of 1000, that gives a number of at least 1."""
    if size < 1000:
        return pluralize(round(size), "byte")
    units = ("kB", "MB", "GB", "TB", "PB")
    power = next((power for power in range(1, len(units)) if size < 1000 ** (power + 1)), len(units))
    return f"{size / 1000**power:,.1f} {units[power - 1]}"


def format_list(items: Iterable[object], limit: int = LIST_LIMIT, *, quote: bool = True, separator: str = ", ") -> str:
    """`'a', 'b' and 7 more`: the first `limit` items, made printable, and the number of the others.

    Args:
        quote: whether each item stands in quotes.
        separator: between the items; "; " for items that hold commas.
    """
    texts = [printable(str(item)) for item in items]
    shown = num_shown(len(texts), limit)
    text = separator.join(f"'{each}'" if quote else each for each in texts[:shown])
    if shown == len(texts):
        return text
    return f"{text}{separator.rstrip() if separator != ', ' else ''} and {len(texts) - shown:,} more"


def num_shown(count: int, limit: int) -> int:
    """How many of `count` items to show: at most `limit`, or one more, since "and 1 more" would be as long."""
    return count if count <= limit + 1 else limit


def printable(text: str) -> str:
    r"""One line for a terminal: what would steer it, such as an escape or a line break in a file name, as `\x1b`, `\n`.

    Bytes of a file name that are no text stand in it as surrogates; they stay as they are, and the stream writes the bytes.
    """
    return "".join(each if each.isprintable() or "\udc80" <= each <= "\udcff" else ascii(each)[1:-1] for each in text)
