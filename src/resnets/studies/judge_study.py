"""The verdicts of a study: its subjects share the probability of an error, and what keeps a subject from being decided."""

from __future__ import annotations

from resnets.studies import verdict
from resnets.studies.study import Measurement, Study
from resnets.studies.verdict import Verdict


def judge_all(study: Study, measurement: Measurement, alpha: float, incomplete: str = "") -> dict[str, Verdict]:
    """The verdict on each subject; the subjects divide `alpha`, and none is decided where a control failed.

    Args:
        incomplete: which seeds are missing where those that are finished are no look (`verdict.LOOKS`), so that nothing is
            decided: each further look would add to the probability of an error.
    """
    alpha /= max(len(measurement.effects), 1)
    failed = next((f"control failed: {each.name}" for each in measurement.controls if not each.holds), "")
    verdicts = {}
    for subject, values in measurement.effects.items():
        if isinstance(values, tuple):
            interval = verdict.difference_interval(*values, alpha)
        else:
            interval = verdict.mean_interval(values, alpha)
        obstacle = incomplete or failed or measurement.obstacles.get(subject, "")
        verdicts[subject] = verdict.judge(interval, study.rule, alpha, obstacle)
    return verdicts
