"""Class folders: which folders are classes and splits, and the messages for every other layout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from resnets.data.datasets.class_folders import read_folder
from resnets.errors import UserError


def files(root: Path, *names: str) -> Path:
    """Make empty files; nothing is decoded when folders are read."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def labels(root: Path) -> dict[str, str | None]:
    return {Path(sample.path).relative_to(root).as_posix(): sample.label for sample in read_folder(root).samples}


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    files(tmp_path, "bee/2.JPG", "bee/1.png", "ant/1.jpeg", "ant/3.webp", "Wasp/x.tif")
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("Wasp", "ant", "bee")  # by code point: capitals first
    assert [Path(sample.path).name for sample in dataset.samples] == ["x.tif", "1.jpeg", "3.webp", "1.png", "2.JPG"]
    assert dataset.splits == ()
    assert all(Path(sample.path).exists() for sample in dataset.samples)
    assert dataset.root == tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("train", "val", "test"),
        ("Training", "validation", "Testing"),
        ("TRAIN", "valid", "test"),
        ("training_set", "dev", "test_set"),
        ("seg_train", "eval", "seg_test"),
        ("train_images", "VALID", "TestSet"),
        ("train2017", "valset", "test-data"),
    ],
)
def test_a_folder_of_splits(tmp_path: Path, words: tuple[str, str, str]) -> None:
    for word in words:
        files(tmp_path, f"{word}/ant/1.png", f"{word}/bee/1.png")
    dataset = read_folder(tmp_path)
    assert dataset.splits == ("train", "val", "test")
    assert dataset.class_names == ("ant", "bee")
    assert [sample.label for sample in dataset.subset("val")] == ["ant", "bee"]


def test_a_split_may_be_packed_twice(tmp_path: Path) -> None:
    files(
        tmp_path,
        *(f"{split}/{split}/{name}/1.png" for split in ("seg_train", "seg_test") for name in ("sea", "street")),
    )
    files(tmp_path, "seg_pred/seg_pred/1.png")
    dataset = read_folder(tmp_path)
    assert (dataset.splits, dataset.class_names) == (("train", "test"), ("sea", "street"))
    assert dataset.unused.folders == [str(tmp_path / "seg_pred")]


def test_two_splits_beside_loose_images_are_splits(tmp_path: Path) -> None:
    """The layout of a well-known course on cats and dogs."""
    files(tmp_path, *(f"{split}/{name}/1.png" for split in ("training_set", "test_set") for name in ("cats", "dogs")))
    files(tmp_path, "single_prediction/1.png")
    dataset = read_folder(tmp_path)
    assert (dataset.splits, dataset.class_names) == (("train", "test"), ("cats", "dogs"))
    assert dataset.unused.folders == [str(tmp_path / "single_prediction")]


def test_test_images_without_classes_are_not_used(tmp_path: Path) -> None:
    files(tmp_path, "train/ant/1.png", "train/bee/1.png", "test/1.png", "test/2.png")
    dataset = read_folder(tmp_path)
    assert (dataset.splits, dataset.class_names) == (("train",), ("ant", "bee"))
    assert dataset.unused.folders == [str(tmp_path / "test")]


def test_splits_inside_the_classes(tmp_path: Path) -> None:
    files(tmp_path, *(f"{name}/{split}/1.png" for split in ("train", "Valid", "test") for name in ("ant", "bee")))
    files(tmp_path, "ant/train/monday/2.png")
    dataset = read_folder(tmp_path)
    assert (dataset.splits, dataset.class_names) == (("train", "val", "test"), ("ant", "bee"))
    assert [Path(each.path).parent.name for each in dataset.subset("val")] == ["Valid", "Valid"]
    assert [each.columns for each in dataset.subset("train")] == [{}, {"folder": "monday"}, {}]


def test_splits_inside_some_of_the_classes_are_a_warning(tmp_path: Path) -> None:
    files(tmp_path, "ant/train/1.png", "ant/test/1.png", "bee/1.png")
    dataset = read_folder(tmp_path)
    assert dataset.splits == ()
    assert "'ant' holds the folders 'test', 'train', which are taken as one class" in dataset.layout_warnings[
        0
    ].replace(f"{tmp_path}/", "")


def test_splits_one_folder_down_are_named(tmp_path: Path) -> None:
    files(tmp_path, "images/train/ant/1.png", "images/val/ant/1.png", "labels/train/1.txt")
    with pytest.raises(UserError, match=r"images' holds the splits 'train', 'val': give that folder"):
        read_folder(tmp_path)


def test_folders_that_all_hold_the_same_are_a_warning(tmp_path: Path) -> None:
    files(tmp_path, *(f"{split}/{name}/1.png" for split in ("first", "second") for name in ("ant", "bee")))
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("first", "second")
    assert dataset.layout_warnings[0].startswith("'first', 'second' all hold 'ant', 'bee' and are taken as classes")
    files(tmp_path / "mixed", "train/ant/1.png", "train/bee/1.png", "more/1.png")
    assert "'train' is taken as a class beside 'more'" in read_folder(tmp_path / "mixed").layout_warnings[0]


def test_masks_in_a_folder_of_an_unknown_name_are_a_warning(tmp_path: Path) -> None:
    files(tmp_path / "a", "images/1.png", "images/2.png", "masken/1.png")
    assert read_folder(tmp_path / "a").layout_warnings == (
        "'images' and 'masken' are taken as classes, although their files have the same names; if 'masken' has the masks of "
        "the images, name it masks",
    )
    files(tmp_path / "b", "images/1.png", "drawings/2.png")
    files(tmp_path / "c", "ants/1.png", "bees/1.png")
    assert [read_folder(tmp_path / name).layout_warnings for name in "bc"] == [(), ()]


def test_an_image_without_a_suffix_is_one_by_its_content(tmp_path: Path) -> None:
    files(tmp_path, "ant/notes", "bee/1.png", "ant/raw.dng")
    Image.new("RGB", (4, 4)).save(tmp_path / "ant" / "IMG_0001", "JPEG")
    os.mkfifo(tmp_path / "ant" / "pipe")  # which is not waited for
    dataset = read_folder(tmp_path)
    assert [Path(each.path).name for each in dataset.samples] == ["IMG_0001", "1.png"]
    assert sorted(Path(path).name for path in dataset.unused.files) == ["notes", "pipe", "raw.dng"]


def test_a_split_without_a_class_is_fine(tmp_path: Path) -> None:
    files(tmp_path, "train/ant/1.png", "train/bee/1.png", "val/ant/2.png")
    (tmp_path / "val" / "bee").mkdir()
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("ant", "bee")
    assert dataset.empty_classes == ()


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    files(tmp_path, "train/1.png", "bus/1.png", "test/1.png")
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("bus", "test", "train")
    assert dataset.splits == ()


def test_a_class_called_train_may_have_folders_in_it(tmp_path: Path) -> None:
    files(tmp_path, "train/steam/1.png", "bus/1.png")
    assert read_folder(tmp_path).class_names == ("bus", "train")


def test_splits_beside_other_folders_are_splits(tmp_path: Path) -> None:
    files(tmp_path, "train/ant/1.png", "train/bee/1.png", "annotations/masks/1.png", "README.md")
    dataset = read_folder(tmp_path)
    assert dataset.splits == ("train",)
    assert dataset.class_names == ("ant", "bee")
    assert [Path(path).name for path in (*dataset.unused.files, *dataset.unused.folders)] == [
        "README.md",
        "annotations",
    ]


def test_a_folder_within_a_class_belongs_to_it_and_can_be_a_group(tmp_path: Path) -> None:
    files(tmp_path, "ant/1.png", "ant/monday/am/2.png", "bee/1.png")
    assert labels(tmp_path) == {"ant/1.png": "ant", "ant/monday/am/2.png": "ant", "bee/1.png": "bee"}
    assert [sample.columns for sample in read_folder(tmp_path).samples] == [{}, {"folder": "monday/am"}, {}]


def test_hidden_and_system_files_are_skipped_and_others_are_named(tmp_path: Path) -> None:
    files(tmp_path, "ant/1.png", "ant/._1.png", "ant/.cache/2.png", "ant/Thumbs.db", "ant/2.mov", "bee/1.png")
    files(tmp_path, "__MACOSX/ant/1.png", "__MACOSX/._1.png", ".git/index", "bee/@eaDir/1.png", "loose.png")
    dataset = read_folder(tmp_path)
    assert len(dataset.samples) == 2
    assert sorted(Path(path).name for path in (*dataset.unused.files, *dataset.unused.folders)) == [
        "2.mov",
        "loose.png",
    ]


def test_hidden_folders_of_images_beside_the_classes_are_named(tmp_path: Path) -> None:
    files(tmp_path, "ant/1.png", "bee/1.png", ".wasp/1.png", "__MACOSX/1.png")
    assert read_folder(tmp_path).unused.folders == [str(tmp_path / ".wasp"), str(tmp_path / "__MACOSX")]
    files(tmp_path / "split", "train/ant/1.png", "train/bee/1.png", "train/.wasp/1.png")
    assert read_folder(tmp_path / "split").unused.folders == [str(tmp_path / "split" / "train" / ".wasp")]
    with pytest.raises(UserError, match=r"is empty.*Its hidden folders, '.ant', are not read"):
        read_folder(files(tmp_path / "hidden", ".ant/1.png"))


@pytest.mark.parametrize("name", ["New folder", "new folder (2)", "untitled folder 3", "Neuer Ordner"])
def test_a_folder_with_a_default_name_is_a_warning(tmp_path: Path, name: str) -> None:
    files(tmp_path, "ant/1.png", f"{name}/1.png")
    assert read_folder(tmp_path).layout_warnings == (
        f"'{name}' is taken as a class, although it has the default name of a new folder; rename it, or move it away",
    )


def test_an_empty_class_folder_is_reported(tmp_path: Path) -> None:
    files(tmp_path, "ant/1.png", "bee/1.png", "hornet/readme.txt")
    (tmp_path / "wasp").mkdir()
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("ant", "bee")
    assert dataset.empty_classes == ("hornet", "wasp")


@pytest.mark.parametrize(
    "name", ["with space", "múčka", "собака", "犬", "🐝", "a.b", "#1", "it's", "ant,bee", "train "]
)
def test_any_class_name(tmp_path: Path, name: str) -> None:
    files(tmp_path, f"{name}/1.png", "other/1.png")
    assert name in read_folder(tmp_path).class_names


def test_two_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    files(tmp_path, "caf\u00e9/1.png", "cafe\u0301/2.png", "bar/1.png")
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("bar", "caf\u00e9")
    assert dataset.unicode_variants == (("cafe\u0301", "caf\u00e9"),)
    assert all(Path(sample.path).exists() for sample in dataset.samples)


def test_a_thousand_classes(tmp_path: Path) -> None:
    files(tmp_path, *(f"class {number}/0.png" for number in range(1000)))
    dataset = read_folder(tmp_path)
    assert len(dataset.class_names) == 1000
    assert dataset.class_names[:3] == ("class 0", "class 1", "class 10")


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    files(tmp_path, "real/ant/1.png", "elsewhere/2.png")
    data = files(tmp_path / "data", "ant/0.png", "bee/0.png")
    (data / "wasp").symlink_to(tmp_path / "real" / "ant")
    (data / "ant" / "more").symlink_to(tmp_path / "elsewhere")
    (data / "ant" / "more again").symlink_to(tmp_path / "elsewhere")
    (data / "bee" / "loop").symlink_to(data / "bee")
    (data / "bee" / "up").symlink_to(data)
    (data / "bee" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = labels(data)
    assert found["wasp/1.png"] == "wasp"
    assert [name for name in found if name.startswith("ant/")] == ["ant/0.png", "ant/more/2.png"]
    assert "bee/gone.png" in found  # the check of the images will name it
    assert not any(name.startswith("bee/loop") for name in found)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "is empty"),
        (("1.jpg", "2.jpg"), "holds 2 images but no class folders. Lay them out as"),
        (("notes.txt",), "no images and no folders, only 'notes.txt'"),
        (("ant/a.dng", "ant/b.dng", "bee/c.mov"), r"no image in the folders 'ant', 'bee'.*\(2 \.dng, 1 \.mov\)"),
        (("train/1.jpg", "test/1.jpg"), "'.*test' holds images but no class folders"),
        (("train/ant/1.jpg", "val/ant/1.jpg", "valid/ant/1.jpg"), "has both 'val' and 'valid'"),
        ((".hidden/1.jpg",), "is empty"),
    ],
)
def test_every_other_layout_is_an_error_that_says_what_it_is(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(UserError, match=message) as caught:
        read_folder(files(root, *names))
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_class_folders_only(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "bee").mkdir()
    with pytest.raises(UserError, match="has no image in the folders 'ant', 'bee'"):
        read_folder(tmp_path)


def test_a_class_name_that_is_not_text(tmp_path: Path) -> None:
    files(tmp_path, "ant/1.png")
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(UserError, match=r"caf\\xe9' is not text in UTF-8"):
        read_folder(tmp_path)


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    root = Path(tempfile.mkdtemp(dir="/tmp"))  # which another user can reach, unlike pytest's
    files(root, "ant/1.png", "bee/1.png", "bee/shut/2.png")
    root.chmod(0o755)
    (root / "bee" / "shut").chmod(0)
    code = (
        "import os, sys\n"
        "from resnets.data.datasets import open_dataset\n"
        "from resnets.errors import UserError\n"
        "if os.getuid() == 0: os.setgid(65534), os.setuid(65534)  # root may look everywhere\n"
        "print(len(open_dataset.read(sys.argv[1], on_inaccessible='skip').samples))\n"
        "try: open_dataset.read(sys.argv[1])\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, timeout=100)
    shutil.rmtree(root)
    assert done.stderr == f"not used: the inaccessible folder '{root}/bee/shut'\n"
    count, error = done.stdout.splitlines()
    assert count == "2"
    assert error.startswith(f"Cannot read '{root}/bee/shut': Permission denied.")
