"""The training loop: one function over one state object, without hooks.

What a run is made of stands in `Parts`, where it has got to in `State`. The state is saved at the end of each epoch and
on Ctrl-C, and holds all that the next step depends on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from resnets.data.loader import Batch
from resnets.errors import JobError
from resnets.progress import say, track
from resnets.train import freeze, journal, optim, speed
from resnets.train.interrupt import signals
from resnets.train.state import SUMS, Parts, State, save
from resnets.train.validate import validate

HIGH_DATA_SHARE = 0.3


def run(parts: Parts, state: State, folder: Path) -> State:
    """Train from `state` to the end of the recipe, or to where patience ends.

    Raises:
        JobError: the loss is no finite number, a picture went missing, the disk is full.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state and the last weights have been saved.
    """
    batches = parts.feed.batches(state.place)
    with signals() as received:
        while not state.finished:
            last = _epoch(parts, state, batches, received)
            if received:
                _save(parts, state, folder)
                raise KeyboardInterrupt(f"stopped after step {state.total_step}; go on with --resume {folder}")
            _close_epoch(parts, state, folder, last)
    return state


def _epoch(parts: Parts, state: State, batches: Iterator[Batch], received: list[int]) -> Batch | None:
    """The rest of the epoch that `state` stands in; fewer steps when a signal comes or the run is over.

    Returns:
        The last batch, if there was one.
    """
    batch = None
    frozen = freeze.apply(parts.net, parts.recipe.freeze, epoch=state.epoch)
    if state.step == 0 and state.epoch == 0 and frozen:
        say(frozen)
    elif state.step == 0 and state.epoch == parts.recipe.freeze.head_epochs > 0:
        say(frozen or "every tensor learns from here on")
    parts.net.train()
    steps = min(parts.feed.plan.steps_per_epoch - state.step, parts.total_steps - state.total_step)
    for _ in track(range(steps), what=f"epoch {state.epoch + 1}", total=steps, unit="batches"):
        start = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - start
        loss, right = _step(parts, state, batch)
        if not math.isfinite(loss):
            raise JobError(_not_finite(parts, state.total_step + 1, batch, f"The loss became {loss}"))
        seen = len(batch.indices)
        if parts.pace.after_step(seen - right, seen):
            say(f"step {state.total_step + 1}: the warm-up has ended, the full learning rate begins")
        took = time.perf_counter() - start
        for name, value in zip(SUMS, (loss * seen, right, seen, waited, took), strict=True):
            state.sums[name] += value
        state.step += 1
        state.total_step += 1
        if received:
            break
    return batch


def _step(parts: Parts, state: State, batch: Batch) -> tuple[float, int]:
    """One step of the optimizer; the loss before it, and how many pictures were classified rightly."""
    recipe = parts.recipe
    optim.set_share(parts.optimizer, parts.pace.share(state.total_step))
    pictures, targets = parts.feed.vary(batch)
    parts.optimizer.zero_grad(set_to_none=True)
    total, right = torch.zeros(()), 0
    for part, wanted in zip(
        pictures.chunk(recipe.optim.accumulate), targets.chunk(recipe.optim.accumulate), strict=True
    ):
        with speed.autocast(parts.precision, parts.device):
            logits = parts.net(part)
        loss = cross_entropy(logits.float(), wanted) * (len(part) / len(pictures))
        loss.backward()
        total = total + loss.detach().cpu()
        right += int((logits.argmax(1) == wanted.argmax(1)).sum())
    if not torch.isfinite(total):
        return float(total), right
    if recipe.optim.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(parts.net.parameters(), recipe.optim.clip_norm)
    parts.optimizer.step()
    if parts.ema is not None:
        parts.ema.update_parameters(parts.net)
    return float(total), right


def _not_finite(parts: Parts, step: int, batch: Batch | None, what: str) -> str:
    rate = max(group["lr"] for group in parts.optimizer.param_groups)
    files = ", ".join(parts.feed.paths[index] for index in batch.indices.tolist()) if batch else "none"
    epoch = (step - 1) // parts.feed.plan.steps_per_epoch + 1
    return (
        f"{what} at step {step} (epoch {epoch}, lr {rate:g}); try a lower --lr or --set optim.clip_norm=1. "
        f"The pictures of that batch: {files}"
    )


def _close_epoch(parts: Parts, state: State, folder: Path, last: Batch | None) -> None:
    """Validate, write the row, keep the best weights, decide on the end, and save the state last of all."""
    seen = max(state.sums["seen"], 1)
    state.seconds += state.sums["took_seconds"]
    row: dict[str, Any] = {"epoch": state.epoch + 1, "step": state.total_step, "time_seconds": round(state.seconds, 2)}
    row |= {"train/loss": state.sums["loss"] / seen, "train/accuracy_top1": state.sums["right"] / seen}
    row |= validate(parts)
    if row["val/loss"] is not None and not math.isfinite(row["val/loss"]):
        what = f"The loss on the validation pictures became {row['val/loss']}"
        raise JobError(_not_finite(parts, state.total_step, last, what))
    row["lr"] = max(group["lr"] for group in parts.optimizer.param_groups)
    row["images_per_second"] = round(seen / max(state.sums["took_seconds"], 1e-9), 1)
    row["data_share"] = round(state.sums["waited_seconds"] / max(state.sums["took_seconds"], 1e-9), 3)
    state.rows.append(row)
    state.sums = dict.fromkeys(state.sums, 0.0)
    state.epoch, state.step = state.epoch + 1, 0
    gained = _keep_best(parts, state, folder, row)
    if row["val/loss"] is not None and parts.pace.after_epoch(row["val/loss"]):
        say(f"no gain for {parts.recipe.schedule.plateau_epochs} epochs: learning rate lowered")
    patience = parts.recipe.stop.patience_epochs
    tired = patience is not None and state.epochs_without_gain >= patience
    state.finished = tired or state.total_step >= parts.total_steps
    _save(parts, state, folder)
    say(_line(row, gained))
    if state.epoch == 1 and row["data_share"] > HIGH_DATA_SHARE:
        say(f"{row['data_share']:.0%} of the time goes into pictures: more --workers, or --cache ram, may help")
    if tired:
        say(f"stopped early: no gain in {patience} epochs; the best was epoch {state.best_epoch}")


def _keep_best(parts: Parts, state: State, folder: Path, row: dict[str, Any]) -> bool:
    """Without validation pictures the newest weights count as the best."""
    score = state.best if row["val/loss"] is None else (row["val/accuracy_top1"], -row["val/loss"])
    gained = row["val/loss"] is None or score > state.best
    state.epochs_without_gain = 0 if gained else state.epochs_without_gain + 1
    if gained:
        state.best, state.best_epoch = score, state.epoch
        parts.save_weights(folder / "weights" / "best.safetensors", parts.judged, row)
    return gained


def _line(row: dict[str, Any], gained: bool) -> str:
    line = f"epoch {row['epoch']}: train loss {row['train/loss']:.4f} top-1 {row['train/accuracy_top1']:.2%}"
    if row["val/loss"] is not None:
        line += f", val loss {row['val/loss']:.4f} top-1 {row['val/accuracy_top1']:.2%}{' (best)' if gained else ''}"
    share = f"{row['data_share']:.0%} of the time in data" if row["data_share"] is not None else ""
    return f"{line}, lr {row['lr']:.2g}, {row['images_per_second']:.0f} pictures/s, {share}"


def _save(parts: Parts, state: State, folder: Path) -> None:
    """Weights, state, then the journal, which the state holds as well: a kill between the three loses nothing."""
    parts.save_weights(folder / "weights" / "last.safetensors", parts.judged, state.rows[-1] if state.rows else {})
    save(parts, state, folder)
    journal.write_rows(folder, state.rows)
