"""Find a run directory. This module does not import torch, so that a mistyped name is refused at once."""

from pathlib import Path

from resnets.errors import UserError
from resnets.message_format import suggestion


def check_exists(run: Path) -> None:
    """Raise UserError with the nearest name of a run if there is no directory `run`."""
    if run.exists():
        return
    beside = {each.name: str(each) for each in [*run.parent.glob("*"), *Path("runs").glob("*")]}
    raise UserError(f"There is no run '{run}'.{suggestion(run.name, beside, shown=beside)}")
