"""Read manifests: a .csv or .jsonl list with a row for every image."""

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnets.data.datasets.dataset import Dataset, Sample, build_dataset, labels_of, split_from_name
from resnets.data.loading.thread_pool import call_with_timeout
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize, suggestion

MANIFESTS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
REQUIRED = ("path", "label")
COLUMNS = ("path", "label", "split", "group", "weight")
EXAMPLE = '{"path": "a.jpg", "label": "ant"}'
# What other programs call the two columns (datasets, fastai, Keras, Kaggle's competitions).
ALIASES = {
    "path": ("file_name", "filename", "file", "filepath", "file_path", "image", "image_path", "img", "img_path",
             "image_file", "image_name"),
    "label": ("class", "class_name", "category", "target", "labels"),
}  # fmt: skip
DELIMITERS = ",;\t"  # spreadsheets write the one that their language prefers

Row = tuple[int, dict[str, object]]  # line number from 1, and the values by column


def read_manifest(path: Path) -> Dataset:
    """Read a .csv (first line: names of the columns) or a .jsonl (one object a line).

    Columns (other programs' names for the first two are in `ALIASES`): `path`, relative to the folder of the manifest;
    `label`; optionally `split` (train, val or test), `group`, and `weight` (> 0). Further columns are kept, so that
    any of them can serve as the group.

    Raises:
        UserError: a column is missing, or rows are wrong (each with its line), or files are missing (each named).
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    samples = read_samples(path, read_rows(path), _read_label)
    return build_dataset(path.parent, samples, class_folders=labels_of(samples))


def read_rows(path: Path, required: Sequence[str] = REQUIRED) -> list[Row]:
    """The rows of a .csv or .jsonl.

    Args:
        required: columns that each row needs; other programs' names for them are replaced. If empty, all names stay as they are.

    Raises:
        UserError: a column of `required` is missing, a row has too many values, or there is no row.
    """
    rows = list(_iterate_rows(path, required))
    if not rows:
        raise UserError(f"'{path}' lists no images. Each row needs {' and '.join(required)}.")
    return rows


def first_row(path: Path) -> Mapping[str, object]:
    """The first row of a .csv or .jsonl, with all names as they are; empty without one. The others are not parsed."""
    return next((values for _, values in _iterate_rows(path, ())), {})


def _iterate_rows(path: Path, required: Sequence[str]) -> Iterator[Row]:
    return (_csv_rows if path.suffix.lower() in (".csv", ".tsv") else _json_rows)(path, required)


def read_samples(
    path: Path, rows: Sequence[Row], read_labels: Callable[[Mapping[str, object]], tuple[str, ...]]
) -> list[Sample]:
    """The sample of each row of the manifest at `path`.

    Args:
        read_labels: the labels of a row; it raises ValueError with what is wrong in them.

    Raises:
        UserError: rows are wrong (each with its line), or files are missing (each named).
    """
    samples, lines, wrong = [], [], []
    for line, values in rows:
        try:
            samples.append(_sample(path.parent, values, read_labels))
            lines.append(line)
        except ValueError as error:
            wrong.append(f"line {line}: {error}")
    if wrong:
        raise UserError(f"'{path}' has {_count_and_list('wrong row', wrong)}.")
    exist = call_with_timeout(_FileFinder.find, _FileFinder([sample.path for sample in samples]))
    found = zip(lines, samples, exist, strict=True)
    missing = [f"line {line}: '{sample.path}'" for line, sample, exists in found if not exists]
    if missing:
        base = f" Paths are relative to {path.parent.absolute()}."
        raise UserError(f"'{path}' names {_count_and_list('file', missing, ' that cannot be found')}.{base}")
    return samples


@dataclass
class _FileFinder:
    """Looks for files one after the other; `path` is the current one, which an error names."""

    paths: Sequence[str]
    path: str = ""

    def find(self) -> list[bool]:
        return [self._find(path) for path in self.paths]

    def _find(self, path: str) -> bool:
        self.path = path
        return os.path.isfile(path)


def _count_and_list(what: str, items: list[str], after: str = "") -> str:
    return f"{pluralize(len(items), what)}{after}: {format_list(items, quote=False, separator='; ')}"


def _csv_rows(path: Path, required: Sequence[str]) -> Iterator[Row]:
    text = _text(path)
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        names = _canonical([name.strip() for name in next(reader, [])], required)
        _check_columns(path, names, required)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if any(cells[len(names) :]):
                count = f"{len(cells)} values for {len(names)} columns"
                hint = f"Put quotes around a '{delimiter}' in a value."
                raise UserError(f"'{path}', line {reader.line_num}: {count}. {hint}")
            yield reader.line_num, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise UserError(f"'{path}', line {reader.line_num}: this is not CSV: {error}.") from error


def _json_rows(path: Path, required: Sequence[str]) -> Iterator[Row]:
    # splitlines() would also split at characters such as U+2028, which may stand inside a JSON string.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"'{path}', line {number}: this is not JSON: {error}.") from error
        if not isinstance(values, dict):
            raise UserError(f"'{path}', line {number}: expected an object such as {EXAMPLE}.")
        values = dict(zip(_canonical([name.strip() for name in values], required), values.values(), strict=True))
        _check_columns(path, list(values), required, f", line {number},")
        yield number, values


def _text(path: Path) -> str:
    try:
        # File names that are not UTF-8 reach Python as surrogates, and so must those in a manifest.
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror}.") from error
    if "\0" in text:
        raise UserError(f"'{path}' is not a text file in UTF-8. Save the list as UTF-8.")
    return text


def _canonical(names: list[str], required: Sequence[str]) -> list[str]:
    """The names of the columns, with `path` and `label` instead of other programs' names where these are unambiguous."""
    if not required:
        return names
    names = [name.lower() if name.lower() in COLUMNS else name for name in names]
    for column in required:
        matches = [name for name in names if name.lower() in ALIASES[column]]
        if column not in names and len(matches) == 1:
            names = [column if name == matches[0] else name for name in names]
    return names


def _check_columns(path: Path, names: list[str], required: Sequence[str], where: str = "") -> None:
    for column in required:
        if column not in names:
            hint = suggestion(column, names)
            several = [name for name in names if name.lower() in ALIASES[column]]
            if len(several) > 1:
                hint = f" It could be any of {format_list(several)}: name that one '{column}'."
            raise UserError(f"'{path}'{where} has no column '{column}', only {format_list(names)}.{hint}")
    lower = [name.lower() for name in names]
    twice = {name for name in lower if lower.count(name) > 1}
    if twice:
        raise UserError(f"'{path}'{where} has the column {format_list(sorted(twice))} twice.")


def _read_label(values: Mapping[str, object]) -> tuple[str, ...]:
    label = _word(values, "label")
    if not label:
        raise ValueError("the label is empty")
    return (label,)


def _sample(
    folder: Path, values: Mapping[str, object], read_labels: Callable[[Mapping[str, object]], tuple[str, ...]]
) -> Sample:
    """Raises ValueError with what is wrong in this row."""
    path = _word(values, "path")
    if not path:
        raise ValueError("the path is empty")
    labels = read_labels(values)
    try:
        "".join(labels).encode()
    except UnicodeEncodeError as error:
        raise ValueError("the label is not text in UTF-8; save the list as UTF-8") from error
    word = _word(values, "split")
    if word and split_from_name(word) is None:
        raise ValueError(f"the split '{word}' is not train, val or test")
    group, weight = _word(values, "group") or None, _weight(_word(values, "weight"))
    others = {name.lower(): value for name, value in values.items() if name not in COLUMNS and value is not None}
    columns = {name: str(value) for name, value in others.items()}
    return Sample(os.path.join(folder, path), labels, split_from_name(word), group, weight, columns=columns)


def _word(values: Mapping[str, object], column: str) -> str:
    value = values.get(column)
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        raise ValueError(f"the {column} {json.dumps(value)} is not one word or number")
    return str(value).strip()


def _weight(word: str) -> float:
    try:
        weight = float(word or "1")
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"the weight '{word}' is not a number above 0")
    return weight
