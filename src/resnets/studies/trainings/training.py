"""The trainings of a study, and what is kept of each when it is finished: rows that outlive its run directory."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnets.errors import UserError
from resnets.recipes.recipe import Recipe, flat_values

# In percent, and mean cross-entropy: of the training batches, varied, over the steps up to this one; of the test split after each
# epoch; of fixed training images, not varied, and of the test split, both in eval mode in fp32 after the last step.
RUNNING_ERROR, RUNNING_LOSS = "running_error", "running_loss"
EPOCH_ERROR = "epoch_test_error"
TRAIN_ERROR, TEST_ERROR = "train_error", "test_error"
SECONDS = "train_seconds"
QUANTITIES = (RUNNING_ERROR, RUNNING_LOSS, EPOCH_ERROR, TRAIN_ERROR, TEST_ERROR, SECONDS)
COLUMNS = ("training", "network", "seed", "step", *QUANTITIES, "machine")

# What does not make it another training: where the images are, what it is called, and the machine.
NOT_OF_THE_RECIPE = (
    "name", "data.location", "data.workers", "data.cache", "save.every", "track.to", "track.report",
    "speed.device", "speed.precision", "speed.threads", "speed.channels_last", "speed.compile",
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """One training of a study.

    Attributes:
        network: by this name and the seed `Setup.trained` has it.
        recipe: with its seed; the same seed gives the same batches to every network.
        copy: tells trainings of one recipe apart, for a control that trains twice.
    """

    network: str
    recipe: Recipe
    copy: int = 0

    def fingerprint(self, data_digest: str) -> str:
        """12 hexadecimal digits that are equal for equal recipes on equal pixels and labels, whatever the study, the machine and
        the format of the files.

        Values that every recipe has by default are left out, so that a new key of recipes changes no fingerprint.
        """
        default = flat_values(Recipe())
        values = {key: value for key, value in flat_values(self.recipe).items()
                  if key not in NOT_OF_THE_RECIPE and value != default[key]}  # fmt: skip
        text = json.dumps([values, self.copy, data_digest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        rows: with the columns COLUMNS, in the order of the steps; what was not measured at a step is None.
        run: its run directory; None where only its rows are known.
    """

    training: Training
    rows: Sequence[Mapping[str, Any]]
    run: Path | None = None

    def curve(self, quantity: str) -> dict[int, float]:
        """The values by step."""
        return {row["step"]: row[quantity] for row in self.rows if row[quantity] is not None}

    def last(self, quantity: str) -> float:
        """The last value; NaN if there is none."""
        return next(reversed(self.curve(quantity).values()), math.nan)


def read_rows(paths: Iterable[Path]) -> dict[str, list[dict[str, Any]]]:
    """The rows of files of `run_trainings.write_rows` by fingerprint; where several files have a training, those of the first.

    Raises:
        UserError: a file cannot be read, or is none of these.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        own: dict[str, list[dict[str, Any]]] = defaultdict(list)
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    values: dict[str, Any] = {key: float(row[key]) if row[key] else None for key in QUANTITIES}
                    values |= {key: row[key] for key in ("training", "network", "machine")}
                    values |= {key: int(row[key]) for key in ("seed", "step")}
                    own[row["training"]].append({key: values[key] for key in COLUMNS})
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
        except (KeyError, TypeError, ValueError, csv.Error) as error:  # UTF-8 errors are ValueErrors
            raise UserError(
                f"'{path}' does not hold the rows of trainings, with columns {', '.join(COLUMNS)}."
            ) from error
        for fingerprint, rows in own.items():
            if rows[-1][TEST_ERROR] is None:
                raise UserError(
                    f"'{path}' has no test error of {rows[-1]['network']}, seed {rows[-1]['seed']} (training {fingerprint}) in "
                    "its last row: the file is cut off, or was changed."
                )
        found = dict(own) | found
    return found
