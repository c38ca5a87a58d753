"""What a task puts on the page of a run: a headline, numbers and sections made of paragraphs, figures and tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


class KeyNumber(NamedTuple):
    """One number at the top of the page."""

    name: str
    value: str
    note: str = ""


class Figure(NamedTuple):
    """An image file of the run directory; where it is missing, the page says so.

    Args:
        photographs: it shows photographs: a dark page keeps their colors, and a large PNG is embedded as JPEG.
    """

    file: str
    description: str
    caption: str = ""
    photographs: bool = False


class Column(NamedTuple):
    """A column of a table; a cell whose value is None is empty.

    Args:
        kind: "name" and "code" are texts, "number" is aligned at the right and sorted by value.
        bar: the numbers are fractions, and a bar is drawn beside each.
    """

    title: str
    kind: Literal["name", "code", "number"] = "name"
    format: Callable[[Any], str] = str
    bar: bool = False


class Wrong(str):
    """A cell shown as wrong."""


class Table(NamedTuple):
    """Rows of values, one value per column.

    Args:
        summary: the line on which a click opens the table; "" for a table that is always open.
        file: the file that the page names where there are no rows.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    summary: str = ""
    file: str = ""


class Code(NamedTuple):
    """Lines of code."""

    text: str


Block = str | Figure | Table | Code  # a string is a paragraph


class Section(NamedTuple):
    """A part of the page with a title; `anchor` is its address in the page, letters only."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page of a run that its task decides. All texts are plain: the page escapes them."""

    headline: str  # the result in one sentence
    title: str = ""  # above the headline; "" for the name of the run directory
    explanation: str = ""  # how the result was measured
    key_numbers: Sequence[KeyNumber] = ()  # the results; the page adds the training time and the sizes of the splits
    summary: Sequence[str] = ()  # the most important facts, a sentence each
    curves: str = ""  # what the training curves show
    sections: Sequence[Section] = ()  # between the training curves and the data
    data: Sequence[Block] = ()  # what the section on the data shows instead of the number of images of each split
