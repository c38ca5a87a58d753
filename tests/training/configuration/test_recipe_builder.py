from __future__ import annotations

from typing import Any

import pytest

from resnets.recipes.override import override
from resnets.recipes.recipe import Recipe, flat_values
from resnets.training.configuration.recipe_builder import format_value


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("optim.lr", 0.1, "0.1"),
        ("data.workers", None, "none"),
        ("augment.scale", (0.08, 1.0), "0.08,1"),
        ("optim.nesterov", True, "true"),
    ],
)
def test_a_value_is_written_as_an_assignment_reads_it(key: str, value: Any, text: str) -> None:
    assert format_value(value) == text
    assert flat_values(override(Recipe(), f"{key}={text}"))[key] == value
