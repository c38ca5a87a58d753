"""Resume a run with its own recipe, split and weights; incompatible changes are errors, harmless ones are logged."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.atomic_write import write_bytes
from resnets.data.datasets import open_dataset, read_shards
from resnets.data.datasets.dataset import SPLIT_FILE, Dataset, IndexedSamples
from resnets.data.image.preprocess import Preprocess
from resnets.data.split import lineage
from resnets.data.split.split_file import read_split, write_split
from resnets.errors import LIST_LIMIT, UserError
from resnets.hashing import sha256
from resnets.models.spec import ResNetSpec
from resnets.models.spec import build as build_network
from resnets.progress import log
from resnets.recipes.override import assign, override
from resnets.recipes.recipe import Recipe, flat_values
from resnets.training import distributed
from resnets.training.configuration import choose_device
from resnets.training.run_dir import run_dir, state_file
from resnets.training.state import TrainContext, TrainState, read_state, save_state
from resnets.weights import find_weights
from resnets.weights import provenance as origins
from resnets.weights.checkpoint import Checkpoint

CHANGEABLE_KEYS = (
    "data.location",
    "data.workers",
    "data.cache",
    "save.every",
    "speed.device",
)  # may differ from the run's own recipe
ORIGIN = "provenance"  # key of the provenance of the initial weights
LOW_LR_FACTOR = 0.1  # of the full learning rate; added epochs that start below it hardly change the weights
MORE_EPOCHS = re.compile(r"\+([1-9]\d*)")


def more_epochs(value: object) -> int | None:
    """Return the N of `--epochs +N`, None for anything else."""
    match = MORE_EPOCHS.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match.group(1)) if match else None


def resumed_recipe(run: Path, requested: Mapping[str, Any], overrides: Sequence[str]) -> Recipe:
    """Return the recipe of `run` with the values of CHANGEABLE_KEYS that are `requested` by dotted key.

    Raises:
        UserError: there is no run, or another requested value differs from that of the run.
    """
    if not (run / "recipe.toml").exists() and (runs := _describe_runs(run)):
        raise UserError(f"'{run}' is a folder of runs; name one of them with `resume`: {runs}.")
    begun = run_dir.read_recipe(run / "recipe.toml")
    begun = assign(begun, "data.location", requested.get("data.location") or _find_data(run, begun.data.location))
    changed = begun
    for key, value in requested.items():
        if not (key == "model.weights" and Path(value).resolve() == Path(begun.model.weights).resolve()):
            changed = assign(changed, key, value)
    for assignment in overrides:
        changed = override(changed, assignment)
    before = flat_values(begun)
    changes = {key: value for key, value in flat_values(changed).items() if value not in (before[key], None, "auto")}
    if others := [
        f"{key} = {before[key]}, received {value}" for key, value in changes.items() if key not in CHANGEABLE_KEYS
    ]:
        raise UserError(
            f"`resume` continues '{run}' with its own settings: {'; '.join(others)}. Leave that out, or start a new "
            "run. `epochs=+N` adds epochs to a finished one."
        )
    if "speed.device" in changes:
        changes["speed.device"] = choose_device.select_device(changes["speed.device"]).value
        log(
            f"started on {begun.speed.device} and continued on {changes['speed.device']}: the last bits of the result will differ"
        )
    for key, value in changes.items():
        begun = assign(begun, key, value)
    return begun


def _describe_runs(folder: Path) -> str:
    """Return the runs in a folder with what can be done with each; those that can be resumed come first."""
    unfinished, finished = [], []
    for recipe in sorted(folder.glob("*/recipe.toml")):
        progress = state_file.read_progress(recipe.parent / "state")
        if progress is None:
            unfinished.append(f"'{recipe.parent}' (no state saved)")
        elif progress["finished"]:
            finished.append(f"'{recipe.parent}' (finished; `epochs=+N` adds epochs)")
        else:
            unfinished.append(f"'{recipe.parent}' (can be resumed after step {progress['total_step']})")
    runs = [*unfinished, *finished]
    more = f" and {len(runs) - LIST_LIMIT:,} more" if len(runs) > LIST_LIMIT else ""
    return ", ".join(runs[:LIST_LIMIT]) + more


def _find_data(run: Path, location: str) -> str:
    """Return the path of the data of a run: that of its last start, or the same relative path below the current folder or a
    folder above the run. Only the content of the data is checked, not its path.
    """
    before = run_dir.read_environment(run).get("data")
    current = Path(location).expanduser()
    if before == str(current.absolute()) and current.exists():
        return location  # as the user typed it: the paths in the files of the run begin with it
    above = [folder / location for folder in run.resolve().parents] if not Path(location).is_absolute() else []
    candidates = [*([Path(str(before))] if before else []), Path(location), *above]
    if found := next((path for path in candidates if path.exists()), None):
        return str(found)
    if open_dataset.is_builtin(location):
        return location
    raise UserError(
        f"The images of '{run}' are no longer at '{location}'. Say where they are now: resnets train DATA "
        f"`resume={shlex.quote(str(run))}`"
    )


def data_location(recipe: Recipe) -> dict[str, str]:
    """Return the absolute path of the data, to find them when the run is resumed from another working directory."""
    path = Path(recipe.data.location).expanduser()
    return {"data": str(path.absolute())} if path.exists() else {}


def load_inputs(run: Path, recipe: Recipe) -> tuple[Dataset, Checkpoint | None]:
    """Return the dataset with the split of the run, and its initial weights.

    Raises:
        UserError: the images, the split or the weights have changed since; the message says which.
    """
    begun = run_dir.read_environment(run)
    dataset = open_dataset.read(recipe.data.location, on_inaccessible=recipe.data.on_bad)
    path = _split_path(run)
    if path.name == read_shards.MANIFEST and isinstance(dataset.samples, IndexedSamples):
        read_shards.check_unchanged(path, dataset)
    else:
        dataset = read_split(path, dataset)
    facts = provenance(run, recipe)
    if begun.get("split_sha256", facts["split_sha256"]) != facts["split_sha256"]:
        raise UserError(f"'{path}' was changed since the run started: with another split it would be another run.")
    if begun.get("parent_sha256") not in (None, facts.get("parent_sha256")):
        raise UserError(f"The weights '{recipe.model.weights}' were changed since the run started from them.")
    return dataset, _parent(run, recipe)


def parent_facts(parent: Checkpoint, path: Path) -> dict[str, Any]:
    """Return what a resumed run needs of its initial weights at `path`; their tensors are in its state."""
    return {
        "spec": parent.spec.to_dict(),
        "preprocess": parent.preprocess.to_dict(),
        "classes": list(parent.class_names),
        ORIGIN: origins.inherited(origins.of_file(parent.provenance, path)),
    }


def _parent(run: Path, recipe: Recipe) -> Checkpoint | None:
    """Return the initial weights of the run; without their values where their file is missing and a state was saved."""
    if recipe.model.weights == "none":
        return None
    facts = lineage.read_parent_facts(run)
    if Path(recipe.model.weights).exists() or not (facts and state_file.list_states(run / "state")):
        return find_weights.read(recipe.model.weights)
    spec = ResNetSpec.from_dict(facts["spec"])
    # The values do not matter: those of the state replace them.
    tensors = build_network(spec).state_dict()
    return Checkpoint(spec, Preprocess.from_dict(facts["preprocess"]), tuple(facts["classes"]), tensors)


def save_split(run: Path, dataset: Dataset) -> None:
    """Save the split of each image in `split.csv`; for shards, a copy of their `shards.json`, which has their checksums."""
    if isinstance(dataset.samples, IndexedSamples):
        write_bytes(run / read_shards.MANIFEST, (dataset.root / read_shards.MANIFEST).read_bytes())
    else:
        write_split(run / SPLIT_FILE, dataset)


def _split_path(run: Path) -> Path:
    return run / (read_shards.MANIFEST if (run / read_shards.MANIFEST).exists() else SPLIT_FILE)


def provenance(run: Path, recipe: Recipe) -> dict[str, Any]:
    """Return the provenance of the weights, which is the same for an interrupted run and one that was not."""
    facts: dict[str, Any] = {"recipe": recipe.name, "seed": recipe.seed, "versions": run_dir.versions()}
    facts["split_sha256"] = sha256(_split_path(run))
    if recipe.model.weights != "none":
        known = run_dir.read_environment(run).get("parent_sha256")
        available = known is None or Path(recipe.model.weights).exists()
        facts["parent_sha256"] = sha256(find_weights.find_file(recipe.model.weights)) if available else known
        if origin := lineage.read_parent_facts(run).get(ORIGIN):
            facts[origins.PARENT] = origin
    return facts


def log_differences(begun: Mapping[str, Any]) -> None:
    """Log which versions and facts of the machine differ from the last start and may change the last bits of the result."""
    for what, now in (("versions", run_dir.versions()), ("machine", run_dir.machine())):
        before = begun.get(what, {})
        differences = [
            f"{name} {before[name]} then, {value} now"
            for name, value in now.items()
            if before.get(name, value) != value
        ]
        if differences:
            log(f"warning: the last bits of the result may differ: {'; '.join(differences)}")


def extended_recipe(run: Path, recipe: Recipe, more: int, steps_per_epoch: int) -> Recipe:
    """Return the recipe of the finished `run` with `more` epochs added; nothing is written.

    Raises:
        UserError: the run is not finished.
    """
    state = read_state(run)
    start = state.total_step if state.finished else state.extended_at
    if start is None:
        raise UserError(
            f"`epochs=+{more}` adds epochs to a finished run; '{run}' is not finished, after epoch {state.epoch}: "
            "resume it without `epochs` first."
        )
    longer = assign(recipe, "stop.epochs", state.epoch + more)
    if recipe.stop.steps is not None:
        longer = assign(recipe, "stop.steps", start + more * steps_per_epoch)
    elif not state.finished:
        longer = assign(recipe, "stop.epochs", start // steps_per_epoch + more)
    if not state.finished and longer != recipe:
        raise UserError(
            f"'{run}' was extended before and is not finished, after epoch {state.epoch}: "
            "resume it without `epochs` first."
        )
    return longer


def extend(run: Path, context: TrainContext, state: TrainState) -> None:
    """Mark the finished run as extended in its state and its `recipe.toml`."""
    recipe, step = context.recipe, state.total_step
    state.finished, state.extended_at, state.num_bad_epochs = False, step, 0
    key, value = ("stop.epochs", recipe.stop.epochs) if recipe.stop.steps is None else ("stop.steps", recipe.stop.steps)
    if distributed.is_main():
        run_dir.set_recipe_value(run, key, value, f"given: --epochs +N after epoch {state.epoch}")
    save_state(context, state, run)
    log(
        f"{context.total_steps - step} more steps, on the schedule of a run of {context.total_steps} from here on: "
        f"the learning rate continues at {context.lr_controller.factor(step):.3g} of its highest value"
    )
    if context.lr_controller.factor(step) < LOW_LR_FACTOR:
        more = f"`epochs=+{state.epoch}` would start at half of the highest learning rate; or "
        log(
            "warning: at such a low learning rate these epochs will change little; "
            f"{more if recipe.schedule.name == 'cosine' else ''}start a new run from these weights: "
            f"resnets train DATA --weights {shlex.quote(str(run))}"
        )
