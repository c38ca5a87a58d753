"""Checkpoint files of resnets: `*.safetensors` whose header has everything that is needed to use the network.

The metadata of the safetensors header has one JSON object under the key `resnets`:

    format       3; formats 1 and 2 had other names, see `header_format`
    task         its name, such as "classification"
    config       the task's settings: the `[task]` table of the recipe
    fitted       what the task fitted on the val split, such as the temperature that divides the logits before the softmax
    spec         the residual network, as `ResNetSpec.to_dict` writes it
    preprocess   the preprocessing of images, as `Preprocess.to_dict` writes it
    class_names  in the order of the outputs; empty if they are not known
    metrics      measured metrics, with their protocol
    provenance   recipe, hash of the data, versions, parent weights with their sha256
    checksum     sha256 of all of this and the tensors, so that a damaged file is detected

Reading executes no code from the file and validates its content. The same content gives the same bytes.
"""

import contextlib
import hashlib
import json
import math
import shlex
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from resnets import atomic_write
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.message_format import format_list
from resnets.models.build_network import build
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec
from resnets.weights import header_format, local_file
from resnets.weights.header_format import FORMAT, KEY
from resnets.weights.local_file import SUFFIX
from resnets.weights.readers import file_type

# Bytes; the largest that is written (1,000 class names, a mean image of 224x224) has about 3 MiB.
HEADER_LIMIT = 16 * 2**20
# Advice for a weights file of another library.
CONVERT = "Convert it: resnets weights convert {} --to resnets --out NAME.safetensors"
UNTRAINED = "new, untrained"  # in the provenance, as `head`: the predictions mean nothing yet
_FIELDS = ("task", "config", "fitted", "spec", "preprocess", "class_names", "metrics", "provenance")
# Tasks of files of other libraries.
CLASSIFICATION = "classification"
DETECTION = "detection"
SEGMENTATION = "segmentation"
KINDS = {DETECTION: "detector", SEGMENTATION: "segmenter"}  # of models that are built on a network


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a checkpoint file.

    `tensors` are those of the `state_dict()` of the task's model, which is a `ResNet` for classification. `config`, `fitted`,
    `metrics` and `provenance` have values that JSON can hold. `class_names` is empty if they are not known, as in most files
    of other libraries.
    """

    spec: ResNetSpec
    preprocess: Preprocess
    class_names: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    task: str = CLASSIFICATION
    config: Mapping[str, Any] = field(default_factory=dict)
    fitted: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = self.class_names
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise UserError("The class names of a checkpoint must be different from each other and not empty.")
        if self.task == CLASSIFICATION and names and len(names) != self.spec.num_classes:
            raise UserError(f"{len(names)} class names do not fit a network with {self.spec.num_classes} outputs.")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UserError(f"The temperature must be a positive number; received {self.temperature}.")

    @property
    def temperature(self) -> float:
        """The number that divides the logits of a classifier before the softmax."""
        return float(self.fitted.get("temperature", 1.0))

    @property
    def display_names(self) -> tuple[str, ...]:
        """The class names or, if there are none, "output 0", "output 1", …, for display."""
        return self.class_names or tuple(f"output {number}" for number in range(self.spec.num_classes))


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, whole or not at all.

    Raises:
        JobError: `path` cannot be written to.
        ValueError: `metrics` or `provenance` have values that JSON cannot hold, such as NaN.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    header = to_header(checkpoint)
    text = _canonical({**header, "checksum": _checksum(header, tensors)})
    with atomic_write.replace_file(path) as temporary:
        # One key only: the library writes several in an order that changes from run to run.
        safetensors.torch.save_file(tensors, temporary, metadata={KEY: text})


def to_header(checkpoint: Checkpoint) -> dict[str, Any]:
    """All but the tensors and the checksum, as values for JSON."""
    header = {"format": FORMAT, **{name: getattr(checkpoint, name) for name in _FIELDS}}
    return header | {"spec": checkpoint.spec.to_dict(), "preprocess": checkpoint.preprocess.to_dict()}


def from_header(path: Path, header: Any) -> Checkpoint:
    """A checkpoint without tensors, from the header that the exported file at `path` holds.

    Raises:
        UserError: it is not the header of a checkpoint; the message names the path.
    """
    with _as_user_error(path):
        return _from_header({**header, "checksum": _checksum(header, {})}, {}, None)


def read(path: str | Path, *, task: str | None = CLASSIFICATION) -> Checkpoint:
    """Read the checkpoint at `path`, or the best one of the run directory at `path`.

    Memory is limited by the size of the file and a header of at most 16 MiB.

    Raises:
        UserError: it is not an undamaged checkpoint of resnets for this `task` (None: any); the message names the path and what
            was found.
    """
    path = local_file.find(path)
    _check_container(path)
    with _as_user_error(path):
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            names = file.keys() if text is not None else ()
            tensors = {name: file.get_tensor(name) for name in names}
        if text is None:
            raise UserError(f"is a safetensors file of another library. {CONVERT.format(shlex.quote(str(path)))}")
        header = json.loads(text, parse_constant=_no_constant)
        return _from_header(header, tensors, task)


def network(checkpoint: Checkpoint) -> ResNet:
    """The network with its weights, in eval mode; torch's random state is not changed.

    Raises:
        UserError: tensors are missing, left over or of another shape or type than in the spec.
    """
    check_blocks(checkpoint)
    try:
        with torch.device("meta"):
            net = build(checkpoint.spec)
    except (ValueError, RuntimeError) as error:  # sizes that do not divide, or that no memory could hold
        raise UserError(f"The checkpoint's network '{checkpoint.spec.name}' cannot be built: {error}") from error
    assign_tensors(net, checkpoint)
    return net.eval()


def check_blocks(checkpoint: Checkpoint) -> None:
    """Raise UserError for a network with more blocks than tensors, before it is built: every block has tensors."""
    blocks = sum(checkpoint.spec.num_blocks)
    if blocks > len(checkpoint.tensors):
        raise UserError(f"A network of {blocks} blocks does not fit a checkpoint of {len(checkpoint.tensors)} tensors.")


def assign_tensors(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give a model on the meta device the tensors of the checkpoint.

    Raises:
        UserError: tensors are missing, left over or of another shape or type than in the model.
    """
    expected = model.state_dict()
    check_fit(expected, checkpoint.tensors, "The checkpoint does not fit its own spec")
    # Copied, since the tensors may be memory-mapped from the file.
    own = {name: tensor.to(expected[name].dtype, copy=True) for name, tensor in checkpoint.tensors.items()}
    model.load_state_dict(own, assign=True)


def _from_header(header: Any, tensors: dict[str, Tensor], task: str | None) -> Checkpoint:
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise UserError("has a header that is not one of resnets.")
    if header["format"] > FORMAT:
        raise UserError(
            f"was written by a newer resnets (format {header['format']}, this one reads up to {FORMAT}). "
            "Upgrade with: pip install --upgrade resnets"
        )
    checksum = header.pop("checksum", None)
    if checksum != _checksum(header, tensors):
        raise UserError("is damaged: its checksum does not fit its content. Copy or train it again.")
    header = header_format.upgrade(header)
    if task is not None and header.get("task") != task:
        raise UserError(f"is a checkpoint for the task '{header.get('task')}'; needed is one for '{task}'.")
    if header.keys() != {"format", *_FIELDS}:
        unexpected = ", ".join(sorted(header.keys() ^ {"format", *_FIELDS}))
        raise UserError(f"has a header that is not one of format {header['format']}: {unexpected}.")
    tensors = {header_format.upgrade_tensor_name(name): tensor for name, tensor in tensors.items()}
    class_names, provenance = tuple(header["class_names"]), header["provenance"]
    # Earlier versions stored numbers as class names of a converted file without names.
    are_numbers = class_names == numbered_names(len(class_names))
    if "converted_from" in provenance and "class_names" not in provenance and are_numbers:
        class_names = ()
    spec, preprocess = ResNetSpec.from_dict(header["spec"]), Preprocess.from_dict(header["preprocess"])
    own = {name: header[name] for name in ("task", "config", "fitted", "metrics", "provenance")}
    return Checkpoint(spec, preprocess, class_names, tensors, **own)


def _check_container(path: Path) -> None:
    """Raise UserError for a file that is not safetensors, or truncated, before the library reads it."""
    local_file.check_not_exported(path)
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
            raise UserError(f"'{path}' is {kind}. {CONVERT.format(shlex.quote(str(path)))}")
        advice = " Name the checkpoint first, then the images." if kind.endswith("image") else ""
        raise UserError(f"'{path}' is {kind}. A checkpoint of resnets is a {SUFFIX} file.{advice}")
    if 8 + length > size:
        raise UserError(f"'{path}' is cut off in its header, after {size:,} bytes. Copy or train it again.")


@contextlib.contextmanager
def _as_user_error(path: Path) -> Iterator[None]:
    """Turn every error about the content of the file into one line that starts with its path."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(f"'{path}' {_damage(path, error)}") from None
    except UserError as error:
        text = str(error)
        raise UserError(f"'{path}' {text}" if text[0].islower() else f"'{path}': {text}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        # It is not JSON, or a value has another type.
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


def check_fit(expected: Mapping[str, Tensor], received: Mapping[str, Tensor], message: str) -> None:
    """Raise UserError unless every tensor is there once, with its shape and type (floating point or integer)."""
    both = [(name, expected[name], received[name]) for name in expected if name in received]
    check_tensors(
        [name for name in expected if name not in received],
        [name for name in received if name not in expected],
        [f"{n} {list(g.shape)} for {list(w.shape)}" for n, w, g in both if w.shape != g.shape],
        [f"{n} {g.dtype}" for n, w, g in both if w.is_floating_point() != g.is_floating_point()],
        message,
    )


def check_tensors(
    missing: Sequence[str], left_over: Sequence[str], shapes: Sequence[str], types: Sequence[str], message: str
) -> None:
    """Raise UserError, which begins with `message`, if any of the four lists of tensors is not empty."""
    lists = {"missing": missing, "left over": left_over, "of another shape": shapes, "of another type": types}
    problems = [f"{problem}: {format_list(names, 6, quote=False)}" for problem, names in lists.items() if names]
    if problems:
        raise UserError(f"{message}; tensors {'; '.join(problems)}.")


def numbered_names(count: int) -> tuple[str, ...]:
    """ "0", "1", …: names for classes without names."""
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
    raise ValueError(f"{name} is not JSON")
