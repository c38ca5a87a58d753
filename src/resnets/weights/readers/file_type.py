"""Describe the type of a file from its first bytes, for error messages."""

from __future__ import annotations

import re
from pathlib import Path

from resnets.errors import LFS, LFS_POINTER

HDF5 = "an HDF5 file, as Keras writes weights"
PICKLE = "a Python pickle, as older versions of torch.save wrote .pth"
TORCH = "a .pth or .pt of torch.save, which is a zip archive with a Python pickle"
KERAS = "a .keras file"
_PROGRAM = "which resnets does not read: use the weights that it was made from"
OF_WEIGHTS = (HDF5, PICKLE, TORCH, KERAS)
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"\x80": PICKLE,
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image or another RIFF file",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"\x1f\x8b": "a gzip archive",
    LFS_POINTER: LFS,
    b"\x93NUMPY": f"a .npy of numpy, {_PROGRAM}",
    b"GGUF": f"a GGUF file of llama.cpp, {_PROGRAM}",
    b"<?xml": "an XML file, as OpenVINO writes beside a .bin",
}
_OF_TORCH = re.compile(
    r"([^/]*/)?(data\.pkl|data/\d+|\.format_version|\.storage_alignment|byteorder|version|constants\.pkl)|[^/]*/code/.*"
)


def describe(path: Path) -> str:
    """A description of the type of a file, such as "a JPEG image"; only 512 bytes are read."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[4:8] == b"TFL3":
        return f"a TensorFlow Lite model, {_PROGRAM}"
    # Field 1 of the protobuf, the version, is a small number; the name of the program that wrote it follows.
    if head[:1] == b"\x08" and len(head) > 2 and head[2:3] in b"\x12\x1a\x3a\x42" and (
            path.suffix == ".onnx" or re.search(rb"pytorch|onnx|tf2", head)):  # fmt: skip
        return f"an ONNX model, {_PROGRAM}"
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
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f" for character in text)
