from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.data.object_datasets.object_images import HEIGHT, WIDTH, save_image

from resnets.data.datasets import builtin
from resnets.data.datasets.dataset import Dataset, build_dataset
from resnets.data.object_datasets import open_object_dataset
from resnets.data.object_datasets.annotation_faults import ACTIONS, ERRORS, TITLES, AnnotationFault
from resnets.data.object_datasets.check_annotations import check_annotations
from resnets.data.object_datasets.convert import FORMATS, convert
from resnets.data.object_datasets.object_masks import Polygons, encode
from resnets.data.object_datasets.objects import FRACTIONS, Box, Fault, ImageObjects, Object, make_sample

GOOD = Object("cat", (1, 2, 20, 12))


def dataset(root: Path, *objects: Object, size: tuple[int, int] | None = (HEIGHT, WIDTH), **more: object) -> Dataset:
    image = save_image(root / "a.jpg")
    return build_dataset(root, [make_sample(str(image), ImageObjects(objects, size, **more))])  # type: ignore[arg-type]


def kinds(faults: list[AnnotationFault]) -> list[tuple[int, str]]:
    return [(fault.object, fault.kind) for fault in faults]


def kept(checked: Dataset) -> list[Box]:
    return [each.box for each in checked.samples[0].target.objects]


def test_every_kind_has_a_title_and_an_action() -> None:
    assert set(TITLES) == set(ACTIONS)


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((5, 5, 5, 9), "empty-box"),
        ((5, 9, 9, 5), "empty-box"),
        ((40, 5, 50, 9), "outside"),
        ((-9, 5, 0, 9), "outside"),
        ((0.1, 0.2, 0.5, 0.6), "fractions"),
    ],
)
def test_an_object_without_a_box_in_its_image_is_an_error_and_left_out(tmp_path: Path, box: Box, kind: str) -> None:
    checked, faults = check_annotations(dataset(tmp_path, GOOD, Object("dog", box)))
    assert kinds(faults) == [(2, kind)]
    assert kind in ERRORS
    assert kept(checked) == [GOOD.box]
    assert checked.samples[0].labels == checked.class_names == ("cat",)
    assert checked.unused_classes == ("dog",)


@pytest.mark.parametrize(
    ("box", "cut", "told"),
    [
        ((-1, 2, 20, 12), (0, 2, 20, 12), False),
        ((1, 2, 41.9, 24.0001), (1, 2, 40, 24), False),
        ((-3, 2, 20, 12), (0, 2, 20, 12), True),
        ((1, 2, 20, 99), (1, 2, 20, 24), True),
    ],
)
def test_a_box_over_the_edge_is_cut_and_told_beyond_rounding(tmp_path: Path, box: Box, cut: Box, told: bool) -> None:
    checked, faults = check_annotations(dataset(tmp_path, Object("cat", box)))
    assert kept(checked) == [cut]
    assert kinds(faults) == [(1, "over-edge")] * told


def test_small_and_equal_boxes_are_told(tmp_path: Path) -> None:
    again, other = replace(GOOD), Object("dog", (1, 2, 20.05, 12))
    checked, faults = check_annotations(dataset(tmp_path, GOOD, again, other, Object("cat", (3, 3, 4.5, 9))))
    assert sorted(kinds(faults)) == [(2, "duplicate"), (3, "two-labels"), (4, "small-box")]
    assert kept(checked) == [GOOD.box, other.box, (3, 3, 4.5, 9)]


def test_objects_with_one_box_but_two_masks_are_two(tmp_path: Path) -> None:
    masks = [Polygons(((1.0, 2.0, 20.0, 2.0, 20.0, 12.0),)), Polygons(((1.0, 2.0, 20.0, 12.0, 1.0, 12.0),))]
    checked, faults = check_annotations(dataset(tmp_path, *(replace(GOOD, mask=mask) for mask in masks)))
    assert faults == []
    assert len(kept(checked)) == 2


def test_faults_that_a_reader_found_keep_the_numbers_of_the_file(tmp_path: Path) -> None:
    target = dataset(tmp_path, GOOD, Object("cat", (5, 5, 5, 9)), faults=(Fault(2, "no-class", "category_id 9"),))
    _, faults = check_annotations(target)
    assert kinds(faults) == [(2, "no-class"), (3, "empty-box")]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_the_stored_image_turn_with_it_and_those_of_the_upright_one_stay(
    tmp_path: Path, orientation: int
) -> None:
    image = save_image(tmp_path / "a.jpg", orientation=orientation)
    turned = orientation >= 5
    upright = (WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH)
    for annotated in ((HEIGHT, WIDTH), upright):
        sample = make_sample(str(image), ImageObjects((GOOD,), annotated))
        checked, faults = check_annotations(build_dataset(tmp_path, [sample]))
        assert checked.samples[0].target.size == upright
        if annotated == upright:
            assert kept(checked) == [GOOD.box]
            assert kinds(faults) == [(0, "unknown-turn")] * (2 <= orientation <= 4)  # both have the same size
        else:
            x1, y1, x2, y2 = kept(checked)[0]
            assert (x2 - x1, y2 - y1) == (10, 19)
            assert kinds(faults) == [(0, "turned")]


@pytest.mark.parametrize("size", [None, FRACTIONS])
def test_annotations_without_a_size_are_those_of_the_upright_image(
    tmp_path: Path, size: tuple[int, int] | None
) -> None:
    for orientation in (1, 6):
        image = save_image(tmp_path / f"{orientation}.jpg", orientation=orientation)
        box = (0.5, 0.25, 1.0, 0.5) if size else (12, 10, 24, 20)
        sample = make_sample(str(image), ImageObjects((Object("cat", box),), size))
        checked, faults = check_annotations(build_dataset(tmp_path, [sample]))
        assert kinds(faults) == [(0, "unknown-turn")] * (orientation == 6)
    assert kept(checked) == [(12, 10, 24, 20)]
    assert faults[0].note == "EXIF orientation 6"


def test_exchanged_corners_are_an_error_in_turned_and_scaled_annotations(tmp_path: Path) -> None:
    for orientation, size in ((6, None), (1, (2 * HEIGHT, 2 * WIDTH)), (8, None)):
        path = save_image(tmp_path / f"{orientation}.png", orientation=orientation)
        wrong = Object("cat", (20, 8, 10, 16))
        sample = make_sample(str(path), ImageObjects((GOOD, wrong), size or (HEIGHT, WIDTH)))
        assert (2, "empty-box") in kinds(check_annotations(build_dataset(tmp_path, [sample]))[1])


def test_annotations_of_another_size_are_scaled_and_those_of_another_shape_told(tmp_path: Path) -> None:
    checked, faults = check_annotations(dataset(tmp_path, GOOD, size=(HEIGHT * 2, WIDTH * 2)))
    assert (kept(checked), kinds(faults)) == ([(0.5, 1, 10, 6)], [(0, "other-size")])
    checked, faults = check_annotations(dataset(tmp_path, GOOD, size=(HEIGHT, WIDTH * 2)))
    assert (kept(checked), kinds(faults)) == ([GOOD.box], [(0, "other-shape")])


def test_masks_that_do_not_fit_the_image_are_left_out(tmp_path: Path) -> None:
    masks = [encode(np.ones((3, 3), dtype=bool)), Polygons(((0.0, 0.0, 1e6, 0.0, 1e6, 1e6),))]
    objects = [replace(GOOD, mask=mask, label=f"{number}") for number, mask in enumerate(masks)]
    checked, faults = check_annotations(dataset(tmp_path, objects[0], replace(objects[1], box=(3, 3, 9, 9))))
    assert kinds(faults) == [(1, "bad-mask"), (2, "bad-mask")]
    assert [each.mask for each in checked.samples[0].target.objects] == [None, None]


def test_habits_of_a_whole_dataset_are_told(tmp_path: Path) -> None:
    from_one = [Object(f"{n}", (1, 1 + n, 30, HEIGHT)) for n in range(6)]
    assert kinds(check_annotations(dataset(tmp_path, *from_one))[1]) == [(0, "from-one")]
    corners = [Object(f"{n}", (9, 9 + n, 9 + 38, 9 + n + 23)) for n in range(3, 9)]
    assert (0, "corners") in kinds(check_annotations(dataset(tmp_path, *corners))[1])
    many = [Object(f"{n}", (n % 10 * 4, n // 10 * 2, n % 10 * 4 + 2, n // 10 * 2 + 2)) for n in range(101)]
    assert kinds(check_annotations(dataset(tmp_path, *many))[1]) == [(0, "many-objects")]


def test_images_without_annotations_are_left_out(tmp_path: Path) -> None:
    first = dataset(tmp_path, GOOD)
    path = str(save_image(tmp_path / "b.jpg"))
    checked, faults = check_annotations(replace(first, samples=(*first.samples, make_sample(path, None))))
    assert faults == [AnnotationFault(path, 0, "not-annotated", "")]
    assert len(checked.samples) == 1


@pytest.mark.parametrize("name", ["shapes", "digit-scenes"])
def test_generated_data_have_no_faults_in_any_format(tmp_path: Path, name: str) -> None:
    found, faults = open_object_dataset.read_and_check(builtin.write(name, tmp_path / "data", size=64, count=50))
    assert faults == []
    for format_ in FORMATS:
        convert(found, format_, tmp_path / format_)
        assert open_object_dataset.read_and_check(tmp_path / format_)[1] == []


@pytest.mark.parametrize("format_", ["coco", "voc", "csv", "jsonl"])
def test_planted_faults_are_found_in_every_format_of_pixels(tmp_path: Path, format_: str) -> None:
    planted = [(5, 5, 5, 9), (9, 5, 3, 9), (50, 5, 60, 9), (-3, 2, 20, 12), (1, 2, 20, 12), (3, 3, 4.5, 9)]
    convert(dataset(tmp_path / "source", GOOD, *(Object("cat", box) for box in planted)), format_, tmp_path / "out")
    _, faults = open_object_dataset.read_and_check(tmp_path / "out")
    expected = ["empty-box", "empty-box", "outside", "over-edge", "duplicate", "small-box"]
    assert sorted(fault.kind for fault in faults) == sorted(expected)
    assert {fault.object for fault in faults} == {2, 3, 4, 5, 6, 7}


# 20 boxes in images of 100x80 pixels, each with its kind of fault.
PLANTED = {
    "empty-box": [(20, 20, 20, 40), (20, 20, 40, 20), (60, 30, 50, 40), (60, 40, 70, 30), (99, 70, 99, 79), (0, 0, 0, 0)],
    "outside": [(110, 10, 130, 30), (10, 90, 30, 99), (-30, 10, -5, 30), (10, -40, 30, -9), (200, 200, 230, 240)],
    "over-edge": [(80, 10, 130, 30), (-20, 10, 30, 30), (10, -15, 30, 30), (10, 60, 30, 95), (-9, -9, 120, 99)],
    "small-box": [(30, 30, 31, 40), (30, 30, 40, 31), (50, 50, 51, 51), (70, 20, 71, 60)],
}  # fmt: skip


@pytest.mark.parametrize("format_", FORMATS)
def test_twenty_planted_faults_are_all_found_and_nothing_else(tmp_path: Path, format_: str) -> None:
    faults = [(kind, box) for kind, boxes in PLANTED.items() for box in boxes]
    assert len(faults) == 20
    samples = []
    for number in range(40):
        path = save_image(tmp_path / "source" / f"{number:02}.png", 100, 80)
        objects = [Object("cat", (10.0, 10.0, 60.0, 50.0)), Object("dog", (40.5, 20.0, 99.0, 79.0))]
        if number % 2:
            objects.insert(1, Object("cat", tuple(map(float, faults[number // 2][1]))))
        samples.append(make_sample(str(path), ImageObjects(tuple(objects), (80, 100))))
    convert(build_dataset(tmp_path / "source", samples), format_, tmp_path / "out")
    found = open_object_dataset.read_and_check(tmp_path / "out")[1]
    # In YOLO's format, 2 and more is no fraction of a side.
    kinds = ["bad-box" if format_ == "yolo" and box[0] == 200 else kind for kind, box in faults]
    expected = {(f"{2 * index + 1:02}", 2, kind) for index, kind in enumerate(kinds)}
    assert {(Path(fault.path).stem, fault.object, fault.kind) for fault in found} == expected
