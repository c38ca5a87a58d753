"""What is kept of a training is read as it was written."""

from __future__ import annotations

import json
import math
from pathlib import Path

from tests.studies import known_trainings

from resnets import atomic_write
from resnets.recipes.recipe import Recipe, flat_values
from resnets.studies.comparisons import degradation
from resnets.studies.trainings.training import COLUMNS, EPOCH_ERROR, NOT_OF_THE_RECIPE, TEST_ERROR, Trained, read_rows


def test_rows_are_read_as_they_were_written_and_those_of_the_first_file_count(tmp_path: Path) -> None:
    empty = dict.fromkeys(COLUMNS) | {
        "training": "ab",
        "network": "plain-20",
        "seed": 1,
        "machine": "a chip, 2 threads, fp32",
    }
    rows = [empty | {"step": 5, EPOCH_ERROR: 40.25}, empty | {"step": 6, EPOCH_ERROR: 12.5, TEST_ERROR: 12.4375}]
    atomic_write.write_csv(tmp_path / "a.csv", rows)
    others = [row | {EPOCH_ERROR: 1.0} for row in rows] + [empty | {"training": "cd", "step": 5, TEST_ERROR: 9.0}]
    atomic_write.write_csv(tmp_path / "b.csv", others)
    found = read_rows([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert found == {"ab": rows, "cd": others[-1:]}


def test_a_curve_has_the_steps_that_were_measured() -> None:
    setup = known_trainings.setup(degradation.STUDY, known_trainings.TINY, [0], lambda network, seed, step: 10.0 * step)
    trained = setup.trained["plain-20", 0]
    assert trained.curve(EPOCH_ERROR) == {2: 20.0, 4: 40.0}
    assert trained.curve(TEST_ERROR) == {4: 40.0}
    assert math.isnan(Trained(trained.training, []).last(TEST_ERROR))


def test_no_default_of_recipes_has_changed_that_fingerprints_leave_out() -> None:
    """Else two recipes have one fingerprint, and the rows of the old one count as those of the new one.

    A default that has to change needs another fingerprint: add a version to what is hashed, and the new values here. A new key
    is added here with its default.
    """
    before = json.loads(Path(__file__).with_name("recipe_defaults.json").read_text())
    now = {key: value for key, value in flat_values(Recipe()).items() if key not in NOT_OF_THE_RECIPE}
    assert json.loads(json.dumps(now)) == before
