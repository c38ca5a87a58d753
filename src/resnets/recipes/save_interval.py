"""The interval at which the training state is saved within an epoch, in steps or seconds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from resnets.errors import UserError


@dataclass
class SaveInterval:
    """An interval in `steps` or `seconds` since the last save."""

    steps: int | None = None
    seconds: float | None = None
    _step: int = field(default=0, init=False)
    _time: float = field(default_factory=time.monotonic, init=False)

    @classmethod
    def parse(cls, text: str) -> SaveInterval:
        """Parse `200` (steps) or `60s` (seconds).

        Raises:
            UserError: the text is neither, or not above 0.
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
        """Start a new interval: a state after `step` steps has just been saved or loaded."""
        self._step, self._time = step, time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether the state is to be saved after `step` steps."""
        if self.steps is not None:
            return step - self._step >= self.steps
        return time.monotonic() - self._time >= (self.seconds or 0)

    @property
    def counts_steps(self) -> bool:
        """Whether all ranks find the same without a clock."""
        return self.steps is not None

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{self.seconds:g} s"
