"""What Ray is asked for; `tests/soak/parts_on_ray.py` runs a cluster."""

from __future__ import annotations

import os
import sys

import pytest

from resnets.disable_telemetry import telemetry_disabled
from resnets.errors import UserError
from resnets.tasks.predict_parts import ray_scheduler


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'resnets\[ray\]'"):
        ray_scheduler.import_ray()


def test_ray_reports_to_nobody() -> None:
    with telemetry_disabled():
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
