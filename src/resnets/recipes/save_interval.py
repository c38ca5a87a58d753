"""How often a run's state is saved on the way: every so many steps, or seconds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from resnets.errors import UserError


@dataclass
class SaveInterval:
    """Either `steps` or `seconds`; counted from the last save, whatever its cause was."""

    steps: int | None = None
    seconds: float | None = None
    _step: int = field(default=0, init=False)
    _time: float = field(default_factory=time.monotonic, init=False)

    @classmethod
    def parse(cls, text: str) -> SaveInterval:
        """`200` for steps, `60s` for seconds.

        Raises:
            UserError: anything else, or nothing above 0.
        """
        word = text.strip()
        try:
            value = float(word.removesuffix("s")) if word.endswith("s") else int(word)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise UserError(
                f"`save_every` takes steps, such as 200, or seconds, such as 60s, above 0; received '{text}'."
            )
        return cls(seconds=value) if word.endswith("s") else cls(steps=int(value))

    def restart(self, step: int) -> None:
        """Count anew: a state after `step` steps has just been saved, or gone on from."""
        self._step, self._time = step, time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether it is time to save again after `step` steps."""
        if self.steps is not None:
            return step - self._step >= self.steps
        return time.monotonic() - self._time >= (self.seconds or 0)

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{self.seconds:g} s"
