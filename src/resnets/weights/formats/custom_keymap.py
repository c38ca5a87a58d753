"""Read a name map from a TOML file of the user, for weights files whose names no format of `formats/` has.

`names` pairs the names in the weights file with those of resnets, as rules of `keymap`; the rest says what tensors do not show:

    model = "cifar_resnet20"                 # a network of the zoo
    wrapper = "state_dict_ema"               # the keys that the tensors are stored under, with dots between; optional
    prefix = "module."                       # of the names, removed first; names without it are left out; optional
    ignore = ["criterion.*"]                 # patterns of names to leave out; optional
    class_names = ["airplane", "automobile"] # in the order of the outputs; optional
    counters = true                          # whether the file holds num_batches_tracked; optional

    [settings]                               # of the network, where it differs from the zoo's; optional
    zero_pad_both_sides = true

    [preprocess]                             # of images, as a checkpoint stores it; optional
    size = [32, 32]

    [names]
    "layer{s}.{b}.conv{n}.{...}" = "stage{s}.block{b+1}.branch.conv{n}.{...}"
    "linear.weight" = { resnets = "head.fc.weight", layout = "same" }
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.models.spec import ResNetSpec
from resnets.weights.formats.keymap import LAYOUTS, Keymap, Rule, expected_tensors

KEYS = {"model": str, "wrapper": str, "prefix": str, "ignore": list, "class_names": list, "counters": bool,
        "settings": dict, "preprocess": dict, "names": dict}  # fmt: skip
RULE_KEYS = ("resnets", "layout")  # of a rule that is more than a name


@dataclass(frozen=True)
class CustomKeymap:
    """The content of the file. `settings` go to `zoo.get_spec`."""

    path: str
    rules: tuple[Rule, ...]
    model: str | None = None
    wrapper: str | None = None
    prefix: str | None = None
    ignore: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    counters: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Preprocess | None = None

    def keymap(self, spec: ResNetSpec) -> Keymap:
        """The names in the file, without the prefix, and those of resnets for the tensors of this network."""
        return Keymap(self.rules, expected_tensors(spec), counters=self.counters)


def read(path: str | Path) -> CustomKeymap:
    """The map in a TOML file.

    Raises:
        UserError: it cannot be read, has an unknown key, or a malformed rule.
    """
    try:
        content = tomllib.loads(Path(path).read_text("utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"There is no name map '{path}'.") from None
    except (OSError, ValueError, RecursionError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise UserError(f"'{path}' is not a name map in TOML: {' '.join(str(error).split())}.") from None
    for key, value in content.items():
        if key not in KEYS:
            known = ", ".join(KEYS)
            raise UserError(f"'{path}': a name map has no key '{key}'.{suggestion(key, KEYS)} It has: {known}.")
        if not isinstance(value, KEYS[key]):
            raise UserError(f"'{path}': '{key}' is of type {KEYS[key].__name__}; received {value!r}.")
    if not content.get("names"):
        raise UserError(f'\'{path}\' has no [names]: pairs such as "conv1.weight" = "stem.conv.weight".')
    for key in ("class_names", "ignore"):
        if not all(isinstance(name, str) for name in content.get(key, [])):
            raise UserError(f"'{path}': {key} is a list of names; received {content[key]!r}.")
    rules = tuple(_rule(path, external, value) for external, value in content.pop("names").items())
    content |= {key: tuple(content[key]) for key in ("class_names", "ignore") if key in content}
    if "preprocess" in content:
        content["preprocess"] = Preprocess.from_dict(content["preprocess"])
    return CustomKeymap(str(path), rules, **content)


def _rule(path: str | Path, external: str, value: Any) -> Rule:
    if isinstance(value, str):
        value = {"resnets": value}
    if isinstance(value, dict) and (unknown := sorted(value.keys() - set(RULE_KEYS))):
        raise UserError(
            f"'{path}': the value of \"{external}\" has no key '{unknown[0]}'."
            f"{suggestion(unknown[0], RULE_KEYS)} It has: {', '.join(RULE_KEYS)}."
        )
    if not isinstance(value, dict) or "resnets" not in value:
        raise UserError(
            f"'{path}': the value of \"{external}\" is a name of resnets, or {{ resnets = ..., layout = ... }}; "
            f"received {value!r}."
        )
    layout = value.get("layout", "same")
    if layout not in LAYOUTS or not isinstance(value["resnets"], str):
        raise UserError(f"'{path}': a layout is one of {', '.join(LAYOUTS)}; received {layout!r}.")
    return Rule(external, value["resnets"], layout)
