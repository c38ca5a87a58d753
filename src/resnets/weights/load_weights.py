"""Load weights of any format as a checkpoint of resnets: every tensor is used once, or the file is refused."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnets.data.image.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.message_format import format_list
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights import adapt, identify, local_file
from resnets.weights import checkpoint as checkpoints
from resnets.weights import provenance as origins
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.detection import torchvision as torchvision_detector
from resnets.weights.formats import custom_keymap, huggingface, registry
from resnets.weights.formats.candidate import Candidate
from resnets.weights.formats.keymap import COUNTER
from resnets.weights.hub import catalog, imagenet_classes
from resnets.weights.readers import find_network, read_any
from resnets.weights.readers.file_type import DARKNET_SUFFIXES
from resnets.weights.readers.read_any import WeightsFile
from resnets.weights.segmentation.load_segmenter import FORMATS as SEGMENTERS
from resnets.weights.segmentation.load_segmenter import format_of, load_segmenter

# What stands before the names of a backbone in files of detectors and segmenters.
_BODIES = (torchvision_detector.BODY, *(module.BODY for module in SEGMENTERS.values()))
PREPROCESS = {"imagenet": Preprocess.imagenet, "caffe": Preprocess.caffe, "tf": Preprocess.tf}


@dataclass(frozen=True)
class Request:
    """The user's description of a weights file."""

    model: str | None = None  # the network of the zoo in the file; needed if the tensors fit several
    # Fields of the network's specification that differ from the zoo's, such as `{"zero_pad_both_sides": True}`.
    settings: Mapping[str, Any] = field(default_factory=dict)
    map: str | None = None  # path of a TOML file, see `custom_keymap`
    preprocess: str | None = None  # "imagenet", "caffe" or "tf"
    # The keys that the network is stored under, joined by dots, and the prefix of its names there; detected if None.
    wrapper: str | None = None
    # The keys that the network is stored under, joined by dots, and the prefix of its names there; detected if None.
    prefix: str | None = None
    ignore: tuple[str, ...] = ()  # patterns such as "criterion.*" of names in the file to leave out
    class_names: tuple[str, ...] = ()  # in the order of the outputs
    no_top: bool = False  # whether to leave the head out
    num_classes: int | None = None  # number of classes of a new, untrained head
    in_channels: int | None = None  # number of channels to adapt the first convolution to


@dataclass(frozen=True, eq=False)
class LoadedWeights:
    """A weights file as a checkpoint of resnets."""

    checkpoint: Checkpoint  # the weights
    format: str  # "resnets", a name of `registry.FORMATS`, or "map"
    notes: tuple[str, ...]  # what was found, assumed and left out, in sentences
    # The tensors by their names in the file, without a prefix; None without a head, or for a checkpoint of resnets.
    weights_file: WeightsFile | None = None
    # Whether the file, or one beside it, includes the preprocessing, which is assumed otherwise.
    has_preprocess: bool = True


def load(path: str | Path, request: Request | None = None) -> LoadedWeights:
    """The weights at `path`, of any format, as a checkpoint of resnets.

    Raises:
        UserError: the file cannot be read, or does not fit the request; the message lists the tensors.
    """
    request, path = request or Request(), local_file.with_bundled(path)
    local_file.check_not_exported(path)
    if identify.is_resnets_checkpoint(path):
        descriptions = ("model", "settings", "map", "wrapper", "prefix", "ignore")
        if needless := [f"`{name}`" for name in descriptions if getattr(request, name)]:
            raise UserError(
                f"'{path}' is a checkpoint of resnets, which needs no description; leave out {', '.join(needless)}."
            )
        checkpoint = checkpoints.read(path, task=None)
        if checkpoint.task != checkpoints.CLASSIFICATION and checkpoint.task not in checkpoints.KINDS:
            raise UserError(f"'{path}' is a checkpoint for the task '{checkpoint.task}', which no other library has.")
        if kind := checkpoints.KINDS.get(checkpoint.task):
            _refuse(request, f"'{path}' is a {kind}")
            return LoadedWeights(checkpoint, "resnets", (f"{path}: a {kind} of resnets, {checkpoint.spec.name}",))
        known = origins.of_file(checkpoint.provenance, local_file.find(path))
        checkpoint = _with_request(dataclasses.replace(checkpoint, provenance=known), request)
        return LoadedWeights(checkpoint, "resnets", (f"{path}: a checkpoint of resnets, {checkpoint.spec.name}",))
    if path.suffix in DARKNET_SUFFIXES:
        return _of_darknet(path, request)
    if request.map:
        return _from_keymap_file(path, custom_keymap.read(request.map), request)
    return _identified(path, request)


def _identified(path: Path, request: Request) -> LoadedWeights:
    """The weights of a file of another library, whose network is identified from its content."""
    inspection = identify.inspect(path, wrapper=request.wrapper, prefix=request.prefix, ignore=request.ignore)
    if request.prefix is None and inspection.prefix in _BODIES:
        whole = find_network.whole_container(
            read_any.read(path),
            wrapper=inspection.subtree.wrapper if inspection.subtree else None,
            prefix="",
            ignore=request.ignore,
        )
        if torchvision_detector.recognizes(whole.weights_file.tensors):
            return _detector(path, whole.weights_file, request)
        if library := format_of(whole.weights_file.tensors):
            return _segmenter(path, library, whole.weights_file, request)
    candidate = identify.choose(inspection, request.model, request.settings)
    assert inspection.weights_file is not None
    assert inspection.subtree is not None
    notes = [
        f"{path}: {candidate.format}, {candidate.spec.name} ({identify.variant(candidate.spec)})",
        *inspection.location_lines(),
    ]
    notes += [f"assumed: {sentence}" for sentence in candidate.assumed if not request.preprocess]
    top = identify.has_top(inspection.weights_file) and not request.no_top
    _check_unknown_names(path, inspection, candidate, top)
    module = registry.find(candidate.format)
    keymap = module.keymap(candidate.spec, top=top)
    tensors_by_name = {
        name: each
        for name, each in inspection.weights_file.tensors.items()
        if not find_network.is_for_training_only(name)
    }
    if not top:
        of_head = {*module.keymap(candidate.spec).pairs.values()} - {*keymap.pairs.values()}
        names = {name for name, _ in of_head}
        tensors_by_name = {
            name: each for name, each in tensors_by_name.items() if name not in names and not _is_head(name)
        }
    tensors = keymap.to_resnets(tensors_by_name)
    provenance = _provenance(path, candidate.format, candidate.spec)
    class_names: tuple[str, ...] = ()
    if top:
        class_names, note = _class_names(inspection.weights_file, candidate)
        given = request.class_names and not request.num_classes
        notes.append(f"class names: the {len(request.class_names)} of `class_names`" if given else note)
        if inspection.subtree.self_supervised:
            notes.append("assumed: the last layer is a classifier; after self-supervised learning it is a projection")
    else:
        tensors |= adapt.new_head(candidate.spec)
        provenance["head"] = checkpoints.UNTRAINED
        notes.append(
            "without a head: the last layer is new and untrained; resnets train DATA --weights FILE trains one for your classes"
        )
    checkpoint = Checkpoint(candidate.spec, _preprocess(candidate), class_names, tensors, provenance=provenance)
    # Other libraries have no network without a head.
    weights_file = dataclasses.replace(inspection.weights_file, tensors=tensors_by_name) if top else None
    has_preprocess = (
        hasattr(module, "preprocessor") and module.preprocessor(path) is not None and not request.preprocess
    )
    return LoadedWeights(
        _with_request(checkpoint, request), candidate.format, tuple(notes), weights_file, has_preprocess
    )


def _detector(path: Path, weights_file: WeightsFile, request: Request) -> LoadedWeights:
    """The weights of a detector of torchvision's."""
    backbone = f"`prefix='{torchvision_detector.BODY}'` takes the backbone alone."
    settings = dict(request.settings)
    norm_eps = settings.pop("norm_eps", None)
    _refuse(dataclasses.replace(request, settings=settings), f"'{path}' is a detector of torchvision's", backbone)
    checkpoint = torchvision_detector.to_checkpoint(weights_file.tensors, request.class_names, norm_eps)
    provenance = _provenance(path, torchvision_detector.FORMAT, checkpoint.spec)
    checkpoint = dataclasses.replace(checkpoint, provenance=provenance)
    name = torchvision_detector.detector_of(torchvision_detector.renamed(weights_file.tensors))[0]
    notes = [f"{path}: torchvision, the heads of {name} on {checkpoint.spec.name}. {backbone}"]
    if norm_eps is None and checkpoint.spec.norm_eps == torchvision_detector.FROZEN_EPS:
        notes.append(
            "assumed: trained from torchvision's weights for COCO, whose frozen norms have eps 0; `settings` with "
            "norm_eps=1e-5 is that of other frozen norms"
        )
    if not request.class_names:
        notes.append(f"class names: {format_list(checkpoint.class_names, 4)}; `class_names` gives others")
    return LoadedWeights(checkpoint, torchvision_detector.FORMAT, tuple(notes), weights_file, has_preprocess=False)


def _segmenter(path: Path, library: str, weights_file: WeightsFile, request: Request) -> LoadedWeights:
    """The weights of a segmenter of another library's."""
    _refuse(dataclasses.replace(request, settings={}), f"'{path}' is a segmenter")
    checkpoint, notes = load_segmenter(path, library, weights_file.tensors, request.class_names, request.settings)
    checkpoint = dataclasses.replace(
        checkpoint, provenance=_provenance(path, SEGMENTERS[library].FORMAT, checkpoint.spec)
    )
    return LoadedWeights(checkpoint, library, tuple(notes), weights_file, has_preprocess=False)


def _of_darknet(path: Path, request: Request) -> LoadedWeights:
    """The weights of a YOLOv3 in darknet's files."""
    from resnets.weights.detection import darknet_files  # here, since it imports all of torchvision

    _refuse(request, f"'{path}' is a detector of darknet's")
    checkpoint = darknet_files.read_checkpoint(path, request.class_names)
    checkpoint = dataclasses.replace(
        checkpoint, provenance=_provenance(path.with_suffix(".weights"), "darknet", checkpoint.spec)
    )
    notes = (
        f"{path}: darknet, YOLOv3 on {checkpoint.spec.name}",
        f"class names: {format_list(checkpoint.class_names, 4)}; a .names file beside it or `class_names` gives others",
        f"assumed: {checkpoint.preprocess.describe()}",
    )
    return LoadedWeights(checkpoint, "darknet", notes, has_preprocess=False)


def _refuse(request: Request, what: str, advice: str = "") -> None:
    """Raise UserError for what a request says about a classifier."""
    for key in ("model", "settings", "preprocess", "no_top", "num_classes", "in_channels"):
        if getattr(request, key):
            raise UserError(f"{what}, on which `{key}` has no effect. {advice}".rstrip())


def _check_unknown_names(path: Path, inspection: identify.Inspection, candidate: Candidate, top: bool) -> None:
    """Raise UserError for tensors that may change the outputs and that the format has no name for."""
    assert inspection.weights_file is not None
    assert inspection.subtree is not None
    subtree = inspection.subtree
    unknown = identify.unknown_names(inspection.weights_file, candidate)
    if not top:
        # Tensors after the backbone do not change it; tensors within it might.
        last = [name for name in unknown if _is_head(name)]
        if last and not subtree.self_supervised and not identify.has_top(inspection.weights_file):
            _check_split_weights(path, last)
            raise UserError(
                f"'{path}' has no last layer under a name of {candidate.format}: {format_list(last, 6, quote=False)}. "
                "`map` names it; "
                f"`ignore='{last[0].partition('.')[0]}*'` leaves it out and gives the network a new, untrained head."
            )
        unknown = [name for name in unknown if not _is_head(name)]
    elif subtree.head and subtree.prefix and not subtree.head.startswith(subtree.prefix):
        # The head is outside of the prefix: other tensors there may be between backbone and head.
        unknown += [name for name in subtree.left_out if not find_network.is_for_training_only(name)]
    needed = [name for name, _ in registry.find(candidate.format).keymap(candidate.spec, top=top).pairs.values()]
    missing = [name for name in needed if name not in inspection.weights_file.tensors and not name.endswith(COUNTER)]
    _check_split_weights(path, unknown)
    if unknown and not missing:  # else the message of the keymap lists both
        raise UserError(
            f"'{path}' has tensors that {candidate.format} has no names for; left over: "
            f"{format_list(unknown, 6, quote=False)}. If the network "
            f"does without them, `ignore='{unknown[0]}'` leaves them out; else `map` names them."
        )


# Tensors of which torch.nn.utils computes a weight in each step: pruning, weight norm, spectral norm.
_SPLIT_WEIGHT = re.compile(r"(^|\.)((weight|bias)_(orig|mask|g|v)|parametrizations\..*\.original\d*)$")


def _check_split_weights(path: Path, names: Sequence[str]) -> None:
    """Raise UserError for weights that are stored as several tensors."""
    if split_weights := [name for name in names if _SPLIT_WEIGHT.search(name)]:
        raise UserError(
            f"'{path}' stores a weight as several tensors, {format_list(split_weights, 6, quote=False)}, as pruning and weight "
            "norm do. Call prune.remove or remove_parametrizations of torch.nn.utils on the network, then save its state_dict."
        )


def _is_head(name: str) -> bool:
    """Whether an unknown name is that of a last layer."""
    return name.split(".")[0] in find_network.HEADS


def _from_keymap_file(path: Path, keymap_file: custom_keymap.CustomKeymap, request: Request) -> LoadedWeights:
    model = request.model or keymap_file.model
    if model is None:
        raise UserError(f"'{keymap_file.path}' names no model; write model = \"...\" into it, or give `model`.")
    wrapper = request.wrapper or keymap_file.wrapper
    prefix = keymap_file.prefix if request.prefix is None else request.prefix
    subtree = find_network.whole_container(
        read_any.read(path), wrapper=wrapper, prefix=prefix or "", ignore=(*keymap_file.ignore, *request.ignore)
    )
    plain = zoo.get_spec(model, **{**keymap_file.settings, **request.settings})
    spec = dataclasses.replace(plain, num_classes=len(keymap_file.class_names) or plain.num_classes)
    names = {name: each for name, each in subtree.weights_file.tensors.items() if name != "n_averaged"}
    tensors = keymap_file.keymap(spec).to_resnets(names)
    candidate = Candidate(spec, "map", (), preprocess=keymap_file.preprocess)
    provenance = _provenance(path, "map", spec) | ({"class_names": keymap_file.path} if keymap_file.class_names else {})
    checkpoint = Checkpoint(spec, _preprocess(candidate), keymap_file.class_names, tensors, provenance=provenance)
    notes = [f"{path}: {spec.name} ({identify.variant(spec)}) by {keymap_file.path}"]
    weights_file, has_preprocess = subtree.weights_file, keymap_file.preprocess is not None
    found = identify.Inspection(path, weights_file.container, weights_file, subtree.prefix, (), subtree)
    notes += found.location_lines()
    return LoadedWeights(_with_request(checkpoint, request), "map", tuple(notes), weights_file, has_preprocess)


def _with_request(checkpoint: Checkpoint, request: Request) -> Checkpoint:
    """The checkpoint with the class names and the preprocessing of the request."""
    if request.preprocess is not None:
        if request.preprocess not in PREPROCESS:
            raise UserError(f"`preprocess` is one of {', '.join(PREPROCESS)}; received '{request.preprocess}'.")
        side = checkpoint.preprocess.size[0]
        checkpoint = dataclasses.replace(checkpoint, preprocess=PREPROCESS[request.preprocess](side))
    if request.class_names and not request.num_classes:
        provenance = {**checkpoint.provenance, "class_names": "given"}
        checkpoint = dataclasses.replace(checkpoint, class_names=request.class_names, provenance=provenance)
    return checkpoint


def _preprocess(candidate: Candidate) -> Preprocess:
    side = candidate.spec.imgsz
    if candidate.spec.stem == "cifar" and candidate.format != "map":
        return Preprocess.plain(side, IMAGENET_MEAN, IMAGENET_STD)
    return candidate.preprocess or Preprocess.imagenet(side)


def _class_names(weights_file: WeightsFile, candidate: Candidate) -> tuple[tuple[str, ...], str]:
    """The class names, () if they are not known, and a note on where they come from."""
    module: Any = registry.FORMATS.get(candidate.format)
    names = module.class_names(weights_file) if hasattr(module, "class_names") else ()
    if names and len(names) == candidate.spec.num_classes:
        return distinct(names), "class names: those of config.json"
    labels = weights_file.attributes.get("labels", {})
    for where, names in labels.items():
        if len(names) == candidate.spec.num_classes and not huggingface.placeholders(names):
            return distinct(names), f"class names: those under '{where}'"
    other = f" ({', '.join(f'{len(names)} under {where}' for where, names in labels.items())})" if labels else ""
    if candidate.spec.num_classes == 1000:
        return distinct(imagenet_classes.NAMES), f"class names: assumed to be ImageNet's, in its usual order{other}"
    missing = f"class names: the file has none for its {candidate.spec.num_classes} outputs{other}"
    return (), f"{missing}; `class_names` gives them"


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with its index after each duplicate: ImageNet has two classes named crane."""
    return tuple(f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names))


def _provenance(path: Path, format_: str, spec: ResNetSpec) -> dict[str, Any]:
    file = identify.main_file(path)
    digest = sha256(file)
    published = catalog.find_by_digest(digest, file.stat().st_size)
    return {
        # A license needs more than the first digits of a hash, which other files can have as well.
        **(origins.of_published(published) if published and published.whole_digest else {}),
        "converted_from": file.name,
        "format": format_,
        "parent_sha256": digest,
        "network": spec.name,
    }
