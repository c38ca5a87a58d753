from __future__ import annotations

import contextlib

import pytest
from tests.tiny_recipe import tiny

from resnets.errors import JobError, UserError
from resnets.recipes import registry
from resnets.report.figures import lr_find_curve
from resnets.training.lr_find import lr_find


def test_a_range_test_suggests_a_rate_and_draws_it(colors):
    out = colors.parent / "curve.png"
    result = lr_find(colors, recipe=tiny(registry.find("scratch")), steps=40, low=1e-4, high=1.0, out=out)
    assert 1e-4 < result.suggestion < 1.0
    assert len(result.rates) == len(result.losses) == 40
    assert out.is_file()
    with pytest.raises(UserError, match="needs `low` above 0 and below `high`"):
        lr_find(colors, recipe=tiny(registry.find("scratch")), low=1.0, high=0.1)
    with pytest.raises(UserError, match=r"`lr=0.1` has no effect on a range test"):
        lr_find(colors, recipe=tiny(registry.find("scratch")), lr=0.1, out=out)


def test_a_range_test_clips_the_gradient_as_the_run_would(colors, monkeypatch):
    seen = []
    monkeypatch.setattr(lr_find_curve, "draw", lambda rates, losses, *_: seen.append(losses))
    for overrides in ([], ["optim.clip_norm=1e-6"]):
        with contextlib.suppress(JobError):  # of a loss that never falls
            lr_find(
                colors,
                recipe=tiny(registry.find("scratch")),
                steps=20,
                overrides=overrides,
                out=colors.parent / "curve.png",
            )
    assert seen[0][:2] != seen[1][:2]
