"""The training job from images to a run directory: `resnets.train`."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from resnets import atomic_write, ranks
from resnets.data.datasets import walk_folders
from resnets.data.datasets.dataset import Dataset
from resnets.data.split import lineage
from resnets.errors import UserError
from resnets.progress import log
from resnets.recipes.recipe import Recipe
from resnets.recipes.save_interval import SaveInterval
from resnets.tasks import registry
from resnets.training import console, distributed, frozen_features, loop
from resnets.training.configuration import autoconfig, build_recipe
from resnets.training.evaluation import final_evaluation
from resnets.training.run_dir import extend_run, resume_run, run_dir, run_inputs, state_file, trackers
from resnets.training.setup import count_flops, prepare_run
from resnets.training.setup.build_context import build_context, draw_batch
from resnets.training.setup.prepare_run import SPLIT_NAMES, PreparedRun
from resnets.training.state import TrainContext, TrainState, restore_state
from resnets.weights import download_published
from resnets.weights.hub import library_names


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Attributes:
        run: the run directory.
        metrics: the content of its `metrics.json`; empty without images to evaluate on, without `track.report`, and on ranks
            other than 0. It is
            measured on the test split, or else cross-fitted over the val split:
            count: number of images with a label; unlabeled, skipped: number of images without, and of unreadable ones.
            top1, top5: accuracy, 0 to 1, with top1_interval and top5_interval, (low, high) at 95 %.
            loss: mean cross-entropy, 0 or more; brier: mean Brier score, 0 to 2; both after the temperature.
            precision_macro, recall_macro, f1_macro, balanced_accuracy: means over the classes, 0 to 1.
            ece: expected calibration error, 0 to 1, with ece_interval; a perfectly calibrated model exceeds
                ece_by_chance in 5 of 100 cases.
            mean_confidence: mean probability of the predicted classes, 0 to 1.
            temperature: by which the logits were divided, above 0.
            in_sample: whether the images were used to select the epoch and the temperature.
            selected: the same metrics on the images that were used for that; only where in_sample is false.
            split, protocol: the name of the split, and what was done.
    """

    run: Path
    metrics: dict[str, Any]


def train(
    data: str | Path | None = None,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    task: str | None = None,
    recipe: str | Recipe | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    resume: str | Path | None = None,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    epochs: int | str | None = None,
    batch: int | None = None,
    lr: float | None = None,
    imgsz: int | None = None,
    workers: int | None = None,
    device: str | None = None,
    seed: int | None = None,
    patience: int | None = None,
    freeze: str | int | None = None,
    precision: str | None = None,
    deterministic: bool | None = None,
    cache: str | None = None,
    on_bad: str | None = None,
    balance: str | None = None,
    split_file: str | None = None,
    val_fraction: float | None = None,
    group_by: str | None = None,
    folds: int | None = None,
    fold: int | None = None,
    stem: str | None = None,
    save_every: str | None = None,
    sync_bn: bool | None = None,
    track: str | None = None,
    **other: Any,
) -> TrainResult | None:
    """Train a network on the images at `data` and write the run directory `out/name`.

    Args:
        data: a folder of class folders, a folder of `train` and `val` (and `test`) folders, a manifest (.csv, .jsonl),
            shards, "digits", "digit-scenes" or "shapes".
        model: a name of the zoo; without it the recipe's, or that of the weights.
        weights: "none"; a checkpoint or run directory of resnets; a name of `resnets weights list`; or "imagenet" for the best
            published ones of `model`. A head for other classes is replaced, which is logged. None, without a recipe: the
            best published ones where they are available, or else random weights, which is logged with the reason.
        task: "classification", "multilabel", or another task by name; without it that of the model's name, of the given weights
            or of the data.
        recipe: a name of `resnets.recipes.registry`, or a `Recipe`; without it "scratch", or "finetune" with weights.
        out: folder of the run directories; None for "runs".
        name: name of the run directory; a number is appended if it exists, since no run is overwritten.
        resume: a run directory; the run continues from its last saved state with its own data and recipe. Then `epochs` may
            be "+20", which adds as many epochs to a finished run.
        overrides: `key=value` for any value of the recipe, such as "optim.lr=0.2".
        dry_run: print the complete plan and return None.
        epochs: number of passes over the training images; with `resume` also "+20".
        batch: number of images per step, over all processes.
        lr: peak learning rate.
        imgsz: side of the square input of the network, in pixels.
        workers: number of processes that load images, per rank; 0 for none.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        seed: of all random numbers.
        patience: number of epochs without a better validation result, after which the training stops.
        freeze: "none", "backbone", or the number of stages that are not trained.
        precision: "auto", "fp32", "tf32", "bf16" or "fp16".
        deterministic: use deterministic algorithms only.
        cache: of decoded images in memory: "auto", "ram" or "off".
        on_bad: what to do about unreadable images: "error" or "skip".
        balance: of the classes: "none", "loss" or "sampler".
        split_file: a split that `resnets data split` wrote.
        val_fraction: fraction of the images that are validated on, 0 to 0.9, where the data has no val split.
        group_by: "folder" or a column of the manifest; images of one group stay in one split.
        folds, fold: number of folds of a cross-validation, and the one to validate on, from 1.
        stem: another stem of the network, such as "cifar" for small images.
        save_every: time between two saved states: "200" (steps) or "60s".
        sync_bn: synchronize batch norm over all processes.
        track: log the metrics to "tensorboard", "mlflow" or "wandb" too, or to several, separated by commas.
        other: nothing; the name of an unknown argument raises a UserError with the nearest known one. An argument that is None
            is left to the recipe.

    Returns:
        The run directory and its metrics; None with `dry_run`. On ranks other than 0 the metrics are empty.

    Raises:
        UserError: an argument is wrong, or arguments do not fit each other or the data.
        JobError: the loss became NaN, an image cannot be read, the disk is full.
        KeyboardInterrupt: Ctrl-C; the run can be resumed.
    """
    arguments = dict(locals())
    given = build_recipe.given_arguments(arguments)
    if extra_epochs := extend_run.parse_extra_epochs(epochs):
        del given["epochs"]
    with distributed.process_group() as attempt:
        if resume is not None:
            requested = _requested_values(Path(resume), arguments)
            requested |= {build_recipe.ARGUMENT_KEYS[key]: value for key, value in given.items()}
            return _resume(Path(resume), requested, overrides, extra_epochs)
        if extra_epochs:
            raise UserError(f"`epochs=+{extra_epochs}` adds epochs to a finished run: name the run with `resume`.")
        if data is None:
            raise UserError("Name the images to train on (resnets train DATA), or a run to continue with `resume`.")
        if name is not None:
            run_dir.check_name(name)
        out = "runs" if out is None else out
        if not dry_run and (Path(out).is_dir() or not Path(out).exists()):
            distributed.broadcast_from_main(lambda: atomic_write.check_folder_writable(out))
        request = build_recipe.build_recipe(str(data), model, weights, recipe, given, overrides, task)
        trackers.check_installed(request.builder.recipe)
        prepared = prepare_run.prepare_run(*request)
        if dry_run:
            log(prepare_run.describe_run(prepared))
            return None
        if (earlier_run := attempt.load_run_dir()) is not None:
            log(f"this job was restarted: resuming its run '{earlier_run}'")
            return _resume(earlier_run, {}, (), None)
        # By default the names of the data and the network.
        names = f"{Path(prepared.recipe.data.location).resolve().stem}-{prepared.recipe.model.name}"
        run_name = name or re.sub(r"[^\w.-]+", "_", names).strip("._") or "run"
        run = distributed.broadcast_from_main(lambda: run_dir.create_run_dir(Path(out), run_name))
        if name and run.name != name:
            log(f"'{Path(out) / name}' exists already and is not changed; this run is '{run}'")
        earlier = run_dir.earlier_run(run, run_name)
        if earlier is not None and distributed.is_main() and (stopped := resume_run.describe_stopped(earlier)):
            log(stopped)
        with distributed.main_lock(run):
            if distributed.is_main():
                run_inputs.save_split(run, prepared.dataset)
                if prepared.initial is not None:
                    lineage.write_parent_lineage(run, prepared.initial.lineage, prepared.initial.metadata())
                # Last, since a run with a recipe can be resumed.
                run_dir.write_recipe(run, prepared.recipe, request.builder.origins)
            attempt.save_run_dir(run)
            return _run(run, prepared)


def _run(run: Path, prepared: PreparedRun, *, extra_epochs: int | None = None) -> TrainResult:
    """Train from the latest saved state, or from the beginning where there is none, and evaluate the result."""
    recipe, dataset = prepared.recipe, prepared.dataset
    log(f"run directory: {run}; the state is saved after each epoch and every {SaveInterval.parse(recipe.save.every)}")
    if prepared.flops is not None:
        log(f"cost: {count_flops.format_flops(prepared.flops)}")
    provenance = distributed.broadcast_from_main(lambda: run_inputs.run_provenance(run, recipe, prepared.initial))
    provenance["train_images"] = len(dataset.subset("train"))
    has_state = distributed.broadcast_from_main(lambda: bool(state_file.list_states(run / "state")))
    context = build_context(prepared, provenance, has_state=has_state)
    if distributed.is_main():
        _write_environment(run, prepared, provenance)
        if not (run / "train_batch.jpg").exists():
            draw_batch(context.train_data, dataset.subset("train"), run / "train_batch.jpg")
    state = _restore(run, context, extra_epochs) if has_state else TrainState()
    frozen_features.cache_features(context, state.epoch, run)
    if distributed.is_main():
        context.trackers.start(run, recipe, state.rows)
    loop.run(context, state, run)
    metrics = _evaluate(run, dataset, context, state) if distributed.is_main() and recipe.track.report else {}
    context.trackers.finish(metrics, state.total_step)
    return TrainResult(run, metrics)


def _write_environment(run: Path, prepared: PreparedRun, provenance: dict[str, Any]) -> None:
    """Write `environment.json`, and log what differs from the start of a resumed run."""
    dataset, environment = prepared.dataset, run_dir.read_environment(run)
    resume_run.log_differences(environment)
    unused = walk_folders.describe_unused(dataset.unused, len(dataset.unreadable))
    location = run_inputs.data_location(prepared.recipe)
    values = {"not_used": environment.get("not_used", unused), "flops": prepared.flops, **location, **provenance}
    run_dir.write_environment(run, **values)


def _restore(run: Path, context: TrainContext, extra_epochs: int | None) -> TrainState:
    """Return the latest saved state of the run, loaded into `context`."""
    state = restore_state(context, run)
    if distributed.is_main():
        run_dir.write_metrics(run, state.rows, state.windows)  # without the rows of what came after that state
    if extra_epochs and state.finished:
        extend_run.extend(run, context, state)
    if state.finished:
        log(f"the run is finished, after step {state.total_step}: nothing is left to train; `epochs=+N` adds epochs")
    else:
        log(f"resuming after step {state.total_step} of {context.total_steps}")
    return state


def _evaluate(run: Path, dataset: Dataset, context: TrainContext, state: TrainState) -> dict[str, Any]:
    """Evaluate the best weights of a finished run, log the result, and return the content of `metrics.json`."""
    cross_fit = state.cross_fit
    past = lineage.read_parent_lineage(run, has_initial_weights=context.recipe.model.weights != "none")
    splits = {name: dataset.subset(name) for name in ("test", "val") if name in dataset.splits}
    evaluated = next(iter(splits), None)
    images = f"{SPLIT_NAMES[evaluated]} images" if evaluated else ""
    notice = past.seen_message(splits[evaluated], images, "the initial weights") if evaluated else ""
    metrics = final_evaluation.evaluate_run(
        run,
        context.task,
        splits.get("val", []),
        test=splits.get("test", []),
        notices=[notice] if notice else [],
        device=context.recipe.speed.device,
        precision=context.precision,
        cross_fit=cross_fit if cross_fit is not None and cross_fit.num_epochs == state.epoch else None,
        val_features=frozen_features.validation_features(context, state.best_epoch, run),
    )
    if metrics:
        log(console.format_result(context.task, metrics, state.best_epoch))
    log(f"report: {run / 'report.html'}")
    log(f"next: resnets predict {shlex.quote(str(run))} IMAGE-OR-FOLDER")
    return metrics


def _resume(run: Path, requested: dict[str, Any], overrides: Sequence[str], extra_epochs: int | None) -> TrainResult:
    """Resume `run` from its last saved state, with the same data, split and recipe."""
    recipe = distributed.broadcast_from_main(lambda: resume_run.resumed_recipe(run, requested, overrides))
    trackers.check_installed(recipe)
    autoconfig.check_batch_divisible(recipe.data.batch or ranks.world_size())
    with distributed.main_lock(run):
        if distributed.is_main():
            run_dir.remove_temporary_files(run)
        if distributed.is_main() and not state_file.list_states(run / "state"):
            log("the run was stopped before a state was saved: it starts from the beginning")
        task = registry.find(recipe.task.name)
        dataset = run_inputs.load_dataset(run, recipe, task)
        initial = run_inputs.load_initial_weights(run, recipe)
        run_inputs.check_unchanged(run, recipe, initial)
        if extra_epochs:
            steps = max(len(dataset.subset("train")) // (recipe.data.batch or 1), 1)
            extend = partial(extend_run.extended_recipe, run, recipe, extra_epochs, steps)
            recipe = distributed.broadcast_from_main(extend)
        return _run(run, prepare_run.resume_plan(recipe, task, dataset, initial), extra_epochs=extra_epochs)


def _requested_values(run: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments that are no recipe keys by dotted key, to be compared with the recipe of the run."""
    data, model, weights, recipe = (arguments[key] for key in ("data", "model", "weights", "recipe"))
    name, out = arguments["name"], arguments["out"]
    if arguments["dry_run"]:
        raise UserError("`dry_run` plans a new run; the settings of a resumed run are in its recipe.toml.")
    if name not in (None, run.resolve().name):
        raise UserError(f"`resume` continues '{run}' under its own name; leave out `name={name}`.")
    if out is not None and Path(out).resolve() != run.resolve().parent:
        raise UserError(f"`resume` continues '{run}' in its own folder; leave out `out={out}`.")
    requested = {
        "data.location": None if data is None else str(data),
        "model.name": model,
        "task.name": arguments["task"],
    }
    if weights is not None:  # False and "none" request random ones
        translated = library_names.translate_weights(weights, model)
        requested["model.weights"] = download_published.imagenet_to_name(translated, model)
    requested["name"] = recipe.name if isinstance(recipe, Recipe) else recipe
    return {key: value for key, value in requested.items() if value is not None}
