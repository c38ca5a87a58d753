"""Find a learning rate for a job: `resnets.lr_find`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnets import atomic_write, ranks
from resnets.errors import JobError, UserError
from resnets.progress import log
from resnets.recipes.recipe import Recipe
from resnets.report.figures import lr_find_curve
from resnets.training import lr_range_test
from resnets.training.configuration import build_recipe, conflicts
from resnets.training.lr_range_test import RangeTest
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run

MIN_STEPS = 20  # with fewer the smoothed loss is not meaningful


def lr_find(
    data: str | Path,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    task: str | None = None,
    recipe: str | Recipe | None = None,
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 100,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
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
) -> RangeTest:
    """Find a learning rate by a range test: train briefly while the rate grows from `low` to `high` in `steps` steps.

    Args:
        low, high, steps: the first and the last learning rate, and the number of steps between them.
        out: a file for a figure of the curve.
        data, ...: as in `train`. `lr` is an error; a warning names other arguments without effect on a range test.

    Returns:
        `.suggestion`, the rate at which the loss falls fastest, and the curve, `.rates` and `.losses`.

    Raises:
        UserError: `low` is not below `high`, or an argument is wrong.
        JobError: the loss never fell.
    """
    given = build_recipe.given_arguments(locals())
    if ranks.world_size() > 1:
        raise UserError("A range test runs in one process: start it without torchrun.")
    if not 0 < low < high:
        raise UserError(
            f"A range test needs `low` above 0 and below `high`; received `low={low:g}` and `high={high:g}`."
        )
    if steps < MIN_STEPS:
        raise UserError(f"A range test needs at least {MIN_STEPS} steps; received {steps}.")
    if out is not None:
        if Path(out).suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise UserError(f"The figure of the curve is a file such as lr_find.png; received '{out}'.")
        atomic_write.check_file_writable(out)
    request = build_recipe.build_recipe(str(data), model, weights, recipe, given, overrides, task)
    conflicts.check_range_test(request.builder)
    context = build_context(prepare_run(*request))
    result = lr_range_test.run_range_test(context, low=low, high=high, steps=steps)
    if result.suggestion is not None:
        # Logged first, since drawing the curve can fail on a full disk.
        log(f"suggested learning rate: {result.suggestion:.2g}")
    if out is not None:
        lr_find_curve.draw(result.rates, result.losses, result.suggestion, Path(out))
        log(f"curve: {out}")
    if result.suggestion is None:
        raise JobError(f"The loss never fell between {low:g} and {high:g}; try other rates with `low` and `high`.")
    return result
