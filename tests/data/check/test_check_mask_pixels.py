"""The check of masks: each fault is planted in data that have none, found, and nothing else with it."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from tests.data.mask_datasets.mask_files import save_mask
from tests.data.object_datasets.object_images import save_image
from tests.in_soak import IN_SOAK

import resnets
from resnets.data.check import html_page
from resnets.data.check.check import CheckReport
from resnets.data.check.check_mask_pixels import check_pixels
from resnets.data.mask_datasets import mask_faults, open_mask_dataset, read_voc_masks
from resnets.data.mask_datasets.mask_faults import ERRORS, TITLES
from resnets.errors import UserError

SIZE = 80, 96
TRAIN, VAL = 12, 5
Edit = Callable[[Path], None]


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) with a disk and a rectangle on a textured background, and its mask with 0, 1 and 2."""
    generator = np.random.default_rng(seed)
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    mask = np.zeros(SIZE, np.uint8)
    top, left = generator.integers(8, 40), generator.integers(8, 50)
    mask[top : top + 28, left : left + 34] = 1
    mask[(y - generator.integers(20, 60)) ** 2 + (x - generator.integers(20, 76)) ** 2 < 14**2] = 2
    coarse = Image.fromarray(generator.integers(0, 90, (5, 6, 3), dtype=np.uint8))
    texture = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    image = texture + np.array([0, 70, 140])[mask][..., None] + generator.integers(0, 16, (*SIZE, 3))
    return image.astype(np.uint8), mask


def save_scene(root: Path, split: str, seed: int) -> None:
    image, mask = scene(seed)
    (root / split / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(root / split / "images" / f"{seed:03}.png")
    save_mask(root / split / "masks" / f"{seed:03}.png", mask)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    for seed in range(TRAIN + VAL):
        save_scene(root, "train" if seed < TRAIN else "val", seed)
    return root


@pytest.fixture
def clean(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / "data"))


def found(root: Path) -> dict[str, str]:
    """The level of each kind of problem."""
    return {each.kind: each.level for each in resnets.check(root, task="segmentation").problems}


def masks(root: Path) -> list[Path]:
    return sorted(root.glob("*/masks/*"))


def change(path: Path, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    Image.fromarray(edit(np.asarray(Image.open(path)))).save(path)


def all_masks(edit: Callable[[np.ndarray], np.ndarray]) -> Edit:
    return lambda root: [change(path, edit) for path in masks(root)] and None


def one_mask(edit: Callable[[np.ndarray], np.ndarray]) -> Edit:
    return lambda root: change(masks(root)[0], edit)


def mapped(*values: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda mask: np.array(values, np.uint8)[mask]


def with_names(edit: Edit) -> Edit:
    def plant(root: Path) -> None:
        (root / "classes.txt").write_text("ground\nbox\nball\n")
        edit(root)

    return plant


def smooth(mask: np.ndarray) -> np.ndarray:
    return ndimage.uniform_filter(mapped(0, 100, 220)(mask).astype(float), 3).astype(np.uint8)


def unlabeled(share: float) -> Callable[[np.ndarray], np.ndarray]:
    def edit(mask: np.ndarray) -> np.ndarray:
        result = mask.copy()
        result[: round(share * len(mask))] = 255
        return result

    return edit


def border(mask: np.ndarray) -> np.ndarray:
    edges = ndimage.morphological_gradient(mask, size=(3, 3)) > 0
    return np.where(edges, 255, mask).astype(np.uint8)


def noise(mask: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.where(generator.random(mask.shape) < 0.05, 1 - mask % 2, mask).astype(np.uint8)


def street(mask: np.ndarray) -> np.ndarray:
    """Labels of Cityscapes: building and sky above, road and sidewalk below, with cars, trees, and a few poles."""
    result = np.full_like(mask, 7)
    result[:20], result[20:40], result[60:70] = 23, 11, 8
    result[mask == 1], result[mask == 2] = 26, 21
    result[30:36, ::20] = 17
    return result


def no_class_2_in_val(root: Path) -> None:
    for path in (root / "val" / "masks").iterdir():
        change(path, mapped(0, 1, 1))


def remove(*names: str) -> Edit:
    return lambda root: [(root / name).unlink() for name in names] and None


def one_image_twice(root: Path) -> None:
    for kind in ("images", "masks"):
        (root / "val" / kind / "copy.png").write_bytes((root / "train" / kind / "003.png").read_bytes())


def colored(root: Path) -> None:
    for path in masks(root):
        save_mask(path, np.asarray(Image.open(path)), "RGB", [(0, 0, 0), (128, 64, 128), (0, 0, 142)])


def grouped(root: Path) -> None:
    rows = [(path, path.parents[1].name) for path in sorted(root.glob("*/images/*"))]
    lines = [
        f"{path.relative_to(root)},{split}/masks/{path.name},{split},video {number // 8}"
        for number, (path, split) in enumerate(rows)
    ]
    (root / "masks.csv").write_text("\n".join(["path,mask,split,group", *lines]))


def one_pixel(root: Path) -> None:
    for path in (*sorted((root / "train" / "masks").iterdir())[:10], *(root / "val" / "masks").iterdir()):
        change(path, _with_pixel)


def _with_pixel(mask: np.ndarray) -> np.ndarray:
    result = mask.copy()
    result[0, 0] = 3
    return result


# The 18 findings of the brief, in its order; a fault may explain another, which is then found with it.
PLANTED: dict[str, tuple[Edit, set[str]]] = {
    "M01 a value that no class has": (with_names(one_mask(mapped(0, 1, 9))), {"unknown-values"}),
    "M02 only 0 and 255": (all_masks(mapped(0, 255, 255)), {"only-0-and-255"}),
    "M03 0 and another value": (all_masks(mapped(0, 38, 38)), {"foreground-value"}),
    "M04 smoothed masks": (all_masks(smooth), {"antialiased-edges"}),
    "M05 another size": (one_mask(lambda mask: mask[::2, ::2]), {"mask-size"}),
    "M06 an image without a mask": (remove("train/masks/000.png"), {"no-mask"}),
    "M06 a mask without an image": (remove("train/images/000.png"), {"no-image"}),
    "M07 an image mostly without a class": (one_mask(unlabeled(0.6)), {"mostly-unlabeled"}),
    "M08 a mask without a class": (one_mask(unlabeled(1)), {"empty-mask"}),
    "M08 a mask of a single class": (one_mask(mapped(0, 0, 0)), {"single-class-mask"}),
    "M09 a class that val does not have": (no_class_2_in_val, {"missing-class"}),
    "M10 Cityscapes' labels": (all_masks(street), {"label-ids"}),
    "M11 values from 1": (all_masks(mapped(1, 2, 3)), {"values-from-one"}),
    "M11 values from 1, with names": (
        with_names(all_masks(mapped(1, 2, 3))),
        {"values-from-one", "unknown-values", "unused-class"},
    ),
    "M12 one image in two splits": (one_image_twice, {"duplicates-across-splits"}),
    "M13 colors without names": (colored, {"colors"}),
    "M14 a border that is ignored": (all_masks(border), {"thin-border"}),
    "M15 specks": (one_mask(noise), {"small-regions"}),
    "M16 shifted masks": (all_masks(lambda mask: np.roll(mask, (3, -5), (0, 1))), {"shifted"}),
    "M17 a group in two splits": (grouped, {"group-in-two-splits"}),
    "M18 a class with hardly a pixel": (one_pixel, {"rare-class"}),
}


def test_all_18_findings_are_planted() -> None:
    assert {name[:3] for name in PLANTED} == {f"M{number:02}" for number in range(1, 19)}


def test_nothing_is_found_where_nothing_is_wrong(clean: Path) -> None:
    assert found(clean) == {"class-shares": "note"}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_and_no_other(clean: Path, name: str) -> None:
    plant, expected = PLANTED[name]
    plant(clean)
    assert set(found(clean)) - {"class-shares"} == expected


@pytest.mark.parametrize("name", PLANTED)
def test_what_the_short_form_finds_is_refused_or_logged(
    clean: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plant, expected = PLANTED[name]
    plant(clean)
    if errors := expected & set(ERRORS):
        with pytest.raises(UserError, match=TITLES[max(errors)].capitalize()[:20]):
            open_mask_dataset.read(clean)
        return
    open_mask_dataset.read(clean)
    printed = capsys.readouterr().err
    for kind in expected & set(mask_faults.WARNINGS) - {"small-regions", "shifted"}:
        assert TITLES[kind] in printed


def test_the_shift_is_that_of_the_masks(clean: Path) -> None:
    all_masks(lambda mask: np.roll(mask, (3, -5), (0, 1)))(clean)
    (fault, *_) = [each for each in check_pixels(open_mask_dataset.read(clean)) if each.kind == "shifted"]
    assert "-5 pixels to the right and +3 down" in fault.note


def test_notes_on_sizes_say_what_to_do(clean: Path) -> None:
    turned = clean / "train" / "images" / "001.jpg"
    (clean / "train" / "images" / "001.png").unlink()
    save_image(turned, *SIZE[::-1], orientation=6)
    mirrored = clean / "train" / "images" / "002.jpg"
    (clean / "train" / "images" / "002.png").unlink()
    save_image(mirrored, *SIZE[::-1], orientation=2)
    change(masks(clean)[0], lambda mask: np.kron(mask, np.ones((2, 2), np.uint8)))
    (clean / "train" / "masks" / "003.png").write_bytes(b"no mask")
    _, faults = open_mask_dataset.read_and_check(clean)
    notes = {(Path(fault.path).name, fault.kind): fault.note for fault in faults}
    assert "reduce the mask 2 times" in notes["000.png", "mask-size"]
    assert "before its EXIF orientation" in notes["001.jpg", "mask-size"]
    assert notes["002.jpg", "exif-orientation"] == "EXIF orientation 2"
    assert "not an image" in notes["003.png", "bad-mask-file"]


def test_objects_without_outlines_are_found(tmp_path: Path) -> None:
    save_image(tmp_path / "a.jpg")
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 16, 8]}]
    images = [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 24}]
    content = {"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": annotations}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    assert found(tmp_path)["no-outline"] == "error"


def test_the_report_shows_the_masks(clean: Path, tmp_path: Path) -> None:
    """The thumbnail of an image with its mask has another color where the mask has a class than without it."""
    with_names(one_mask(mapped(0, 1, 9)))(clean)
    report = resnets.check(clean)
    assert json.loads(report.to_json())["class_counts"].keys() == {"ground", "box", "ball"}
    html_page.write(tmp_path / "masks.html", report)
    html_page.write(tmp_path / "images.html", without_masks(report))
    assert (tmp_path / "masks.html").read_text() != (tmp_path / "images.html").read_text()


def without_masks(report: CheckReport) -> CheckReport:
    return CheckReport(**{**vars(report), "masks": {}})


def test_the_values_of_a_user_answer_the_check(clean: Path) -> None:
    all_masks(mapped(0, 255, 255))(clean)
    assert resnets.check(clean).has_errors
    assert not resnets.check(clean, mask_values=("0=background", "255=person")).has_errors
    with pytest.raises(UserError, match="`mask_values` has no meaning"):
        resnets.check("digits", mask_values=("0=background",))
    with pytest.raises(UserError, match="`task` is 'masks'"):
        resnets.check(clean, task="masks")


def save_voc(root: Path) -> Path:
    """A set as Pascal VOC's: 21 classes in palette files, with borders."""
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    for split, seeds in (("train", range(120)), ("val", range(120, 150))):
        for seed in seeds:
            image, mask = scene(seed)
            Image.fromarray(image).save(root / "JPEGImages" / f"{seed:06}.jpg", quality=92)
            third = np.where((np.arange(SIZE[1]) >= 56) & (mask == 1), 3, mask).astype(np.uint8)
            values = [0, *(1 + (seed + offset) % 20 for offset in (0, 7, 13))]
            save_mask(root / "SegmentationClass" / f"{seed:06}.png", border(mapped(*values)(third)), "P")
        (lists / f"{split}.txt").write_text("".join(f"{seed:06}\n" for seed in seeds))
    return root


def test_no_false_alarm_on_a_set_as_vocs(tmp_path: Path) -> None:
    root = save_voc(tmp_path)
    assert open_mask_dataset.read(root).class_names == read_voc_masks.NAMES
    assert found(root) == {"class-shares": "note", "thin-border": "note"}


def save_coco(root: Path) -> Path:
    """A set as COCO's: six of its 80 categories as polygons, a crowd as RLE, and background around them."""
    categories = [{"id": 3 * number + 1, "name": f"thing {number}"} for number in range(6)]
    for split, seeds in (("train", range(40)), ("val", range(40, 52))):
        images: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        for seed in seeds:
            image, mask = scene(seed)
            (root / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / split / f"{seed:012}.jpg", quality=92)
            images.append({"id": seed, "file_name": f"{seed:012}.jpg", "height": SIZE[0], "width": SIZE[1]})
            for label in (1, 2):
                shape = (mask == label).astype(np.uint8)
                outlines, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                polygons = [each.astype(float).ravel().tolist() for each in outlines if len(each) > 2]
                runs = np.diff(np.flatnonzero(np.diff(np.pad(shape.T.ravel(), 1, constant_values=2)))).tolist()
                crowd = seed % 10 == 0 and label == 1
                counts = [0] * int(shape[0, 0]) + runs
                y, x = np.nonzero(shape)
                objects.append({
                    "id": 2 * seed + label, "image_id": seed, "category_id": 3 * ((seed + 2 * label) % 6) + 1,
                    "bbox": [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1], "area": int(shape.sum()),
                    "iscrowd": int(crowd), "segmentation": {"size": list(SIZE), "counts": counts} if crowd else polygons,
                })  # fmt: skip
        content = {"images": images, "annotations": objects, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def test_no_false_alarm_on_a_set_as_cocos(tmp_path: Path) -> None:
    root = save_coco(tmp_path)
    dataset = open_mask_dataset.read(root)
    assert len(dataset.class_names) == 7
    crowd = next(each for each in dataset.samples if Path(each.path).stem == f"{0:012}")
    labels = crowd.target.read(dataset.class_names)
    assert (labels[scene(0)[1] == 1] == dataset.class_names.index("thing 2")).all()
    assert {kind for kind, level in found(root).items() if level != "note"} == set()


# Two sequences of CamVid are divided between splits, and of its frames some are nearly the same.
TRUE = {"group-in-two-splits", *(["near-duplicates-across-splits"] if IN_SOAK else [])}


@pytest.mark.parametrize(
    ("name", "folder", "true"), [("camvid", "CamVid", TRUE), ("penn_fudan", "PennFudanPed", set())]
)
def test_no_false_alarm_on_photographs(
    tmp_path: Path, shared: Callable[[str], Path], name: str, folder: str, true: set[str]
) -> None:
    """Every tenth image, and with RESNETS_EVERY_SIZE=1 all of them."""
    with tarfile.open(shared(f"data/{name}.tar")) as tar:
        tar.extractall(tmp_path, filter="data")
    if not IN_SOAK:
        stems = sorted(
            {path.stem.removesuffix("_mask") for path in tmp_path.rglob("*") if path.suffix in (".webp", ".png")}
        )
        for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
            if path.stem.removesuffix("_mask") not in stems[::10]:
                path.unlink()
    levels = found(tmp_path / folder)
    assert {kind for kind, level in levels.items() if level != "note"} == true
