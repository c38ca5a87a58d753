"""The classes of label masks, and the value or color that each has in the files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from resnets.data.object_datasets.objects import read_class
from resnets.errors import UserError
from resnets.message_format import format_list

IGNORE = 255  # the index of pixels that are neither learned nor evaluated
UNKNOWN = 254  # the index of pixels whose value no class has
MAX_CLASSES = 254
MAX_VALUE = 65_535  # of a mask with a number in each pixel
IGNORED_NAMES = frozenset({"ignore", "ignored", "void", "unlabeled", "unlabelled"})
_ENTRY = re.compile(r"\s*(?P<value>\d{1,5}|#[0-9a-fA-F]{6})\s*=(?P<name>.*)", re.DOTALL)

Color = tuple[int, int, int]


@dataclass(frozen=True)
class MaskClasses:
    """The classes of a dataset in the order of the data: the background is first, if there is one.

    Attributes:
        names: of the classes.
        values: of each class, the values of its pixels in the files, 0 to 65,535; if `color_coded`, its colors as numbers
            of 24 bits, 0xRRGGBB.
        colors: of each class, red, green and blue for display; empty where the data have none.
        ignored_values: of pixels without a class.
        color_coded: whether the files have a color in each pixel.
        written: of each class, the value in files of predictions, where that is not its first one in `values`; else empty.
        tolerance: a value, or each of the three parts of a color, may differ by this much from that of a class.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    colors: tuple[Color, ...] = ()
    ignored_values: tuple[int, ...] = ()
    color_coded: bool = False
    tolerance: int = 0
    written: tuple[int, ...] = ()

    @property
    def written_values(self) -> tuple[int, ...]:
        """The value of each class in files of predictions."""
        return self.written or tuple(values[0] for values in self.values)

    def indices(self, values: np.ndarray) -> np.ndarray:
        """The index of the class of each value; IGNORE, or UNKNOWN where no class has it. uint8, of the shape of `values`."""
        table = _table(self)
        found = table[values if values.dtype == np.uint8 else np.minimum(values, len(table) - 1)]
        if self.tolerance and (unknown := found == UNKNOWN).any():
            different, inverse = np.unique(values[unknown], return_inverse=True)
            found[unknown] = self._nearest_within_tolerance(different)[inverse]
        return found

    def _nearest_within_tolerance(self, different: np.ndarray) -> np.ndarray:
        """The index of the nearest value or color within `tolerance`, uint8 (N,) of different values (N,)."""
        known = [(value, index) for index, each in enumerate(self.values) for value in each]
        known += [(value, IGNORE) for value in self.ignored_values]
        numbers, indices = np.array(known, np.int64).T
        distances = np.abs(_channels(different, self.color_coded)[:, None] - _channels(numbers, self.color_coded)).max(
            2
        )
        nearest = distances.argmin(1)
        near = distances[np.arange(len(different)), nearest] <= self.tolerance
        return np.where(near, indices[nearest], UNKNOWN).astype(np.uint8)


def make_classes(
    names: Mapping[int, str],
    colors: Mapping[str, Color] | None = None,
    *,
    ignored: Iterable[int] = (),
    color_coded: bool = False,
    tolerance: int = 0,
) -> MaskClasses:
    """The classes from the name of each value, in order; values with one name are one class, those of `IGNORED_NAMES` none.

    Raises:
        UserError: there are more than 254 classes.
    """
    values: dict[str, list[int]] = {}
    ignored = list(ignored)
    for value, name in names.items():
        if name.lower() in IGNORED_NAMES:
            ignored.append(value)
        else:
            values.setdefault(name, []).append(value)
    if len(values) > MAX_CLASSES:
        raise UserError(f"There are {len(values):,} classes in the masks; at most {MAX_CLASSES} can be trained.")
    shown = tuple(colors[name] for name in values) if colors and set(values) <= set(colors) else ()
    others = tuple(dict.fromkeys(value for value in ignored if not any(value in each for each in values.values())))
    return MaskClasses(tuple(values), tuple(map(tuple, values.values())), shown, others, color_coded, tolerance)


def parse_values(entries: Sequence[str], tolerance: int = 0) -> MaskClasses:
    """The classes that a user gave as `VALUE=NAME`, such as `255=person`, `#804080=road` or `255=ignore`.

    Raises:
        UserError: an entry is not of this form, a value has two names, or numbers and colors are mixed.
    """
    names: dict[int, str] = {}
    kinds = set()
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        name = match["name"] if match else ""
        if match is None or not name.strip():
            raise UserError(
                f"`mask_values` has '{entry}', which is not VALUE=NAME, such as 0=background, 255=person, #804080=road or "
                "255=ignore."
            )
        is_color = match["value"].startswith("#")
        value = int(match["value"].removeprefix("#"), 16 if is_color else 10)
        if names.setdefault(value, read_class(name)) != read_class(name) or (not is_color and value > MAX_VALUE):
            raise UserError(f"`mask_values` has '{entry}': a value is at most {MAX_VALUE:,}, and has one name.")
        kinds.add(is_color)
    if len(kinds) > 1:
        raise UserError(f"`mask_values` has both numbers and colors: {format_list(entries)}. Masks have one of them.")
    classes = make_classes(names, color_coded=kinds == {True}, tolerance=tolerance)
    if not classes.names:
        raise UserError(f"`mask_values` names no class: {format_list(entries)}.")
    return classes


def color_number(color: Sequence[int]) -> int:
    """0xRRGGBB."""
    red, green, blue = color
    return red << 16 | green << 8 | blue


def describe_value(value: int, color_coded: bool) -> str:
    """The value as `mask_values` has it."""
    return f"#{value:06x}" if color_coded else str(value)


@lru_cache(maxsize=4)
def _table(classes: MaskClasses) -> np.ndarray:
    """The index for each value; the last entry, which no class has, is for all that are larger."""
    table = np.full(1 + (1 << 24 if classes.color_coded else MAX_VALUE + 1), UNKNOWN, np.uint8)
    table[list(classes.ignored_values)] = IGNORE
    for index, values in enumerate(classes.values):
        table[list(values)] = index
    return table


def _channels(values: np.ndarray, color_coded: bool) -> np.ndarray:
    """int64 (N, 1) of values, (N, 3) of colors."""
    numbers = values.astype(np.int64)[:, None]
    return numbers >> np.array([16, 8, 0]) & 255 if color_coded else numbers
