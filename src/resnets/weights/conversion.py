"""From a file of weights of any format to a checkpoint of ours, and from there to any format: strictly, or not at all."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from resnets.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from resnets.errors import UserError, suggestion
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights import adaptation, folding, formats, imagenet, inspection, location, usermap
from resnets.weights import checkpoint as checkpoints
from resnets.weights import foreign as foreigners
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.foreign import Foreign
from resnets.weights.guess import Guess

TARGETS = ("resnets", *formats.FORMATS)
PREPROCESS = {"imagenet": Preprocess.imagenet, "caffe": Preprocess.caffe, "tf": Preprocess.tf}


@dataclass(frozen=True)
class Request:
    """What a person says of a file beside its path.

    Attributes:
        model: the network of the zoo that the file holds; asked for where the tensors fit several.
        settings: of the network, where it differs from the zoo's, such as `{"zero_both_sides": True}`.
        map: path of a TOML file, see `usermap`.
        preprocess: "imagenet", "caffe" or "tf".
        class_names: in the order of the outputs.
        no_top: take a file without a head, or leave the head out.
        classes: a new, untrained head of so many classes.
        in_channels: change the first convolution to so many channels.
    """

    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    map: str | None = None
    preprocess: str | None = None
    class_names: tuple[str, ...] = ()
    no_top: bool = False
    classes: int | None = None
    in_channels: int | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A file as a checkpoint of ours, with what was said and done on the way.

    `foreign` has the tensors by their own names, without a prefix; `format` is "resnets" or that of `formats`, or "map".
    `carried` is whether the file itself, or one beside it, holds the preprocessing, which is assumed otherwise.
    """

    checkpoint: Checkpoint
    format: str
    notes: tuple[str, ...]
    foreign: Foreign | None = None
    carried: bool = True


def convert(path: str | Path, *, to: str, out: str | Path, request: Request | None = None) -> list[str]:
    """Read the weights at `path`, write them at `out` in the format `to`, and say what was done, a line each.

    Every tensor is used once, or nothing is written. Other classes, other channels and a missing head are asked for in
    `request` and named in the lines.

    Raises:
        UserError: the file, the request or the format do not fit each other; the message lists the tensors.
        JobError: `out` cannot be written to.
    """
    request = request or Request()
    if to not in TARGETS:
        raise UserError(f"--to is one of {', '.join(TARGETS)}; received '{to}'.{suggestion(to, TARGETS)}")
    source = load(path, request)
    checkpoint, notes = adaptation.adapted(source.checkpoint, classes=request.classes, in_channels=request.in_channels)
    lines = [*source.notes, *notes]
    if to == "resnets":
        checkpoints.save(out, checkpoint)
        return [*lines, f"{out}: {checkpoint.spec.name}, {len(checkpoint.tensors)} tensors, each used once"]
    module = formats.find(to)
    top = not request.no_top
    name = module.write(out, checkpoint, top=top)
    head = "" if top else " without its top"
    lines.append(f"{out}: for {to}'s {name}{head}, {len(checkpoint.tensors)} tensors of ours, each used once")
    return [*lines, *_changed(module, out, checkpoint, top=top)]


def _changed(module: ModuleType, out: str | Path, checkpoint: Checkpoint, *, top: bool) -> list[str]:
    """What stands otherwise in the file of another library, or has no place in it, a line each."""
    carried = module.carries(out)
    lines = folding.notes(checkpoint, _last_layer(module, checkpoint) if top else "", images="preprocess" in carried)
    if "preprocess" in carried and hasattr(module, "remarks"):
        lines += module.remarks(checkpoint.preprocess)
    if checkpoint.spec.in_channels != checkpoint.preprocess.channels and "preprocess" in carried:
        lines.append(
            f"the network takes {checkpoint.spec.in_channels} channels, the preprocessing makes {checkpoint.preprocess.channels}"
        )
    left = []
    if top and checkpoint.classes and "classes" not in carried:
        left.append(
            f"class names ({', '.join(checkpoint.classes[:3])}{', ...' if len(checkpoint.classes) > 3 else ''})"
        )
    if "preprocess" not in carried:
        left.append(f"preprocessing ({checkpoint.preprocess.described()})")
    if "card" not in carried and (checkpoint.metrics or checkpoint.provenance):
        left.append("figures and provenance")
    if left:
        lines.append(f"not in {Path(out).name}, which has no place for it: {'; '.join(left)}")
    return lines


def _last_layer(module: ModuleType, checkpoint: Checkpoint) -> str:
    """The library's name of the last layer: "fc", "classifier.1", "predictions"."""
    theirs = module.keymap(checkpoint.spec).pairs["head.fc.weight"][0]
    return re.sub(r"[./](weight|kernel)$", "", theirs)


def load(path: str | Path, request: Request | None = None) -> Source:
    """The weights at `path`, of any format, as a checkpoint of ours. Raises UserError as `convert` does."""
    request, path = request or Request(), location.packaged(path)
    if inspection.is_ours(path):
        if request.map or request.model or request.settings:
            raise UserError(
                f"'{path}' is a checkpoint of resnets, which says itself what it is; leave --model, --map away."
            )
        checkpoint = _described(checkpoints.read(path), request)
        return Source(checkpoint, "resnets", (f"{path}: a checkpoint of resnets, {checkpoint.spec.name}",))
    if request.map:
        return _mapped(path, usermap.read(request.map), request)
    found = inspection.inspect(path)
    guess = inspection.chosen(found, request.model, request.settings)
    assert found.foreign is not None
    notes = [f"{path}: {guess.format}, {guess.spec.name} ({inspection.variant(guess.spec)})"]
    if found.prefix:
        notes.append(f"prefix '{found.prefix}' taken off every name")
    notes += [f"assumed: {sentence}" for sentence in guess.assumed if not request.preprocess]
    top = inspection.has_top(found.foreign)
    if not top and not request.no_top:
        if odd := inspection.unknown(found.foreign, guess):
            raise UserError(
                f"'{path}' has no last layer under a name that {guess.format} knows, but unknown ones: "
                f"{inspection.some(odd)}. Name them with --map; --no-top would give the network a new, untrained head."
            )
        raise UserError(f"'{path}' has no top, the last layer. Say --no-top to take the rest, with a new head.")
    module = formats.find(guess.format)
    keymap = module.keymap(guess.spec) if top else module.keymap(guess.spec, top=False)
    tensors = keymap.ours(found.foreign.tensors)
    if not top:
        tensors |= adaptation.new_head(guess.spec)
        notes.append(f"the file has no top: a new, untrained head of {guess.spec.classes} classes")
    names, said = _class_names(found.foreign, guess)
    checkpoint = Checkpoint(
        spec=guess.spec, preprocess=_preprocess(guess), classes=names, tensors=tensors,
        provenance=_provenance(path, guess.format, guess.spec),
    )  # fmt: skip
    carried = hasattr(module, "preprocessor") and module.preprocessor(path) is not None and not request.preprocess
    return Source(_described(checkpoint, request), guess.format, (*notes, said), found.foreign, carried)


def _mapped(path: Path, given: usermap.UserMap, request: Request) -> Source:
    model = request.model or given.model
    if model is None:
        raise UserError(f"'{given.path}' names no model; write model = \"...\" into it, or say --model.")
    foreign, prefix = inspection.without_prefix(foreigners.read(path), given.prefix)
    plain = zoo.spec(model, **{**given.settings, **request.settings})
    classes = len(given.classes) or plain.classes
    spec = dataclasses.replace(plain, classes=classes)
    tensors = given.keymap(spec).ours(foreign.tensors)
    guess = Guess(spec, "map", (), preprocess=given.preprocess)
    checkpoint = Checkpoint(
        spec=spec, preprocess=_preprocess(guess), classes=given.classes or _numbers(classes), tensors=tensors,
        provenance=_provenance(path, "map", spec),
    )  # fmt: skip
    notes = [f"{path}: {spec.name} ({inspection.variant(spec)}) by {given.path}"]
    if prefix:
        notes.append(f"prefix '{prefix}' taken off every name")
    return Source(_described(checkpoint, request), "map", tuple(notes), foreign, given.preprocess is not None)


def _described(checkpoint: Checkpoint, request: Request) -> Checkpoint:
    """With the class names and the preprocessing that were asked for."""
    if request.preprocess is not None:
        if request.preprocess not in PREPROCESS:
            raise UserError(f"--preprocess is one of {', '.join(PREPROCESS)}; received '{request.preprocess}'.")
        side = checkpoint.preprocess.size[0]
        checkpoint = dataclasses.replace(checkpoint, preprocess=PREPROCESS[request.preprocess](side))
    if request.class_names and not request.classes:
        checkpoint = dataclasses.replace(checkpoint, classes=request.class_names)
    return checkpoint


def _preprocess(guess: Guess) -> Preprocess:
    side = guess.spec.imgsz
    if guess.spec.stem == "cifar" and guess.format != "map":
        return Preprocess.plain(side, IMAGENET_MEAN, IMAGENET_STD)
    return guess.preprocess or Preprocess.imagenet(side)


def _class_names(foreign: Foreign, guess: Guess) -> tuple[tuple[str, ...], str]:
    """The names of the classes, and where they come from in words."""
    module = formats.FORMATS.get(guess.format)
    if module and hasattr(module, "class_names") and len(names := module.class_names(foreign)) == guess.spec.classes:
        return distinct(names), "class names: those of config.json"
    if guess.spec.classes == 1000:
        return distinct(imagenet.NAMES), "class names: ImageNet's, in its usual order"
    return _numbers(guess.spec.classes), "class names: the file has none, so numbers; --class-names gives them"


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with its number behind each that is there twice: ImageNet has two kinds of crane."""
    return tuple(f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names))


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(count))


def _provenance(path: Path, format_: str, spec: ResNetSpec) -> dict[str, Any]:
    file = inspection.main_file(path)
    return {
        "converted_from": file.name,
        "format": format_,
        "parent_sha256": checkpoints.fingerprint(file),
        "network": spec.name,
    }
