"""Read the tensors of a weights file of another program: `torch.save`, safetensors, Keras, a Hugging Face folder.

Reading executes no code from a file and takes memory in proportion to its size; an invalid file is a UserError of one line.
"""

import importlib.util
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.weights.readers import file_type, json_file, keras_h5, safetensors_file, sandbox, torch_contents

CONFIG = "config.json"
# Hugging Face's names of the weights; the first that exists is read.
FOLDER = ("model.safetensors", "pytorch_model.bin")
# Common keys of a state_dict in a training checkpoint, the commonest first.
WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "module", "backbone",
            "params", "state_dict_ema", "model_ema", "ema", "params_ema")  # fmt: skip


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """The content of a file.

    Attributes:
        path: a file or a folder, as the user named it.
        container: "pickle", "safetensors", "h5" or "keras".
        tensors: on the CPU, by the names in the file, in its layout; they may be memory-mapped. If the file has several sets of
            tensors, those under the commonest key, or the largest set.
        attributes: other content of the file.
            wrapper: the key or group that the tensors are stored under, if they are not at the top level.
            beside_wrapper: the other keys at the top level.
            leftovers: {name: type} of the values among the tensors that are not tensors.
            labels: {key: class names}.
            inert: Python globals that the file names and that were not called.
            metadata: that of a safetensors header.
            config: the parsed config.json of a Hugging Face folder, or of a Keras model.
            layers: of Keras, in order: [{"name", "tensors": [names, in order]}].
            skipped: groups of an HDF5 file that were left out, such as the optimizer state.
            keras_version, backend: of the Keras that wrote the file.
        sets: all sets of tensors, by the keys that they are stored under, joined by dots; "" is the top level.
    """

    path: str
    container: str
    tensors: dict[str, Tensor]
    attributes: dict[str, Any]
    sets: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def read(path: str | Path) -> WeightsFile:
    """Read the file at `path`, or the weights in the Hugging Face folder at `path`.

    The type is detected from the content, not the name.

    Raises:
        UserError: it is not an undamaged file of tensors; the message names the path and what was found.
    """
    file = _file(Path(path))
    try:
        with file.open("rb") as opened:
            container, tensors, attributes = _content(file, opened)
    except OSError as error:
        raise UserError(f"'{file}' cannot be read: {error.strerror or error}.") from None
    if not tensors:
        raise UserError(f"'{file}' holds no tensors.")
    sets = {"": tensors}
    if container == "pickle":
        sets, attributes = _sets(tensors, attributes)
        tensors = sets[attributes.get("wrapper", "")]
    may_have_config = container == "safetensors" or file.name in FOLDER
    if may_have_config and (config := file.parent / CONFIG).is_file():
        attributes["config"] = json_file.read(config)
    return WeightsFile(str(path), container, tensors, attributes, sets)


def _file(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"There is no file '{path}'.{suggestion(path.name, beside)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if stat.S_ISDIR(mode):
        for name in FOLDER:
            if (path / name).is_file():
                return path / name
        raise UserError(f"'{path}' is a folder without {', '.join(FOLDER)}. Name the file of weights itself.")
    if not stat.S_ISREG(mode):
        raise UserError(f"'{path}' is not an ordinary file. Name a file of weights.")
    return path


def _content(file: Path, opened: IO[bytes]) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    head = opened.read(512)
    if head.startswith(keras_h5.MAGIC):
        return "h5", *_of_keras(file, opened, "h5")
    if head.startswith(b"PK\x03\x04"):
        if file_type.is_torch(head):
            return "pickle", *sandbox.read(opened, file, "pickle")
        if file_type.is_keras(head):
            return "keras", *_of_keras(file, opened, "keras")
        raise _unknown(file, head)
    # Tested before the pickle: a safetensors file starts with the length of its header, whose first byte may be any.
    if safetensors_file.is_one(head):
        tensors, metadata = safetensors_file.read(file)
        return "safetensors", tensors, {"metadata": metadata} if metadata else {}
    if head.startswith(b"\x80"):
        return "pickle", *sandbox.read(opened, file, "pickle")
    raise _unknown(file, head)


def _of_keras(file: Path, opened: IO[bytes], reader: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if importlib.util.find_spec("h5py") is None:
        raise UserError(f"'{file}' is a file of Keras; reading it needs: pip install 'resnets[keras]'")
    return sandbox.read(opened, file, reader)


def _sets(tensors: dict[str, Tensor], described: dict[str, Any]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors of a pickle by container, and the attributes with the likeliest container as `wrapper`."""
    sets: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        container, _, own = name.partition(torch_contents.BETWEEN)
        sets.setdefault(container, {})[own] = tensor

    def rank(container: str) -> tuple[int, int]:
        return WRAPPERS.index(container) if container in WRAPPERS else len(WRAPPERS), -len(sets[container])

    wrapper = min(sets, key=rank)
    attributes = {name: described[name] for name in ("labels", "inert")}
    attributes["leftovers"] = described["leftovers"][wrapper]
    if wrapper:
        beside = sorted(key for key in described["top"] if key != wrapper.split(".")[0])
        attributes |= {"wrapper": wrapper, "beside_wrapper": beside}
    return sets, {name: value for name, value in attributes.items() if value}


def _unknown(file: Path, head: bytes) -> UserError:
    if head[257:262] == b"ustar":
        return UserError(f"'{file}' is a tar archive. Unpack it, or save it again with a torch newer than 0.1.")
    kind = file_type.describe(file)
    if kind.startswith("no safetensors"):
        kind = "of an unknown format, or damaged"
    return UserError(f"'{file}' is {kind}. Weights are .pth, .safetensors, .h5 or .keras files.")
