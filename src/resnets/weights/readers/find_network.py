"""Find the network in a training checkpoint: the keys that it is stored under and the prefix of its names.

Such a file may also hold averaged weights, a second network, a projector, or a loss with weights of its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import Tensor

from resnets.errors import UserError
from resnets.message_format import format_list, suggestion
from resnets.weights.formats.keymap import COUNTER
from resnets.weights.readers.read_any import WRAPPERS, WeightsFile

# A tensor of the first block, by whose name the formats recognize a network. In an nn.Sequential of a network's children,
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
# In self-supervised learning, the last layer does not classify.
_SELF = re.compile(r"(^|[._])(encoder_[qk]|student|teacher|online|target|momentum|projector|projection|predictor"
                   r"|proj|queue|prototypes?)")  # fmt: skip
_AVERAGED = re.compile(r"(^|[._])(ema|swa|averag\w*|avg|shadow|momentum|encoder_k|target|key)([._]|$|\d)|ema$")
# Tensors of training that prediction does not need.
_TRAINING = re.compile(
    r"(^|\.)(n_averaged|queue(_ptr)?|criterion|(\w+_)?loss(es|_\w+)?|(\w+_)?metrics?(_\w+)?|(\w+_)?acc(uracy)?(_\w+)?"
    r"|(\w+_)?(precision|recall|auroc|f1)(_\w+)?|confmat|projector|projection(_head)?|proj(_head)?|predictor"
    r"|prediction_head|prototypes?|center|class_weights?)(\.|$)"
)


@dataclass(frozen=True, eq=False)
class Subtree:
    """A group of tensors in a file that may be one network."""

    wrapper: str  # the keys that its tensors are stored under, joined by dots; "" for the top level
    prefix: str  # of their names there
    weights_file: WeightsFile  # the file with these tensors only, without the prefix, by the names of the format
    left_out: tuple[str, ...] = ()  # names of the other tensors
    head: str = ""  # the original name of the last layer, if it was not the format's; else ""
    numbered: bool = False  # whether its stages were numbered, as in an nn.Sequential

    @property
    def location(self) -> str:
        """Where it is in the file, for a message."""
        under = f"under '{self.wrapper}'" if self.wrapper else ""
        prefix = f"with the prefix '{self.prefix}'" if self.prefix else ""
        return f"{under} {prefix}".strip() or "at the top level"

    @property
    def argument(self) -> str:
        """The arguments that select it, for a message."""
        arguments = {"wrapper": self.wrapper, "prefix": self.prefix}
        return " ".join(f"`{name}='{value}'`" for name, value in arguments.items() if value)

    @property
    def averaged(self) -> bool:
        """Whether its location is named like averaged weights."""
        return bool(_AVERAGED.search(f"{self.wrapper}.{self.prefix}".strip(".")))

    @property
    def self_supervised(self) -> bool:
        """Whether it comes from self-supervised learning, so that its last layer does not classify."""
        return bool(_SELF.search(f"{self.wrapper}.{self.prefix}")) or any(map(_SELF.search, self.left_out))


def find(
    weights_file: WeightsFile, *, wrapper: str | None = None, prefix: str | None = None, ignore: Sequence[str] = ()
) -> list[Subtree]:
    """The groups of tensors that may be a network, the most likely first; if none looks like one, the largest group.

    Args:
        wrapper, prefix: the only ones to consider, if given.
        ignore: patterns such as "criterion.*" of names to leave out.

    Raises:
        UserError: nothing is stored under `wrapper`, or no name starts with `prefix`.
    """
    sets = weights_file.sets or {"": weights_file.tensors}
    if wrapper is not None:
        sets = {wrapper: _tensors_under(weights_file, sets, wrapper)}
    selected = {}
    for container, tensors in sets.items():
        with_head = tensors | _head_beside(weights_file.sets, container)
        selected[container] = {
            _INNER.sub("", name): tensor
            for name, tensor in with_head.items()
            if not any(fnmatchcase(name, pattern) for pattern in ignore)
        }
    if prefix is not None:
        selected = {
            container: tensors
            for container, tensors in selected.items()
            if any(name.startswith(prefix) for name in tensors)
        }
        if not selected:
            raise UserError(
                f"'{weights_file.path}': tensors do not begin with '{prefix}': "
                f"{format_list(weights_file.tensors, 6, quote=False)}."
            )
    subtrees = []
    for container, tensors in selected.items():
        for start, stage in _network_starts(tensors):
            if prefix is None or start == prefix:
                subtrees.append(_subtree(weights_file, container, tensors, start, stage))
    if not subtrees:
        container = weights_file.attributes.get("wrapper", "")
        container = container if container in selected else next(iter(selected))
        start = _common_prefix(selected[container]) if prefix is None else prefix
        subtrees = [_subtree(weights_file, container, selected[container], start, None)]
    return sorted(subtrees, key=_rank)


def whole_container(weights_file: WeightsFile, *, wrapper: str | None, prefix: str, ignore: Sequence[str]) -> Subtree:
    """The tensors under `wrapper`, or the largest group, with `prefix`, for a map that the user wrote.

    Raises:
        UserError: as `find`.
    """
    sets = weights_file.sets or {"": weights_file.tensors}
    container = weights_file.attributes.get("wrapper", "") if wrapper is None else wrapper
    tensors = {name: each for name, each in _tensors_under(weights_file, sets, container).items()
               if not any(fnmatchcase(name, pattern) for pattern in ignore)}  # fmt: skip
    if not any(name.startswith(prefix) for name in tensors):
        raise UserError(
            f"'{weights_file.path}': tensors do not begin with '{prefix}': {format_list(tensors, 6, quote=False)}."
        )
    inner = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    inner_file = replace(weights_file, tensors=inner, attributes={**weights_file.attributes, "wrapper": container})
    return Subtree(container, prefix, inner_file, tuple(name for name in tensors if not name.startswith(prefix)))


def ambiguous(first: Subtree, second: Subtree) -> bool:
    """Whether nothing shows which of the first two results of `find` is meant."""
    named = {each.wrapper.rpartition(".")[2] for each in (first, second)} & set(WRAPPERS)
    return _rank(first)[:2] == _rank(second)[:2] and not (named and first.wrapper != second.wrapper)


def is_for_training_only(name: str) -> bool:
    """Whether a tensor of that name is used in training only."""
    return bool(_TRAINING.search(name))


def _tensors_under(weights_file: WeightsFile, sets: Mapping[str, dict[str, Tensor]], wrapper: str) -> dict[str, Tensor]:
    """The tensors stored under these keys; those in containers below them by their longer names."""
    if wrapper in sets:
        return sets[wrapper]
    below = {container: tensors for container, tensors in sets.items() if container.startswith(f"{wrapper}.")}
    if not below:
        known = [container for container in sets if container]
        hint = f"Tensors are stored under {format_list(map(repr, known), 6, quote=False)}."
        hint = hint if known else "Its tensors are at the top level."
        raise UserError(f"'{weights_file.path}' has no tensors under '{wrapper}'.{suggestion(wrapper, known)} {hint}")
    return {
        f"{container[len(wrapper) + 1 :]}.{name}": each
        for container, inner in below.items()
        for name, each in inner.items()
    }


def _head_beside(sets: Mapping[str, dict[str, Tensor]], container: str) -> dict[str, Tensor]:
    """The last layer in a container of its own, as in {"backbone": {...}, "fc": {"weight": ..., "bias": ...}}."""
    if any(name.endswith("fc.weight") for name in sets.get(container, ())):
        return {}
    parent = container[: container.rfind(".") + 1]
    for stem in HEADS:
        inner = sets.get(parent + stem, {})
        if container and parent + stem != container and inner.keys() == {"weight", "bias"}:
            return {f"{stem}.{name}": each for name, each in inner.items()}
    return {}


def _network_starts(tensors: Iterable[str]) -> dict[tuple[str, int | None], None]:
    """Each prefix of a network, with the number of its first stage if stages are numbered."""
    starts: dict[tuple[str, int | None], None] = {}
    numbers: dict[str, int] = {}
    names = set(tensors)
    for name in names:
        if match := _FIRST.fullmatch(name):
            starts[match["prefix"], None] = None
        elif match := _NUMBERED.fullmatch(name):
            start = match["prefix"]
            if f"{start}0.weight" in names or f"{start}0.0.weight" in names:
                numbers[start] = min(int(match["stage"]), numbers.get(start, 999))
    return dict.fromkeys(sorted(starts)) | dict.fromkeys(sorted(numbers.items()))


def _subtree(
    weights_file: WeightsFile, container: str, tensors: Mapping[str, Tensor], prefix: str, stage: int | None
) -> Subtree:
    inner = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    left_out = [name for name in tensors if not name.startswith(prefix)]
    if stage is not None:
        inner = {_torchvision_name(name, stage): each for name, each in inner.items()}
    head = ""
    if "layer1.0.conv1.weight" in inner and "fc.weight" not in inner:
        inner, head, left_out = _with_head(inner, tensors, prefix, left_out)
    attributes = dict(weights_file.attributes)
    attributes.pop("wrapper", None)
    if container:
        attributes["wrapper"] = container
    inner_file = replace(weights_file, tensors=inner, attributes=attributes)
    return Subtree(container, prefix, inner_file, tuple(left_out), head, stage is not None)


def _torchvision_name(name: str, stage: int) -> str:
    """torchvision's name for a tensor of `nn.Sequential(*resnet.children())`, whose first stage has the number `stage`."""
    number, _, rest = name.partition(".")
    if not number.isdecimal():
        return name
    index = int(number)
    known = {0: "conv1", 1: "bn1"} | {stage + i: f"layer{i + 1}" for i in range(4)} | {stage + 5: "fc"}
    return f"{known[index]}.{rest}" if index in known else name


def _with_head(inner: dict[str, Tensor], tensors: Mapping[str, Tensor], prefix: str, left_out: list[str],
               ) -> tuple[dict[str, Tensor], str, list[str]]:  # fmt: skip
    """The tensors with a last layer of another name or outside of the prefix, if there is exactly one."""
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
                    return inner, weights[0].removesuffix(".weight"), [name for name in left_out if name not in own]
        if not outer:
            return inner, "", left_out
        outer = outer[: outer[:-1].rfind(".") + 1]


def _rank(subtree: Subtree) -> tuple[int, bool, int, int]:
    """The sort key of `find`: trained weights before an average of them, and the teacher before the student, as in DINO."""
    texts = f"{subtree.wrapper}.{subtree.prefix}"
    kind = 2 if subtree.averaged else 1 if "student" in texts else 0
    name = subtree.wrapper.rpartition(".")[2]
    wrapper = WRAPPERS.index(name) if name in WRAPPERS else len(WRAPPERS)
    headless = subtree.weights_file.tensors.keys().isdisjoint(("fc.weight", "head.fc.weight", "classifier.1.weight"))
    return kind, headless, wrapper, subtree.wrapper.count(".")


def _common_prefix(names: Iterable[str]) -> str:
    """The prefix that DataParallel, torch.compile, Lightning and others put before every name."""
    names, prefix = [name for name in names if not is_for_training_only(name)], ""
    while matching := [each for each in PREFIXES if names and all(name.startswith(prefix + each) for name in names)]:
        prefix += matching[0]
    return prefix


PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")


def unknown_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The names that are not known, except batch counters."""
    known = set(known)
    return [name for name in names if name not in known and not name.endswith(COUNTER)]
