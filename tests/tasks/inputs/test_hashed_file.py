"""The hash of an image is that of the bytes from which it was predicted."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.image.preprocess import Preprocess
from resnets.errors import ImageError
from resnets.tasks.inputs import hashed_file
from resnets.tasks.inputs.hashed_file import HashedFile
from resnets.tasks.inputs.read_image import name_of, read_image

PREPROCESS = Preprocess(size=(32, 32))


def write(path: Path, level: int) -> str:
    """A gray image; the SHA-256 of its file."""
    Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_changes_after_it_was_read_has_the_hash_of_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    first = write(path, 10)
    file = HashedFile(str(path))
    assert name_of(file, 3) == os.fspath(file) == str(path)
    image, size = read_image(file, name_of(file, 3), PREPROCESS)
    assert write(path, 20) != first
    assert (np.asarray(image)[0, 0, 0], size, file.digest()) == (10, (32, 32), first)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_file_that_is_no_image_has_a_hash_and_one_that_cannot_be_opened_has_none(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    file = HashedFile(str(path))
    with pytest.raises(ImageError, match=str(path)) as caught:
        read_image(file, str(path), PREPROCESS)
    with pytest.raises(ImageError) as expected:
        read_image(str(path), str(path), PREPROCESS)
    assert str(caught.value) == str(expected.value)
    assert file.digest() == (None if content is None else hashlib.sha256(content).hexdigest())


def test_a_large_file_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    digest = write(path, 10)
    for limit, kind in ((path.stat().st_size, bytes), (path.stat().st_size - 1, str)):
        monkeypatch.setattr(hashed_file, "MOST_BYTES", limit)
        file = HashedFile(str(path))
        assert type(file.content()) is kind
        assert file.digest() == digest
        assert np.asarray(read_image(file, str(path), PREPROCESS)[0])[0, 0, 0] == 10
