"""Change one value of a recipe by its dotted key: `key=value` of `overrides` and of `--set`."""

import re
import types
import typing
from dataclasses import replace
from typing import Any

from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.recipes.recipe import Recipe, flat_values


def assign(recipe: Recipe, key: str, value: Any) -> Recipe:
    """Return the recipe with `value` at the dotted `key`; a string is parsed as the type of that key.

    Raises:
        UserError: the key is unknown, or the value has another type or is out of range.
    """
    known = flat_values(recipe)
    if key not in known:
        ends = {name.rpartition(".")[2]: name for name in known}
        near = suggestion(key, known) or (f" Did you mean '{ends[key]}'?" if key in ends else "")
        hint = near or f" The keys are: {', '.join(known)}"
        raise UserError(f"A recipe has no key '{key}'.{hint}")
    table, _, name = key.rpartition(".")
    owner: Any = getattr(recipe, table) if table else recipe
    hint = typing.get_type_hints(type(owner))[name]
    changed = replace(owner, **{name: _convert(key, value, hint)})
    return replace(recipe, **{table: changed}) if table else changed


def override(recipe: Recipe, assignment: str) -> Recipe:
    """Return the recipe after one assignment `key=value`, such as `optim.lr=0.2` or `augment.scale=0.5,1`."""
    key, equals, value = assignment.partition("=")
    if not equals:
        raise UserError(f"Received '{assignment}' where key=value was expected, such as optim.lr=0.2")
    return assign(recipe, key.strip(), value.strip())


def _convert(key: str, value: Any, hint: Any) -> Any:
    """Convert `value` to the type `hint`; the words none and auto are None where it is allowed."""
    if isinstance(hint, types.UnionType):
        inner = next(item for item in typing.get_args(hint) if item is not type(None))
        empty = value is None or (isinstance(value, str) and value.lower() in ("", "none", "auto"))
        return None if empty else _convert(key, value, inner)
    if typing.get_origin(hint) is tuple:
        inner, second = typing.get_args(hint)
        items = [item for item in value.strip("()[] ").split(",") if item.strip()] if isinstance(value, str) else value
        if second is not Ellipsis and len(items) != 2:
            raise UserError(f"{key} takes two numbers such as 0.5,1; received '{value}'.")
        return tuple(_convert(key, item, inner) for item in items)
    if hint is bool and isinstance(value, str):
        words = dict.fromkeys(("true", "yes", "1", "on"), True) | dict.fromkeys(("false", "no", "0", "off"), False)
        if value.lower() not in words:
            raise UserError(f"{key} is true or false; received '{value}'.")
        return words[value.lower()]
    try:
        number = hint(value)
    except (TypeError, ValueError):
        number = None
    if number is None or (hint is int and isinstance(value, float) and value != number):
        kind = {int: "a whole number", float: "a number"}.get(hint, "a text")
        comma = re.fullmatch(r"(-?\d+),(\d+)", str(value))
        hint_ = f" Write {comma[1]}.{comma[2]}, with a point." if comma and hint is float else ""
        raise UserError(f"{key} is {kind}; received '{value}'.{hint_}")
    return number
