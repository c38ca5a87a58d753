from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnets.data.object_datasets import read_coco
from resnets.data.object_datasets.object_masks import Polygons
from resnets.data.object_datasets.objects import ImageObjects, Object
from resnets.errors import UserError

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}]


def save_image(path: Path, width: int = 20, height: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)


def annotation(image: object = 7, category: object = 3, box: object = (1, 2, 3, 4), **more: Any) -> dict:
    return {"id": 1, "image_id": image, "category_id": category, "bbox": box, "area": 12, "iscrowd": 0, **more}


def write(file: Path, annotations: list[dict], **more: Any) -> Path:
    images = [{"id": 7, "file_name": "a.png", "width": 20, "height": 10}, {"id": 5, "file_name": "b.png"}]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "categories": CATEGORIES, "annotations": annotations, **more}))
    return file


def folder(root: Path, annotations: list[dict], **more: Any) -> Path:
    for name in ("a.png", "b.png"):
        save_image(root / name)
    write(root / "_annotations.coco.json", annotations, **more)
    return root


def objects(dataset: Any, index: int = 0) -> tuple[Object, ...]:
    return dataset.samples[index].target.objects


def test_classes_are_known_by_name_and_an_image_without_annotations_has_no_object(tmp_path: Path) -> None:
    dataset = read_coco.read(
        folder(tmp_path, [annotation(), annotation(category=90, box=[0.5, 0, 2.25, 9], area=None)])
    )
    first, second = dataset.samples
    assert first.labels == ("cat", "dog")
    assert first.target == ImageObjects(
        (Object("cat", (1, 2, 4, 6), area=12), Object("dog", (0.5, 0, 2.75, 9))), size=(10, 20)
    )
    assert (second.labels, second.target) == ((), ImageObjects(()))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.splits == ()


def test_the_ids_of_the_categories_do_not_matter(tmp_path: Path) -> None:
    results = []
    for number, ids in enumerate(((0, 1), (1, 2), (7, 90), ("x", "1"))):
        categories = [{"id": ids[0], "name": "cat"}, {"id": ids[1], "name": "dog"}]
        annotations = [annotation(category=ids[1]), annotation(category=ids[0], image=5)]
        root = folder(tmp_path / str(number), annotations, categories=categories)
        dataset = read_coco.read(root)
        results.append((dataset.class_names, [(each.labels, each.target) for each in dataset.samples]))
    assert all(result == results[0] for result in results)


def test_masks_of_all_three_kinds_are_the_same_pixels(tmp_path: Path) -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:6, 3:9] = True
    counts = [32, *[4, 6] * 5, 4, 114]
    uncompressed = {"size": [10, 20], "counts": counts}
    from pycocotools import mask as pycocotools

    compressed = pycocotools.encode(np.asfortranarray(mask, dtype=np.uint8))
    compressed["counts"] = compressed["counts"].decode()
    kinds = [[[3, 2, 9, 2, 9, 6, 3, 6]], uncompressed, compressed]
    dataset = read_coco.read(folder(tmp_path, [annotation(segmentation=kind) for kind in kinds]))
    assert dataset.samples[0].target.faults == ()
    for each in objects(dataset):
        assert each.mask is not None
        np.testing.assert_array_equal(each.mask.decode(10, 20), mask)
        assert each.mask.box() == (3, 2, 9, 6)
    assert isinstance(objects(dataset)[0].mask, Polygons)


def test_a_box_that_is_missing_is_that_of_the_mask(tmp_path: Path) -> None:
    dataset = read_coco.read(folder(tmp_path, [annotation(box=None, segmentation=[[3, 2, 9, 2, 9, 6.5, 3, 6]])]))
    assert objects(dataset)[0].box == (3, 2, 9, 6.5)


def test_crowds_are_no_label(tmp_path: Path) -> None:
    dataset = read_coco.read(folder(tmp_path, [annotation(iscrowd=1), annotation(category=90)]))
    assert dataset.samples[0].labels == ("dog",)
    assert [each.crowd for each in objects(dataset)] == [True, False]
    assert dataset.class_names == ("dog",)


def test_the_parent_category_of_roboflow_is_no_class_and_an_unused_class_is_named(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 3, "name": "cat", "supercategory": "pets"},
        {"id": 4, "name": "dog", "supercategory": "pets"},
    ]
    dataset = read_coco.read(folder(tmp_path, [annotation()], categories=categories))
    assert (dataset.class_names, dataset.unused_classes) == (("cat",), ("dog",))
    assert dataset.listed_classes == ("cat", "dog")
    owning = read_coco.read(folder(tmp_path, [annotation(), annotation(category=0)], categories=categories))
    assert owning.class_names == ("cat", "pets")


@pytest.mark.parametrize(
    ("annotations", "fault"),
    [
        (annotation(category=4), "no-class"),
        (annotation(category=[1]), "no-class"),
        (annotation(box=None), "bad-box"),
        (annotation(box=[1, 2, 3]), "bad-box"),
        (annotation(box=[1, 2, float("nan"), 3]), "bad-box"),
        (annotation(box=[1, 2, "a", 3]), "bad-box"),
        (annotation(area="x"), "bad-box"),
        (annotation(segmentation=[[1, 2]]), "bad-mask"),
        (annotation(segmentation={"size": [3, 3], "counts": [4]}), "bad-mask"),
        (annotation(segmentation="x"), "bad-mask"),
    ],
)
def test_annotations_that_cannot_be_read_are_faults_of_their_image(
    tmp_path: Path, annotations: dict, fault: str
) -> None:
    target = read_coco.read(folder(tmp_path, [annotation(), annotations])).samples[0].target
    assert [(each.number, each.kind) for each in target.faults] == [(2, fault)]
    assert len(target.objects) == (2 if fault == "bad-mask" else 1)


def test_objects_of_images_that_are_not_listed_are_a_warning(tmp_path: Path) -> None:
    dataset = read_coco.read(folder(tmp_path, [annotation(), annotation(image=8), annotation(image=None)]))
    assert "2 objects of images that it does not list" in dataset.layout_warnings[0]


@pytest.mark.parametrize(
    ("images", "file", "given"),
    [
        ("{split}/a.png", "{split}/_annotations.coco.json", "."),
        ("{split}2017/a.png", "annotations/instances_{split}2017.json", "."),
        ("images/{split}2017/a.png", "annotations/instances_{split}2017.json", "."),
        ("images/a.png", "{split}.json", "."),
        ("{split}/a.png", "annotations/{split}.json", "."),
    ],
)
def test_splits_and_images_are_found_in_every_layout(tmp_path: Path, images: str, file: str, given: str) -> None:
    for split in ("train", "valid"):
        save_image(tmp_path / images.format(split=split))
        one = [{"id": 7, "file_name": "a.png", "width": 20, "height": 10}]
        write(tmp_path / file.format(split=split), [annotation()], images=one)
    (tmp_path / "annotations").mkdir(exist_ok=True)
    (tmp_path / "annotations" / "captions_train2017.json").write_text('{"images": [], "annotations": []}')
    if "instances" not in file:
        (tmp_path / "annotations" / "captions_train2017.json").unlink()
    assert read_coco.recognizes(tmp_path)
    dataset = read_coco.read(tmp_path / given)
    assert dataset.splits == ("train", "val")
    assert all(Path(sample.path).is_file() for sample in dataset.samples)


def test_a_single_file_is_read_with_its_images(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png")
    one = [{"id": 7, "file_name": "C:\\data\\images\\a.png"}]
    file = write(tmp_path / "annotations" / "instances_default.json", [annotation()], images=one)
    dataset = read_coco.read(file)
    assert dataset.samples[0].path == str(tmp_path / "images" / "a.png")
    assert dataset.samples[0].split is None


def test_what_is_not_this_format_is_not_recognized(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": 1}')
    (tmp_path / "cat").mkdir()
    assert not read_coco.recognizes(tmp_path)
    assert not read_coco.recognizes(tmp_path / "a.json")
    assert not read_coco.recognizes(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "is not JSON"),
        ('{"images": [], "annotations": [], "categories": []}', "lists no images"),
        ('{"images": [{}], "annotations": {}, "categories": []}', "no list 'annotations'"),
        ('{"images": [{}], "annotations": [1], "categories": []}', "no list 'annotations'"),
        (
            '{"images": [{"id": 1, "file_name": "z.png"}], "annotations": [], "categories": []}',
            "are in none of the folders",
        ),
        ('{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1}]}', "each needs an id and a name"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            "the category id 1 to 'a' and to 'b'",
        ),
        ('{"images": [' + "[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_of_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_coco.read(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.json", [])
    with pytest.raises(UserError, match="not one file for each split"):
        read_coco.recognizes(tmp_path)
