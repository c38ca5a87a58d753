"""Identify the network in a weights file, with reasons, and with doubts about what the file cannot show."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors import safe_open

from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.message_format import format_list
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights import checkpoint as checkpoints
from resnets.weights import local_file
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import keras, spec_from_shapes
from resnets.weights.formats.candidate import Candidate
from resnets.weights.formats.registry import FORMATS
from resnets.weights.hub import catalog
from resnets.weights.local_file import BEST
from resnets.weights.readers import find_network, read_any
from resnets.weights.readers.file_type import DARKNET_SUFFIXES
from resnets.weights.readers.find_network import Subtree
from resnets.weights.readers.read_any import WeightsFile


class UndecidedError(UserError):
    """The file fits several networks. `models` is {name in the zoo: description}, if they differ by name."""

    def __init__(self, message: str, models: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.models = dict(models or {})


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known about a file."""

    path: Path  # of the file
    container: str  # "pickle", "safetensors", "h5", "keras", or "resnets" for a checkpoint of resnets
    weights_file: WeightsFile | None  # its tensors, by their names without `prefix`; None for a checkpoint of resnets
    prefix: str  # the prefix that was removed from the names, or ""
    # The networks that the file fits; more than one if its tensors do not show which it is.
    candidates: tuple[Candidate, ...]
    subtree: Subtree | None = None  # where in the file the network is; None for a checkpoint of resnets
    others: tuple[Subtree, ...] = ()  # other networks in the file

    def single_candidate(self) -> Candidate:
        """The network in the file.

        Raises:
            UserError: there is none, or there are several; the message says which arguments decide.
        """
        if not self.candidates:
            names = format_list(self.weights_file.tensors if self.weights_file else (), 6, quote=False)
            containers = list(self.weights_file.sets) if self.weights_file else []
            under = f" It has tensors under {format_list(map(repr, containers), 6, quote=False)}."
            more = under if len(containers) > 1 else ""
            raise UserError(
                f"'{self.path}' has an unknown format; its tensors: {names}.{more} Write a map: `map='MAP.toml'` "
                "(docs/weights.md shows one)."
            )
        if self.others and self.subtree and find_network.ambiguous(self.subtree, self.others[0]):
            arguments = [each.argument for each in (self.subtree, *self.others)]
            raise UserError(f"'{self.path}' has several networks; choose one: {', or '.join(arguments)}.")
        first = self.candidates[0]
        if len(self.candidates) > 1 or first.doubts:
            raise UndecidedError(
                f"'{self.path}' does not show which network it is: {'; '.join(first.doubts)}.",
                spec_from_shapes.choices([candidate.spec for candidate in self.candidates]),
            )
        return first

    def lines(self) -> list[str]:
        """The findings for a user, one line each."""
        if not self.candidates:
            names = format_list(self.weights_file.tensors if self.weights_file else (), 12, quote=False)
            return [f"{self.path}: unknown format", f"tensors: {names}", "convert it with `map`"]
        first = self.candidates[0]
        specs = [candidate.spec for candidate in self.candidates]
        facts = {
            "format": f"{first.format} ({self.container})",
            "network": " or ".join(dict.fromkeys(spec.name for spec in specs)),
            "family": family(specs[0]),
            "depth": str(depth(specs[0])),
            "variant": " or ".join(dict.fromkeys(variant(spec) for spec in specs)),
            "channels": str(specs[0].in_channels),
            "classes": str(specs[0].num_classes)
            if has_top(self.weights_file)
            else f"no head that {first.format} has a name for",
        }
        lines = [f"{name + ':':10}{value}" for name, value in facts.items()]
        lines += self.location_lines()
        lines += [f"because:  {reason}" for reason in first.reasons]
        lines += [f"assumed:  {sentence}" for sentence in first.assumed]
        lines += [f"doubt:    {doubt}" for doubt in first.doubts]
        if self.weights_file and (unknown := unknown_names(self.weights_file, first)):
            lines.append(
                f"unknown:  {format_list(unknown, 6, quote=False)}; `map` can give these names, `ignore` leaves them out"
            )
        return lines

    def location_lines(self) -> list[str]:
        """Where the network is in the file, what else the file has, and what was left out, one line each."""
        if self.subtree is None or self.weights_file is None:
            return []
        attributes, subtree, lines = self.weights_file.attributes, self.subtree, []
        if subtree.wrapper:
            lines.append(f"wrapper:  the tensors are stored under '{subtree.wrapper}'")
        if subtree.prefix:
            every = "every name" if not subtree.left_out else "the names of the network"
            lines.append(f"prefix:   '{subtree.prefix}' before {every}, removed")
        if subtree.numbered:
            lines.append(
                "names:    numbers, as in an nn.Sequential of a network's children, read as conv1, bn1, layer1 ..."
            )
        if subtree.head:
            lines.append(f"head:     '{subtree.head}'")
        if averaged := subtree.averaged or "n_averaged" in subtree.left_out:
            lines.append("averaged: these are averages of the trained weights")
        for each in self.others:
            note = " (averages of weights)" if each.averaged and not averaged else ""
            lines.append(f"also:     another network is {each.location}{note}; {each.argument} selects it")
        if left_out := self.left_out():
            lines.append(f"left out: {format_list(left_out, 6, quote=False)}")
        if labels := attributes.get("labels"):
            lines += [f"labels:   {len(names)} class names under '{key}'" for key, names in labels.items()]
        if inert := attributes.get("inert"):
            lines.append(f"inert:    {format_list(inert, 6, quote=False)}: named by the file, and not called")
        return lines

    def left_out(self) -> list[str]:
        """Names of tensors that are left out: outside of the prefix, or used in training only."""
        names = self.weights_file.tensors if self.weights_file else ()
        return [*(self.subtree.left_out if self.subtree else ()), *filter(find_network.is_for_training_only, names)]


def inspect(
    path: str | Path, *, wrapper: str | None = None, prefix: str | None = None, ignore: Sequence[str] = ()
) -> Inspection:
    """Inspect a weights file of any known format; nothing in it is executed.

    Args:
        path: a file, or a folder of Hugging Face.
        wrapper, prefix: the keys that the network is stored under, joined by dots, and the prefix of its names there; detected
            if None.
        ignore: patterns such as "criterion.*" of names to leave out.

    Returns:
        The networks that the file fits, with reasons and doubts.

    Raises:
        UserError: the file cannot be read, or has no tensors.
    """
    path = local_file.with_bundled(path)
    if is_resnets_checkpoint(path):
        arguments = {"wrapper": wrapper, "prefix": prefix, "ignore": ignore}
        if needless := [f"`{name}`" for name, value in arguments.items() if value]:
            raise UserError(
                f"'{path}' is a checkpoint of resnets, which needs no description; leave out {', '.join(needless)}."
            )
        checkpoint = checkpoints.read(path, task=None)
        return _known(path, "resnets", checkpoint, "the header of the file says so")
    if path.suffix in DARKNET_SUFFIXES:
        from resnets.weights.detection import darknet_files  # here, since it imports all of torchvision

        return _known(path, "darknet", darknet_files.read_checkpoint(path), "the .cfg has the layers of YOLOv3 on it")
    found = find_network.find(
        keras.with_variable_names(read_any.read(path)), wrapper=wrapper, prefix=prefix, ignore=ignore
    )
    fitting: dict[Subtree, list[Candidate]] = {}
    for subtree in found:
        of_formats = (module.candidates(subtree.weights_file) for module in FORMATS.values())
        if candidates := next(filter(None, of_formats), None):
            fitting[subtree] = candidates
    if not fitting:
        return Inspection(path, found[0].weights_file.container, found[0].weights_file, found[0].prefix, (), found[0])
    subtree, *others = fitting
    best = tuple(confirmed_by_hash(path, fitting[subtree]) or fitting[subtree])
    return Inspection(
        path, subtree.weights_file.container, subtree.weights_file, subtree.prefix, best, subtree, tuple(others)
    )


def confirmed_by_hash(path: Path, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidate that is in the catalog of published weights by the hash of the file, else none."""
    file = main_file(path)
    size = file.stat().st_size
    if not catalog.has_size(size) or (published := catalog.find_by_digest(sha256(file), size)) is None:
        return []
    digits = len(published.digest.removeprefix("sha256:"))
    same = f"its sha256 is that of {published.name}"
    if not published.whole_digest:
        same = f"its size, and the first {digits} digits of its sha256 (no more are published), are those of {published.name}"
    for candidate in candidates:
        if spec_from_shapes.computes_the_same(candidate.spec, published.spec()):
            reasons = (same, *candidate.reasons)
            preprocess = published.preprocess()
            return [dataclasses.replace(candidate, reasons=reasons, doubts=(), assumed=(), preprocess=preprocess)]
    return []


def main_file(path: Path) -> Path:
    """The file of tensors at a path: itself, or the one in a folder of Hugging Face."""
    if not path.is_dir():
        return path
    return next(file for name in read_any.FOLDER if (file := path / name).is_file())


def unknown_names(weights_file: WeightsFile, candidate: Candidate) -> list[str]:
    """The names in the file that are neither the format's for this network nor those of tensors of training only."""
    pairs = FORMATS[candidate.format].keymap(candidate.spec, top=has_top(weights_file)).pairs
    names = [name for name in weights_file.tensors if not find_network.is_for_training_only(name)]
    return find_network.unknown_names(names, [name for name, _ in pairs.values()])


def _known(path: Path, container: str, checkpoint: Checkpoint, reason: str) -> Inspection:
    """The inspection of a file that says itself what it is; of a detector or segmenter, the network is its backbone."""
    spec, reasons = checkpoint.spec, [reason]
    if kind := checkpoints.KINDS.get(checkpoint.task):
        spec = dataclasses.replace(spec, num_classes=len(checkpoint.class_names))
        reasons.append(f"a {kind}, {checkpoint.config['architecture']}, on this network")
    return Inspection(path, container, None, "", (Candidate(spec, container, tuple(reasons)),))


def is_resnets_checkpoint(path: Path) -> bool:
    """Whether `path` is a checkpoint or a run directory of resnets; False if it cannot be opened."""
    if path.is_dir():
        return (path / BEST).is_file() or (path / BEST.name).is_file()
    try:
        with safe_open(path, framework="pt") as file:
            return checkpoints.KEY in (file.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return False


def has_top(weights_file: WeightsFile | None) -> bool:
    """Whether the file has the last, fully connected layer."""
    heads = ("fc.weight", "head.fc.weight", "classifier.1.weight", "predictions", "head_fc")
    return weights_file is None or any(name == head or head in name.split("/") or name.startswith(f"{head}.")
                                  for head in heads for name in weights_file.tensors)  # fmt: skip


def depth(spec: ResNetSpec) -> int:
    """Number of layers as the papers count them: convolutions of the branches, the stem and the head."""
    return {"basic": 2, "bottleneck": 3, "single": 1}[spec.branch] * sum(spec.num_blocks) + 2


def family(spec: ResNetSpec) -> str:
    """The family of the network in a few words, such as "pre-activation ResNet"."""
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
    """The settings that shapes do not show, as text."""
    words = []
    if spec.branch == "bottleneck":
        words.append(f"stride in the {'3x3' if spec.stride_at == '3x3' else 'first 1x1'}")
    if spec.shortcut == "A":
        words.append(f"option A, zeros {'on both sides' if spec.zero_pad_both_sides else 'after the channels'}")
    else:
        words.append("no shortcuts" if spec.block == "plain" else f"option {spec.shortcut}")
    if spec.block not in ("residual", "plain"):
        words.append(f"blocks '{spec.block}'")
    return ", ".join(words)


def choose(inspection: Inspection, model: str | None, settings: Mapping[str, Any]) -> Candidate:
    """The candidate that `model` and `settings` select, or the only one.

    Raises:
        UserError: the network is unknown, or the file still fits several.
    """
    if model is None and not settings:
        return inspection.single_candidate()
    candidates: Sequence[Candidate] = inspection.candidates
    if not candidates:
        inspection.single_candidate()
    if model is not None:
        first = candidates[0]
        candidates = [candidate for candidate in candidates if candidate.spec.name == model]
        if not candidates:
            seen: dict[str, Any] = {"num_classes": first.spec.num_classes, "in_channels": first.spec.in_channels}
            candidates = [dataclasses.replace(first, spec=dataclasses.replace(zoo.find(model).spec, **seen))]
    known = [field.name for field in dataclasses.fields(ResNetSpec)]
    for key in settings:
        if key not in known:
            raise UserError(f"A network has no setting '{key}'. It has: {', '.join(known)}.")
    fitting = [
        candidate
        for candidate in candidates
        if all(getattr(candidate.spec, key) == value for key, value in settings.items())
    ]
    found = {dataclasses.replace(candidate.spec, **settings): candidate for candidate in fitting or candidates}
    doubts = spec_from_shapes.doubts(list(found)) if len(found) > 1 else ()
    left_out = [dataclasses.replace(candidate, spec=spec, doubts=doubts) for spec, candidate in found.items()]
    return dataclasses.replace(inspection, candidates=tuple(left_out)).single_candidate()
