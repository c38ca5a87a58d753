"""Checks of flat settings."""

from dataclasses import dataclass

import pytest

from resnets.check_settings import check_choice, check_effects, check_rules, check_values
from resnets.errors import UserError


@dataclass(frozen=True)
class Settings:
    layout: str = "fpn"
    wide: bool = False
    layers: int = 1
    samples: int = 0
    dropout: float = 0.0
    iou: float = 0.5
    rates: tuple[int, ...] = (1, 2)
    sizes: tuple[float, ...] = (1.0, 2.0)
    of_a_task: object = None


DEFAULTS = {key: value for key, value in vars(Settings()).items() if key != "of_a_task"}


def check(settings: Settings) -> None:
    check_values(settings, DEFAULTS, {"layout": ("fpn", "c4")}, at_least_0=("samples",), less_than_1=("dropout",))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layout", "fpm", "layout is one of fpn, c4; received 'fpm'. Did you mean 'fpn'?"),
        ("wide", 1, "The setting wide is of type bool; received 1."),
        ("layers", 0, "layers is a whole number of at least 1; received 0."),
        ("layers", True, "layers is a whole number of at least 1; received True."),
        ("samples", -1, "samples is a whole number of at least 0; received -1."),
        ("dropout", 1.0, "dropout is at least 0 and less than 1; received 1.0."),
        ("iou", float("nan"), "iou is at least 0 and at most 1; received nan."),
        ("rates", (1, 2.5), "rates are positive whole numbers; received (1, 2.5)."),
        ("sizes", (0, 1), "sizes are positive numbers; received (0, 1)."),
    ],
)
def test_a_value_of_another_type_or_range_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check(Settings(**{key: value}))  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_values_at_the_ends_of_their_ranges_pass_and_lists_become_tuples() -> None:
    settings = Settings("c4", True, 1, 0, 0, 1, [3], [0.5, 2], [-1])  # type: ignore[arg-type]
    check(settings)
    assert (settings.rates, settings.sizes, settings.of_a_task) == ((3,), (0.5, 2), (-1,))


def test_a_choice_a_setting_without_effect_and_a_rule() -> None:
    check_choice("layout", "c4", ("fpn", "c4"))
    with pytest.raises(UserError, match="layout is one of fpn, c4; received '5'"):
        check_choice("layout", 5, ("fpn", "c4"))
    check_effects(Settings(layers=2), DEFAULTS, ("iou",), "layout='c4'")
    with pytest.raises(UserError, match=r"layers has no effect on layout='c4'; received 2\. Leave it out\."):
        check_effects(Settings(layers=2), DEFAULTS, ("iou", "layers"), "layout='c4'")
    check_rules([(False, "first")])
    with pytest.raises(UserError, match=r"^second\.$"):
        check_rules([(False, "first"), (True, "second"), (True, "third")])
