"""Convert weights of any format to any other: every tensor is used once, or nothing is written."""

import re
from pathlib import Path
from types import ModuleType

from resnets import atomic_write
from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.weights import adapt
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.detection import darknet_files
from resnets.weights.detection import torchvision as torchvision_detector
from resnets.weights.formats import fold_into_tensors, registry, timm
from resnets.weights.load_weights import LoadedWeights, Request, load
from resnets.weights.segmentation.load_segmenter import FORMATS as SEGMENTERS

DARKNET = "darknet"
SMP = "smp"
TARGETS = ("resnets", *registry.FORMATS, DARKNET, SMP)


def convert(path: str | Path, *, to: str, out: str | Path, request: Request | None = None) -> list[str]:
    """Read the weights at `path`, write them to `out` in the format `to`, and return a log, one line per entry.

    Every tensor is used once, or nothing is written. Other classes, other channels and a missing head must be requested, and are
    named in the log.

    Raises:
        UserError: the file, the request and the format do not fit each other (the message lists the tensors), or `out` cannot
            be written.
        JobError: writing failed.
    """
    request = request or Request()
    if to not in TARGETS:
        raise UserError(f"`to` is one of {', '.join(TARGETS)}; received '{to}'.{suggestion(to, TARGETS)}")
    if request.num_classes is not None and request.class_names:
        raise UserError("`class_names` has no effect with `num_classes`: a new, untrained head has no names.")
    for name in ("num_classes", "class_names"):
        if request.no_top and to != "resnets" and getattr(request, name):
            raise UserError(f"`{name}` has no effect with `no_top`, which leaves the last layer out.")
    _check_writable(out, to)
    loaded = load(path, request)
    if loaded.checkpoint.task == checkpoints.DETECTION:
        return _convert_detector(loaded, to, out)
    if loaded.checkpoint.task == checkpoints.SEGMENTATION:
        return _convert_segmenter(loaded, to, out)
    if to == DARKNET:
        raise UserError(f"A YOLOv3 is converted to darknet; '{path}' is a classifier.")
    if to == SMP:
        raise UserError(f"A segmenter is converted to smp; '{path}' is a classifier.")
    if to == "resnets" and request.no_top and loaded.checkpoint.provenance.get("head") != checkpoints.UNTRAINED:
        raise UserError(
            f"`no_top` has no effect on '{path}' with `to=resnets`: `num_classes=10` gives it a new head, of 10 classes."
        )
    checkpoint, notes = adapt.adapt_checkpoint(
        loaded.checkpoint, num_classes=request.num_classes, in_channels=request.in_channels
    )
    lines = [*loaded.notes, *notes]
    if to == "resnets":
        checkpoints.save(out, checkpoint)
        return [*lines, f"{out}: {checkpoint.spec.name}, {len(checkpoint.tensors)} tensors, each used once"]
    module = registry.find(to)
    untrained = checkpoint.provenance.get("head") == checkpoints.UNTRAINED and request.num_classes is None
    top = not (request.no_top or untrained)
    name = module.write(out, checkpoint, top=top)
    head = "" if top else " without its head"
    lines.append(f"{out}: for {to}'s {name}{head}, {len(checkpoint.tensors)} tensors, each used once")
    return [*lines, *_changed(module, out, checkpoint, top=top)]


def _convert_segmenter(loaded: LoadedWeights, to: str, out: str | Path) -> list[str]:
    checkpoint = loaded.checkpoint
    used = f"{len(checkpoint.tensors)} tensors, each used once"
    if to == "resnets":
        checkpoints.save(out, checkpoint)
        return [*loaded.notes, f"{out}: for {checkpoint.spec.name}, {used}"]
    if to not in SEGMENTERS:
        raise UserError(f"A segmenter is converted to resnets, {' or '.join(SEGMENTERS)}; received '{to}'.")
    name = SEGMENTERS[to].write(out, checkpoint)
    return [
        *loaded.notes,
        f"{out}: for {SEGMENTERS[to].LIBRARY}'s {name}, {used}",
        f"not in {Path(out).name}, which cannot hold it: class names, preprocessing "
        f"({checkpoint.preprocess.describe()}), metrics and provenance",
    ]


def _convert_detector(loaded: LoadedWeights, to: str, out: str | Path) -> list[str]:
    if to == "resnets":
        checkpoints.save(out, loaded.checkpoint)
        name = loaded.checkpoint.spec.name
    elif to == "torchvision":
        name = f"torchvision's {torchvision_detector.write(out, loaded.checkpoint)}"
    elif to == DARKNET:
        files = darknet_files.write_checkpoint(out, loaded.checkpoint)
        name = f"darknet's detector, with {', '.join(map(str, files))}"
    else:
        raise UserError(f"A detector is converted to resnets, torchvision or darknet; received '{to}'.")
    if to != "resnets":
        prepared = f"preprocessing ({loaded.checkpoint.preprocess.describe()})"
        missing = f"class names and {prepared}" if to == "torchvision" else prepared
        return [
            *loaded.notes,
            f"{out}: for {name}, {len(loaded.checkpoint.tensors)} tensors, each used once",
            f"not in {Path(out).name}, which cannot hold it: {missing}; metrics and provenance",
        ]
    return [*loaded.notes, f"{out}: for {name}, {len(loaded.checkpoint.tensors)} tensors, each used once"]


def _check_writable(out: str | Path, to: str) -> None:
    folder = to == "huggingface" or (to == "timm" and not timm.is_file(out))
    if not folder:
        atomic_write.check_file_writable(out)
    elif not Path(out).is_file():  # for which the format has a better message
        atomic_write.check_folder_writable(out)


def _changed(module: ModuleType, out: str | Path, checkpoint: Checkpoint, *, top: bool) -> list[str]:
    """What was changed for the file of another library, and what it cannot hold, one line each."""
    extra, last = module.extra_contents(out), ""
    if top:  # the library's name of the last layer: "fc", "classifier.1", "predictions"
        last = re.sub(r"[./](weight|kernel)$", "", module.keymap(checkpoint.spec).pairs["head.fc.weight"][0])
    lines = fold_into_tensors.notes(checkpoint, last, images="preprocess" in extra)
    if "preprocess" in extra and hasattr(module, "remarks"):
        lines += module.remarks(checkpoint.preprocess)
    if checkpoint.spec.in_channels != checkpoint.preprocess.channels and "preprocess" in extra:
        lines.append(
            f"the network takes {checkpoint.spec.in_channels} channels, the preprocessing makes {checkpoint.preprocess.channels}"
        )
    missing = []
    if top and checkpoint.class_names and "class_names" not in extra:
        more = ", ..." if len(checkpoint.class_names) > 3 else ""
        missing.append(f"class names ({', '.join(checkpoint.class_names[:3])}{more})")
    if "preprocess" not in extra:
        missing.append(f"preprocessing ({checkpoint.preprocess.describe()})")
    if "card" not in extra and (checkpoint.metrics or checkpoint.provenance):
        missing.append("metrics and provenance")
    if missing:
        lines.append(f"not in {Path(out).name}, which cannot hold it: {'; '.join(missing)}")
    return lines
