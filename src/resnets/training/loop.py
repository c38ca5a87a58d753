"""The training loop: one function over one state object, without hooks.

What a run is made of stands in `Parts`, where it has got to in `State`. The state holds all that the next step depends
on. It is saved at the end of each epoch, every `save.every` on the way, and on Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets import atomic_write, ranks
from resnets.data.loading.epoch_order import EpochStep
from resnets.data.loading.worker_processes import WORKER_DIED, Batch, WorkerError, is_worker_death
from resnets.errors import JobError
from resnets.progress import log, progress_bar
from resnets.recipes.save_interval import SaveInterval
from resnets.training import choose_device, console, distributed
from resnets.training.evaluation import best_checkpoint
from resnets.training.evaluation.validate import epoch_metrics
from resnets.training.optimization import freeze, optimizers
from resnets.training.run_dir import run_dir, state_file
from resnets.training.run_dir.signals import Interrupted, catch_signals
from resnets.training.state import SUMS, TrainContext, TrainState, save


def run(context: TrainContext, state: TrainState, folder: Path) -> TrainState:
    """Train from `state` to the end of the recipe, or to where patience ends.

    Raises:
        JobError: the loss is no finite number, an image went missing, the disk is full.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state and the last weights have been saved.
    """
    interval = SaveInterval.parse(context.recipe.save.every)
    place = state.position(context.train_data.plan.steps_per_epoch)
    with catch_signals() as received, contextlib.closing(_batches(context, place, received)) as batches:
        while not state.finished:
            interval.restart(state.total_step)
            try:
                with _explain_worker_errors(folder):
                    last = _train_epoch(context, state, batches, folder, interval, received)
                row, logits = epoch_metrics(context, state, last, received)
            except Interrupted:
                received.extend([] if received else [0])
                with state_file.explain_save_errors(folder):
                    _save_all(context, state, folder)
                break
            with state_file.explain_save_errors(folder):
                gained = _finish_epoch(context, state, folder, row, logits)
            console.log_epoch(context, state, row, gained=gained)
    if received:
        log(f"stopped after step {state.total_step} of {context.total_steps}; go on with `resume={folder}`")
        raise KeyboardInterrupt
    return state


@contextlib.contextmanager
def _explain_worker_errors(folder: Path) -> Iterator[None]:
    """When a worker process is lost within the block, the error says how the run goes on."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, WorkerError) and not is_worker_death(error):
            raise
        with state_file.explain_save_errors(folder):
            raise (error if isinstance(error, WorkerError) else WorkerError(WORKER_DIED)) from error


def _batches(context: TrainContext, place: EpochStep, received: list[int]) -> Generator[Batch, None, None]:
    """The batches; a signal ends the wait for one that does not come."""

    def on_wait() -> None:
        if received and ranks.world_size() > 1:
            raise KeyboardInterrupt  # the others wait for this step, and could not save with this process
        if received:
            raise Interrupted

    yield from context.train_data.batches(place, on_wait)


def _train_epoch(
    context: TrainContext,
    state: TrainState,
    batches: Iterator[Batch],
    folder: Path,
    interval: SaveInterval,
    received: list[int],
) -> Batch | None:
    """The rest of the epoch that `state` stands in; fewer steps when a signal comes or the run is over.

    Returns:
        The last batch, if there was one.
    """
    batch = None
    console.log_trainable(context, state, freeze.apply(context.net, context.recipe.freeze, epoch=state.epoch))
    if context.ddp_model is None or state.epoch == context.recipe.freeze.head_epochs > 0:
        context.build_ddp_model()
    context.net.train()
    steps = min(context.train_data.plan.steps_per_epoch - state.step, context.total_steps - state.total_step)
    what, before = f"epoch {state.epoch + 1}", state.step
    for _ in progress_bar(range(steps), description=what, total=before + steps, unit="batches", initial=before):
        start = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - start
        with choose_device.explain_compile_errors(context.recipe.speed.compile):
            loss, correct = _train_step(context, state, batch)
        save_now = distributed.is_main() and interval.is_due(state.total_step + 1)
        count = len(batch.indices)
        summed, right, seen, stop, due = distributed.all_reduce_sum(
            loss * count, correct, count, bool(received), save_now
        )
        loss = summed / seen
        if not math.isfinite(loss):
            raise JobError(console.format_not_finite(context, state.total_step + 1, batch, f"The loss became {loss}"))
        if context.lr_controller.after_step(seen - right, seen):
            log(f"step {state.total_step + 1}: the warm-up has ended, the full learning rate begins")
        took = time.perf_counter() - start
        for name, value in zip(SUMS, (summed, right, seen, waited, took), strict=True):
            state.sums[name] += value
        state.step += 1
        state.total_step += 1
        if stop:
            received.extend([] if received else [0])  # another process was told to stop
            break
        if due:
            with state_file.explain_save_errors(folder):
                save(context, state, folder)
            interval.restart(state.total_step)
    return batch


def _train_step(context: TrainContext, state: TrainState, batch: Batch) -> tuple[float, int]:
    """One step of the optimizer; the loss before it, and how many images were classified rightly."""
    trained = context.accept_features(context.net) if context.ddp_model is None else context.ddp_model
    optimizers.set_lr_factor(context.optimizer, context.lr_controller.factor(state.total_step))
    total, right = backward(context, trained, batch)
    if not math.isfinite(total):
        return total, right
    context.optimizer.step()
    if context.ema is not None:
        context.ema.update_parameters(context.net)
    return total, right


def backward(context: TrainContext, trained: nn.Module, batch: Batch) -> tuple[float, int]:
    """Leave the gradient of a batch, clipped as the recipe says, in the network; its loss, and how many images were right.

    A loss that is not finite leaves a gradient that must not be used.
    """
    recipe = context.recipe
    images, targets = context.train_data.augment(batch)
    context.optimizer.zero_grad(set_to_none=True)
    total, right = torch.zeros(()), 0
    slices = images.chunk(recipe.optim.accumulate)
    for number, (part, wanted) in enumerate(zip(slices, targets.chunk(recipe.optim.accumulate), strict=True), start=1):
        with distributed.no_sync_until_last(trained, last=number == len(slices)):
            with choose_device.autocast(context.precision, context.device):
                logits = trained(part)
            loss = cross_entropy(logits.float(), wanted) * (len(part) / len(images))
            loss.backward()
        total = total + loss.detach().cpu()
        right += int((logits.argmax(1) == wanted.argmax(1)).sum())
    if recipe.optim.clip_norm is not None and torch.isfinite(total):
        torch.nn.utils.clip_grad_norm_(context.net.parameters(), recipe.optim.clip_norm)
    return float(total), right


def _finish_epoch(
    context: TrainContext, state: TrainState, folder: Path, row: dict[str, Any], logits: Tensor | None
) -> bool:
    """Take in the row, keep the best weights, decide on the end, and save; True for a gain."""
    state.seconds += state.sums["step_time_seconds"]
    state.rows.append(row)
    state.sums = dict.fromkeys(state.sums, 0.0)
    state.epoch, state.step = state.epoch + 1, 0
    # Without validation images the newest weights count as the best.
    score = state.best if logits is None else best_checkpoint.score(row["val/accuracy_top1"], row["val/loss"])
    gained = logits is None or best_checkpoint.is_better(score, state.best)
    state.epochs_without_gain = 0 if gained else state.epochs_without_gain + 1
    if gained:
        state.best, state.best_epoch = score, state.epoch
    if logits is not None and distributed.is_main():
        state.update_cross_fitting(logits, context.val_labels, context.val_units)
    if row["val/loss"] is not None and context.lr_controller.after_epoch(row["val/loss"]):
        log(f"no gain for {context.recipe.schedule.plateau_epochs} epochs: learning rate lowered")
    patience = context.recipe.stop.patience_epochs
    tired = patience is not None and state.epochs_without_gain >= patience
    state.finished = tired or state.total_step >= context.total_steps
    _save_all(context, state, folder, gained=gained)
    return gained


def _save_all(context: TrainContext, state: TrainState, folder: Path, *, gained: bool = False) -> None:
    """Weights, state, then the journal, which the state holds as well: a kill between the three loses nothing."""
    if distributed.is_main():
        best, last = (folder / "weights" / f"{name}.safetensors" for name in ("best", "last"))
        context.save_weights(last, context.eval_model, state.rows[-1] if state.rows else {})
        if gained:
            atomic_write.link_or_copy(last, best)
    save(context, state, folder)
    if distributed.is_main():
        run_dir.write_metrics(folder, state.rows)
