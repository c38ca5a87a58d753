"""Checks of flat settings, such as those of a detector or a segmenter: types, ranges, and values without effect."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from resnets.errors import UserError
from resnets.message_format import suggestion


def check_values(
    settings: Any,
    defaults: Mapping[str, Any],
    choices: Mapping[str, tuple[str, ...]],
    *,
    at_least_0: Collection[str],
    less_than_1: Collection[str] = (),
) -> None:
    """Make tuples of lists in `settings`, a frozen dataclass, and raise UserError for a value of another type or range.

    Args:
        defaults: of the fields that are checked. A value has the type of its default, and all numbers of a tuple are positive.
        choices: the values of each field that is a word.
        at_least_0: the whole numbers that may be 0; others are at least 1.
        less_than_1: the fractions that may not be 1.
    """
    for field in dataclasses.fields(settings):
        key, value = field.name, getattr(settings, field.name)
        if isinstance(value, list):
            object.__setattr__(settings, key, value := tuple(value))
        if key in defaults:
            if key in choices:
                check_choice(key, value, choices[key])
            _check(key, value, defaults[key], least=int(key not in at_least_0), less_than_1=key in less_than_1)


def check_choice(key: str, value: object, known: Collection[str]) -> None:
    """Raise UserError for a value that is none of the known ones."""
    if value not in known:
        raise UserError(f"{key} is one of {', '.join(known)}; received '{value}'.{suggestion(str(value), known)}")


def check_effects(settings: Any, defaults: Mapping[str, Any], without_effect: Iterable[str], model: str) -> None:
    """Raise UserError if a setting that has no effect has another value than its default; `model` is what a message names."""
    for key in without_effect:
        if (value := getattr(settings, key)) != defaults[key]:
            raise UserError(f"{key} has no effect on {model}; received {value!r}. Leave it out.")


@contextlib.contextmanager
def named_as_in_recipe(settings: Any) -> Iterator[None]:
    """Messages of a UserError name each field of `settings`, a dataclass, as in a recipe: `task.dropout` for `dropout`."""
    names = "|".join(field.name for field in dataclasses.fields(settings))
    try:
        yield
    except UserError as error:
        raise UserError(re.sub(rf"(?<![\w.'=])({names})\b", r"task.\1", str(error))) from None


def check_rules(rules: Iterable[tuple[bool, str]]) -> None:
    """Raise UserError with the message of the first rule that is violated."""
    for violated, message in rules:
        if violated:
            raise UserError(f"{message}.")


def _check(key: str, value: object, default: object, *, least: int, less_than_1: bool) -> None:
    """Raise UserError for a value of another type or range."""
    if isinstance(default, tuple):
        whole = bool(default) and all(_is_whole(item) for item in default)
        is_known = _is_whole if whole else _is_number
        fits = isinstance(value, tuple) and all(is_known(item) and item > 0 for item in value)
        expected = f"{key} are positive {'whole ' if whole else ''}numbers"
    elif isinstance(default, (bool, str)):
        fits, expected = isinstance(value, type(default)), f"The setting {key} is of type {type(default).__name__}"
    elif isinstance(default, float):
        fits = _is_number(value) and 0 <= value <= 1 and not (less_than_1 and value == 1)
        expected = f"{key} is at least 0 and {'less than' if less_than_1 else 'at most'} 1"
    else:
        fits, expected = _is_whole(value) and value >= least, f"{key} is a whole number of at least {least}"
    if not fits:
        raise UserError(f"{expected}; received {value!r}.")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
