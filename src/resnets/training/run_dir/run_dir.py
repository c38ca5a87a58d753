"""The run folder: its name, its recipe, its machine and its numbers epoch by epoch."""

from __future__ import annotations

import csv
import io
import json
import platform
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from resnets.atomic_write import TEMPORARY_PREFIX, write_text
from resnets.errors import JobError, UserError, suggestion
from resnets.recipes.recipe import Recipe, assign, flat_values

COLUMNS = (
    "epoch",
    "step",
    "time_seconds",
    "train/loss",
    "train/accuracy_top1",
    "val/loss",
    "val/accuracy_top1",
    "val/accuracy_top5",
    "lr",
    "images_per_second",
    "data_time_fraction",
)
TIMING_COLUMNS = ("time_seconds", "images_per_second", "data_time_fraction")  # what differs when a run is repeated


def create_run_dir(out: Path, name: str) -> Path:
    """Make the run folder `out/name`, or `out/name-2` and so on: an older run is never written over.

    Raises:
        UserError: a name that is no single folder name.
        JobError: the folder cannot be made.
    """
    if name != Path(name).name or name in ("", ".", ".."):
        raise UserError(f"A run's name is one folder name; received '{name}'. Where it goes is set by `out`.")
    number = 1
    while True:
        run = out / (name if number == 1 else f"{name}-{number}")
        try:
            run.mkdir(parents=True)
            (run / "weights").mkdir()
        except FileExistsError:
            if out.exists() and not out.is_dir():
                raise UserError(f"'{out}' is a file; `out` is the folder for runs.") from None
            number += 1
        except OSError as error:
            raise JobError(
                f"Cannot make the run folder '{run}': {error.strerror}. Choose another with `out`."
            ) from error
        else:
            return run


def write_recipe(run: Path, recipe: Recipe, origins: Mapping[str, str]) -> None:
    """`recipe.toml`: every value, and behind it where it comes from; a value that is not set is a comment."""
    lines = ["# Every value of this run and its origin. `resnets train --resume` reads this file."]
    table = ""
    for key, value in flat_values(recipe).items():
        section, _, name = key.rpartition(".")
        if section != table:
            lines += ["", f"[{section}]"]
            table = section
        origin = origins.get(key, f"recipe {recipe.name}")
        lines.append(f"# {name} is not set" if value is None else f"{name} = {_to_toml(value)}  # {origin}")
    write_text(run / "recipe.toml", "\n".join(lines) + "\n")


def set_recipe_value(run: Path, key: str, value: Any, origin: str) -> None:
    """Set one value in `recipe.toml`; what the other lines say of their origins stays."""
    path = run / "recipe.toml"
    section, _, name = key.rpartition(".")
    table, lines = "", []
    for line in path.read_text("utf-8").splitlines():
        table = line.strip("[]") if line.startswith("[") else table
        found = table == section and re.match(rf"(# )?{name} (=|is not set)", line)
        lines.append(f"{name} = {_to_toml(value)}  # {origin}" if found else line)
    write_text(path, "\n".join(lines) + "\n")


def _to_toml(value: Any) -> str:
    # A JSON string or a list of numbers is a TOML one too, apart from characters that JSON would escape as surrogates.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def read_recipe(path: Path) -> Recipe:
    """The recipe that `write_recipe` wrote.

    Raises:
        UserError: the file is missing, is no TOML, or has a key or value that no recipe has.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        if not path.parent.exists():
            beside = {run.name: str(run) for run in [*path.parent.parent.glob("*"), *Path("runs").glob("*")]}
            near = suggestion(path.parent.name, beside, shown=beside)
            raise UserError(f"There is no run '{path.parent}'.{near}") from error
        raise UserError(f"'{path.parent}' is no run folder: {path.name}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is damaged: {error}") from error
    flat = {key: value for key, value in content.items() if not isinstance(value, dict)}
    for section, values in content.items():
        if isinstance(values, dict):
            flat |= {f"{section}.{name}": value for name, value in values.items()}
    recipe = Recipe()  # whose values that can be unset are
    for key, value in flat.items():
        recipe = assign(recipe, key, value)
    return recipe


def write_metrics(run: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """`metrics.jsonl` and `results.csv`: one row an epoch, both files whole at any moment."""
    write_text(run / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if row.get(name) is None else row[name] for name in COLUMNS} for row in rows)
    write_text(run / "results.csv", table.getvalue())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def remove_temporary_files(run: Path) -> None:
    """Remove the temporary files that a killed process left behind; nobody else may be writing."""
    for path in run.rglob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)


def read_environment(run: Path) -> dict[str, Any]:
    """What the run was last started with; empty where that was not written."""
    try:
        content = json.loads((run / "environment.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_environment(run: Path, **facts: Any) -> None:
    """`environment.json`: the commands that began the run and took it up last, the machine, the versions, and `facts`."""
    before = read_environment(run).get("command")
    commands = {"command": before or sys.argv} | ({"resumed_by": sys.argv} if before else {})
    write_json(run / "environment.json", {**commands, "machine": machine(), **facts})


def machine() -> dict[str, Any]:
    """What the last bits of a result may depend on, next to the versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    facts = {"system": platform.platform(), "python": platform.python_version(), "cpu": _cpu(), "gpu": gpu}
    return facts | {"threads": torch.get_num_threads()}


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("resnets", "torch", "torchvision", "numpy", "pillow")}


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor()
