"""The training loop: one function over one state object, without hooks.

`TrainContext` holds what a run is made of, `TrainState` its progress. All that the next step depends on is saved after each
epoch, every `save.every` within an epoch, and on Ctrl-C, SIGTERM and SIGHUP.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets import atomic_write, ranks
from resnets.data.loading.batch import Batch
from resnets.data.loading.epoch_order import EpochStep
from resnets.data.loading.worker_errors import WORKER_DIED, WorkerError, is_worker_death
from resnets.errors import JobError
from resnets.inference import tf32
from resnets.progress import log, progress_bar
from resnets.recipes.save_interval import SaveInterval
from resnets.tasks import epoch_selection
from resnets.training import console, distributed, precision, torch_compile
from resnets.training.evaluation.validate import epoch_metrics
from resnets.training.optimization import freeze, optimizers
from resnets.training.run_dir import run_dir, state_file
from resnets.training.run_dir.signals import Interrupted, catch_signals
from resnets.training.state import SUMS, TrainContext, TrainState, save_state


def run(context: TrainContext, state: TrainState, folder: Path) -> TrainState:
    """Train from `state` until the last step or early stopping, and return `state`.

    Raises:
        JobError: the loss is not finite, an image is missing, the disk is full.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; the state and the last weights have been saved.
    """
    interval = SaveInterval.parse(context.recipe.save.every)
    start = state.position(context.train_data.plan.steps_per_epoch)
    with (
        tf32.disabled(context.device),
        catch_signals() as received,
        contextlib.closing(_batches(context, start, received)) as batches,
    ):
        while not state.finished:
            interval.restart(state.total_step)
            try:
                with _explain_worker_errors(folder):
                    last_batch = _train_epoch(context, state, batches, folder, interval, received)
                row, logits = epoch_metrics(context, state, last_batch, received)
            except Interrupted:
                received.extend([] if received else [0])
                with state_file.explain_save_errors(folder):
                    _save_all(context, state, folder)
                break
            with state_file.explain_save_errors(folder):
                improved = _finish_epoch(context, state, folder, row, logits)
            console.log_epoch(context, state, row, improved=improved)
    if received:
        log(
            f"stopped after step {state.total_step} of {context.total_steps}; continue with `resume={shlex.quote(str(folder))}`"
        )
        raise KeyboardInterrupt
    return state


@contextlib.contextmanager
def _explain_worker_errors(folder: Path) -> Iterator[None]:
    """Add to the error of a lost worker process which state was saved, and how to resume from it."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, WorkerError) and not is_worker_death(error):
            raise
        with state_file.explain_save_errors(folder):
            raise (error if isinstance(error, WorkerError) else WorkerError(WORKER_DIED)) from error


def _batches(context: TrainContext, start: EpochStep, received: list[int]) -> Generator[Batch, None, None]:
    """Yield the batches from `start`; a signal ends the wait for the next one."""

    def check_signals() -> None:
        if received and ranks.world_size() > 1:
            raise KeyboardInterrupt  # the other ranks wait for this step and could not save the state
        if received:
            raise Interrupted

    yield from context.train_data.batches(start, check_signals)


def _train_epoch(
    context: TrainContext,
    state: TrainState,
    batches: Iterator[Batch],
    folder: Path,
    interval: SaveInterval,
    received: list[int],
) -> Batch | None:
    """Train to the end of the current epoch, or until a signal arrives or the run is finished.

    Returns:
        The last batch, if there was one.
    """
    batch = None
    console.log_trainable(context, state, freeze.apply(context.net, context.recipe.freeze, epoch=state.epoch))
    if context.ddp_model is None or state.epoch == context.recipe.freeze.head_epochs > 0:
        context.build_ddp_model()
    context.net.train()
    steps = min(context.train_data.plan.steps_per_epoch - state.step, context.total_steps - state.total_step)
    description, initial = f"epoch {state.epoch + 1}", state.step
    for _ in progress_bar(
        range(steps), description=description, total=initial + steps, unit="batches", initial=initial
    ):
        start = time.perf_counter()
        batch = next(batches)
        data_time = time.perf_counter() - start
        with torch_compile.explain_compile_errors(context.recipe.speed.compile):
            loss, num_correct = _train_step(context, state, batch)
        save_now = distributed.is_main() and interval.is_due(state.total_step + 1)
        count = len(batch.indices)
        total_loss, total_correct, num_images, stop, save_due = distributed.all_reduce_sum(
            loss * count, num_correct, count, bool(received), save_now
        )
        loss = total_loss / num_images
        if not math.isfinite(loss):
            raise JobError(console.format_not_finite(context, state.total_step + 1, batch, f"The loss became {loss}"))
        if context.lr_controller.after_step(num_images - total_correct, num_images):
            log(f"step {state.total_step + 1}: the warm-up has ended; the learning rate is the full one from here on")
        step_time = time.perf_counter() - start
        for name, value in zip(SUMS, (total_loss, total_correct, num_images, data_time, step_time), strict=True):
            state.sums[name] += value
        state.step += 1
        state.total_step += 1
        if stop:
            received.extend([] if received else [0])  # a signal reached another rank
            break
        if save_due:
            with state_file.explain_save_errors(folder):
                save_state(context, state, folder)
            interval.restart(state.total_step)
    return batch


def _train_step(context: TrainContext, state: TrainState, batch: Batch) -> tuple[float, int]:
    """Take one optimizer step; return the loss before it and the number of images that were classified correctly."""
    model = context.accept_features(context.net) if context.ddp_model is None else context.ddp_model
    optimizers.set_lr_factor(context.optimizer, context.lr_controller.factor(state.total_step))
    loss, num_correct = backward(context, model, batch)
    if not math.isfinite(loss):
        return loss, num_correct
    context.optimizer.step()
    if context.ema is not None:
        context.ema.update_parameters(context.net)
    return loss, num_correct


def backward(context: TrainContext, model: nn.Module, batch: Batch) -> tuple[float, int]:
    """Compute the gradient of a batch, clipped as the recipe says; return its loss and the number of correct images.

    The gradient must not be used where the loss is not finite.
    """
    recipe = context.recipe
    images, targets = context.train_data.augment(batch)
    context.optimizer.zero_grad(set_to_none=True)
    total_loss, num_correct = torch.zeros(()), 0
    micro_batches = list(
        zip(images.chunk(recipe.optim.accumulate), targets.chunk(recipe.optim.accumulate), strict=True)
    )
    for index, (x, target) in enumerate(micro_batches, start=1):
        with distributed.no_sync_until_last(model, last=index == len(micro_batches)):
            with precision.autocast(context.precision, context.device):
                logits = model(x)
            loss = cross_entropy(logits.float(), target) * (len(x) / len(images))
            loss.backward()
        total_loss = total_loss + loss.detach().cpu()
        num_correct += int((logits.argmax(1) == target.argmax(1)).sum())
    if recipe.optim.clip_norm is not None and torch.isfinite(total_loss):
        torch.nn.utils.clip_grad_norm_(context.net.parameters(), recipe.optim.clip_norm)
    return float(total_loss), num_correct


def _finish_epoch(
    context: TrainContext, state: TrainState, folder: Path, row: dict[str, Any], logits: Tensor | None
) -> bool:
    """Add the row, update the best score, decide whether to stop, and save; return whether the epoch is the best so far."""
    state.seconds += state.sums["step_time_seconds"]
    state.rows.append(row)
    state.sums = dict.fromkeys(state.sums, 0.0)
    state.epoch, state.step = state.epoch + 1, 0
    # Without validation images the newest weights count as the best.
    score = state.best if logits is None else epoch_selection.score(row["val/accuracy_top1"], row["val/loss"])
    improved = logits is None or epoch_selection.is_better(score, state.best)
    state.num_bad_epochs = 0 if improved else state.num_bad_epochs + 1
    if improved:
        state.best, state.best_epoch = score, state.epoch
    if logits is not None and distributed.is_main():
        state.update_cross_fitting(logits, context.val_labels, context.val_clusters)
    if row["val/loss"] is not None and context.lr_controller.after_epoch(row["val/loss"]):
        log(
            f"no lower validation loss in {context.recipe.schedule.plateau_epochs} epochs: the learning rate is lowered"
        )
    patience = context.recipe.stop.patience_epochs
    early_stop = patience is not None and state.num_bad_epochs >= patience
    state.finished = early_stop or state.total_step >= context.total_steps
    _save_all(context, state, folder, improved=improved)
    context.trackers.log(row)
    return improved


def _save_all(context: TrainContext, state: TrainState, folder: Path, *, improved: bool = False) -> None:
    """Save the weights, the state, then the metrics, which the state holds as well: a kill between them loses nothing."""
    if distributed.is_main():
        best, last = (folder / "weights" / f"{name}.safetensors" for name in ("best", "last"))
        context.save_weights(last, context.eval_model, state.rows[-1] if state.rows else {})
        if improved:
            atomic_write.link_or_copy(last, best)
    save_state(context, state, folder)
    if distributed.is_main():
        run_dir.write_metrics(folder, state.rows)
