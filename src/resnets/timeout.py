"""How long to wait for a file or a process, from the environment variable RESNETS_TIMEOUT_MINUTES."""

import os

from resnets.errors import UserError


def timeout_seconds() -> float:
    """Seconds after which a process that does not respond counts as stuck: RESNETS_TIMEOUT_MINUTES, or 15 minutes.

    Raises:
        UserError: the variable is not a number above 0.
    """
    text = os.environ.get("RESNETS_TIMEOUT_MINUTES", "").strip() or "15"
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        raise UserError(f"RESNETS_TIMEOUT_MINUTES is '{text}'; it is a number of minutes above 0, such as 15.")
    return 60 * minutes
