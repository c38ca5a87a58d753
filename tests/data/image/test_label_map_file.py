from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from resnets.data.image.decode_mask import decode_mask
from resnets.data.image.label_map_file import open_label_map

LABELS = np.random.default_rng(0).integers(0, 5, (300, 517), dtype=np.uint8)
COLORS = [(0, 0, 0), (128, 64, 128), (0, 0, 142), (1, 2, 3), (255, 254, 253)]


def write(path: Path, rows: int, colors: list[tuple[int, int, int]] | None = None) -> None:
    with open_label_map(path, (300, 517), colors or ()) as file:
        for top in range(0, 300, rows):
            file.write(LABELS[top : top + rows])


@pytest.mark.parametrize("rows", [1, 7, 256, 300])
def test_a_map_that_is_written_in_rows_is_read_as_a_whole(tmp_path: Path, rows: int) -> None:
    write(tmp_path / "a.tif", rows)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].is_tiled
        assert np.array_equal(file.asarray(), LABELS)
    assert np.array_equal(decode_mask(tmp_path / "a.tif"), LABELS)


def test_the_palette_of_a_tiff(tmp_path: Path) -> None:
    write(tmp_path / "a.tiff", 100, COLORS)
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "a.tiff").convert("RGB")), np.array(COLORS, np.uint8)[LABELS]
    )
    assert np.array_equal(decode_mask(tmp_path / "a.tiff"), LABELS)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tiff"), LABELS)


def test_nothing_is_left_of_a_map_that_was_not_completed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="7 of 300 rows"), open_label_map(tmp_path / "a.tif", (300, 517)) as file:
        file.write(LABELS[:7])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="301 rows"), open_label_map(tmp_path / "b.tif", (300, 517)) as file:
        file.write(np.concatenate([LABELS, LABELS[:1]]))
    assert list(tmp_path.iterdir()) == []
