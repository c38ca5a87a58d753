"""Checks of options of predictions that need the model."""

from collections.abc import Sequence

from resnets.errors import UserError


def check_top_k(top_k: int | None, class_names: Sequence[str], checkpoint: str) -> None:
    """Raise UserError for more classes than the model has."""
    if top_k is not None and top_k > len(class_names) > 0:
        raise UserError(f"`top_k={top_k}` is more than the {len(class_names)} classes of '{checkpoint}'.")
