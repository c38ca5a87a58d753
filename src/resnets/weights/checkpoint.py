"""Our file of a trained network: `*.safetensors` with all that is needed to use it in its header.

The header of the safetensors format holds text; under the key `resnets` stands one JSON object:

    format       2; format 1 had other names, see `header_format`
    task         "classify"
    spec         the network, as `ResNetSpec.to_dict` writes it
    preprocess   how an image becomes its input, as `Preprocess.to_dict` writes it
    classes      the names, in the order of the outputs; empty where they are not known
    temperature  the logits are divided by it before the softmax
    metrics      how good it was found to be, with the protocol of the measurement
    provenance   recipe, hash of the data, versions, parent weights with their sha256
    checksum     sha256 over all of this and the tensors, so that a damaged file is noticed and not believed

Reading runs nothing from the file and trusts nothing in it. The same content gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from resnets import atomic_write
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError, format_list
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec, build
from resnets.weights import header_format
from resnets.weights.header_format import FORMAT, KEY
from resnets.weights.local_path import SUFFIX, locate
from resnets.weights.readers import file_type

HEADER_LIMIT = 16 * 2**20  # bytes; the largest we write (1,000 class names, a mean image of 224x224) has about 3 MiB

# What to do with a file of weights that is not ours.
CONVERT = "Make it ours: resnets weights convert '{}' --to resnets --out NAME.safetensors"
UNTRAINED = "new, untrained"  # in the provenance, as `head`: the answers mean nothing yet
_FIELDS = ("task", "spec", "preprocess", "classes", "temperature", "metrics", "provenance")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network as values.

    `tensors` are those of `ResNet.state_dict()`. `metrics` and `provenance` hold what JSON can hold. `classes` is empty where
    the names of the outputs are not known, as in most files of other programs.
    """

    spec: ResNetSpec
    preprocess: Preprocess
    classes: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    task: str = "classify"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        names = self.classes
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise UserError("The class names of a checkpoint must be different from each other and not empty.")
        if names and len(names) != self.spec.num_classes:
            raise UserError(f"{len(names)} class names do not fit a network with {self.spec.num_classes} outputs.")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UserError(f"The temperature must be a positive number; received {self.temperature}.")

    @property
    def shown(self) -> tuple[str, ...]:
        """What to call the outputs: the names of the classes, or "output 0", "output 1", … where there are none."""
        return self.classes or tuple(f"output {number}" for number in range(self.spec.num_classes))


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, whole or not at all.

    Raises:
        JobError: `path` cannot be written to.
        ValueError: `metrics` or `provenance` hold what JSON cannot, NaN among it.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    header = {
        "format": FORMAT,
        "task": checkpoint.task,
        "spec": checkpoint.spec.to_dict(),
        "preprocess": checkpoint.preprocess.to_dict(),
        "classes": list(checkpoint.classes),
        "temperature": float(checkpoint.temperature),
        "metrics": dict(checkpoint.metrics),
        "provenance": dict(checkpoint.provenance),
    }
    text = _canonical({**header, "checksum": _checksum(header, tensors)})
    with atomic_write.replace_file(path) as temporary:
        # One key only: the library writes several in an order that changes from run to run.
        safetensors.torch.save_file(tensors, temporary, metadata={KEY: text})


def read(path: str | Path, *, task: str = "classify") -> Checkpoint:
    """Read the checkpoint at `path`, or the best one of the run folder at `path`.

    Memory stays within the size of the file and a header of at most 16 MiB.

    Raises:
        UserError: anything but an undamaged checkpoint of ours for this `task`; the message names the path and says
            what was found there.
    """
    path = locate(path)
    _check_outside(path)
    with _as_user_error(path):
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            names = file.keys() if text is not None else ()
            tensors = {name: file.get_tensor(name) for name in names}
        if text is None:
            raise UserError(f"is a safetensors file of another program. {CONVERT.format(path)}")
        header = json.loads(text, parse_constant=_no_constant)
        return _from_header(header, tensors, task)


def network(checkpoint: Checkpoint) -> ResNet:
    """The network with its weights, in eval mode; the random state of torch is not touched.

    Raises:
        UserError: tensors are missing, left over or of another shape or kind than the spec says.
    """
    # Every block has tensors, so a spec with more blocks than the file has tensors is refused before it is built.
    blocks = sum(checkpoint.spec.num_blocks)
    if blocks > len(checkpoint.tensors):
        raise UserError(f"A network of {blocks} blocks does not fit a checkpoint of {len(checkpoint.tensors)} tensors.")
    try:
        with torch.device("meta"):
            net = build(checkpoint.spec)
    except (ValueError, RuntimeError) as error:  # sizes that do not divide, or that no memory could hold
        raise UserError(f"The checkpoint's network '{checkpoint.spec.name}' cannot be built: {error}") from error
    wanted = net.state_dict()
    _check_fit(wanted, checkpoint.tensors, "The checkpoint does not fit its own spec")
    # Copies, since what was read may still be the mapped file.
    own = {name: tensor.to(wanted[name].dtype, copy=True) for name, tensor in checkpoint.tensors.items()}
    net.load_state_dict(own, assign=True)
    return net.eval()


def adapt(net: ResNet, checkpoint: Checkpoint) -> list[str]:
    """Load the body of `checkpoint` into `net`, whose head stays as it is, and return the names of the head's tensors.

    This is the one way in which weights come to a network with other classes, and it is taken on purpose.

    Raises:
        UserError: a tensor of the body is missing, left over or of another shape or kind.
    """
    own = net.state_dict()
    body = {name: tensor for name, tensor in checkpoint.tensors.items() if not _of_head(name)}
    wanted = {name: tensor for name, tensor in own.items() if not _of_head(name)}
    _check_fit(wanted, body, "The body of the checkpoint does not fit the network")
    net.load_state_dict(body, strict=False)  # the head alone is missing, as was just checked
    return [name for name in own if _of_head(name)]


def _of_head(name: str) -> bool:
    return name.startswith("head.")


def _from_header(header: Any, tensors: dict[str, Tensor], task: str) -> Checkpoint:
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise UserError("has a header that is not one of resnets.")
    if header["format"] > FORMAT:
        raise UserError(
            f"was written by a newer resnets (format {header['format']}, this one reads up to {FORMAT}). "
            "Upgrade with: pip install --upgrade resnets"
        )
    if header.get("task") != task:
        raise UserError(f"is a checkpoint for the task '{header.get('task')}'; needed is one for '{task}'.")
    checksum = header.pop("checksum", None)
    if checksum != _checksum(header, tensors):
        raise UserError("is damaged: its checksum does not fit its content. Copy or train it again.")
    if header.keys() != {"format", *_FIELDS}:
        odd = ", ".join(sorted(header.keys() ^ {"format", *_FIELDS}))
        raise UserError(f"has a header that is not one of format {header['format']}: {odd}.")
    header = header_format.upgrade(header)
    tensors = {header_format.upgrade_tensor_name(name): tensor for name, tensor in tensors.items()}
    classes, provenance = tuple(header["classes"]), header["provenance"]
    # Earlier releases numbered the outputs of a converted file without names, and kept the numbers as names.
    if "converted_from" in provenance and "class_names" not in provenance and classes == numbers(len(classes)):
        classes = ()
    return Checkpoint(
        spec=ResNetSpec.from_dict(header["spec"]),
        preprocess=Preprocess.from_dict(header["preprocess"]),
        classes=classes,
        tensors=tensors,
        task=task,
        metrics=header["metrics"],
        provenance=provenance,
        temperature=header["temperature"],
    )


def _check_outside(path: Path) -> None:
    """Refuse what is no safetensors file, or only the beginning of one, before a library sees it."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}.") from None
    length = struct.unpack("<Q", head[:8])[0] if len(head) == 9 else 0
    if head[8:] != b"{" or length > HEADER_LIMIT:
        kind = file_type.describe(path)
        if kind in file_type.OF_WEIGHTS:
            raise UserError(f"'{path}' is {kind}. {CONVERT.format(path)}")
        advice = " The checkpoint comes before the images." if kind.endswith("image") else ""
        raise UserError(f"'{path}' is {kind}. A checkpoint of resnets is a {SUFFIX} file.{advice}")
    if 8 + length > size:
        raise UserError(f"'{path}' is cut off in its header, after {size:,} bytes. Copy or train it again.")


@contextlib.contextmanager
def _as_user_error(path: Path) -> Iterator[None]:
    """Every failure over the content of the file becomes one line that begins with its path."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(f"'{path}' {_damage(path, error)}") from None
    except UserError as error:
        text = str(error)
        raise UserError(f"'{path}' {text}" if text[0].islower() else f"'{path}': {text}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        # JSON that is none, or of which a part has another type than ours have.
        raise UserError(f"'{path}' has a header that is not one of resnets ({type(error).__name__}).") from None


def _damage(path: Path, error: SafetensorError) -> str:
    size = path.stat().st_size
    with path.open("rb") as file, contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        length = struct.unpack("<Q", file.read(8))[0]
        entries = json.loads(file.read(length))
        whole = 8 + length + max(entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__")
        if whole > size:
            return f"is cut off: it holds {size:,} of {whole:,} bytes. Copy or train it again."
    return f"is damaged ({error}). Copy or train it again."


def _check_fit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> None:
    """Every tensor once, in shape and kind (numbers with or without a fraction)."""
    faults = []
    if missing := [name for name in wanted if name not in given]:
        faults.append(f"missing: {format_list(missing, 6, quote=False)}")
    if left := [name for name in given if name not in wanted]:
        faults.append(f"left over: {format_list(left, 6, quote=False)}")
    both = [(name, wanted[name], given[name]) for name in wanted if name in given]
    if shapes := [f"{n} {list(g.shape)} for {list(w.shape)}" for n, w, g in both if w.shape != g.shape]:
        faults.append(f"of another shape: {format_list(shapes, 6, quote=False)}")
    if other := [f"{n} {g.dtype}" for n, w, g in both if w.is_floating_point() != g.is_floating_point()]:
        faults.append(f"of another kind: {format_list(other, 6, quote=False)}")
    if faults:
        raise UserError(f"{what}; tensors {'; '.join(faults)}.")


def numbers(count: int) -> tuple[str, ...]:
    """ "0", "1", …: what stands for names where there are none."""
    return tuple(map(str, range(count)))


def _canonical(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the canonical JSON of the header and, by name, each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(_canonical(header).encode("ascii"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
