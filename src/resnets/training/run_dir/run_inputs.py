"""The images, split and initial weights of a run, as its directory records them, and their check when it is resumed."""

import shlex
from pathlib import Path
from typing import Any

from resnets.atomic_write import write_bytes
from resnets.data.datasets import open_dataset, read_shards
from resnets.data.datasets.dataset import SPLIT_FILE, Dataset, IndexedSamples
from resnets.data.split import lineage
from resnets.data.split.split_file import read_split, write_split
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.recipes.recipe import Recipe
from resnets.tasks.base import Task
from resnets.training.run_dir import run_dir, state_file
from resnets.training.setup import initial_weights
from resnets.training.setup.initial_weights import InitialWeights
from resnets.weights import provenance


def save_split(run: Path, dataset: Dataset) -> None:
    """Save the split of each image in `split.csv`; for shards, a copy of their `shards.json`, which has their checksums."""
    if isinstance(dataset.samples, IndexedSamples):
        write_bytes(run / read_shards.MANIFEST, (dataset.root / read_shards.MANIFEST).read_bytes())
    else:
        write_split(run / SPLIT_FILE, dataset)


def _split_path(run: Path) -> Path:
    return run / (read_shards.MANIFEST if (run / read_shards.MANIFEST).exists() else SPLIT_FILE)


def data_location(recipe: Recipe) -> dict[str, str]:
    """Return the absolute path of the data, to find them when the run is resumed from another working directory."""
    path = Path(recipe.data.location).expanduser()
    return {"data": str(path.absolute())} if path.exists() else {}


def find_data(run: Path, location: str) -> str:
    """Return the path of the data of a run: that of its last start, or the same relative path below the current folder or a
    folder above the run. Only the content of the data is checked, not its path.
    """
    environment = run_dir.read_environment(run)
    before = environment.get("data")
    current = Path(location).expanduser()
    if before == str(current.absolute()) and current.exists():
        return location  # as the user typed it: the paths in the files of the run begin with it
    if environment and before is None and open_dataset.is_builtin(location):
        return location  # the data were no folder, whatever has that name now
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


def run_provenance(run: Path, recipe: Recipe, initial: InitialWeights | None) -> dict[str, Any]:
    """Return the provenance of the weights, which is the same for an interrupted run and one that was not."""
    record: dict[str, Any] = {"recipe": recipe.name, "seed": recipe.seed, "versions": run_dir.versions()}
    record["split_sha256"] = sha256(_split_path(run))
    if initial is not None:
        record["parent_sha256"] = initial.sha256 or run_dir.read_environment(run).get("parent_sha256")
        if origin := lineage.read_parent_metadata(run).get("provenance"):
            record[provenance.PARENT] = origin
    return record


def load_dataset(run: Path, recipe: Recipe, task: type[Task]) -> Dataset:
    """Return the dataset with the split of the run.

    Raises:
        UserError: the images have changed since; the message says which.
    """
    dataset = task.read(recipe.data.location, on_inaccessible=recipe.data.on_bad, config=recipe.task)
    path = _split_path(run)
    if path.name == read_shards.MANIFEST and isinstance(dataset.samples, IndexedSamples):
        read_shards.check_unchanged(path, dataset)
        return dataset
    return read_split(path, dataset)


def check_unchanged(run: Path, recipe: Recipe, initial: InitialWeights | None) -> None:
    """Raise UserError where the split or the initial weights have changed since the run started."""
    saved, now = run_dir.read_environment(run), run_provenance(run, recipe, initial)
    if saved.get("split_sha256", now["split_sha256"]) != now["split_sha256"]:
        raise UserError(
            f"'{_split_path(run)}' was changed since the run started: with another split it would be another run."
        )
    if saved.get("parent_sha256") not in (None, now.get("parent_sha256")):
        raise UserError(f"The weights '{recipe.model.weights}' were changed since the run started from them.")


def load_initial_weights(run: Path, recipe: Recipe) -> InitialWeights | None:
    """Return the initial weights of the run; without their tensors where their file is gone and a state was saved."""
    metadata = lineage.read_parent_metadata(run) if recipe.model.weights != "none" else {}
    if metadata and not Path(recipe.model.weights).exists() and state_file.list_states(run / "state"):
        return initial_weights.from_metadata(metadata)
    return initial_weights.read(recipe.model.weights)
