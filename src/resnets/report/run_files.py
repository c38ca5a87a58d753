"""Read the files of a run directory for its report; missing and damaged files are recorded, not errors."""

import contextlib
import csv
import io
import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}


class Setting(NamedTuple):
    """A value of `recipe.toml`: `optim.lr`, 0.1, and its origin."""

    key: str
    value: Any
    origin: str


class RunFiles:
    """The files of a run directory. A missing or damaged file is an empty value, with a message in `problems`.

    Attributes:
        rows: of `metrics.jsonl`.
        metrics: `metrics.json`.
        splits: for each split of `split.csv` in its usual name, the number of images of each label.
        recipe, environment: `recipe.toml` and `environment.json`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.problems: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = self._load("metrics.jsonl", _json_lines, [])
        self.metrics: dict[str, Any] = self._load("metrics.json", _json_object, {})
        self.splits: dict[str, Counter[str]] = self._load("split.csv", _splits, {})
        self.recipe: list[Setting] = self._load("recipe.toml", _settings, [])
        self.environment: dict[str, Any] = self._load("environment.json", _json_object, {})

    @property
    def is_evaluation(self) -> bool:
        """Whether `resnets evaluate --out` wrote the files: there are metrics, but nothing of a training run."""
        return bool(self.metrics) and not (self.rows or self.recipe or self.environment or self.splits)

    @property
    def shows_selection_images(self) -> bool:
        """Whether the figures show the validation images of a training, on which its epoch was selected."""
        return self.metrics.get("split") == "val" and not self.is_evaluation

    def setting(self, key: str) -> str:
        """The value of a key of the recipe as text; an empty string if it is not set."""
        return next((str(setting.value) for setting in self.recipe if setting.key == key), "")

    def image(self, name: str) -> bytes:
        """The content of an image file."""
        return self._load(name, bytes, b"")

    def _load(self, name: str, parse, empty):
        try:
            return parse((self.path / name).read_bytes())
        except FileNotFoundError:
            self.problems[name] = "is not in the run directory"
        except OSError as error:
            self.problems[name] = f"cannot be read: {error.strerror}"
        except (ValueError, csv.Error) as error:
            self.problems[name] = f"is damaged: {error}"
        return empty


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested JSON or TOML with their dotted keys."""
    if not isinstance(value, dict):
        yield key, value
        return
    for name, inner in value.items():
        yield from leaves(inner, f"{key}.{name}" if key else str(name))


def _text(content: bytes) -> str:
    # Bytes of file names that are not UTF-8 are kept.
    return content.decode("utf-8", "surrogateescape")


def _json_object(content: bytes) -> dict[str, Any]:
    value = json.loads(_text(content))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _json_lines(content: bytes) -> list[dict[str, Any]]:
    return [_json_object(line) for line in content.splitlines() if line.strip()]


def _splits(content: bytes) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {name: Counter() for name in SPLIT_NAMES}
    for row in csv.DictReader(io.StringIO(_text(content), newline="")):
        counts.setdefault(row.get("split") or "", Counter())[row.get("label") or ""] += 1
    return {SPLIT_NAMES.get(name, name): labels for name, labels in counts.items() if name and labels}


def _settings(content: bytes) -> list[Setting]:
    """The values of the recipe; their origins are comments after them, which a TOML reader drops."""
    text, origins, table = _text(content), {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            table = line.strip("[] ") + "."
        key, _, rest = line.partition(" = ")
        with contextlib.suppress(ValueError):  # not a value as the program writes it
            _, end = json.JSONDecoder().raw_decode(rest)
            origins[table + key] = rest[end:].partition("#")[2].strip()
    return [Setting(key, value, origins.get(key, "")) for key, value in leaves(tomllib.loads(text))]
