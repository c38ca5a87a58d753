"""Their names of the tensors and ours: rules written once, in one direction, and read in both.

A rule pairs two names, theirs and ours. In both, `{s}` stands for a whole number, `{b+1}` for that number and one more, and
`{...}` for the rest of a name:

    Rule("layer{s}.{b}.bn{n}.{...}", "stage{s}.block{b+1}.branch.norm{n}.{...}")

The rules are applied to the names that a network has, so the inverse is the same list of pairs read from the other side,
and a map is complete or it is no map: a tensor of ours without a rule, or two with one name, is found before any file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from resnets.errors import UserError, format_list
from resnets.models.spec import ResNetSpec, build

# How their tensor becomes ours, and how ours becomes theirs.
LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "same": (lambda tensor: tensor, lambda tensor: tensor),
    "conv": (lambda tensor: tensor.permute(3, 2, 0, 1), lambda tensor: tensor.permute(2, 3, 1, 0)),  # HWIO, OIHW
    "dense": (lambda tensor: tensor.T, lambda tensor: tensor.T),  # (in, out), (out, in)
    "pointwise": (lambda tensor: tensor[:, :, 0, 0], lambda tensor: tensor[:, :, None, None]),  # a 1x1 conv, a linear
}
_DIMENSIONS = {"conv": 4, "dense": 2, "pointwise": 4}  # of theirs
# How often a normalization was trained: no result depends on it, and files of before torch 0.4.1 and of Keras lack it.
COUNTER = ".num_batches_tracked"
_PLACE = re.compile(r"\{(?:(\.\.\.)|([a-z])([+-]\d+)?)\}")


@dataclass(frozen=True)
class Rule:
    """Their name, ours, and the layout of theirs: "same", "conv" (HWIO), "dense" (in, out) or "pointwise" (a 1x1
    convolution that is a linear layer of ours)."""

    theirs: str
    ours: str
    layout: str = "same"


class Keymap:
    """Tensors by their names to tensors by ours and back, strictly.

    Args:
        rules: for each tensor of ours the first one that fits it counts.
        wanted: tensors of ours by name, for their names and shapes; see `wanted`.
        counters: whether their files hold `num_batches_tracked`; where not, it is left out and comes back as 0.

    Attributes:
        pairs: our name -> (their name, layout).

    Raises:
        UserError: a tensor of ours fits no rule, two get one name, or a rule is not well formed.
    """

    def __init__(self, rules: Sequence[Rule], wanted: Mapping[str, Tensor], *, counters: bool = True) -> None:
        self.wanted = dict(wanted)
        self.pairs = {name: _first(rules, name) for name in wanted if counters or not name.endswith(COUNTER)}
        owners: dict[str, str] = {}
        for name, (theirs, _) in self.pairs.items():
            if theirs in owners:
                raise UserError(f"The map gives both '{owners[theirs]}' and '{name}' the name '{theirs}'.")
            owners[theirs] = name

    def ours(self, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their tensors by our names, in our order and layout; each is used once. Types stay as they are.

        Raises:
            UserError: tensors are missing, left over or of another shape or kind; the message lists them.
        """
        names = {name for name, _ in self.pairs.values()}
        missing, left = [], [name for name in theirs if name not in names]
        found: dict[str, Tensor] = {}
        shapes, kinds = [], []
        for name, want in self.wanted.items():
            their, layout = self.pairs.get(name, ("", "same"))
            if their in theirs:
                tensor = _turned(theirs[their], layout)
                if name.endswith(COUNTER):  # a program that turns every tensor to half precision turns it, too
                    tensor = tensor.to(torch.int64)
                found[name] = tensor
                if tensor.shape != want.shape:
                    right = LAYOUTS[layout][1](want).shape
                    shapes.append(f"{their} {list(theirs[their].shape)} for {list(right)}")
                elif tensor.is_floating_point() != want.is_floating_point():
                    kinds.append(f"{their} {tensor.dtype}")
            elif name.endswith(COUNTER):
                found[name] = torch.zeros((), dtype=torch.int64)
            else:
                missing.append(their)
        refuse(missing, left, shapes, kinds)
        return found

    def theirs(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors by their names, in our order and their layout.

        Raises:
            UserError: as `ours`.
        """
        missing = [name for name in self.pairs if name not in ours]
        left = [name for name in ours if name not in self.wanted]
        both = [name for name in self.pairs if name in ours]
        shapes = [
            f"{name} {list(ours[name].shape)} for {list(self.wanted[name].shape)}"
            for name in both
            if ours[name].shape != self.wanted[name].shape
        ]
        refuse(missing, left, shapes, [])
        return {their: LAYOUTS[layout][1](ours[name]).contiguous() for name, (their, layout) in self.pairs.items()}


def refuse(missing: Sequence[str], left: Sequence[str], shapes: Sequence[str], kinds: Sequence[str]) -> None:
    """Raise UserError when any of the four lists holds something."""
    faults = [
        f"{what}: {format_list(names, 6, quote=False)}"
        for what, names in (
            ("missing", missing), ("left over", left), ("of another shape", shapes), ("of another kind", kinds),
        )
        if names
    ]  # fmt: skip
    if faults:
        raise UserError(f"The tensors do not fit the network; {'; '.join(faults)}.")


def wanted(spec: ResNetSpec) -> dict[str, Tensor]:
    """The tensors of a specification's network by name, on the device "meta": shapes and types without memory."""
    try:
        with torch.device("meta"):
            return dict(build(spec).state_dict())
    except (ValueError, RuntimeError) as error:  # sizes that do not divide, or that no memory could hold
        raise UserError(f"The network '{spec.name}' cannot be built: {error}") from error


def _turned(tensor: Tensor, layout: str) -> Tensor:
    if layout == "pointwise" and tensor.shape[2:] != (1, 1):
        return tensor  # its shape is refused by the caller
    if tensor.dim() != _DIMENSIONS.get(layout, tensor.dim()):
        return tensor
    return LAYOUTS[layout][0](tensor)


def _first(rules: Sequence[Rule], name: str) -> tuple[str, str]:
    for rule in rules:
        if rule.layout not in LAYOUTS:
            raise UserError(f"A layout is one of {', '.join(LAYOUTS)}; received '{rule.layout}'.")
        if (values := read_name(rule.ours, name)) is not None:
            return write_name(rule.theirs, values), rule.layout
    raise UserError(f"The map has no rule for the tensor '{name}' of the network.")


def read_name(pattern: str, name: str) -> dict[str, int | str] | None:
    """What the places of `pattern` stand for in `name`, shifts taken off: "block{b+1}", "block3" -> {"b": 2}."""
    expression, shifts = _compiled(pattern)
    match = expression.fullmatch(name)
    if match is None:
        return None
    return {
        key: text if key == "rest" else int(text) - shifts[key] for key, text in match.groupdict().items()
    }  # fmt: skip


def write_name(pattern: str, values: Mapping[str, int | str]) -> str:
    """`pattern` with its places filled; the other side of `read_name`."""

    def fill(place: re.Match[str]) -> str:
        key = "rest" if place[1] else place[2]
        if key not in values:
            raise UserError(f"'{pattern}' uses {place[0]}, which the other name of its rule does not have.")
        value = values[key]
        return value if isinstance(value, str) else str(value + int(place[3] or 0))

    return _PLACE.sub(fill, pattern)


@cache
def _compiled(pattern: str) -> tuple[re.Pattern[str], dict[str, int]]:
    shifts: dict[str, int] = {}
    parts, end = [], 0
    for place in _PLACE.finditer(pattern):
        parts.append(re.escape(pattern[end : place.start()]))
        key = "rest" if place[1] else place[2]
        if key in shifts:
            parts.append(f"(?P={key})")
        else:
            parts.append(f"(?P<{key}>{'.+' if place[1] else '[0-9]+'})")
        shifts.setdefault(key, int(place[3] or 0))
        end = place.end()
    parts.append(re.escape(pattern[end:]))
    text = "".join(parts)
    if "\\{" in text or "\\}" in text:
        raise UserError(f"'{pattern}' has a bracket that is none of {{s}}, {{b+1}} and {{...}}.")
    return re.compile(text), shifts
