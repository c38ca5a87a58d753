"""Resume a run with its own recipe, split and weights; incompatible changes are errors, harmless ones are logged."""

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.errors import JobError, UserError
from resnets.message_format import LIST_LIMIT
from resnets.progress import log
from resnets.recipes.override import assign, override
from resnets.recipes.recipe import Recipe, flat_values
from resnets.training.configuration import machine_settings
from resnets.training.run_dir import lock, run_dir, run_inputs, state_file

# These may differ from the run's own recipe.
CHANGEABLE_KEYS = ("data.location", "data.workers", "data.cache", "save.every", "speed.device", "track.to")


def resumed_recipe(run: Path, requested: Mapping[str, Any], overrides: Sequence[str]) -> Recipe:
    """Return the recipe of `run` with the values of CHANGEABLE_KEYS that are `requested` by dotted key.

    Raises:
        UserError: there is no run, or another requested value differs from that of the run.
    """
    if not (run / "recipe.toml").exists() and (runs := _describe_runs(run)):
        raise UserError(f"'{run}' is a folder of runs; name one of them with `resume`: {runs}.")
    saved_recipe = run_dir.read_recipe(run / "recipe.toml")
    location = requested.get("data.location") or run_inputs.find_data(run, saved_recipe.data.location)
    saved_recipe = assign(saved_recipe, "data.location", location)
    changed = saved_recipe
    for key, value in requested.items():
        if not (key == "model.weights" and Path(value).resolve() == Path(saved_recipe.model.weights).resolve()):
            changed = assign(changed, key, value)
    for assignment in overrides:
        changed = override(changed, assignment)
    before = flat_values(saved_recipe)
    changes = {key: value for key, value in flat_values(changed).items() if value not in (before[key], None, "auto")}
    refused = {key: value for key, value in changes.items() if key not in CHANGEABLE_KEYS}
    if others := [f"{key} = {before[key]}, received {value}" for key, value in refused.items()]:
        raise UserError(
            f"`resume` continues '{run}' with its own settings: {'; '.join(others)}. Leave that out, or start a new "
            "run. `epochs=+N` adds epochs to a finished one."
        )
    if "speed.device" in changes:
        changes["speed.device"] = machine_settings.select_device(changes["speed.device"]).value
        log(
            f"started on {saved_recipe.speed.device} and continued on {changes['speed.device']}: "
            "the last bits of the result will differ"
        )
    for key, value in changes.items():
        saved_recipe = assign(saved_recipe, key, value)
    return saved_recipe


def _describe_runs(folder: Path) -> str:
    """Return the runs in a folder with what can be done with each; those that can be resumed come first."""
    unfinished, finished = [], []
    for recipe in sorted(folder.glob("*/recipe.toml")):
        try:
            progress = state_file.read_progress(recipe.parent / "state")
        except UserError:
            unfinished.append(f"'{recipe.parent}' (saved by another version of resnets)")
            continue
        if progress is None:
            unfinished.append(f"'{recipe.parent}' (no state saved)")
        elif progress["finished"]:
            finished.append(f"'{recipe.parent}' (finished; `epochs=+N` adds epochs)")
        else:
            unfinished.append(f"'{recipe.parent}' (can be resumed after step {progress['total_step']})")
    runs = [*unfinished, *finished]
    more = f" and {len(runs) - LIST_LIMIT:,} more" if len(runs) > LIST_LIMIT else ""
    return ", ".join(runs[:LIST_LIMIT]) + more


def describe_stopped(run: Path) -> str:
    """Return where `run` was stopped and how to continue it; empty where it is finished, is running, or has no saved state."""
    with contextlib.suppress(UserError, JobError):
        progress = state_file.read_progress(run / "state")
        if progress is not None and not progress["finished"]:
            with lock.run_lock(run):  # no other process continues it
                step = progress["total_step"]
                return f"'{run}' was stopped after step {step}; `resume={shlex.quote(str(run))}` continues it"
    return ""


def log_differences(saved_environment: Mapping[str, Any]) -> None:
    """Log which versions and properties of the machine differ from the last start and may change the last bits of the result."""
    for what, now in (("versions", run_dir.versions()), ("machine", run_dir.machine())):
        before = saved_environment.get(what, {})
        changed = {name: value for name, value in now.items() if before.get(name, value) != value}
        differences = [f"{name} {before[name]} then, {value} now" for name, value in changed.items()]
        if differences:
            log(f"warning: the last bits of the result may differ: {'; '.join(differences)}")
