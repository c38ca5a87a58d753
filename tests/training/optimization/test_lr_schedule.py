from __future__ import annotations

import math

import pytest
import torch

from resnets.errors import UserError
from resnets.recipes.recipe import Schedule
from resnets.training.optimization.lr_schedule import (
    ERROR_WINDOW_STEPS,
    Cosine,
    Hold,
    LRController,
    OneCycle,
    Poly,
    Step,
    Warmup,
    build_curve,
)


def test_step_multiplies_from_each_milestone_on():
    curve = Step((32_000, 48_000), (0.1, 0.1))
    assert [curve(step) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_cosine_falls_from_one_to_zero():
    curve = Cosine(100)
    assert curve(0) == 1
    assert curve(50) == pytest.approx(0.5)
    assert curve(100) == pytest.approx(0)
    assert all(curve(step) > curve(step + 1) for step in range(100))


def test_poly_is_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=50, power=0.9)
    curve = build_curve(Schedule(name="poly"), total_steps=50, steps_per_epoch=10)
    for step in range(52):
        assert curve(step) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9, abs=1e-12)
        optimizer.step()
        schedule.step()
    assert Poly(50)(0) == 1


def test_one_cycle_peaks_where_it_should():
    curve = OneCycle(1000, peak_fraction=0.3)
    values = [curve(step) for step in range(1000)]
    assert values.index(max(values)) == 300
    assert values[0] == pytest.approx(0.04)
    assert values[-1] < 1e-4


def test_warmup_is_a_line_and_then_the_curve_from_its_beginning():
    curve = Warmup(10, 0.1, Cosine(90))
    assert [curve(step) for step in (0, 5)] == pytest.approx([0.1, 0.55])
    assert curve(10) == 1
    assert curve(100) == pytest.approx(0)


def test_a_warmup_may_count_steps_and_rise_with_a_power():
    section = Schedule(name="constant", warmup_steps=10, warmup_factor=0.0, warmup_power=4.0)
    curve = build_curve(section, total_steps=100, steps_per_epoch=7)
    assert [curve(step) for step in (0, 5, 9, 10, 50)] == pytest.approx([0, 0.5**4, 0.9**4, 1, 1])
    line = build_curve(Schedule(name="constant", warmup_epochs=2, warmup_factor=0.1), total_steps=99, steps_per_epoch=5)
    assert [line(step) for step in range(10)] == [0.1 + (1 - 0.1) * step / 10 for step in range(10)]  # to the bit


def test_hold_comes_before_everything():
    section = Schedule(name="cosine", warmup_epochs=1.0, warmup_factor=0.0)
    curve = build_curve(section, total_steps=100, steps_per_epoch=10, hold_steps=20)
    assert isinstance(curve, Hold)
    assert curve(19) == 1
    assert curve(20) == 0
    assert curve(30) == 1
    assert curve(100) == pytest.approx(0)


def test_milestones_count_from_the_beginning_of_the_run():
    section = Schedule(name="step", milestones_epochs=(3.0,), warmup_epochs=1.0)
    curve = build_curve(section, total_steps=50, steps_per_epoch=10)
    assert curve(29) == 1
    assert curve(30) == pytest.approx(0.1)


def test_a_warmup_longer_than_half_the_run_is_cut():
    curve = build_curve(Schedule(name="constant", warmup_epochs=5.0), total_steps=20, steps_per_epoch=10)
    assert curve(10) == 1


def test_each_milestone_can_have_its_own_factor():
    section = Schedule(name="step", milestones_epochs=(1.0, 2.0), factors=(0.5, 0.1))
    curve = build_curve(section, total_steps=30, steps_per_epoch=10)
    assert [curve(0), curve(10), curve(20)] == pytest.approx([1, 0.5, 0.05])
    with pytest.raises(UserError, match=r"2 numbers for 1 milestone\."):
        build_curve(
            Schedule(name="step", milestones_epochs=(1.0,), factors=(0.5, 0.1)), total_steps=9, steps_per_epoch=1
        )
    with pytest.raises(UserError, match=r"needs `schedule\.milestones_epochs"):
        build_curve(Schedule(name="step"), total_steps=9, steps_per_epoch=1)


def test_a_plateau_lowers_the_rate_down_to_its_floor():
    section = Schedule(name="constant", plateau_epochs=2, plateau_factor=0.1, plateau_min_factor=0.05)
    lr_controller = LRController(build_curve(section, total_steps=100, steps_per_epoch=1), section)
    assert [lr_controller.after_epoch(loss) for loss in (1.0, 0.9, 0.9, 0.95)] == [False, False, False, True]
    assert lr_controller.factor(5) == pytest.approx(0.1)
    assert [lr_controller.after_epoch(1.0) for _ in range(2)] == [False, True]
    assert lr_controller.factor(6) == pytest.approx(0.05)
    assert not any(lr_controller.after_epoch(1.0) for _ in range(9))


def test_the_warmup_of_2015_ends_when_the_training_error_has_fallen():
    section = Schedule(name="constant", warmup_until_error=0.8, warmup_factor=0.1)
    lr_controller = LRController(build_curve(section, total_steps=9999, steps_per_epoch=1), section)
    for _ in range(ERROR_WINDOW_STEPS + 20):
        assert not lr_controller.after_step(9, 10)
    assert lr_controller.factor(0) == pytest.approx(0.1)
    ended = [lr_controller.after_step(6, 10) for _ in range(ERROR_WINDOW_STEPS)]
    # 0.9 (100 - k) + 0.6 k < 80 for k > 33
    assert ended.index(True) == 33
    assert sum(ended) == 1
    assert lr_controller.factor(500) == 1


def test_an_lr_controller_continues_from_its_saved_state():
    section = Schedule(name="constant", plateau_epochs=2, warmup_until_error=0.8)
    curve = build_curve(section, total_steps=100, steps_per_epoch=1)
    lr_controller, other = LRController(curve, section), LRController(curve, section)
    lr_controller.after_step(5, 10)
    lr_controller.after_epoch(1.0)
    lr_controller.after_epoch(1.0)
    other.load_state_dict(lr_controller.state_dict())
    assert other == lr_controller
    assert math.isinf(LRController(curve, section).best)
