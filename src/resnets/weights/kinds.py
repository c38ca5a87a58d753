"""What a file is, told by its first bytes: for the message when it is not the one that was wanted."""

from __future__ import annotations

from pathlib import Path

from resnets.errors import LFS, LFS_POINTER

HDF5 = "an HDF5 file, as Keras writes weights"
PICKLE = "a Python pickle, as torch.save of old wrote .pth"
TORCH = "a .pth or .pt of torch.save, which is a zip archive with a Python pickle"
KERAS = "a .keras file"
OF_WEIGHTS = (HDF5, PICKLE, TORCH, KERAS)
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"\x80": PICKLE,
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"RIFF": "a WebP picture or another RIFF file",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"\x1f\x8b": "a gzip archive",
    LFS_POINTER: LFS,
}


def describe(path: Path) -> str:
    """`a JPEG picture`, `a text file`, …; 512 bytes are read and nothing is run."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return "a text file" if _is_text(head) else "no safetensors file, or a damaged one"


def _zip(head: bytes) -> str:
    """By the name of the first file in the archive, which is always the same one for these two."""
    if b"data.pkl" in head:
        return TORCH
    return KERAS if b"metadata.json" in head else "a zip archive"


def _is_text(head: bytes) -> bool:
    """Whether this is printable UTF-8; the last character may be cut."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f" for character in text)
