"""Add epochs to a finished run: `epochs="+20"` with `resume`."""

import re
import shlex
from pathlib import Path

from resnets.errors import UserError
from resnets.progress import log
from resnets.recipes.override import assign
from resnets.recipes.recipe import Recipe
from resnets.training import distributed
from resnets.training.run_dir import run_dir
from resnets.training.state import TrainContext, TrainState, read_state, save_state

LOW_LR_FACTOR = 0.1  # of the full learning rate; added epochs that start below it hardly change the weights
EXTRA_EPOCHS = re.compile(r"\+([1-9]\d*)")


def parse_extra_epochs(value: object) -> int | None:
    """Return the N of `--epochs +N`, None for anything else."""
    match = EXTRA_EPOCHS.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match.group(1)) if match else None


def extended_recipe(run: Path, recipe: Recipe, extra_epochs: int, steps_per_epoch: int) -> Recipe:
    """Return the recipe of the finished `run` with `extra_epochs` added; nothing is written.

    Raises:
        UserError: the run is not finished.
    """
    state = read_state(run)
    start = state.total_step if state.finished else state.extended_at
    if start is None:
        raise UserError(
            f"`epochs=+{extra_epochs}` adds epochs to a finished run; '{run}' is not finished, after epoch {state.epoch}: "
            "resume it without `epochs` first."
        )
    longer = assign(recipe, "stop.epochs", state.epoch + extra_epochs)
    if recipe.stop.steps is not None:
        longer = assign(recipe, "stop.steps", start + extra_epochs * steps_per_epoch)
    elif not state.finished:
        longer = assign(recipe, "stop.epochs", start // steps_per_epoch + extra_epochs)
    if not state.finished and longer != recipe:
        raise UserError(
            f"'{run}' was extended before and is not finished, after epoch {state.epoch}: "
            "resume it without `epochs` first."
        )
    return longer


def extend(run: Path, context: TrainContext, state: TrainState) -> None:
    """Mark the finished run as extended in its state and its `recipe.toml`."""
    recipe, step = context.recipe, state.total_step
    state.finished, state.extended_at, state.num_bad_epochs = False, step, 0
    key, value = ("stop.epochs", recipe.stop.epochs) if recipe.stop.steps is None else ("stop.steps", recipe.stop.steps)
    if distributed.is_main():
        run_dir.set_recipe_value(run, key, value, f"given: --epochs +N after epoch {state.epoch}")
    save_state(context, state, run)
    log(
        f"{context.total_steps - step} more steps, on the schedule of a run of {context.total_steps} from here on: "
        f"the learning rate continues at {context.lr_controller.factor(step):.3g} of its highest value"
    )
    if context.lr_controller.factor(step) < LOW_LR_FACTOR:
        alternative = f"`epochs=+{state.epoch}` would start at half of the highest learning rate; or "
        log(
            "warning: at such a low learning rate these epochs will change little; "
            f"{alternative if recipe.schedule.name == 'cosine' else ''}start a new run from these weights: "
            f"resnets train DATA --weights {shlex.quote(str(run))}"
        )
