"""The lines and the legends of the figures over the score."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from resnets.report.number_formats import percent
from resnets.tasks.detection.metrics.average_precision import validation_metrics
from resnets.tasks.detection.records import Records
from resnets.tasks.detection.report import score_curves

NAMES = ["a", "b", "c", "d", "nothing"]


def test_f1_is_that_of_the_objects_with_at_least_the_threshold(scenes: Records) -> None:
    axes = Figure().subplots()
    score_curves.plot_f1(axes, scenes, NAMES, 0.5)
    line = next(each for each in axes.lines if each.get_label() == "all objects")
    scores, f1 = (values[::-1] for values in line.get_data())
    hits, ignored = scenes.matches.at(0)
    for threshold in np.arange(0.005, scenes.found.scores.max(), 0.05):  # scores have two digits: none is a threshold
        reported = scenes.found.scores >= threshold
        expected = 2 * hits[reported].sum() / ((reported & ~ignored).sum() + scenes.num_objects)
        assert np.interp(threshold, scores, f1) == pytest.approx(expected)


def test_the_legend_has_the_ap_of_the_evaluation(scenes: Records) -> None:
    axes = Figure().subplots()
    score_curves.plot_precision_recall(axes, scenes, NAMES)
    expected = percent(validation_metrics(scenes, len(NAMES))["box_ap50"])
    assert axes.lines[-1].get_label() == f"mean of 4 classes: AP50 {expected}"
