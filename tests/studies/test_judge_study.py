"""The verdicts of a study, and what keeps all of them back."""

import numpy as np

from resnets.studies import registry, verdict
from resnets.studies.judge_study import judge_all
from resnets.studies.study import Control, Measurement
from resnets.studies.verdict import UNDECIDED


def test_nothing_is_decided_before_all_registered_seeds_are_finished() -> None:
    """Each further look at a level that belongs to one would raise the probability of an error."""
    study = registry.find("shattering")
    values = {"a": np.array([1.0, 1.01, 0.99]), "b": np.array([-1.0, -1.01, -0.99])}
    measurement = Measurement([], values, [Control("c", "held", True)])
    whole = judge_all(study, measurement, 0.03)
    assert [each.word for each in whole.values()] == ["shown", "opposite"]
    part = judge_all(study, measurement, 0.03, "seed 1 is not finished")
    assert [(each.word, each.reason) for each in part.values()] == [(UNDECIDED, "seed 1 is not finished")] * 2
    assert [each.interval for each in part.values()] == [each.interval for each in whole.values()]


def test_a_control_that_failed_decides_nothing() -> None:
    measurement = Measurement([], {"a": np.array([1.0, 1.01, 0.99])}, [Control("c", "0.1 apart", False)])
    (found,) = judge_all(registry.find("shattering"), measurement, 0.01).values()
    assert (found.word, found.reason) == (UNDECIDED, "control failed: c")


def test_the_subjects_share_the_probability_of_an_error() -> None:
    values = {name: np.array([1.0, 1.01, 0.99]) for name in "abcd"}
    verdicts = judge_all(registry.find("shattering"), Measurement([], values, []), 0.04)
    assert {each.confidence for each in verdicts.values()} == {0.99}


def test_without_an_effect_at_most_5_percent_of_extended_studies_of_several_subjects_are_wrong() -> None:
    """Looked at with 3, 5 and 8 seeds, whichever subject and look is wrong."""
    random, study, wrong = np.random.default_rng(4), registry.find("shattering"), 0
    for _ in range(1000):
        values = random.normal(0, 1, (4, 8))
        words = {
            each.word
            for look in verdict.LOOKS
            for each in judge_all(
                study, Measurement([], {str(key): of[:look] for key, of in enumerate(values)}, []), verdict.LOOKS[look]
            ).values()
        }
        wrong += bool(words & {verdict.SHOWN, verdict.OPPOSITE})
    assert 10 < wrong <= 50
