"""One training job from a folder of pictures to a run folder: `resnets.train`, and behind `resnets train`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnets.data import sources, split
from resnets.data.sources import Source
from resnets.errors import JobError, UserError, suggestion
from resnets.progress import say
from resnets.recipes import book
from resnets.report import lr_curve
from resnets.train import build, finish, journal, loop, plan
from resnets.train import lr_find as range_test
from resnets.train import resume as resume_file
from resnets.train import state as states
from resnets.train.plan import Draft
from resnets.train.recipe import Recipe, assign, override
from resnets.weights import checkpoint as checkpoints
from resnets.weights import published
from resnets.weights.checkpoint import Checkpoint

MIN_STEPS = 20  # with fewer the smoothed loss is only its own beginning

# What the arguments of `train` are called in a recipe.
KEYS = {
    "epochs": "stop.epochs",
    "batch": "data.batch",
    "lr": "optim.lr",
    "imgsz": "data.imgsz",
    "workers": "data.workers",
    "device": "speed.device",
    "seed": "seed",
    "patience": "stop.patience_epochs",
    "freeze": "freeze.part",
    "precision": "speed.precision",
    "deterministic": "speed.deterministic",
    "cache": "data.cache",
    "on_bad": "data.on_bad",
    "balance": "data.balance",
    "split_file": "data.split_file",
    "val_fraction": "data.val_fraction",
    "group_by": "data.group_by",
    "folds": "data.folds",
    "fold": "data.fold",
    "stem": "model.stem",
}


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind: its folder, and the metrics of its best weights on the validation pictures."""

    run: Path
    metrics: dict[str, Any]


def train(
    data: str | Path | None = None,
    *,
    model: str | None = None,
    weights: str | Path = "none",
    recipe: str | Recipe | None = None,
    out: str | Path = "runs",
    name: str | None = None,
    resume: str | Path | None = None,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    **values: Any,
) -> TrainResult | None:
    """Train a network on the pictures at `data` and write the run folder `out/name`.

    Args:
        data: a folder of class folders, a folder of `train` and `val` (and `test`) folders, a manifest (.csv, .jsonl),
            or "digits" or "shapes".
        model: a name of the zoo; without it the recipe's, or that of the weights.
        weights: "none"; a checkpoint or run folder of ours; a name of `resnets weights list`; or "imagenet" for the best
            published ones of `model`. A head for other classes is replaced, and reported.
        recipe: a name of `resnets.recipes.book`, or a `Recipe`; without it "scratch", or "finetune" with weights.
        name: of the run folder; a number is added when it exists, since no run is written over.
        resume: a run folder whose run goes on from its last saved state, with its own data and recipe.
        overrides: `key=value` for any value of the recipe, such as "optim.lr=0.2".
        dry_run: print the complete plan and return None.
        values: `epochs`, `batch`, `lr`, `imgsz`, `workers`, `device`, `seed`, `patience`, `freeze`, `precision`,
            `deterministic`, `cache`, `on_bad`, `balance`, `split_file`, `val_fraction`, `group_by`, `folds`, `fold`,
            `stem`; None leaves a value to the recipe.

    Raises:
        UserError: what was asked for does not exist or does not fit.
        JobError: the loss became NaN, a picture cannot be read, the disk is full.
        KeyboardInterrupt: Ctrl-C; the run can be resumed.
    """
    given = _given(values)
    if resume is not None:
        _nothing_else(data, model, weights, recipe, name, given, overrides)
        return _resume(Path(resume), given)
    if data is None:
        raise UserError("Name the pictures to train on: resnets train DATA (or go on with --resume RUN).")
    draft, source, parent = _prepared(data, model, weights, recipe, given, overrides)
    if dry_run:
        say(build.outline(draft.recipe, source))
        return None
    run = journal.create(Path(out), name or _name(draft.recipe))
    journal.write_recipe(run, draft.recipe, draft.origins)
    split.write(run / "split.csv", source)
    return _run(run, draft.recipe, source, parent)


def lr_find(
    data: str | Path,
    *,
    model: str | None = None,
    weights: str | Path = "none",
    recipe: str | Recipe | None = None,
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 100,
    out: str | Path = "lr_find.png",
    overrides: Sequence[str] = (),
    **values: Any,
) -> float:
    """The learning rate that a range test suggests for this job; its curve is drawn to `out`.

    The other arguments are those of `train`.

    Raises:
        UserError: `low` is not below `high`, or the job is not possible as asked.
        JobError: the loss never fell.
    """
    if not 0 < low < high:
        raise UserError(
            f"The rates of a range test go from a low to a high one above 0; received {low:g} and {high:g}."
        )
    if steps < MIN_STEPS:
        raise UserError(f"A range test needs at least {MIN_STEPS} steps; received {steps}.")
    draft, source, parent = _prepared(data, model, weights, recipe, _given(values), overrides)
    found = range_test.find(build.parts(draft.recipe, source, parent, {}), low=low, high=high, steps=steps)
    lr_curve.draw(found.rates, found.losses, found.suggestion, Path(out))
    say(f"curve: {out}")
    if found.suggestion is None:
        raise JobError(f"The loss never fell between {low:g} and {high:g}; try other rates with --low and --high.")
    return found.suggestion


def _prepared(
    data: str | Path,
    model: str | None,
    weights: str | Path,
    recipe: str | Recipe | None,
    given: dict[str, Any],
    overrides: Sequence[str],
) -> tuple[Draft, Source, Checkpoint | None]:
    """The complete recipe, the divided and checked pictures, and the weights to begin with."""
    draft = _draft(str(data), model, str(weights), recipe, given, overrides)
    source = sources.read(draft.recipe.data.location)
    parent = None if draft.recipe.model.weights == "none" else checkpoints.read(draft.recipe.model.weights)
    if parent is not None and draft.recipe.model.name is None:
        draft.set("model.name", parent.spec.name, "chosen: the network of the weights")
    source = build.divided(source, draft.recipe)
    plan.complete(draft, build.facts(source, draft.recipe, parent))
    say(f"{draft.recipe.model.name} on {data}, recipe {draft.recipe.name}; chosen for you:")
    build.specification(draft.recipe, source.classes, parent)
    plan.tell(draft)
    build.warn(draft.recipe)
    return draft, source, parent


def _given(values: dict[str, Any]) -> dict[str, Any]:
    unknown = [key for key in values if key not in KEYS]
    if unknown:
        raise UserError(f"train() has no argument '{unknown[0]}'.{suggestion(unknown[0], KEYS)}")
    return {key: value for key, value in values.items() if value is not None}


def _draft(
    data: str,
    model: str | None,
    weights: str,
    recipe: str | Recipe | None,
    given: dict[str, Any],
    overrides: Sequence[str],
) -> Draft:
    """The recipe with everything that the user set, each with its origin."""
    chosen = recipe or ("scratch" if weights == "none" else "finetune")
    draft = Draft(chosen if isinstance(chosen, Recipe) else book.find(chosen, model))
    cuts = [f"--{key.replace('_', '-')}" for key in ("val_fraction", "group_by", "folds", "fold") if key in given]
    if "split_file" in given and cuts:
        raise UserError(f"--split-file says already which picture is in which part; leave out {', '.join(cuts)}.")
    draft.set("data.location", data, "given")
    if model is not None:
        draft.set("model.name", model, "given: --model")
    if weights != "none":
        name = published.chosen(weights, draft.recipe.model.name)
        draft.set("model.weights", name, "given: --weights" + ("" if name == weights else f" {weights}"))
        if model is None and chosen == "scratch":
            draft.set("model.name", None, "chosen: the network of the weights")
    for key, value in given.items():
        draft.set(KEYS[key], str(value) if key == "freeze" else value, f"given: --{key.replace('_', '-')}")
    for assignment in overrides:
        draft.recipe = override(draft.recipe, assignment)
        draft.origins[assignment.partition("=")[0].strip()] = "given: --set"
    return draft


def _run(
    run: Path, recipe: Recipe, source: Source, parent: Checkpoint | None, *, going_on: bool = False
) -> TrainResult:
    say(f"run folder: {run}")
    provenance = _provenance(run, recipe, parent)
    journal.write_environment(run, **provenance)
    parts = build.parts(recipe, source, parent, provenance)
    state = states.State()
    if going_on and resume_file.exists(run / "state"):
        state = states.restore(parts, run)
        say(f"going on after step {state.total_step} of {parts.total_steps}")
    elif going_on:
        say("nothing was saved before the run ended: it begins anew")
    else:
        build.draw_batch(parts.feed, run / "train_batch.jpg")
    loop.run(parts, state, run)
    metrics = finish.finish(run, source.part("val") if "val" in source.parts else [], device=recipe.speed.device)
    if metrics:
        say(f"best: epoch {state.best_epoch}, top-1 {metrics['top1']:.2%} on {metrics['count']} validation pictures")
    say(f"report: {run / 'report.html'}")
    return TrainResult(run, metrics)


def _provenance(run: Path, recipe: Recipe, parent: Checkpoint | None) -> dict[str, Any]:
    """Where the weights come from; the same for a run that was interrupted and one that was not."""
    facts: dict[str, Any] = {"recipe": recipe.name, "seed": recipe.seed, "versions": journal.versions()}
    facts["split_sha256"] = checkpoints.fingerprint(run / "split.csv")
    if parent is not None:
        facts["parent_sha256"] = checkpoints.fingerprint(checkpoints.locate(recipe.model.weights))
    return facts


def _resume(run: Path, given: dict[str, Any]) -> TrainResult:
    """Go on with `run` from its last saved state, with the same data, split and recipe."""
    recipe = journal.read_recipe(run / "recipe.toml")
    for key, value in given.items():
        recipe = assign(recipe, KEYS[key], value)
    source = build.readable(sources.read(recipe.data.location), recipe.data.on_bad)
    source = split.read(run / "split.csv", source)
    parent = None if recipe.model.weights == "none" else checkpoints.read(recipe.model.weights)
    return _run(run, recipe, source, parent, going_on=True)


def _nothing_else(
    data: object,
    model: object,
    weights: str | Path,
    recipe: object,
    name: object,
    given: dict[str, Any],
    overrides: object,
) -> None:
    """A resumed run goes on as it was begun; only what changes nothing but its speed may be set."""
    named = {"DATA": data, "--model": model, "--recipe": recipe, "--name": name, "--set": overrides}
    named["--weights"] = None if weights == "none" else weights
    named |= {f"--{key.replace('_', '-')}": value for key, value in given.items() if key not in ("workers", "cache")}
    extra = [flag for flag, value in named.items() if value]
    if extra:
        raise UserError(f"--resume goes on with the run's own data and recipe; leave out {', '.join(extra)}.")


def _name(recipe: Recipe) -> str:
    """The data and the network, as a folder name."""
    stem = Path(recipe.data.location).resolve().stem
    return re.sub(r"[^\w.-]+", "_", f"{stem}-{recipe.model.name}").strip("._") or "run"
