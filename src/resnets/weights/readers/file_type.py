"""Describe the type of a file from its first bytes, for error messages."""

import codecs
import re
from pathlib import Path

from resnets.data.image.formats import is_image_head
from resnets.errors import LFS, LFS_POINTER

HDF5 = "an HDF5 file, as Keras writes weights"
PICKLE = "a Python pickle, as older versions of torch.save wrote .pth"
TORCH = "a .pth or .pt of torch.save, which is a zip archive with a Python pickle"
KERAS = "a .keras file"
DARKNET = "a file of darknet"
_PROGRAM = "which resnets does not read: use the weights that it was made from"
DARKNET_SUFFIXES = (".cfg", ".weights")
OF_WEIGHTS = (HDF5, PICKLE, TORCH, KERAS, DARKNET)
_MAGIC = {b"\x89HDF\r\n\x1a\n": HDF5, b"\x80": PICKLE, LFS_POINTER: LFS, b"\x93NUMPY": f"a .npy of numpy, {_PROGRAM}"}
_OF_TORCH = re.compile(
    r"([^/]*/)?(data\.pkl|data/\d+|\.format_version|\.storage_alignment|byteorder|version|constants\.pkl)|[^/]*/code/.*"
)


def describe(path: Path) -> str:
    """A description of the type of a file, such as "an image"."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if is_image_head(head):
        return "an image"
    if path.suffix in DARKNET_SUFFIXES:
        return DARKNET
    if path.suffix in (".onnx", ".tflite", ".gguf"):
        return f"a {path.suffix} file, {_PROGRAM}"
    return "a text file" if _is_text(head) else "no safetensors file, or a damaged one"


def is_torch(head: bytes) -> bool:
    """Whether the first member of a zip archive that starts with `head` is one that `torch.save` or TorchScript writes first."""
    return bool(_OF_TORCH.fullmatch(_first_name(head)))


def is_keras(head: bytes) -> bool:
    """Whether a zip archive that starts with `head` is a `.keras` file."""
    return _first_name(head) in ("metadata.json", "config.json", "model.weights.h5") or b"metadata.json" in head


def _first_name(head: bytes) -> str:
    return head[30 : 30 + int.from_bytes(head[26:28], "little")].decode("utf-8", "replace")


def _zip(head: bytes) -> str:
    """The type of a zip archive, by the name of its first member."""
    if is_torch(head):
        return TORCH
    if is_keras(head):
        return KERAS
    return f"a .npz of numpy, {_PROGRAM}" if _first_name(head).endswith(".npy") else "a zip archive"


def _is_text(head: bytes) -> bool:
    """Whether this is printable UTF-8; the last character may be cut."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(head)
    return all(character.isprintable() or character in "\t\r\n\f" for character in text) and "\ufffd" not in text
