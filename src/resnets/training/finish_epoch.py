"""The end of an epoch: its row, the choice of the best epoch, early stopping, and what is saved."""

from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.progress import log
from resnets.tasks.best_epoch import is_better
from resnets.tasks.measurements import Measurements
from resnets.training import distributed
from resnets.training.run_dir import run_dir
from resnets.training.state import TrainContext, TrainState, save_state


def finish_epoch(
    context: TrainContext, state: TrainState, folder: Path, row: dict[str, Any], measurements: Measurements | None
) -> bool:
    """Add the row, update the best score, decide whether to stop, and save; return whether the epoch is the best so far."""
    state.seconds += state.sums["step_time_seconds"]
    state.rows.append(row)
    state.sums = dict.fromkeys(state.sums, 0.0)
    state.epoch, state.step = state.epoch + 1, 0
    # Without validation images the newest weights count as the best.
    metrics = {key[4:]: row[key] for key in row if key[:4] == "val/"}
    score = None if measurements is None else context.task.score(metrics)
    improved = score is None or is_better(score, state.best)
    state.num_bad_epochs = 0 if improved else state.num_bad_epochs + 1
    if improved:
        state.best, state.best_epoch = score, state.epoch
    if measurements is not None and distributed.is_main():
        state.update_cross_fitting(context, measurements)
    if row.get("val/loss") is not None and context.lr_controller.after_epoch(row["val/loss"]):
        epochs = context.recipe.schedule.plateau_epochs
        log(f"no lower validation loss in {epochs} epochs: the learning rate is lowered")
    patience = context.recipe.stop.patience_epochs
    early_stop = patience is not None and state.num_bad_epochs >= patience
    state.finished = early_stop or state.total_step >= context.total_steps
    save_all(context, state, folder, improved=improved)
    context.trackers.log(row)
    return improved


def save_all(context: TrainContext, state: TrainState, folder: Path, *, improved: bool = False) -> None:
    """Save the weights, the state, then the metrics, which the state holds as well: a kill between them loses nothing."""
    if distributed.is_main():
        best, last = (folder / "weights" / f"{name}.safetensors" for name in ("best", "last"))
        context.save_weights(last, context.eval_model, state.rows[-1] if state.rows else {})
        if improved:
            atomic_write.link_or_copy(last, best)
    save_state(context, state, folder)
    if distributed.is_main():
        run_dir.write_metrics(folder, state.rows, state.windows)
