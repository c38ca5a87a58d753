"""The training loop: one function over one state object, without hooks, for any task.

`TrainContext` holds what a run is made of, `TrainState` its progress. All that the next step depends on is saved after each
epoch, every `save.every` within an epoch, and on Ctrl-C, SIGTERM and SIGHUP; always after a check of the losses so far.
"""

import contextlib
import shlex
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from resnets import ranks
from resnets.data.loading.batch import Batch
from resnets.data.loading.epoch_order import EpochStep
from resnets.data.loading.worker_errors import WORKER_DIED, WorkerError, is_worker_death
from resnets.progress import log, progress_bar
from resnets.recipes.save_interval import SaveInterval
from resnets.training import console, distributed, precision, torch_compile
from resnets.training.evaluation.validate import epoch_metrics
from resnets.training.finish_epoch import finish_epoch, save_all
from resnets.training.optimization import freeze
from resnets.training.pending_steps import Checked, PendingSteps
from resnets.training.run_dir import state_file
from resnets.training.run_dir.signals import Interrupted, catch_signals
from resnets.training.state import TrainContext, TrainState, save_state
from resnets.training.train_step import train_step


def run(context: TrainContext, state: TrainState, folder: Path) -> TrainState:
    """Train from `state` until the last step or early stopping, and return `state`.

    Raises:
        JobError: the loss is not finite, an image is missing, the disk is full.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; the state and the last weights have been saved.
    """
    interval = SaveInterval.parse(context.recipe.save.every)
    start = state.position(context.train_data.plan.steps_per_epoch)
    deterministic = context.recipe.speed.deterministic
    with (
        precision.training_settings(context.precision, context.device, deterministic=deterministic),
        catch_signals() as received,
        contextlib.closing(_batches(context, start, received)) as batches,
    ):
        while not state.finished:
            interval.restart(state.total_step)
            try:
                with _explain_worker_errors(folder):
                    last_batch = _train_epoch(context, state, batches, folder, interval, received)
                row, measurements = epoch_metrics(context, state, last_batch, received)
            except Interrupted:
                received.extend([] if received else [0])
                with state_file.explain_save_errors(folder):
                    save_all(context, state, folder)
                break
            with state_file.explain_save_errors(folder):
                improved = finish_epoch(context, state, folder, row, measurements)
            console.log_epoch(context, state, row, improved=improved)
    if received:
        stopped = f"stopped after step {state.total_step} of {context.total_steps}"
        log(f"{stopped}; continue with `resume={shlex.quote(str(folder))}`")
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
    """Train to the end of the current epoch, or until a signal arrives or the run is finished; return the last batch."""
    batch, pending = None, PendingSteps(context)
    console.log_trainable(context, state, freeze.apply(context.net, context.recipe.freeze, epoch=state.epoch))
    if context.ddp_model is None or state.epoch == context.recipe.freeze.head_epochs > 0:
        context.build_ddp_model()
    context.net.train()
    steps = min(context.train_data.plan.steps_per_epoch - state.step, context.total_steps - state.total_step)
    description, initial = f"epoch {state.epoch + 1}", state.step
    for index in progress_bar(
        range(steps), description=description, total=initial + steps, unit="batches", initial=initial
    ):
        start = time.perf_counter()
        try:
            batch = next(batches)
        except Interrupted:
            _add_checked(context, state, pending.check())
            raise
        data_seconds = time.perf_counter() - start
        with torch_compile.explain_compile_errors(context.recipe.speed.compile):
            losses = train_step(context, state, batch)
        state.step, state.total_step = state.step + 1, state.total_step + 1
        pending.add(state.total_step, batch, losses, data_seconds)
        save_now = interval.is_due(state.total_step)
        stop_now = bool(received) and ranks.world_size() == 1  # several ranks stop at a check, after the same step
        check_now = pending.is_due or context.lr_controller.in_warmup or stop_now
        if check_now or index == steps - 1 or (save_now and (interval.counts_steps or ranks.world_size() == 1)):
            checked = pending.check(stop=bool(received), save=save_now and distributed.is_main())
            _add_checked(context, state, checked)
            if checked.stop:
                received.extend([] if received else [0])  # a signal reached another rank
                break
            if checked.save:
                with state_file.explain_save_errors(folder):
                    save_state(context, state, folder)
                interval.restart(state.total_step)
    return batch


def _add_checked(context: TrainContext, state: TrainState, checked: Checked) -> None:
    """Add the sums of the steps that were checked, the last of which is `state.total_step`, to those of epoch and window."""
    first_step = state.total_step - len(checked.steps) + 1
    for step, sums in enumerate(checked.steps, start=first_step):
        state.add_sums(sums)
        state.add_to_window(step, sums, context.recipe.track.window_steps)
        if context.lr_controller.in_warmup and context.lr_controller.after_step(
            sums["num_images"] - sums[context.task.num_correct], sums["num_images"]
        ):
            log(f"step {state.total_step + 1}: the warm-up has ended; the learning rate is the full one from here on")
    state.add_sums(checked.times)
