"""Where in a file of a training program a network lies: under which keys and behind which prefix of the names.

Such a file holds more than a network: averaged weights, a second network, a projector, a loss with weights of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import Tensor

from resnets.errors import UserError, format_list, suggestion
from resnets.weights.formats.keymap import COUNTER
from resnets.weights.readers.read_any import WRAPPERS, Foreign

# A tensor of the first block, by whose name the formats know a network. In an nn.Sequential of a network's children,
# stages are numbers.
_FIRST = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?:layer1\.0\.conv1\.weight|stages\.0\.blocks\.0\.conv1\.weight"
    r"|resnet\.encoder\.stages\.0\.layers\.0\.layer\.0\.convolution\.weight"
    r"|(?<!resnet\.)encoder\.stages\.0\.layers\.0\.layer\.0\.convolution\.weight)"
)
_NUMBERED = re.compile(r"(?P<prefix>(?:.*\.)?)(?P<stage>\d+)\.0\.conv1\.weight")
HEADS = ("fc", "classifier", "head", "linear", "last_linear", "logits", "output", "out", "cls", "predictions")
# What wraps blocks within a network: activation checkpointing and FSDP.
_INNER = re.compile(r"(?<=\.)(_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
# Self-supervised learning trains a last layer that classifies nothing.
_SELF = re.compile(r"(^|[._])(encoder_[qk]|student|teacher|online|target|momentum|projector|projection|predictor"
                   r"|proj|queue|prototypes?)")  # fmt: skip
_AVERAGED = re.compile(r"(^|[._])(ema|swa|averag\w*|avg|shadow|momentum|encoder_k|target|key)([._]|$|\d)|ema$")
# What training keeps beside a network and prediction does not need.
_TRAINING = re.compile(
    r"(^|\.)(n_averaged|queue(_ptr)?|criterion|(\w+_)?loss(es|_\w+)?|(\w+_)?metrics?(_\w+)?|(\w+_)?acc(uracy)?(_\w+)?"
    r"|(\w+_)?(precision|recall|auroc|f1)(_\w+)?|confmat|projector|projection(_head)?|proj(_head)?|predictor"
    r"|prediction_head|prototypes?|center|class_weights?)(\.|$)"
)


@dataclass(frozen=True, eq=False)
class Subtree:
    """A part of a file that may be one network.

    Attributes:
        wrapper: the keys under which its tensors lie, with dots between; "" for the top.
        prefix: of their names there.
        foreign: the tensors without it, by the names that a format has.
        left: names beside them that are left out.
        head: where the last layer lay, when it did not bear the format's name.
        numbered: whether its stages bore numbers, as those of an nn.Sequential do.
    """

    wrapper: str
    prefix: str
    foreign: Foreign
    left: tuple[str, ...] = ()
    head: str = ""
    numbered: bool = False

    @property
    def place(self) -> str:
        """In words."""
        parts = [f"under '{self.wrapper}'" if self.wrapper else "", f"behind '{self.prefix}'" if self.prefix else ""]
        return " ".join(filter(None, parts)) or "at the top"

    @property
    def argument(self) -> str:
        """What chooses it."""
        parts = [
            f"`wrapper='{self.wrapper}'`" if self.wrapper else "",
            f"`prefix='{self.prefix}'`" if self.prefix else "",
        ]
        return " ".join(filter(None, parts))

    @property
    def averaged(self) -> bool:
        """Whether its place is called as averages of weights are."""
        return bool(_AVERAGED.search(f"{self.wrapper}.{self.prefix}".strip(".")))

    @property
    def self_supervised(self) -> bool:
        """Whether it comes from learning without labels, so that its last layer classifies nothing."""
        return bool(_SELF.search(f"{self.wrapper}.{self.prefix}")) or any(map(_SELF.search, self.left))


def find(
    foreign: Foreign, *, wrapper: str | None = None, prefix: str | None = None, ignore: Sequence[str] = ()
) -> list[Subtree]:
    """The parts of a file that may be a network, the one to take first; where none looks like one, the largest part.

    Args:
        wrapper, prefix: the only ones to take, where a person says so.
        ignore: patterns such as "criterion.*" of names to leave out.

    Raises:
        UserError: nothing lies under `wrapper`, or no name begins with `prefix`.
    """
    sets = foreign.sets or {"": foreign.tensors}
    if wrapper is not None:
        sets = {wrapper: _chosen(foreign, sets, wrapper)}
    kept = {place: {_INNER.sub("", name): each for name, each in (tensors | _head_beside(foreign.sets, place)).items()
                    if not any(fnmatchcase(name, pattern) for pattern in ignore)}
            for place, tensors in sets.items()}  # fmt: skip
    if prefix is not None:
        kept = {place: tensors for place, tensors in kept.items() if any(name.startswith(prefix) for name in tensors)}
        if not kept:
            raise UserError(
                f"'{foreign.path}': tensors do not begin with '{prefix}': {format_list(foreign.tensors, 6, quote=False)}."
            )
    found = []
    for place, tensors in kept.items():
        for start, stage in _starts(tensors):
            if prefix is None or start == prefix:
                found.append(_cut(foreign, place, tensors, start, stage))
    if not found:
        place = foreign.attributes.get("wrapper", "")
        place = place if place in kept else next(iter(kept))
        found = [_cut(foreign, place, kept[place], _common(kept[place]) if prefix is None else prefix, None)]
    return sorted(found, key=_rank)


def whole(foreign: Foreign, *, wrapper: str | None, prefix: str, ignore: Sequence[str]) -> Subtree:
    """The part of a file under `wrapper`, or its largest, behind `prefix`, for a map of a person's own.

    Raises:
        UserError: as `find`.
    """
    sets = foreign.sets or {"": foreign.tensors}
    place = foreign.attributes.get("wrapper", "") if wrapper is None else wrapper
    tensors = {name: each for name, each in _chosen(foreign, sets, place).items()
               if not any(fnmatchcase(name, pattern) for pattern in ignore)}  # fmt: skip
    if not any(name.startswith(prefix) for name in tensors):
        raise UserError(
            f"'{foreign.path}': tensors do not begin with '{prefix}': {format_list(tensors, 6, quote=False)}."
        )
    inner = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    cut = replace(foreign, tensors=inner, attributes={**foreign.attributes, "wrapper": place})
    return Subtree(place, prefix, cut, tuple(name for name in tensors if not name.startswith(prefix)))


def undecided(first: Subtree, second: Subtree) -> bool:
    """Whether nothing tells which of the first two of `find` is meant."""
    named = {each.wrapper.rpartition(".")[2] for each in (first, second)} & set(WRAPPERS)
    return _rank(first)[:2] == _rank(second)[:2] and not (named and first.wrapper != second.wrapper)


def needless(name: str) -> bool:
    """Whether a tensor of that name is what training keeps beside a network."""
    return bool(_TRAINING.search(name))


def _chosen(foreign: Foreign, sets: Mapping[str, dict[str, Tensor]], wrapper: str) -> dict[str, Tensor]:
    """The tensors under these keys; those in several containers below them by their longer names."""
    if wrapper in sets:
        return sets[wrapper]
    below = {place: tensors for place, tensors in sets.items() if place.startswith(f"{wrapper}.")}
    if not below:
        places = [place for place in sets if place]
        there = (
            f"Tensors lie under {format_list([repr(place) for place in places], 6, quote=False)}."
            if places
            else "Its tensors lie at the top."
        )
        raise UserError(f"'{foreign.path}' has no tensors under '{wrapper}'.{suggestion(wrapper, places)} {there}")
    return {f"{place[len(wrapper) + 1 :]}.{name}": each for place, held in below.items() for name, each in held.items()}


def _head_beside(sets: Mapping[str, dict[str, Tensor]], place: str) -> dict[str, Tensor]:
    """The last layer in a container of its own, as in {"backbone": {...}, "fc": {"weight": ..., "bias": ...}}."""
    if any(name.endswith("fc.weight") for name in sets.get(place, ())):
        return {}
    parent = place[: place.rfind(".") + 1]
    for stem in HEADS:
        held = sets.get(parent + stem, {})
        if place and parent + stem != place and held.keys() == {"weight", "bias"}:
            return {f"{stem}.{name}": each for name, each in held.items()}
    return {}


def _starts(tensors: Iterable[str]) -> dict[tuple[str, int | None], None]:
    """Each prefix behind which a network begins, with the number of its first stage where stages are numbers."""
    found: dict[tuple[str, int | None], None] = {}
    numbers: dict[str, int] = {}
    names = set(tensors)
    for name in names:
        if place := _FIRST.fullmatch(name):
            found[place["prefix"], None] = None
        elif place := _NUMBERED.fullmatch(name):
            start = place["prefix"]
            if f"{start}0.weight" in names or f"{start}0.0.weight" in names:
                numbers[start] = min(int(place["stage"]), numbers.get(start, 999))
    return dict.fromkeys(sorted(found)) | dict.fromkeys(sorted(numbers.items()))


def _cut(foreign: Foreign, place: str, tensors: Mapping[str, Tensor], prefix: str, stage: int | None) -> Subtree:
    inner = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    left = [name for name in tensors if not name.startswith(prefix)]
    if stage is not None:
        inner = {_named(name, stage): each for name, each in inner.items()}
    head = ""
    if "layer1.0.conv1.weight" in inner and "fc.weight" not in inner:
        inner, head, left = _with_head(inner, tensors, prefix, left)
    attributes = dict(foreign.attributes)
    attributes.pop("wrapper", None)
    if place:
        attributes["wrapper"] = place
    cut = replace(foreign, tensors=inner, attributes=attributes)
    return Subtree(place, prefix, cut, tuple(left), head, stage is not None)


def _named(name: str, stage: int) -> str:
    """torchvision's name for one of an nn.Sequential of a ResNet's children, whose first stage has the number `stage`."""
    number, _, rest = name.partition(".")
    if not number.isdecimal():
        return name
    index = int(number)
    known = {0: "conv1", 1: "bn1"} | {stage + i: f"layer{i + 1}" for i in range(4)} | {stage + 5: "fc"}
    return f"{known[index]}.{rest}" if index in known else name


def _with_head(inner: dict[str, Tensor], tensors: Mapping[str, Tensor], prefix: str, left: list[str],
               ) -> tuple[dict[str, Tensor], str, list[str]]:  # fmt: skip
    """The tensors with a last layer that bears another name or stands outside of the prefix, where there is just one."""
    features = next(each.shape[0] for name, each in reversed(inner.items()) if re.fullmatch(
        r"layer\d+\.\d+\.bn\d+\.running_mean", name)) if any(name.endswith("running_mean") for name in inner) else 0  # fmt: skip
    outer = prefix
    while True:
        for stem in HEADS:
            own = {name: each for name, each in tensors.items() if name.startswith(f"{outer}{stem}.")}
            weights = [name for name in own if re.fullmatch(r"((\d+|fc)\.)?weight", name[len(outer) + len(stem) + 1 :])]
            if len(own) == 2 and len(weights) == 1 and (bias := f"{weights[0][:-6]}bias") in own:
                weight = own[weights[0]]
                if weight.dim() == 2 and weight.shape[1] == features:
                    taken = {name.removeprefix(prefix) for name in own}
                    inner = {name: each for name, each in inner.items() if name not in taken}
                    inner |= {"fc.weight": weight, "fc.bias": own[bias]}
                    return inner, weights[0].removesuffix(".weight"), [name for name in left if name not in own]
        if not outer:
            return inner, "", left
        outer = outer[: outer[:-1].rfind(".") + 1]


def _rank(subtree: Subtree) -> tuple[int, bool, int, int]:
    """What a person wants most likely first: the trained weights before an average of them; DINO's own programs take the
    teacher."""
    words = f"{subtree.wrapper}.{subtree.prefix}"
    kind = 2 if subtree.averaged else 1 if "student" in words else 0
    name = subtree.wrapper.rpartition(".")[2]
    wrapper = WRAPPERS.index(name) if name in WRAPPERS else len(WRAPPERS)
    headless = not any(
        each in subtree.foreign.tensors for each in ("fc.weight", "head.fc.weight", "classifier.1.weight")
    )
    return kind, headless, wrapper, subtree.wrapper.count(".")


def _common(names: Iterable[str]) -> str:
    """What programs put before every name: DataParallel, torch.compile, Lightning and the like."""
    names, prefix = [name for name in names if not needless(name)], ""
    while found := [each for each in PREFIXES if names and all(name.startswith(prefix + each) for name in names)]:
        prefix += found[0]
    return prefix


PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")


def unknown(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names that are not among the known ones, counters of batches aside."""
    known = set(known)
    return [name for name in names if name not in known and not name.endswith(COUNTER)]
