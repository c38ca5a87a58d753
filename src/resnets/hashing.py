"""The hash of a file."""

import hashlib
import os


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of the bytes of a file, as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    return hash_file(path, "sha256")


def hash_file(path: str | os.PathLike[str], algorithm: str) -> str:
    """As `sha256`, by another algorithm of `hashlib`, such as "md5"."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
