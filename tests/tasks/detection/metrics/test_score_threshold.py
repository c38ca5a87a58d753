from collections.abc import Callable

import numpy as np
import pytest

from resnets.tasks.detection.metrics.score_threshold import fit_threshold, score_curve
from resnets.tasks.detection.records import Records


def _f1(records: Records, threshold: float) -> float:
    """By counting."""
    hits, ignored = records.matches.at(0)
    reported = records.found.scores >= threshold
    right = int((hits & reported).sum())
    return 2 * right / (int((reported & ~ignored).sum()) + records.num_objects)


def test_the_threshold_has_the_largest_f1_of_all(scenes: Records) -> None:
    threshold = fit_threshold(scenes)

    assert threshold is not None
    values = [_f1(scenes, float(score)) for score in np.unique(scenes.found.scores)]
    assert _f1(scenes, threshold) == pytest.approx(max(values))
    assert not np.isin(threshold, scenes.found.scores)


def test_the_curve_of_a_class_counts_its_objects_only(scenes: Records) -> None:
    curve = score_curve(scenes, label=2)

    chosen = scenes.found.labels == 2
    hits = scenes.matches.at(0)[0][chosen]
    objects = ((scenes.truth.labels == 2) & ~scenes.truth.crowd).sum()
    assert curve.recall[-1] == pytest.approx(hits.sum() / objects)
    assert (np.diff(curve.scores) < 0).all()


def test_without_objects_there_is_no_threshold(make_records: Callable[..., Records]) -> None:
    assert fit_threshold(make_records(1, most=0)) is None
