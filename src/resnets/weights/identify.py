"""What a file of weights is, with a reason for everything that is said of it and with its doubts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors import safe_open

from resnets.errors import UserError, format_list
from resnets.files import sha256
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights import checkpoint as checkpoints
from resnets.weights import local_path
from resnets.weights.formats import keras, spec_from_shapes, torchvision
from resnets.weights.formats.candidate import Guess
from resnets.weights.formats.registry import FORMATS
from resnets.weights.hub import catalog
from resnets.weights.local_path import BEST
from resnets.weights.readers import find_network
from resnets.weights.readers import read_any as foreigners
from resnets.weights.readers.find_network import Subtree
from resnets.weights.readers.read_any import Foreign


class UndecidedError(UserError):
    """The file fits several networks. `models` holds {name in the zoo: in words}, where their names tell them apart."""

    def __init__(self, message: str, models: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.models = dict(models or {})


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known of a file.

    Attributes:
        path, container: "pickle", "safetensors", "h5", "keras", or "resnets" for a file of ours.
        foreign: the tensors by their names without `prefix`; None for a file of ours.
        prefix: what stood before the names, or "".
        guesses: the networks that the file fits; more than one where its tensors cannot tell.
        subtree: where in the file the network lies; None for a file of ours.
        others: the other places at which a network lies.
    """

    path: Path
    container: str
    foreign: Foreign | None
    prefix: str
    guesses: tuple[Guess, ...]
    subtree: Subtree | None = None
    others: tuple[Subtree, ...] = ()

    def only(self) -> Guess:
        """The one network that the file is.

        Raises:
            UserError: there is none, or there are several; the message says what to name.
        """
        if not self.guesses:
            names = format_list(self.foreign.tensors if self.foreign else (), 6, quote=False)
            places = list(self.foreign.sets) if self.foreign else []
            more = (
                f" It holds tensors under {format_list(map(repr, places), 6, quote=False)}." if len(places) > 1 else ""
            )
            raise UserError(
                f"'{self.path}' is of no format that resnets knows; its tensors: {names}.{more} Write a map: `map='MAP.toml'` "
                "(docs/weights.md shows one)."
            )
        if self.others and self.subtree and find_network.undecided(self.subtree, self.others[0]):
            places = [each.argument for each in (self.subtree, *self.others)]
            raise UserError(f"'{self.path}' holds several networks; choose one: {', or '.join(places)}.")
        first = self.guesses[0]
        if len(self.guesses) > 1 or first.doubts:
            raise UndecidedError(
                f"'{self.path}' does not show which network it is: {'; '.join(first.doubts)}.",
                spec_from_shapes.choices([guess.spec for guess in self.guesses]),
            )
        return first

    def lines(self) -> list[str]:
        """For a person, a line each."""
        if not self.guesses:
            names = format_list(self.foreign.tensors if self.foreign else (), 12, quote=False)
            return [f"{self.path}: of no format that resnets knows", f"tensors: {names}", "convert it with `map`"]
        first = self.guesses[0]
        specs = [guess.spec for guess in self.guesses]
        shown = {
            "format": f"{first.format} ({self.container})",
            "network": " or ".join(dict.fromkeys(spec.name for spec in specs)),
            "family": family(specs[0]),
            "depth": str(depth(specs[0])),
            "variant": " or ".join(dict.fromkeys(variant(spec) for spec in specs)),
            "channels": str(specs[0].in_channels),
            "classes": str(specs[0].num_classes)
            if has_top(self.foreign)
            else f"no top that {first.format} has a name for",
        }
        lines = [f"{name + ':':10}{value}" for name, value in shown.items()]
        lines += self.places()
        lines += [f"because:  {reason}" for reason in first.reasons]
        lines += [f"assumed:  {sentence}" for sentence in first.assumed]
        lines += [f"doubt:    {doubt}" for doubt in first.doubts]
        if self.foreign and (odd := unknown(self.foreign, first)):
            lines.append(
                f"unknown:  {format_list(odd, 6, quote=False)}; `map` can give these names, `ignore` leaves them out"
            )
        return lines

    def places(self) -> list[str]:
        """Where in the file the network lies, what else there is, and what was left out, a line each."""
        if self.subtree is None or self.foreign is None:
            return []
        attributes, cut, lines = self.foreign.attributes, self.subtree, []
        if cut.wrapper:
            lines.append(f"wrapper:  the tensors lie under '{cut.wrapper}'")
        if cut.prefix:
            every = "every name" if not cut.left else "the names of the network"
            lines.append(f"prefix:   '{cut.prefix}' before {every}, taken off")
        if cut.numbered:
            lines.append(
                "names:    numbers, as of an nn.Sequential of a network's children, taken for conv1, bn1, layer1 ..."
            )
        if cut.head:
            lines.append(f"head:     '{cut.head}'")
        if averaged := cut.averaged or "n_averaged" in cut.left:
            lines.append("averaged: these are averages of the trained weights")
        for each in self.others:
            what = " (averages of weights)" if each.averaged and not averaged else ""
            lines.append(f"also:     another network lies {each.place}{what}; {each.argument} takes it")
        if left := self.left():
            lines.append(f"left out: {format_list(left, 6, quote=False)}")
        if labels := attributes.get("labels"):
            lines += [f"labels:   {len(names)} names of classes under '{where}'" for where, names in labels.items()]
        if inert := attributes.get("inert"):
            lines.append(f"inert:    {format_list(inert, 6, quote=False)}: wanted by the file, and not called")
        return lines

    def left(self) -> list[str]:
        """Names beside the network that are left out: outside of its prefix, or known as those of training only."""
        inner = [name for name in self.foreign.tensors if find_network.needless(name)] if self.foreign else []
        return [*(self.subtree.left if self.subtree else ()), *inner]


def inspect(
    path: str | Path, *, wrapper: str | None = None, prefix: str | None = None, ignore: Sequence[str] = ()
) -> Inspection:
    """Look at a file of weights of any known format; nothing in it is run.

    Args:
        path: a file, or a folder of Hugging Face.
        wrapper, prefix: the keys under which the network lies, with dots between, and what stands before its names there;
            found when None.
        ignore: patterns such as "criterion.*" of names to leave out.

    Raises:
        UserError: it cannot be read, or is no file of tensors.
    """
    path = local_path.packaged(path)
    if is_ours(path):
        told = {"wrapper": wrapper, "prefix": prefix, "ignore": ignore}
        if needless := [f"`{name}`" for name, value in told.items() if value]:
            raise UserError(
                f"'{path}' is a checkpoint of resnets, which says itself what it is; leave out {', '.join(needless)}."
            )
        checkpoint = checkpoints.read(path)
        reasons = ("the header of the file says so",)
        return Inspection(path, "resnets", None, "", (Guess(checkpoint.spec, "resnets", reasons),))
    found = find_network.find(keras.named(foreigners.read(path)), wrapper=wrapper, prefix=prefix, ignore=ignore)
    fitting = {cut: guesses for cut in found if (guesses := _guesses(cut.foreign))}
    if not fitting:
        return Inspection(path, found[0].foreign.container, found[0].foreign, found[0].prefix, (), found[0])
    cut, *others = fitting
    best = tuple(known(path, fitting[cut]) or fitting[cut])
    return Inspection(path, cut.foreign.container, cut.foreign, cut.prefix, best, cut, tuple(others))


def _guesses(foreign: Foreign) -> list[Guess]:
    return next((guesses for module in FORMATS.values() if (guesses := module.guesses(foreign))), [])


def known(path: Path, guesses: Sequence[Guess]) -> list[Guess]:
    """The guess that the file's hash confirms, when it is one of the catalog's; else none."""
    file = main_file(path)
    if (published := catalog.of_digest(sha256(file), file.stat().st_size)) is None:
        return []
    digits = len(published.digest.removeprefix("sha256:"))
    same = f"its sha256 is that of {published.name}"
    if not published.whole_digest:
        same = f"its size, and the first {digits} digits of its sha256 (no more are published), are those of {published.name}"
    for guess in guesses:
        if torchvision.same(guess.spec, published.spec()):
            reasons = (same, *guess.reasons)
            preprocess = published.preprocess()
            return [dataclasses.replace(guess, reasons=reasons, doubts=(), assumed=(), preprocess=preprocess)]
    return []


def main_file(path: Path) -> Path:
    """The file of tensors that a path stands for: itself, or the one in a folder of Hugging Face."""
    if not path.is_dir():
        return path
    return next(file for name in foreigners.FOLDER if (file := path / name).is_file())


def unknown(foreign: Foreign, guess: Guess) -> list[str]:
    """The names in the file that the format does not have for this network, and that training alone does not explain."""
    module = FORMATS[guess.format]
    pairs = module.keymap(guess.spec).pairs if has_top(foreign) else module.keymap(guess.spec, top=False).pairs
    names = [name for name in foreign.tensors if not find_network.needless(name)]
    return find_network.unknown(names, [name for name, _ in pairs.values()])


def is_ours(path: Path) -> bool:
    """Whether this is a checkpoint or a run folder of ours; what cannot be opened is not."""
    if path.is_dir():
        return (path / BEST).is_file() or (path / BEST.name).is_file()
    try:
        with safe_open(path, framework="pt") as file:
            return checkpoints.KEY in (file.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return False


def has_top(foreign: Foreign | None) -> bool:
    """Whether the file has the last, fully connected layer."""
    heads = ("fc.weight", "head.fc.weight", "classifier.1.weight", "predictions", "head_fc")
    return foreign is None or any(name == head or head in name.split("/") or name.startswith(f"{head}.")
                                  for head in heads for name in foreign.tensors)  # fmt: skip


def depth(spec: ResNetSpec) -> int:
    """Layers as the papers count them: convolutions of the branches, the stem and the head."""
    return {"basic": 2, "bottleneck": 3, "single": 1}[spec.branch] * sum(spec.num_blocks) + 2


def family(spec: ResNetSpec) -> str:
    """In a few words."""
    wide = spec.branch == "bottleneck" and 4 * spec.mid_channels[0] > spec.out_channels[0]
    words = [
        "Keras Applications'" if spec.name.startswith("keras") else "",
        "CIFAR" if spec.stem == "cifar" else "",
        "plain network" if spec.block == "plain" else "pre-activation" if spec.preactivation else "",
        {"se": "SE-", "cbam": "CBAM-"}.get(spec.attention, "") + "ResNeXt" if spec.groups > 1 else
        "Wide ResNet" if wide else "" if spec.block == "plain" else {"se": "SE-ResNet"}.get(spec.attention, "ResNet"),
    ]  # fmt: skip
    return " ".join(word for word in words if word)


def variant(spec: ResNetSpec) -> str:
    """What shapes do not show."""
    words = []
    if spec.branch == "bottleneck":
        words.append(f"stride in the {'3x3' if spec.stride_at == '3x3' else 'first 1x1'}")
    if spec.shortcut == "A":
        words.append(f"option A, zeros {'on both sides' if spec.zero_pad_both_sides else 'after the channels'}")
    else:
        words.append("no shortcuts" if spec.block == "plain" else f"option {spec.shortcut}")
    return ", ".join(words)


def chosen(inspection: Inspection, model: str | None, settings: Mapping[str, Any]) -> Guess:
    """The guess that a person confirms by naming the network, or the only one.

    Raises:
        UserError: the network is unknown, or the file still fits several.
    """
    if model is None and not settings:
        return inspection.only()
    guesses: Sequence[Guess] = inspection.guesses
    if not guesses:
        inspection.only()
    if model is not None:
        zoo_spec = next((guess.spec for guess in guesses if guess.spec.name == model), None) or zoo.find(model).spec
        named = [guess for guess in guesses if guess.spec.name == model]
        seen = guesses[0].spec
        guesses = named or [dataclasses.replace(guesses[0], spec=dataclasses.replace(
            zoo_spec, num_classes=seen.num_classes, in_channels=seen.in_channels))]  # fmt: skip
    known = [field.name for field in dataclasses.fields(ResNetSpec)]
    for key in settings:
        if key not in known:
            raise UserError(f"A network has no setting '{key}'. It has: {', '.join(known)}.")
    fitting = [guess for guess in guesses if all(getattr(guess.spec, key) == value for key, value in settings.items())]
    found = {dataclasses.replace(guess.spec, **settings): guess for guess in fitting or guesses}
    doubts = spec_from_shapes.doubts(list(found)) if len(found) > 1 else ()
    left = [dataclasses.replace(guess, spec=spec, doubts=doubts) for spec, guess in found.items()]
    return dataclasses.replace(inspection, guesses=tuple(left)).only()
