"""What is unusual in images that can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.check import find_problems
from resnets.data.check.check_file import inspect_file


@pytest.mark.parametrize(("name", "kind"), [("photo.HEIC", "JPEG"), ("photo.heif", "JPEG"), ("photo.png", "JPEG")])
def test_a_file_that_is_named_for_another_format_is_noted(tmp_path: Path, name: str, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name, kind)
    found = inspect_file(str(tmp_path / name))
    assert list(find_problems._unusual(found)) == [("wrong-suffix", f"is {kind}")]
