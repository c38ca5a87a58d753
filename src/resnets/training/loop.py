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
from resnets.data.loading.epoch_order import Place
from resnets.data.loading.worker_processes import DIED, Batch, WorkerError, died
from resnets.errors import JobError
from resnets.progress import log, progress_bar
from resnets.recipes.save_interval import Interval
from resnets.training import choose_device, console, distributed
from resnets.training.evaluation import best_checkpoint
from resnets.training.evaluation.validate import measured
from resnets.training.optimization import freeze, optimizers
from resnets.training.run_dir import run_dir, state_file
from resnets.training.run_dir.signals import Stopped, signals
from resnets.training.state import SUMS, Parts, State, save


def run(parts: Parts, state: State, folder: Path) -> State:
    """Train from `state` to the end of the recipe, or to where patience ends.

    Raises:
        JobError: the loss is no finite number, an image went missing, the disk is full.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state and the last weights have been saved.
    """
    interval = Interval.read(parts.recipe.save.every)
    place = state.place(parts.feed.plan.steps_per_epoch)
    with signals() as received, contextlib.closing(_batches(parts, place, received)) as batches:
        while not state.finished:
            interval.start(state.total_step)
            try:
                with _workers_watched(folder):
                    last = _epoch(parts, state, batches, folder, interval, received)
                row, logits = measured(parts, state, last, received)
            except Stopped:
                received.extend([] if received else [0])
                with state_file.standing(folder):
                    _save_all(parts, state, folder)
                break
            with state_file.standing(folder):
                gained = _close_epoch(parts, state, folder, row, logits)
            console.epoch(parts, state, row, gained=gained)
    if received:
        log(f"stopped after step {state.total_step} of {parts.total_steps}; go on with `resume={folder}`")
        raise KeyboardInterrupt
    return state


@contextlib.contextmanager
def _workers_watched(folder: Path) -> Iterator[None]:
    """When a worker process is lost within the block, the error says how the run goes on."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, WorkerError) and not died(error):
            raise
        with state_file.standing(folder):
            raise (error if isinstance(error, WorkerError) else WorkerError(DIED)) from error


def _batches(parts: Parts, place: Place, received: list[int]) -> Generator[Batch, None, None]:
    """The batches; a signal ends the wait for one that does not come."""

    def waiting() -> None:
        if received and ranks.world_size() > 1:
            raise KeyboardInterrupt  # the others wait for this step, and could not save with this process
        if received:
            raise Stopped

    yield from parts.feed.batches(place, waiting)


def _epoch(
    parts: Parts, state: State, batches: Iterator[Batch], folder: Path, interval: Interval, received: list[int]
) -> Batch | None:
    """The rest of the epoch that `state` stands in; fewer steps when a signal comes or the run is over.

    Returns:
        The last batch, if there was one.
    """
    batch = None
    console.beginning(parts, state, freeze.apply(parts.net, parts.recipe.freeze, epoch=state.epoch))
    if parts.trained is None or state.epoch == parts.recipe.freeze.head_epochs > 0:
        parts.share_gradients()
    parts.net.train()
    steps = min(parts.feed.plan.steps_per_epoch - state.step, parts.total_steps - state.total_step)
    what, before = f"epoch {state.epoch + 1}", state.step
    for _ in progress_bar(range(steps), description=what, total=before + steps, unit="batches", initial=before):
        start = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - start
        with choose_device.compiling(parts.recipe.speed.compile):
            loss, correct = _step(parts, state, batch)
        save_now = distributed.first() and interval.passed(state.total_step + 1)
        count = len(batch.indices)
        summed, right, seen, stop, due = distributed.total(loss * count, correct, count, bool(received), save_now)
        loss = summed / seen
        if not math.isfinite(loss):
            raise JobError(console.not_finite(parts, state.total_step + 1, batch, f"The loss became {loss}"))
        if parts.pace.after_step(seen - right, seen):
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
            with state_file.standing(folder):
                save(parts, state, folder)
            interval.start(state.total_step)
    return batch


def _step(parts: Parts, state: State, batch: Batch) -> tuple[float, int]:
    """One step of the optimizer; the loss before it, and how many images were classified rightly."""
    trained = parts.called(parts.net) if parts.trained is None else parts.trained
    optimizers.set_share(parts.optimizer, parts.pace.share(state.total_step))
    total, right = backward(parts, trained, batch)
    if not math.isfinite(total):
        return total, right
    parts.optimizer.step()
    if parts.ema is not None:
        parts.ema.update_parameters(parts.net)
    return total, right


def backward(parts: Parts, trained: nn.Module, batch: Batch) -> tuple[float, int]:
    """Leave the gradient of a batch, clipped as the recipe says, in the network; its loss, and how many images were right.

    A loss that is not finite leaves a gradient that must not be used.
    """
    recipe = parts.recipe
    images, targets = parts.feed.vary(batch)
    parts.optimizer.zero_grad(set_to_none=True)
    total, right = torch.zeros(()), 0
    slices = images.chunk(recipe.optim.accumulate)
    for number, (part, wanted) in enumerate(zip(slices, targets.chunk(recipe.optim.accumulate), strict=True), start=1):
        with distributed.adding_up(trained, last=number == len(slices)):
            with choose_device.autocast(parts.precision, parts.device):
                logits = trained(part)
            loss = cross_entropy(logits.float(), wanted) * (len(part) / len(images))
            loss.backward()
        total = total + loss.detach().cpu()
        right += int((logits.argmax(1) == wanted.argmax(1)).sum())
    if recipe.optim.clip_norm is not None and torch.isfinite(total):
        torch.nn.utils.clip_grad_norm_(parts.net.parameters(), recipe.optim.clip_norm)
    return float(total), right


def _close_epoch(parts: Parts, state: State, folder: Path, row: dict[str, Any], logits: Tensor | None) -> bool:
    """Take in the row, keep the best weights, decide on the end, and save; True for a gain."""
    state.seconds += state.sums["took_seconds"]
    state.rows.append(row)
    state.sums = dict.fromkeys(state.sums, 0.0)
    state.epoch, state.step = state.epoch + 1, 0
    # Without validation images the newest weights count as the best.
    score = state.best if logits is None else best_checkpoint.score(row["val/accuracy_top1"], row["val/loss"])
    gained = logits is None or best_checkpoint.gained(score, state.best)
    state.epochs_without_gain = 0 if gained else state.epochs_without_gain + 1
    if gained:
        state.best, state.best_epoch = score, state.epoch
    if logits is not None and distributed.first():
        state.take(logits, parts.val_labels, parts.val_units)
    if row["val/loss"] is not None and parts.pace.after_epoch(row["val/loss"]):
        log(f"no gain for {parts.recipe.schedule.plateau_epochs} epochs: learning rate lowered")
    patience = parts.recipe.stop.patience_epochs
    tired = patience is not None and state.epochs_without_gain >= patience
    state.finished = tired or state.total_step >= parts.total_steps
    _save_all(parts, state, folder, gained=gained)
    return gained


def _save_all(parts: Parts, state: State, folder: Path, *, gained: bool = False) -> None:
    """Weights, state, then the journal, which the state holds as well: a kill between the three loses nothing."""
    if distributed.first():
        best, last = (folder / "weights" / f"{name}.safetensors" for name in ("best", "last"))
        parts.save_weights(last, parts.judged, state.rows[-1] if state.rows else {})
        if gained:
            atomic_write.link_or_copy(last, best)
    save(parts, state, folder)
    if distributed.first():
        run_dir.write_rows(folder, state.rows)
