"""What a detector finds in several views of an image, in pixels of the image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.image.placement import Placement
from resnets.tasks.detection.test_time_augmentation.detect_in_views import ViewDetector, detect_in_views, in_image
from resnets.tasks.detection.test_time_augmentation.image_views import View, Views
from resnets.tasks.trained_model import TrainedModel

Finder = Callable[..., TrainedModel]
L_SHAPE = (slice(40, 160), slice(30, 190))  # rows and columns


def scene() -> np.ndarray:
    """An L, which is red, and a white bar, on 320 x 400 pixels."""
    image = np.zeros((320, 400, 3), np.uint8)
    image[L_SHAPE][:, :40] = image[L_SHAPE][80:] = (255, 0, 0)
    image[200:230, 250:390] = 255
    return image


def test_every_view_shows_an_object_where_it_is(make_finder: Finder) -> None:
    """Boxes and masks of larger, mirrored and cut views are those of the image."""
    image, model = scene(), make_finder()
    for views in (
        Views(scales=(200, 800)),
        Views(flip=True),
        Views(flip=True, tile=200),
        Views(scales=(300, 320), flip=True, tile=250, tile_overlap=0.4),
    ):
        (found,) = model.predict(image, scales=views.scales, flip=views.flip, tile=views.tile)
        assert [each.label for each in found.objects] == ["red", "white"]
        for each, box, pixels in zip(
            found.objects,
            ((30, 40, 190, 160), (250, 200, 390, 230)),
            (image[..., 1] == 0, image[..., 1] > 0),
            strict=True,
        ):
            assert each.box == pytest.approx(box, abs=2.1)
            assert each.mask is not None
            shown = pixels & (image[..., 0] > 0)
            assert (each.mask & shown).sum() > 0.9 * (each.mask | shown).sum()


def test_what_lies_in_the_background_around_a_view_is_no_object() -> None:
    placement = Placement((50, 100), (100, 100), scale=(1.0, 1.0), offset=(25.0, 0.0))
    view = View(torch.zeros(3, 100, 100), placement, (0, 0, 100, 50), mirrored=True)
    boxes = torch.tensor([[10.0, 30, 20, 40], [10.0, 0, 20, 20]])
    found = in_image({"boxes": boxes, "scores": torch.tensor([0.9, 0.8])}, view)
    assert found["scores"].tolist() == pytest.approx([0.9])
    assert found["boxes"].tolist() == [[80, 5, 90, 15]]


def test_small_objects_of_a_large_image_are_found_in_tiles_only(make_finder: Finder) -> None:
    """120 squares of 12 pixels: none in the whole image at 320 pixels, all of them, once, in tiles of 320 pixels."""
    random = np.random.default_rng(0)
    image = random.integers(0, 90, (1000, 1500, 3)).astype(np.uint8)
    cells = random.permutation([(y, x) for y in range(0, 1000, 50) for x in range(0, 1500, 50)])[:120]
    for y, x in cells + random.integers(0, 37, (120, 2)):
        image[y : y + 12, x : x + 12] = 255
    model = make_finder()
    (whole,), (tiled,) = model.predict(image), model.predict(image, tile=320, batch=32)
    assert len(whole.objects) < 0.3 * 120
    assert len(tiled.objects) == 120
    for each in tiled.objects:
        x1, y1, x2, y2 = (round(value) for value in each.box)
        assert (x2 - x1, y2 - y1) == (12, 12)
        assert image[y1:y2, x1:x2].min() == 255
    assert model.model.most_images <= 640 * 320 // 320**2, "the tiles of an image are not all in memory"


def test_an_object_over_four_tiles_is_found_once(make_finder: Finder) -> None:
    """It is longer than tiles overlap, so that none shows it whole, and too small to be found in the whole image."""
    image, views = np.zeros((121, 463, 3), np.uint8), Views(tile=64, tile_overlap=0.1)
    image[56:66, 170:180] = 255
    _, *tiles = views.regions((121, 463))
    seen = [tile for tile in tiles if tile[0] < 180 and tile[2] > 170 and tile[1] < 66 and tile[3] > 56]
    assert seen == [(114, 0, 178, 64), (171, 0, 235, 64), (114, 57, 178, 121), (171, 57, 235, 121)]
    model = make_finder()
    assert model.predict(image)[0].objects == ()
    (found,) = model.predict(image, tile=64, tile_overlap=0.1)
    assert [each.box for each in found.objects] == [pytest.approx((170, 56, 180, 66), abs=0.5)]
    mask = found.objects[0].mask
    assert (mask & (image[..., 0] > 0)).sum() > 0.9 * (image[..., 0] > 0).sum()


def test_unreadable_images_are_told(make_finder: Finder, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    Image.fromarray(scene()).save(tmp_path / "scene.png")
    detector = ViewDetector(make_finder(), Views(flip=True), batch=4, count=2)
    bad, good = detect_in_views([detector], [tmp_path / "text.jpg", tmp_path / "scene.png"], workers=0)
    assert (bad.found, bad.size) == (None, None)
    assert bad.error
    assert good.size == (320, 400)
    assert good.found is not None
    assert len(good.found.boxes) == 2
