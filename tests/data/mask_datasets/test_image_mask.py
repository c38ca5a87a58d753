from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.mask_datasets.mask_files import pattern, save_mask

from resnets.data.mask_datasets.image_mask import ImageMask
from resnets.data.mask_datasets.mask_classes import IGNORE, MaskClasses, make_classes
from resnets.data.object_datasets.object_masks import Polygons
from resnets.data.object_datasets.objects import Object
from resnets.errors import UserError

CLASSES = make_classes({7: "road", 3: "sky", 11: "car"}, ignored=[255])


def in_file(path: Path, mask: np.ndarray, classes: MaskClasses = CLASSES) -> ImageMask:
    return ImageMask(classes, mask.shape, file=str(save_mask(path, mask)))  # type: ignore[arg-type]


def test_indices_are_those_of_the_asked_names(tmp_path: Path) -> None:
    values = pattern(7, 255, 3)
    mask = in_file(tmp_path / "a.png", values)
    found = mask.read(("sky", "tree", "road"))
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.select([values == 7, values == 3], [2, 0], IGNORE))


def test_a_class_that_the_model_lacks_is_an_error_only_where_it_occurs(tmp_path: Path) -> None:
    mask = in_file(tmp_path / "a.png", pattern(7, 3))
    assert mask.read(("road", "sky")).max() == 1
    with pytest.raises(UserError, match="'sky'"):
        mask.read(("road", "car"))


def test_another_size_is_an_error(tmp_path: Path) -> None:
    file = save_mask(tmp_path / "a.png", pattern(7, 3, height=20, width=30))
    with pytest.raises(UserError, match=r"a\.png' has 30x20 pixels, and its image 31x20"):
        ImageMask(CLASSES, (20, 31), file=str(file)).read(CLASSES.names)


def square(x: float, side: float) -> Polygons:
    return Polygons(((x, x, x + side, x, x + side, x + side, x, x + side),))


def test_objects_are_drawn_large_to_small_on_the_background() -> None:
    """In both orders, the small square stays visible on the large one; a box without a mask is ignored."""
    classes = make_classes({0: "background", 1: "cat", 2: "dog"})
    large, small = Object("cat", (2, 2, 22, 22), square(2, 20)), Object("dog", (5, 5, 10, 10), square(5, 5))
    box = Object("cat", (25, 1, 30, 4))
    expected = np.zeros((24, 32), np.uint8)
    expected[1:4, 25:30] = IGNORE
    expected[2:22, 2:22] = 1
    expected[5:10, 5:10] = 2
    for objects in ((large, small, box), (box, small, large)):
        assert np.array_equal(ImageMask(classes, (24, 32), objects=objects).read(classes.names), expected)


def test_the_digest_changes_with_the_mask_and_with_the_meaning_of_its_values(tmp_path: Path) -> None:
    values = pattern(7, 3)
    digest = in_file(tmp_path / "a.png", values).digest()
    assert in_file(tmp_path / "b.png", values).digest() == digest
    changed = values.copy()
    changed[0, 0] = 3
    other = make_classes({7: "street", 3: "sky", 11: "car"}, ignored=[255])
    different = {in_file(tmp_path / "c.png", changed).digest(), in_file(tmp_path / "d.png", values, other).digest()}
    different.add(ImageMask(CLASSES, (2, 2), objects=(Object("road", (0, 0, 1, 1)),)).digest())
    assert len(different | {digest}) == 4
