"""`study.toml`: what a study will measure and how it will be judged, written before it is measured."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnets.atomic_write import write_text
from resnets.errors import UserError
from resnets.studies import verdict
from resnets.studies.study import SEED, Setup, Study
from resnets.studies.trainings.run_trainings import Plan
from resnets.studies.verdict import Rule

FILE = "study.toml"
SEEDS = "seeds"  # the one value that may grow
_EXPLANATION = "# Written before the measurement. Only `seeds` may grow, from 3 to 5 to 8.\n"


def content(study: Study, protocol: str, setup: Setup, plan: Plan | None = None) -> dict[str, Any]:
    """The registration as a flat mapping; `plan` is that of a study that trains."""
    rule: Rule = study.rule
    of_seeds = {SEEDS: len(setup.seeds), "levels": [f"{n} seeds: {alpha:g}" for n, alpha in verdict.LOOKS.items()]}
    values: dict[str, Any] = {
        "study": study.name,
        "claim": study.claim,
        "paper": study.paper,
        "statistic": study.statistic,
        "unit": study.unit,
        "direction": f"{rule.direction} than {rule.bound:g}",
        "smallest_effect": rule.smallest_effect,
        "least_count": rule.least_count,
        "undecided_if": "; ".join(filter(None, [rule.undecided_if, "a control fails"])),
        "level": verdict.ALPHA,
        **(of_seeds if study.unit == SEED else {}),
        "control": study.control,
        "protocol": protocol,
        **{f"protocol_{key}": number for key, number in setup.numbers.items()},
        "networks": [f"{network.name} sha256:{network.sha256}" for network in setup.networks],
    }
    if plan is not None:
        first = [each for each in plan.trainings if each.recipe.seed == 0]
        values |= {
            "trainings": [f"{each.network} {plan.fingerprint(each)}" for each in first],
            "num_images": len(plan.images.train),
            "num_test_images": len(plan.images.test),
            "pixels_sha256": plan.images.digest,
        }
    if setup.images is not None:
        values |= {"num_images": len(setup.images), "images_sha256": setup.images.digest}
    return values


def register(folder: Path, values: Mapping[str, Any]) -> None:
    """Write `values` into the folder, or check that they are what was registered there.

    Raises:
        UserError: another study was registered there, or more seeds; the message names the first value that differs.
    """
    path = folder / FILE
    if path.exists():
        registered = _read(path)
        for key in dict.fromkeys([*registered, *values]):
            before, now = registered.get(key), values.get(key)
            if before == now or (key == SEEDS and isinstance(before, int) and isinstance(now, int) and before < now):
                continue
            if key == SEEDS and before in verdict.LOOKS:
                raise UserError(f"'{path}' registers {before} seeds; received {now}. Give `seeds={before}`.")
            # Runs are found in all folders below `out`, whatever their name.
            keep = f", or rename '{folder}': its trainings are found again" if "trainings" in registered else ""
            raise UserError(
                f"'{path}' registers another study: {key} is {before!r} there and {now!r} now. Choose another folder as "
                f"`out`{keep}."
            )
    write_text(path, _EXPLANATION + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise UserError(f"'{path}' cannot be read: {error}. Choose another folder as `out`.") from error
