"""From a file of weights of any format to a checkpoint of ours, and from there to any format: strictly, or not at all."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from resnets import atomic_write
from resnets.data.image.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from resnets.errors import UserError, format_list, suggestion
from resnets.files import sha256
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights import adapt, identify, local_path
from resnets.weights import checkpoint as checkpoints
from resnets.weights import provenance as origins
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import custom_keymap, fold_temperature, huggingface, registry, timm
from resnets.weights.formats.candidate import Guess
from resnets.weights.formats.keymap import COUNTER
from resnets.weights.hub import catalog, imagenet_classes
from resnets.weights.readers import find_network
from resnets.weights.readers import read_any as foreigners
from resnets.weights.readers.read_any import Foreign

TARGETS = ("resnets", *registry.FORMATS)
PREPROCESS = {"imagenet": Preprocess.imagenet, "caffe": Preprocess.caffe, "tf": Preprocess.tf}


@dataclass(frozen=True)
class Request:
    """What a person says of a file beside its path.

    Attributes:
        model: the network of the zoo that the file holds; asked for where the tensors fit several.
        settings: of the network, where it differs from the zoo's, such as `{"zero_pad_both_sides": True}`.
        map: path of a TOML file, see `usermap`.
        preprocess: "imagenet", "caffe" or "tf".
        wrapper, prefix: the keys under which the network lies in the file, with dots between, and what stands before its names
            there; found where not given.
        ignore: patterns such as "criterion.*" of names in the file to leave out.
        class_names: in the order of the outputs.
        no_top: leave the head out.
        classes: a new, untrained head of so many classes.
        in_channels: change the first convolution to so many channels.
    """

    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    map: str | None = None
    preprocess: str | None = None
    wrapper: str | None = None
    prefix: str | None = None
    ignore: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    no_top: bool = False
    num_classes: int | None = None
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
        raise UserError(f"`to` is one of {', '.join(TARGETS)}; received '{to}'.{suggestion(to, TARGETS)}")
    _check_request(request, to)
    _check_place(out, to)
    source = load(path, request)
    if to == "resnets" and request.no_top and source.checkpoint.provenance.get("head") != checkpoints.UNTRAINED:
        raise UserError(
            f"`no_top` has no effect on '{path}' with `to=resnets`: `num_classes=10` gives it a new head, of 10 classes."
        )
    checkpoint, notes = adapt.adapted(
        source.checkpoint, num_classes=request.num_classes, in_channels=request.in_channels
    )
    lines = [*source.notes, *notes]
    if to == "resnets":
        checkpoints.save(out, checkpoint)
        return [*lines, f"{out}: {checkpoint.spec.name}, {len(checkpoint.tensors)} tensors, each used once"]
    module = registry.find(to)
    untrained = checkpoint.provenance.get("head") == checkpoints.UNTRAINED and request.num_classes is None
    top = not (request.no_top or untrained)
    name = module.write(out, checkpoint, top=top)
    head = "" if top else " without its top"
    lines.append(f"{out}: for {to}'s {name}{head}, {len(checkpoint.tensors)} tensors of ours, each used once")
    return [*lines, *_changed(module, out, checkpoint, top=top)]


def _check_request(request: Request, to: str) -> None:
    """Refuse what would have no effect beside the rest."""
    if request.num_classes is not None and request.class_names:
        raise UserError("`class_names` has no effect with `num_classes`: a new, untrained head has no names.")
    if request.no_top and to != "resnets":
        for name in ("num_classes", "class_names"):
            if getattr(request, name):
                raise UserError(f"`{name}` has no effect with `no_top`, which leaves the last layer out.")


def _check_place(out: str | Path, to: str) -> None:
    folder = to == "huggingface" or (to == "timm" and not timm.is_file(out))
    if not folder:
        atomic_write.check_file_writable(out)
    elif not Path(out).is_file():  # of which the format itself says more
        atomic_write.check_folder_writable(out)


def _changed(module: ModuleType, out: str | Path, checkpoint: Checkpoint, *, top: bool) -> list[str]:
    """What stands otherwise in the file of another library, or has no place in it, a line each."""
    carried = module.carries(out)
    lines = fold_temperature.notes(
        checkpoint, _last_layer(module, checkpoint) if top else "", images="preprocess" in carried
    )
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
    request, path = request or Request(), local_path.packaged(path)
    if identify.is_ours(path):
        told = ("model", "settings", "map", "wrapper", "prefix", "ignore")
        if needless := [f"`{name}`" for name in told if getattr(request, name)]:
            raise UserError(
                f"'{path}' is a checkpoint of resnets, which says itself what it is; leave out {', '.join(needless)}."
            )
        checkpoint = checkpoints.read(path)
        known = origins.of_file(checkpoint.provenance, local_path.locate(path))
        checkpoint = _described(dataclasses.replace(checkpoint, provenance=known), request)
        return Source(checkpoint, "resnets", (f"{path}: a checkpoint of resnets, {checkpoint.spec.name}",))
    if request.map:
        return _mapped(path, custom_keymap.read(request.map), request)
    found = identify.inspect(path, wrapper=request.wrapper, prefix=request.prefix, ignore=request.ignore)
    guess = identify.chosen(found, request.model, request.settings)
    assert found.foreign is not None
    assert found.subtree is not None
    notes = [f"{path}: {guess.format}, {guess.spec.name} ({identify.variant(guess.spec)})", *found.places()]
    notes += [f"assumed: {sentence}" for sentence in guess.assumed if not request.preprocess]
    top = identify.has_top(found.foreign) and not request.no_top
    _refuse_unknown(path, found, guess, top)
    module = registry.find(guess.format)
    keymap = module.keymap(guess.spec) if top else module.keymap(guess.spec, top=False)
    given = {name: each for name, each in found.foreign.tensors.items() if not find_network.needless(name)}
    if not top:
        names = {name for name, _ in module.keymap(guess.spec).pairs.values()} - {
            name for name, _ in keymap.pairs.values()
        }
        given = {name: each for name, each in given.items() if name not in names and not _of_head(name)}
    tensors = keymap.ours(given)
    provenance = _provenance(path, guess.format, guess.spec)
    classes: tuple[str, ...] = ()
    if top:
        classes, said = _class_names(found.foreign, guess)
        notes.append(said)
        if found.subtree.self_supervised:
            notes.append("assumed: the last layer tells classes apart; in learning without labels it is a projection")
    else:
        tensors |= adapt.new_head(guess.spec)
        provenance["head"] = checkpoints.UNTRAINED
        notes.append(
            "without a head: the last layer is new and untrained; resnets train DATA --weights FILE trains one for your classes"
        )
    checkpoint = Checkpoint(
        spec=guess.spec, preprocess=_preprocess(guess), classes=classes, tensors=tensors, provenance=provenance
    )
    # Libraries have no network without a head.
    foreign = dataclasses.replace(found.foreign, tensors=given) if top else None
    carried = hasattr(module, "preprocessor") and module.preprocessor(path) is not None and not request.preprocess
    return Source(_described(checkpoint, request), guess.format, tuple(notes), foreign, carried)


def _refuse_unknown(path: Path, found: identify.Inspection, guess: Guess, top: bool) -> None:
    """Names that may change the answers are not left out without a word."""
    assert found.foreign is not None
    assert found.subtree is not None
    cut = found.subtree
    odd = identify.unknown(found.foreign, guess)
    if not top:
        # Nothing that stands after the body changes it; what stands in it might.
        last = [name for name in odd if _of_head(name)]
        if last and not cut.self_supervised and not identify.has_top(found.foreign):
            _refuse_split(path, last)
            raise UserError(
                f"'{path}' has no last layer that {guess.format} knows: {format_list(last, 6, quote=False)}. `map` names it; "
                f"`ignore='{last[0].partition('.')[0]}*'` leaves it out and gives the network a new, untrained head."
            )
        odd = [name for name in odd if not _of_head(name)]
    elif cut.head and cut.prefix and not cut.head.startswith(cut.prefix):
        # A head from outside of the prefix: what lies there too may stand between the two.
        odd += [name for name in cut.left if not find_network.needless(name)]
    keymap = registry.find(guess.format).keymap
    needed = [name for name, _ in (keymap(guess.spec) if top else keymap(guess.spec, top=False)).pairs.values()]
    missing = [name for name in needed if name not in found.foreign.tensors and not name.endswith(COUNTER)]
    _refuse_split(path, odd)
    if odd and not missing:  # else the message lists both
        raise UserError(
            f"'{path}' has tensors that {guess.format} has no names for; left over: "
            f"{format_list(odd, 6, quote=False)}. If the network "
            f"does without them, `ignore='{odd[0]}'` leaves them out; else `map` names them."
        )


# The parts of a weight that torch.nn.utils computes anew in each step: pruning, weight norm, spectral norm.
_PARTS = re.compile(r"(^|\.)((weight|bias)_(orig|mask|g|v)|parametrizations\..*\.original\d*)$")


def _refuse_split(path: Path, names: Sequence[str]) -> None:
    """Raise UserError for weights that are stored in parts."""
    if parts := [name for name in names if _PARTS.search(name)]:
        raise UserError(
            f"'{path}' has a weight in parts, {format_list(parts, 6, quote=False)}, as pruning and weight norm keep it. Call "
            "prune.remove or remove_parametrizations of torch.nn.utils on the network, and save its state_dict again."
        )


def _of_head(name: str) -> bool:
    """Whether a name that a format does not know is one of a last layer."""
    return name.split(".")[0] in find_network.HEADS


def _mapped(path: Path, given: custom_keymap.UserMap, request: Request) -> Source:
    model = request.model or given.model
    if model is None:
        raise UserError(f"'{given.path}' names no model; write model = \"...\" into it, or say `model`.")
    wrapper, prefix = request.wrapper or given.wrapper, given.prefix if request.prefix is None else request.prefix
    cut = find_network.whole(
        foreigners.read(path), wrapper=wrapper, prefix=prefix or "", ignore=(*given.ignore, *request.ignore)
    )
    plain = zoo.get_spec(model, **{**given.settings, **request.settings})
    spec = dataclasses.replace(plain, num_classes=len(given.classes) or plain.num_classes)
    names = {name: each for name, each in cut.foreign.tensors.items() if name != "n_averaged"}
    tensors = given.keymap(spec).ours(names)
    guess = Guess(spec, "map", (), preprocess=given.preprocess)
    provenance = _provenance(path, "map", spec) | ({"class_names": given.path} if given.classes else {})
    checkpoint = Checkpoint(
        spec=spec, preprocess=_preprocess(guess), classes=given.classes, tensors=tensors, provenance=provenance
    )
    notes = [f"{path}: {spec.name} ({identify.variant(spec)}) by {given.path}"]
    notes += identify.Inspection(path, cut.foreign.container, cut.foreign, cut.prefix, (), cut).places()
    return Source(_described(checkpoint, request), "map", tuple(notes), cut.foreign, given.preprocess is not None)


def _described(checkpoint: Checkpoint, request: Request) -> Checkpoint:
    """With the class names and the preprocessing that were asked for."""
    if request.preprocess is not None:
        if request.preprocess not in PREPROCESS:
            raise UserError(f"`preprocess` is one of {', '.join(PREPROCESS)}; received '{request.preprocess}'.")
        side = checkpoint.preprocess.size[0]
        checkpoint = dataclasses.replace(checkpoint, preprocess=PREPROCESS[request.preprocess](side))
    if request.class_names and not request.num_classes:
        provenance = {**checkpoint.provenance, "class_names": "given"}
        checkpoint = dataclasses.replace(checkpoint, classes=request.class_names, provenance=provenance)
    return checkpoint


def _preprocess(guess: Guess) -> Preprocess:
    side = guess.spec.imgsz
    if guess.spec.stem == "cifar" and guess.format != "map":
        return Preprocess.plain(side, IMAGENET_MEAN, IMAGENET_STD)
    return guess.preprocess or Preprocess.imagenet(side)


def _class_names(foreign: Foreign, guess: Guess) -> tuple[tuple[str, ...], str]:
    """The names of the classes, () where they are not known, and where they come from in words."""
    module = registry.FORMATS.get(guess.format)
    if (
        module
        and hasattr(module, "class_names")
        and len(names := module.class_names(foreign)) == guess.spec.num_classes
    ):
        return distinct(names), "class names: those of config.json"
    labels = foreign.attributes.get("labels", {})
    for where, names in labels.items():
        if len(names) == guess.spec.num_classes and not huggingface.placeholders(names):
            return distinct(names), f"class names: those under '{where}'"
    other = f" ({', '.join(f'{len(names)} under {where}' for where, names in labels.items())})" if labels else ""
    if guess.spec.num_classes == 1000:
        return distinct(imagenet_classes.NAMES), f"class names: assumed to be ImageNet's, in its usual order{other}"
    return (
        (),
        f"class names: the file has none for its {guess.spec.num_classes} outputs{other}; `class_names` gives them",
    )


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with its number behind each that is there twice: ImageNet has two kinds of crane."""
    return tuple(f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names))


def _provenance(path: Path, format_: str, spec: ResNetSpec) -> dict[str, Any]:
    file = identify.main_file(path)
    digest = sha256(file)
    published = catalog.of_digest(digest, file.stat().st_size)
    return {
        # A license needs more than the first digits of a hash, which other files can have as well.
        **(origins.of_published(published) if published and published.whole_digest else {}),
        "converted_from": file.name,
        "format": format_,
        "parent_sha256": digest,
        "network": spec.name,
    }
