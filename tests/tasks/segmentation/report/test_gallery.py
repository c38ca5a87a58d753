"""Which images the gallery shows, and what its panes are."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.data.mask_datasets.image_mask import ImageMask
from resnets.data.mask_datasets.mask_classes import MaskClasses
from resnets.tasks.segmentation.metrics import records
from resnets.tasks.segmentation.report import gallery

COLORS = [(0, 0, 250), (0, 200, 0)]


def test_the_worst_images_and_some_others_are_chosen() -> None:
    scores = np.linspace(1, 0, 30)
    scores[3] = np.nan
    chosen = gallery.choose(scores)
    assert chosen[:5] == [29, 28, 27, 26, 25]
    assert (chosen[5], chosen[-1], len(chosen)) == (24, 0, 9)
    assert 3 not in chosen
    assert gallery.choose(np.array([0.5, 0.2])) == [1, 0]
    assert gallery.choose(np.array([np.nan])) == []


def test_masks_are_packed_without_loss_and_shrunk_by_the_nearest_pixel() -> None:
    mask = np.random.default_rng(0).integers(256, size=(47, 31)).astype(np.uint8)
    np.testing.assert_array_equal(records.unpack(records.pack(mask)), mask)
    assert records.shrink(mask, 300) is mask
    small = records.shrink(np.kron(mask, np.ones((10, 10), np.uint8)), 47)
    np.testing.assert_array_equal(small, mask)


@given(height=st.integers(1, 900), width=st.integers(1, 900), side=st.integers(1, 300))
def test_masks_of_any_size_are_shrunk_to_the_rows_and_columns_at_the_centers(
    height: int, width: int, side: int
) -> None:
    rows, columns = np.mgrid[:height, :width]
    small_rows, small_columns = records.shrink(rows, side), records.shrink(columns, side)
    assert max(small_rows.shape) == min(side, max(height, width))
    for found, full in ((small_rows[:, 0], height), (small_columns[0], width)):
        centers = (np.arange(len(found)) + 0.5) * full / len(found)
        assert (found <= centers).all()
        assert (centers < found + 1).all()


@pytest.mark.parametrize("size", [(60, 80), (640, 480)])
def test_a_row_has_the_image_both_masks_and_the_differences(size: tuple[int, int], tmp_path: Path) -> None:
    height, width = size
    truth = np.zeros(size, np.uint8)
    truth[:, width // 2 :] = 1
    truth[: height // 4] = 255
    Image.fromarray(truth).save(tmp_path / "mask.png")
    Image.new("RGB", (width, height), (120, 120, 120)).save(tmp_path / "image.png")
    classes = MaskClasses(("a", "b"), ((0,), (1,)), ignored_values=(255,))
    target = ImageMask(classes, size, str(tmp_path / "mask.png"))
    sample = Sample(str(tmp_path / "image.png"), ("a", "b"), target=target)
    predicted = np.zeros(size, np.uint8)
    preview = records.pack(records.shrink(predicted, gallery.SIDE))
    out = gallery.draw([0], [sample], [preview], np.array([0.25]), ("a", "b"), COLORS, tmp_path / "gallery.png")
    drawn = np.asarray(Image.open(out).convert("RGB")).astype(int)

    pixels = gallery.SIDE * gallery.SIDE * 3 / 4  # small images are enlarged
    count = {color: (np.abs(drawn - np.array(color)).max(axis=2) < 12).sum() for color in (*COLORS, (120, 120, 120))}
    assert count[120, 120, 120] == pytest.approx(pixels, rel=0.06)
    assert count[0, 0, 250] == pytest.approx((3 / 8 + 1) * pixels, rel=0.06)
    assert count[0, 200, 0] == pytest.approx(3 / 8 * pixels, rel=0.06)
    red = (drawn[..., 0] > 130) & (drawn[..., 1] < 90) & (drawn[..., 2] < 90)
    assert red.sum() == pytest.approx(3 / 8 * pixels, rel=0.06)
