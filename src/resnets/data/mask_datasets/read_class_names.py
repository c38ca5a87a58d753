"""Read the file that names the classes of masks: `classes.txt`, `classes.csv` or `class_dict.csv`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from resnets.data.datasets.manifests import read_rows
from resnets.data.mask_datasets.mask_classes import MAX_VALUE, Color, color_number
from resnets.data.mask_datasets.mask_layout import ClassTable
from resnets.data.object_datasets.objects import read_class
from resnets.errors import UserError

FILES = ("classes.csv", "class_dict.csv", "classes.txt", "label_colors.txt")  # the last is CamVid's
_NAMES = ("name", "class", "class_name", "label")
_VALUES = ("value", "id", "index")
_COLORS = (("r", "g", "b"), ("red", "green", "blue"))


def find_table(folders: Iterable[Path]) -> ClassTable | None:
    """The classes of the first file there is in the folders; None without one.

    A `classes.txt` has the name of a class in each line, the first for the value 0. A .csv has a column `name`, and a column
    `value`, the columns `r`, `g` and `b`, or both; without `value`, the masks have these colors. A `label_colors.txt` has red,
    green, blue and a name in each line.

    Raises:
        UserError: the file is not of this form, or two classes have the same value.
    """
    file = next((folder / name for folder in folders for name in FILES if (folder / name).is_file()), None)
    if file is None:
        return None
    readers = {"classes.txt": _read_text, "label_colors.txt": _read_colors}
    return readers.get(file.name, _read_csv)(file)


def _read_text(file: Path) -> ClassTable:
    lines = file.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
    names = {number: _name(file, number + 1, line) for number, line in enumerate(lines) if line.strip()}
    if not names:
        raise UserError(f"'{file}' names no class.")
    return ClassTable(names)


def _read_colors(file: Path) -> ClassTable:
    """Lines of red, green, blue and a name."""
    names: dict[int, str] = {}
    colors: dict[str, Color] = {}
    for line, text in enumerate(file.read_bytes().decode("utf-8-sig", errors="replace").splitlines(), 1):
        if words := text.split(maxsplit=3):
            name = _name(file, line, words[3] if len(words) == 4 else "")
            red, green, blue = _numbers(file, line, dict(zip("rgb", words, strict=False)), "rgb", 255)
            colors.setdefault(name, (red, green, blue))
            names.setdefault(color_number((red, green, blue)), name)
    return ClassTable(names, colors, color_coded=True)


def _read_csv(file: Path) -> ClassTable:
    names: dict[int, str] = {}
    colors: dict[str, Color] = {}
    color_coded = False
    for line, row in read_rows(file, required=()):
        values = {key.lower(): value for key, value in row.items()}
        name = _name(file, line, next((values[key] for key in _NAMES if key in values), ""))
        color = next((_numbers(file, line, values, keys, 255) for keys in _COLORS if set(keys) <= set(values)), None)
        key = next((key for key in _VALUES if key in values), None)
        if color is None and key is None:
            raise UserError(f"'{file}' needs a column 'value', or the columns 'r', 'g' and 'b'.")
        if color is not None:
            colors.setdefault(name, color)  # type: ignore[arg-type]
        color_coded = key is None
        value = color_number(color or ()) if key is None else _numbers(file, line, values, (key,), MAX_VALUE)[0]
        if names.setdefault(value, name) != name:
            raise UserError(f"'{file}', line {line}: '{name}' and '{names[value]}' have the same value in the masks.")
    return ClassTable(names, colors, color_coded=color_coded)


def _name(file: Path, line: int, value: object) -> str:
    try:
        return read_class(value)
    except ValueError as error:
        raise UserError(f"'{file}', line {line}: {error}. Each row needs the name of a class.") from error


def _numbers(file: Path, line: int, values: Mapping[str, object], keys: Iterable[str], high: int) -> tuple[int, ...]:
    words = [str(values.get(key, "")).strip() for key in keys]
    if not all(word.isdecimal() and word.isascii() and len(word) < 6 and int(word) <= high for word in words):
        raise UserError(f"'{file}', line {line}: {', '.join(words)} are not whole numbers from 0 to {high:,}.")
    return tuple(map(int, words))
