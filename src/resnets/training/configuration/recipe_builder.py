"""A recipe that is being completed, and the origin of each value: given, chosen, or the recipe's own."""

from dataclasses import dataclass, field
from typing import Any

from resnets.recipes.override import assign
from resnets.recipes.recipe import Recipe


@dataclass
class RecipeBuilder:
    """A recipe that is being completed, with the origin of each value that is not the recipe's own."""

    recipe: Recipe
    origins: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  # about values without effect

    def is_given(self, key: str) -> bool:
        """Whether the user set this value."""
        return key in self.origins and not self.origins[key].startswith("chosen")

    def set(self, key: str, value: Any, origin: str) -> None:
        self.recipe = assign(self.recipe, key, value)
        self.origins[key] = origin

    def set_default(self, key: str, value: Any, reason: str) -> None:
        """Set a value unless the user gave one."""
        if not self.is_given(key):
            self.set(key, value, f"chosen: {reason}")


def format_value(value: Any) -> str:
    """Return the text of a value as `--set` reads it."""
    if isinstance(value, tuple):
        return ",".join(map(format_value, value))
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
