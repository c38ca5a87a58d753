"""Read the files of a run directory for its report; missing and damaged files are recorded, not errors."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

IMAGES = (
    "results.png",
    "confusion_matrix.png",
    "reliability.png",
    "top_losses.png",
    "val_batch_pred.jpg",
    "train_batch.jpg",
)


class Setting(NamedTuple):
    """A line of `recipe.toml`: `optim.lr`, `0.1`, and the origin of the value."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class RunFiles:
    """The files of a run directory. A missing or damaged file is an empty value, with a message in `problems`."""

    path: Path
    rows: list[dict[str, Any]]  # metrics.jsonl
    metrics: dict[str, Any]  # metrics.json
    per_class: list[dict[str, str]]
    predictions: list[dict[str, str]]
    split: list[dict[str, str]]
    recipe: list[Setting]
    environment: dict[str, Any]
    images: Mapping[str, bytes]
    problems: Mapping[str, str]

    @property
    def is_evaluation(self) -> bool:
        """Whether `resnets evaluate --out` wrote the files: there are metrics, but nothing of a training run."""
        return bool(self.metrics) and not (self.rows or self.recipe or self.environment or self.split)

    def setting(self, key: str) -> str:
        """The value of a key of the recipe as text; an empty string if it is not set."""
        text = next((setting.value for setting in self.recipe if setting.key == key), '""')
        try:
            return str(tomllib.loads(f"value = {text}")["value"])
        except tomllib.TOMLDecodeError:
            return text


def read(run: str | Path) -> RunFiles:
    """Read what a report needs from the directory `run`."""
    run = Path(run)
    problems: dict[str, str] = {}

    def load(name: str, parse, empty):
        try:
            return parse((run / name).read_bytes())
        except FileNotFoundError:
            problems[name] = "is not in the run directory"
        except OSError as error:
            problems[name] = f"cannot be read: {error.strerror}"
        except (ValueError, csv.Error) as error:
            problems[name] = f"is damaged: {error}"
        return empty

    return RunFiles(
        path=run,
        rows=load("metrics.jsonl", _json_lines, []),
        metrics=load("metrics.json", _json_object, {}),
        per_class=load("per_class.csv", _table, []),
        predictions=load("predictions.csv", _table, []),
        split=load("split.csv", _table, []),
        recipe=load("recipe.toml", _settings, []),
        environment=load("environment.json", _json_object, {}),
        images={name: content for name in IMAGES if (content := load(name, bytes, b""))},
        problems=problems,
    )


def _text(content: bytes) -> str:
    # Bytes of file names that are not UTF-8 are kept.
    return content.decode("utf-8", "surrogateescape")


def _json_object(content: bytes) -> dict[str, Any]:
    value = json.loads(_text(content))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _json_lines(content: bytes) -> list[dict[str, Any]]:
    """One row per epoch: the last one of a repeated epoch; an incomplete last line is left out."""
    rows: dict[Any, dict[str, Any]] = {}
    lines = _text(content).rstrip().split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = _json_object(line.encode("utf-8", "surrogateescape"))
        except ValueError:
            if number == len(lines) > 1:
                break
            raise ValueError(f"line {number} is no JSON object") from None
        rows[row.get("epoch")] = row
    return list(rows.values())


def _table(content: bytes) -> list[dict[str, str]]:
    text = _text(content).lstrip("\ufeff")
    return [
        {key: value or "" for key, value in row.items() if key} for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


def _settings(content: bytes) -> list[Setting]:
    """The recipe, statement by statement: the origins are comments, which a TOML reader drops."""
    text = _text(content)
    tomllib.loads(text)  # raises for a file that is not TOML
    settings: list[Setting] = []
    table, incomplete = "", ""
    for line in text.splitlines():
        statement = incomplete + line
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:  # a value that continues in the next line
            incomplete = statement + "\n"
            continue
        incomplete, (key, value) = "", _leaf(parsed)
        if line.lstrip().startswith("[") and statement == line:
            table = f"{key}."
        elif key:
            settings.append(Setting(table + key, *_value_and_origin(statement, value)))
    return settings


def _leaf(value: Any) -> tuple[str, Any]:
    """The dotted key and the value of one TOML statement; an empty key where it has none."""
    names = []
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        names.append(name)
    return ".".join(names), value


def _value_and_origin(statement: str, value: Any) -> tuple[str, str]:
    """The value as written, and its comment: what follows the first `#` outside of the value."""
    lines = statement.split("\n")
    end = len(lines[-1])
    for position in [index for index, character in enumerate(lines[-1]) if character == "#"]:
        with contextlib.suppress(tomllib.TOMLDecodeError):
            tomllib.loads("\n".join([*lines[:-1], lines[-1][:position]]))
            end = position
            break
    written = lines[-1][:end].partition("=")[2].strip() if len(lines) == 1 else json.dumps(value, default=str)
    return written, lines[-1][end + 1 :].strip()
