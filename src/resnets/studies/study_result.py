"""What a study found: its verdicts, for a person and for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from resnets.inference import hardware
from resnets.message_format import pluralize
from resnets.studies.study import PROTOCOLS, Measurement, Study
from resnets.studies.verdict import Verdict


@dataclass(frozen=True)
class StudyResult:
    """What a study found, the time of its measurement without that of trainings, and the folder of its files."""

    study: Study
    protocol: str
    registered: Mapping[str, Any]
    measurement: Measurement
    verdicts: Mapping[str, Verdict]
    seconds: float
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """The result for JSON."""
        return {
            "study": self.study.name,
            "claim": self.study.claim,
            "paper": self.study.paper,
            "published": self.study.published,
            "statistic": self.study.statistic,
            "protocol": self.protocol,
            "verdicts": {subject: each.to_dict() for subject, each in self.verdicts.items()},
            "controls": [asdict(control) for control in self.measurement.controls],
            "notes": list(self.measurement.notes),
            "registered": dict(self.registered),
            "measured_seconds": round(self.seconds, 1),
            "machine": {
                "processor": hardware.cpu_name(),
                "features": hardware.describe(torch.device("cpu"))["features"],
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
            },
            "folder": str(self.folder),
        }

    def lines(self) -> list[str]:
        """The result for a person."""
        study = self.study
        lines = [f"{study.name}: {study.claim}", f"paper:     {study.paper}: {study.published}"]
        lines += [f"statistic: {study.statistic}", f"claimed:   {study.rule.direction} than {study.rule.bound:g}"]
        for subject, each in self.verdicts.items():
            lines.append(f"{subject}: {each.word.upper()}: {_interval_in_words(each, study.unit)}")
            lines += [f"  {each.reason}"] if each.reason else []
        for control in self.measurement.controls:
            lines.append(f"control {'held' if control.holds else 'FAILED'}: {control.name}: {control.found}")
        lines += self.measurement.notes
        if self.protocol != PROTOCOLS[0]:
            lines.append(f"protocol {self.protocol}: compare the sign with the paper's, not the number")
        return [*lines, f"written: {self.folder}"]


def _interval_in_words(each: Verdict, unit: str) -> str:
    effect, low, high, count = each.interval
    return f"{effect:.4g} [{low:.4g}, {high:.4g}], {100 * each.confidence:.4g} % interval, n = {pluralize(count, unit)}"
