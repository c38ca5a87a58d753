"""Map names of tensors between another library and resnets, with rules that are applied in both directions.

A rule pairs two names: that of the other library, here called external, and that of resnets. In both, `{s}` stands for an
integer, `{b+1}` for an integer plus one, and `{...}` for the rest of a name:

    Rule("layer{s}.{b}.bn{n}.{...}", "stage{s}.block{b+1}.branch.norm{n}.{...}")

The rules are applied to the names of a network, so the inverse is the same list of pairs, and a map is always complete: a tensor
without a rule, or two with one name, is an error before any file is read.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.models.build_network import build
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import check_tensors

# By the layout of the external tensor: functions from it to the tensor of resnets, and back.
LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "same": (lambda tensor: tensor, lambda tensor: tensor),
    "conv": (lambda tensor: tensor.permute(3, 2, 0, 1), lambda tensor: tensor.permute(2, 3, 1, 0)),  # HWIO, OIHW
    "dense": (lambda tensor: tensor.T, lambda tensor: tensor.T),  # (in, out), (out, in)
    "pointwise": (lambda tensor: tensor[:, :, 0, 0], lambda tensor: tensor[:, :, None, None]),  # a 1x1 conv, a linear
}
_DIMENSIONS = {"conv": 4, "dense": 2, "pointwise": 4}  # of the external tensor
# Number of training steps of a norm: no result depends on it, and files of torch before 0.4.1 and of Keras do not have it.
COUNTER = ".num_batches_tracked"
_FIELD = re.compile(r"\{(?:(\.\.\.)|([a-z])([+-]\d+)?)\}")


@dataclass(frozen=True)
class Rule:
    """A pair of names."""

    external: str  # the name in the other library
    resnets: str  # the name in resnets
    # Of the external tensor: "same" as in resnets, "conv" (HWIO), "dense" (in, out) or "pointwise" (a 1x1 convolution that
    # is a linear layer in resnets).
    layout: str = "same"


class Keymap:
    """Renames tensors from external names to those of resnets and back, strictly.

    Args:
        rules: for each tensor of the network, the first matching rule is used.
        expected_tensors: the tensors of the network by name, for their names and shapes; see the function of that name.
        counters: whether external files have `num_batches_tracked`; if not, it is left out, and 0 when read.

    Attributes:
        pairs: name in resnets -> (external name, layout).

    Raises:
        UserError: a tensor of the network matches no rule, two get the same name, or a rule is malformed.
    """

    def __init__(self, rules: Sequence[Rule], expected_tensors: Mapping[str, Tensor], *, counters: bool = True) -> None:
        self.expected_tensors = dict(expected_tensors)
        self.pairs = {
            name: _first_match(rules, name) for name in expected_tensors if counters or not name.endswith(COUNTER)
        }
        owners: dict[str, str] = {}
        for name, (external, _) in self.pairs.items():
            if external in owners:
                raise UserError(f"The map gives both '{owners[external]}' and '{name}' the name '{external}'.")
            owners[external] = name

    def to_resnets(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The external tensors by the names of resnets, in its order and layout; each is used once. Types are not changed.

        Raises:
            UserError: tensors are missing, left over or of another shape or type; the message lists them.
        """
        names = {name for name, _ in self.pairs.values()}
        missing, left_over = [], [name for name in tensors if name not in names]
        found: dict[str, Tensor] = {}
        shapes, kinds = [], []
        for name, expected in self.expected_tensors.items():
            external, layout = self.pairs.get(name, ("", "same"))
            if external in tensors:
                tensor = tensors[external]
                kernel = tensor.shape[2:] if layout == "pointwise" else (1, 1)
                if tensor.dim() == _DIMENSIONS.get(layout, tensor.dim()) and kernel == (
                    1,
                    1,
                ):  # else refused by its shape
                    tensor = LAYOUTS[layout][0](tensor)
                if name.endswith(COUNTER):  # it may have been converted to half precision with all other tensors
                    tensor = tensor.to(torch.int64)
                found[name] = tensor
                if tensor.shape != expected.shape:
                    right = LAYOUTS[layout][1](expected).shape
                    shapes.append(f"{external} {list(tensors[external].shape)} for {list(right)}")
                elif tensor.is_floating_point() != expected.is_floating_point():
                    kinds.append(f"{external} {tensor.dtype}")
            elif name.endswith(COUNTER):
                found[name] = torch.zeros((), dtype=torch.int64)
            else:
                missing.append(external)
        check_tensors(missing, left_over, shapes, kinds, "The weights do not fit the network")
        return found

    def from_resnets(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a network by their external names, in the order of resnets and the external layout.

        Raises:
            UserError: as `to_resnets`.
        """
        missing = [name for name in self.pairs if name not in tensors]
        left_over = [name for name in tensors if name not in self.expected_tensors]
        both = [name for name in self.pairs if name in tensors]
        shapes = [
            f"{name} {list(tensors[name].shape)} for {list(self.expected_tensors[name].shape)}"
            for name in both
            if tensors[name].shape != self.expected_tensors[name].shape
        ]
        check_tensors(missing, left_over, shapes, [], "The weights do not fit the network")
        return {
            external: LAYOUTS[layout][1](tensors[name]).contiguous() for name, (external, layout) in self.pairs.items()
        }


def expected_tensors(spec: ResNetSpec, *, top: bool = True) -> dict[str, Tensor]:
    """The tensors of a specification's network by name, on the meta device; without `top`, all but those of its head."""
    try:
        tensors = _meta_tensors(spec, torch.get_default_dtype())
        return dict(tensors) if top else backbone_tensors(tensors)
    except (ValueError, RuntimeError) as error:  # sizes that do not divide, or that no memory could hold
        raise UserError(f"The network '{spec.name}' cannot be built: {error}") from error


@lru_cache(maxsize=8)  # one file is compared with the tensors of the same few networks several times
def _meta_tensors(spec: ResNetSpec, dtype: torch.dtype) -> dict[str, Tensor]:
    """In torch's default type, which `dtype` is."""
    with torch.device("meta"):
        return dict(build(spec).state_dict())


def backbone_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a network except those of its head."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}


def _first_match(rules: Sequence[Rule], name: str) -> tuple[str, str]:
    for rule in rules:
        if rule.layout not in LAYOUTS:
            raise UserError(f"A layout is one of {', '.join(LAYOUTS)}; received '{rule.layout}'.")
        if (values := read_name(rule.resnets, name)) is not None:
            return write_name(rule.external, values), rule.layout
    raise UserError(f"The map has no rule for the tensor '{name}' of the network.")


def read_name(pattern: str, name: str) -> dict[str, int | str] | None:
    """The values of the fields of `pattern` in `name`, without offsets: "block{b+1}", "block3" -> {"b": 2}."""
    # Most of the hundreds of rules of Keras name one tensor each, and a comparison is faster than a pattern.
    if "{" not in pattern and "}" not in pattern:
        return {} if pattern == name else None
    expression, offsets = _compiled(pattern)
    if (match := expression.fullmatch(name)) is None:
        return None
    return {key: text if key == "rest" else int(text) - offsets[key] for key, text in match.groupdict().items()}


def write_name(pattern: str, values: Mapping[str, int | str]) -> str:
    """`pattern` with its fields filled in; the inverse of `read_name`."""

    def fill(field: re.Match[str]) -> str:
        key = "rest" if field[1] else field[2]
        if key not in values:
            raise UserError(f"'{pattern}' uses {field[0]}, which the other name of its rule does not have.")
        value = values[key]
        return value if isinstance(value, str) else str(value + int(field[3] or 0))

    return _FIELD.sub(fill, pattern)


@cache
def _compiled(pattern: str) -> tuple[re.Pattern[str], dict[str, int]]:
    offsets: dict[str, int] = {}
    pieces, end = [], 0
    for field in _FIELD.finditer(pattern):
        pieces.append(re.escape(pattern[end : field.start()]))
        key = "rest" if field[1] else field[2]
        if key in offsets:
            pieces.append(f"(?P={key})")
        else:
            pieces.append(f"(?P<{key}>{'.+' if field[1] else '[0-9]+'})")
        offsets.setdefault(key, int(field[3] or 0))
        end = field.end()
    pieces.append(re.escape(pattern[end:]))
    text = "".join(pieces)
    if "\\{" in text or "\\}" in text:
        raise UserError(f"'{pattern}' has a brace that is not part of a field such as {{s}}, {{b+1}} or {{...}}.")
    return re.compile(text), offsets
