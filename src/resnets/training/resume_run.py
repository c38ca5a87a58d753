"""How a run goes on: what it is made of is its own, and what does not fit it any more is refused or said aloud."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.atomic_write import write_bytes
from resnets.data.datasets import open_dataset, read_shards
from resnets.data.datasets.dataset import Dataset, IndexedSamples
from resnets.data.image.preprocess import Preprocess
from resnets.data.split import seen_in_training as ancestry
from resnets.data.split.split_file import read_split, write_split
from resnets.errors import UserError
from resnets.files import sha256
from resnets.models.spec import ResNetSpec
from resnets.models.spec import build as build_network
from resnets.progress import log
from resnets.recipes.recipe import Recipe, assign, flat_values, override
from resnets.training import choose_device, distributed
from resnets.training import state as states
from resnets.training.run_dir import run_dir, state_file
from resnets.training.state import TrainContext, TrainState
from resnets.weights import provenance as origins
from resnets.weights import resolve
from resnets.weights.checkpoint import Checkpoint

CHANGEABLE_KEYS = (
    "data.location",
    "data.workers",
    "data.cache",
    "save.every",
    "speed.device",
)  # what may differ from the run's own recipe
ORIGIN = "provenance"  # key of the facts about the weights at the beginning
LOW_LR_FACTOR = 0.1  # of the highest rate; added epochs that begin below it hardly change the weights
MORE_EPOCHS = re.compile(r"\+([1-9]\d*)")


def more_epochs(asked: object) -> int | None:
    """The N of `--epochs +N`; None for anything else."""
    found = MORE_EPOCHS.fullmatch(asked.strip()) if isinstance(asked, str) else None
    return int(found.group(1)) if found else None


def resumed_recipe(run: Path, asked: Mapping[str, Any], overrides: Sequence[str]) -> Recipe:
    """The recipe of `run`; of the values that are `asked` for by dotted key, those of FREE are taken over.

    Raises:
        UserError: there is no run, or another value is not the one that it was begun with.
    """
    begun = run_dir.read_recipe(run / "recipe.toml")
    begun = assign(begun, "data.location", asked.get("data.location") or _find_data(run, begun.data.location))
    wanted = begun
    for key, value in asked.items():
        if not (key == "model.weights" and Path(value).resolve() == Path(begun.model.weights).resolve()):
            wanted = assign(wanted, key, value)
    for assignment in overrides:
        wanted = override(wanted, assignment)
    before = flat_values(begun)
    changes = {key: value for key, value in flat_values(wanted).items() if value not in (before[key], None, "auto")}
    if others := [
        f"{key} = {before[key]}, received {value}" for key, value in changes.items() if key not in CHANGEABLE_KEYS
    ]:
        raise UserError(
            f"`resume` goes on with '{run}' as it was begun, with {'; '.join(others)}: leave that out, or begin a new "
            "run. `epochs=+N` adds epochs to a finished one."
        )
    if "speed.device" in changes:
        changes["speed.device"] = choose_device.select_device(changes["speed.device"]).value
        log(f"begun on {begun.speed.device}: on {changes['speed.device']} it goes on with other last bits")
    for key, value in changes.items():
        begun = assign(begun, key, value)
    return begun


def _find_data(run: Path, location: str) -> str:
    """Where the data of a run lie now, of which only the content is checked: where they lay when the run was last
    started, or at the same relative path from here or from a folder above the run.
    """
    before = run_dir.read_environment(run).get("data")
    here = Path(location).expanduser()
    if before == str(here.absolute()) and here.exists():
        return location  # as it was typed: the paths in the files of the run begin with it
    above = [folder / location for folder in run.resolve().parents] if not Path(location).is_absolute() else []
    tried = [*([Path(str(before))] if before else []), Path(location), *above]
    if found := next((path for path in tried if path.exists()), None):
        return str(found)
    if open_dataset.is_builtin(location):
        return location
    raise UserError(
        f"The images of '{run}' are no longer at '{location}'. Say where they are now: resnets train DATA "
        f"`resume={shlex.quote(str(run))}`"
    )


def data_location(recipe: Recipe) -> dict[str, str]:
    """What helps to find the data again when the run goes on from another working directory."""
    path = Path(recipe.data.location).expanduser()
    return {"data": str(path.absolute())} if path.exists() else {}


def load_inputs(run: Path, recipe: Recipe) -> tuple[Dataset, Checkpoint | None]:
    """The images in their parts, and the weights that the run began with; both as they were then.

    Raises:
        UserError: images, the split or the weights are not what they were; the message says which.
    """
    begun = run_dir.read_environment(run)
    dataset = open_dataset.read(recipe.data.location, on_inaccessible=recipe.data.on_bad)
    kept = _split_path(run)
    if kept.name == read_shards.MANIFEST and isinstance(dataset.samples, IndexedSamples):
        read_shards.check_unchanged(kept, dataset)
    else:
        dataset = read_split(kept, dataset)
    facts = provenance(run, recipe)
    if begun.get("split_sha256", facts["split_sha256"]) != facts["split_sha256"]:
        raise UserError(f"'{kept}' was changed since the run began, so that it would be another run.")
    if begun.get("parent_sha256") not in (None, facts.get("parent_sha256")):
        raise UserError(f"The weights '{recipe.model.weights}' were changed since the run began from them.")
    return dataset, _parent(run, recipe)


def parent_facts(parent: Checkpoint, path: Path) -> dict[str, Any]:
    """What a run that goes on needs of the weights at `path` that it began from; their tensors are in its state."""
    return {
        "spec": parent.spec.to_dict(),
        "preprocess": parent.preprocess.to_dict(),
        "classes": list(parent.classes),
        ORIGIN: origins.inherited(origins.of_file(parent.provenance, path)),
    }


def _parent(run: Path, recipe: Recipe) -> Checkpoint | None:
    """The weights that the run began from; where their file is gone and a state is there, without their values."""
    if recipe.model.weights == "none":
        return None
    facts = ancestry.read_parent_facts(run)
    if Path(recipe.model.weights).exists() or not (facts and state_file.list_states(run / "state")):
        return resolve.read(recipe.model.weights)
    spec = ResNetSpec.from_dict(facts["spec"])
    # Any values serve: all of them are replaced by those of the state.
    tensors = build_network(spec).state_dict()
    return Checkpoint(spec, Preprocess.from_dict(facts["preprocess"]), tuple(facts["classes"]), tensors)


def save_split(run: Path, dataset: Dataset) -> None:
    """Write down which image is in which part: `split.csv`, or of shards their own `shards.json`, by its digests."""
    if isinstance(dataset.samples, IndexedSamples):
        write_bytes(run / read_shards.MANIFEST, (dataset.root / read_shards.MANIFEST).read_bytes())
    else:
        write_split(run / "split.csv", dataset)


def _split_path(run: Path) -> Path:
    return run / (read_shards.MANIFEST if (run / read_shards.MANIFEST).exists() else "split.csv")


def provenance(run: Path, recipe: Recipe) -> dict[str, Any]:
    """Where the weights come from; the same for a run that was interrupted and one that was not."""
    facts: dict[str, Any] = {"recipe": recipe.name, "seed": recipe.seed, "versions": run_dir.versions()}
    facts["split_sha256"] = sha256(_split_path(run))
    if recipe.model.weights != "none":
        known = run_dir.read_environment(run).get("parent_sha256")
        there = known is None or Path(recipe.model.weights).exists()
        facts["parent_sha256"] = sha256(resolve.locate(recipe.model.weights)) if there else known
        if origin := ancestry.read_parent_facts(run).get(ORIGIN):
            facts[origins.PARENT] = origin
    return facts


def log_differences(begun: Mapping[str, Any]) -> None:
    """Say what is not as it was when the run was last started, and so may change the last bits of the result."""
    for what, now in (("versions", run_dir.versions()), ("machine", run_dir.machine())):
        before = begun.get(what, {})
        other = [
            f"{name} {before[name]} then, {value} now"
            for name, value in now.items()
            if before.get(name, value) != value
        ]
        if other:
            log(f"warning: what follows may differ in the last bits: {'; '.join(other)}")


def extended_recipe(run: Path, recipe: Recipe, more: int, steps_per_epoch: int) -> Recipe:
    """The recipe with `more` epochs after those that the finished `run` has done; nothing is written yet.

    Raises:
        UserError: the run is not finished.
    """
    state = states.read(run)
    start = state.total_step if state.finished else state.extended_at
    if start is None:
        raise UserError(
            f"`epochs=+{more}` adds epochs to a finished run; '{run}' has done {state.epoch} of its own: "
            "go on without `epochs` first."
        )
    longer = assign(recipe, "stop.epochs", state.epoch + more)
    if recipe.stop.steps is not None:
        longer = assign(recipe, "stop.steps", start + more * steps_per_epoch)
    elif not state.finished:
        longer = assign(recipe, "stop.epochs", start // steps_per_epoch + more)
    if not state.finished and longer != recipe:
        raise UserError(
            f"'{run}' was extended before and has not reached its end yet, after epoch {state.epoch}: "
            "go on without `epochs` first."
        )
    return longer


def extend(run: Path, context: TrainContext, state: TrainState) -> None:
    """Take the finished run up again; its `recipe.toml` and its state say so from now on."""
    recipe, step = context.recipe, state.total_step
    state.finished, state.extended_at, state.num_bad_epochs = False, step, 0
    key, value = ("stop.epochs", recipe.stop.epochs) if recipe.stop.steps is None else ("stop.steps", recipe.stop.steps)
    if distributed.is_main():
        run_dir.set_recipe_value(run, key, value, f"given: --epochs +N after epoch {state.epoch}")
    states.save(context, state, run)
    log(
        f"{context.total_steps - step} more steps, on the schedule of a run of {context.total_steps} from here on: "
        f"the learning rate goes on at {context.lr_controller.factor(step):.3g} of its highest"
    )
    if context.lr_controller.factor(step) < LOW_LR_FACTOR:
        more = f"`epochs=+{state.epoch}` would begin at half of the highest rate; or "
        log(
            "warning: at so low a rate these epochs will change little; "
            f"{more if recipe.schedule.name == 'cosine' else ''}begin a new schedule from these weights: "
            f"resnets train DATA --weights {shlex.quote(str(run))}"
        )
