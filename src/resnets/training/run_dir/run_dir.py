"""The run directory: its name, `recipe.toml`, `environment.json`, and the metrics of each epoch."""

import json
import platform
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from resnets.atomic_write import TEMPORARY_PREFIX, write_csv, write_text
from resnets.errors import JobError, UserError
from resnets.inference import hardware
from resnets.recipes.override import assign
from resnets.recipes.recipe import Recipe, flat_values
from resnets.tasks import registry
from resnets.training.run_dir import find_run

TIMING_COLUMNS = ("time_seconds", "images_per_second", "data_time_fraction")  # these differ when a run is repeated


def check_name(name: str) -> None:
    """Raise UserError unless `name` is the name of a single folder."""
    if name != Path(name).name or name in ("", ".", ".."):
        problem = f"A run's name is the name of one folder; received '{name}'"
        raise UserError(f"{problem}. Its parent folder is set by `out`.")


def create_run_dir(out: Path, name: str) -> Path:
    """Make the run directory `out/name`, or `out/name-2` and so on: an existing run is never overwritten.

    Raises:
        UserError: `name` is not the name of a single folder.
        JobError: the directory cannot be created.
    """
    check_name(name)
    number = 1
    while True:
        run = out / (name if number == 1 else f"{name}-{number}")
        try:
            run.mkdir(parents=True)
            (run / "weights").mkdir()
        except FileExistsError:
            if out.exists() and not out.is_dir():
                raise UserError(f"'{out}' is a file; `out` is the folder of the runs.") from None
            number += 1
        except OSError as error:
            problem = f"Cannot make the run directory '{run}': {error.strerror}"
            raise JobError(f"{problem}. Choose another with `out`.") from error
        else:
            return run


def earlier_run(run: Path, name: str) -> Path | None:
    """Return the run directory of the same name that was there when `create_run_dir` made `run`; None where there was none."""
    if run.name == name:
        return None
    number = int(run.name.removeprefix(f"{name}-")) - 1
    return run.with_name(name if number == 1 else f"{name}-{number}")


def write_recipe(run: Path, recipe: Recipe, origins: Mapping[str, str]) -> None:
    """Write `recipe.toml`: every value with its origin as a comment; a value that is not set is a comment."""
    lines = ["# Every setting of this run and its origin. `resnets train --resume` reads this file."]
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
    """Set one value in `recipe.toml`; the other lines and their comments stay."""
    path = run / "recipe.toml"
    section, _, name = key.rpartition(".")
    table, lines = "", []
    for line in path.read_text("utf-8").splitlines():
        table = line.strip("[]") if line.startswith("[") else table
        match = table == section and re.match(rf"(# )?{name} (=|is not set)", line)
        lines.append(f"{name} = {_to_toml(value)}  # {origin}" if match else line)
    write_text(path, "\n".join(lines) + "\n")


def _to_toml(value: Any) -> str:
    # JSON strings and lists of numbers are TOML, too, except for characters that JSON escapes as surrogates.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def read_recipe(path: Path) -> Recipe:
    """Read the recipe that `write_recipe` wrote.

    Raises:
        UserError: the file is missing, is not TOML, or has an unknown key or value.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        find_run.check_exists(path.parent)
        raise UserError(f"'{path.parent}' is not a run directory: {path.name}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is damaged: {error}") from error
    flat = {key: value for key, value in content.items() if not isinstance(value, dict)}
    for section, values in content.items():
        if isinstance(values, dict):
            flat |= {f"{section}.{name}": value for name, value in values.items()}
    recipe = Recipe()  # all optional values are unset
    if name := flat.get("task.name"):
        recipe = replace(recipe, task=registry.find(str(name)).Config(name=str(name)))
    for key, value in flat.items():
        recipe = assign(recipe, key, value)
    return recipe


def write_metrics(run: Path, rows: Sequence[Mapping[str, Any]], windows: Sequence[Mapping[str, Any]]) -> None:
    """Write `windows.csv`, then `results.csv` and `metrics.jsonl`, one row per epoch; each file is replaced as a whole.

    Where `metrics.jsonl` has the last step, the other files are complete, too.
    """
    write_csv(run / "windows.csv", windows)
    write_csv(run / "results.csv", rows)
    write_text(run / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def remove_temporary_files(run: Path) -> None:
    """Remove the temporary files of a killed process; no other process may be writing to the directory."""
    for path in run.rglob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)


def read_environment(run: Path) -> dict[str, Any]:
    """Read `environment.json` of the last start; empty where it is missing or damaged."""
    try:
        content = json.loads((run / "environment.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_environment(run: Path, **entries: Any) -> None:
    """Write `environment.json`: the first command, the command of the last resume, the machine, and `entries`."""
    before = read_environment(run).get("command")
    commands = {"command": before or sys.argv} | ({"resumed_by": sys.argv} if before else {})
    write_json(run / "environment.json", {**commands, "machine": machine(), **entries})


def machine() -> dict[str, Any]:
    """Return the properties of this machine that can change the last bits of a result."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    properties = {"system": platform.platform(), "python": platform.python_version(), "cpu": hardware.cpu_name()}
    return properties | {"gpu": gpu, "threads": torch.get_num_threads()}


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("resnets", "torch", "torchvision", "numpy", "pillow")}
