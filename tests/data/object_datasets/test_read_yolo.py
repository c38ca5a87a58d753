from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.object_datasets.object_images import HEIGHT, WIDTH, save_image

from resnets.data.datasets.dataset import Dataset
from resnets.data.object_datasets import open_object_dataset, read_yolo
from resnets.data.object_datasets.object_masks import Polygons
from resnets.errors import UserError

BOX = "0 0.5 0.5 0.25 0.5\n"


def write(root: Path, text: str | bytes | None = BOX, yaml: str = "train: images\nnames: [cat, dog]\n") -> Path:
    save_image(root / "images" / "a.png")
    (root / "labels").mkdir(exist_ok=True)
    if text is not None:
        (root / "labels" / "a.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    (root / "data.yaml").write_text(yaml)
    return root


def only(dataset: Dataset) -> list[tuple]:
    return [(each.label, each.box) for each in dataset.samples[0].target.objects]


@pytest.mark.parametrize(
    "names", ["[cat, dog]", "{0: cat, 1: dog}", "{'0': cat, '1': dog}", "\n  0: cat\n  1: dog", "\n- cat\n- dog"]
)
def test_names_are_a_list_or_a_dictionary(tmp_path: Path, names: str) -> None:
    dataset = open_object_dataset.read(write(tmp_path, BOX + "1 .25 .5 .5 1\n", f"train: images\nnames: {names}\n"))
    assert only(dataset) == [("cat", (15, 6, 25, 18)), ("dog", (0, 0, 20, 24))]
    assert dataset.samples[0].target.size == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf0 0.5 0.5 0.25 0.5\r\n\r\n",
        "0,0.5,0.5,0.25,0.5",
        "0.0 0.5 0.5 0.25 0.5 \n\n",
        "0\t0.5\t0.5\t.25\t5e-1",
        "0 0.5 0.5 0.25 0.5 0.875",  # with the score of a prediction
    ],
)
def test_label_files_of_other_programs_are_read(tmp_path: Path, text: str | bytes) -> None:
    assert only(open_object_dataset.read(write(tmp_path, text))) == [("cat", (15, 6, 25, 18))]


def test_a_file_may_mix_boxes_and_polygons(tmp_path: Path) -> None:
    dataset = open_object_dataset.read(write(tmp_path, BOX + "1 0.1 0.25 0.5 0.25 0.5 0.75\n"))
    box, polygon = dataset.samples[0].target.objects
    assert box.mask is None
    assert polygon.mask == Polygons(((4.0, 6.0, 20.0, 6.0, 20.0, 18.0),))
    assert polygon.box == (4, 6, 20, 18)


def test_an_empty_file_says_no_object_and_a_missing_one_nothing(tmp_path: Path) -> None:
    root = write(tmp_path)
    for name, text in (("b", ""), ("c", None)):
        save_image(root / "images" / f"{name}.png")
        if text is not None:
            (root / "labels" / f"{name}.txt").write_text(text)
    samples = read_yolo.read(root).samples
    assert [sample.labels for sample in samples] == [("cat",), (), None]
    with pytest.raises(UserError, match=r"images without annotations: '.*c\.png'.*an empty label file"):
        open_object_dataset.read(root)
    assert len(open_object_dataset.read(root, on_inaccessible="skip").samples) == 2


def test_a_folder_of_labels_that_was_renamed_is_an_error(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "labels").rename(root / "label")
    with pytest.raises(UserError, match=r"No image of .* has a label file; .*labels/a\.txt"):
        open_object_dataset.read(root)


@pytest.mark.parametrize(
    ("folder", "yaml"),
    [
        ("{}/images", "train: ../train/images\nval: ../valid/images\n"),  # Roboflow, as it is downloaded
        ("{}/images", "train: train/images\nval: valid/images\n"),
        ("images/{}", "path: .\ntrain: images/train\nval: images/valid\n"),
        ("images/{}", "train: [images/train]\nval: ./images/valid\n"),
        ("{}", "train: train\nval: valid\n"),  # labels beside the images
    ],
)
def test_splits_are_found_in_every_layout(tmp_path: Path, folder: str, yaml: str) -> None:
    for split in ("train", "valid"):
        image = save_image(tmp_path / folder.format(split) / "a.png")
        label = Path(str(image).replace("images", "labels")).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(BOX)
    (tmp_path / "data.yaml").write_text(f"{yaml}names: [cat]\n")
    for location in (tmp_path, tmp_path / "data.yaml"):
        assert open_object_dataset.recognizes(location)
        dataset = open_object_dataset.read(location)
        assert dataset.splits == ("train", "val")
        assert dataset.class_names == ("cat",)


def test_paths_are_relative_to_path_in_the_yaml_or_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "datasets" / "pets")
    for name, path in (("a.yaml", "datasets/pets"), ("b.yaml", str(tmp_path / "datasets" / "pets"))):
        (tmp_path / "yamls").mkdir(exist_ok=True)
        (tmp_path / "yamls" / name).write_text(f"path: {path}\ntrain: images\nnames: [cat, dog]\n")
        monkeypatch.chdir(tmp_path)
        assert len(open_object_dataset.read(f"yamls/{name}").samples) == 1


def test_a_split_may_be_a_list_of_paths(tmp_path: Path) -> None:
    root = write(tmp_path, yaml="train: train.txt\nval: val.txt\nnames: [cat, dog]\n")
    (root / "train.txt").write_text("./images/a.png\n")
    (root / "val.txt").write_text(f"{root}/images/a.png\n")
    assert open_object_dataset.read(root).splits == ("train", "val")


def test_the_last_folder_images_is_replaced(tmp_path: Path) -> None:
    root = write(tmp_path / "images" / "pets")
    assert only(open_object_dataset.read(root)) == [("cat", (15, 6, 25, 18))]


def test_the_export_of_label_studio_has_no_yaml(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "notes.json").write_text('{"categories": [{"id": 0, "name": "cat"}]}')
    assert open_object_dataset.recognizes(root)
    assert only(open_object_dataset.read(root)) == [("cat", (15, 6, 25, 18))]


def test_keypoints_are_left_out(tmp_path: Path) -> None:
    yaml = "train: images\nnames: [cat]\nkpt_shape: [2, 3]\n"
    assert only(open_object_dataset.read(write(tmp_path, "0 .5 .5 .25 .5 .1 .1 2 .2 .2 2\n", yaml))) == [
        ("cat", (15, 6, 25, 18))
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("2 .5 .5 .1 .1", "no-class"),
        ("-1 .5 .5 .1 .1", "no-class"),
        ("0.5 .5 .5 .1 .1", "no-class"),
        ("inf .5 .5 .1 .1", "no-class"),
        ("cat .5 .5 .1 .1", "bad-box"),
        ("0 .5 .5 .1", "bad-box"),
        ("0 .5 .5 .1 .1 nan", "bad-box"),
        ("0 .5 .5 nan .1", "bad-box"),
        ("0 20 12 10 12", "bad-box"),
    ],
)
def test_lines_that_cannot_be_read_are_faults(tmp_path: Path, line: str, fault: str) -> None:
    target = read_yolo.read(write(tmp_path, f"{BOX}{line}\n")).samples[0].target
    assert [(each.number, each.kind) for each in target.faults] == [(2, fault)]


def test_a_class_number_without_a_name_says_how_many_names_there_are(tmp_path: Path) -> None:
    (fault,) = read_yolo.read(write(tmp_path, f"{BOX}9 .5 .5 .1 .1\n")).samples[0].target.faults
    assert fault.note == "class 9, but 'data.yaml' has 2 names of classes, numbered from 0 to 1"


@pytest.mark.parametrize(("nc", "count"), [("3", 1), ("many", 1), ("2", 0), ("", 0)])
def test_a_number_of_classes_that_is_not_that_of_the_names_is_a_warning(tmp_path: Path, nc: str, count: int) -> None:
    dataset = read_yolo.read(write(tmp_path, yaml=f"train: images\nnc: {nc}\nnames: [cat, dog]\n"))
    assert [f"has 'nc: {nc}', but 2 names of classes" in each for each in dataset.layout_warnings] == [True] * count


def test_classes_are_listed_by_their_numbers(tmp_path: Path) -> None:
    dataset = read_yolo.read(write(tmp_path, yaml="train: images\nnames: {2: ant, 0: cat, 1: bee}\n"))
    assert (dataset.listed_classes, dataset.unused_classes) == (("cat", "bee", "ant"), ("ant", "bee"))


def test_classes_that_are_counted_from_1_are_told(tmp_path: Path) -> None:
    dataset = read_yolo.read(write(tmp_path, "1 .5 .5 .1 .1\n2 .5 .5 .1 .1\n"))
    assert "are the classes counted from 1?" in dataset.layout_warnings[0]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: [", "is not YAML"),
        ("train: images\nnames: []\n", "needs 'names'"),
        ("train: images\nnames: 3\n", "needs 'names'"),
        ("train: images\nnames: [cat, [dog]]\n", "a class without a name"),
        ("train: elsewhere\nnames: [cat]\n", "names 'elsewhere', which is none of"),
        ("train: 3\nnames: [cat]\n", "where a folder"),
        ("names: [cat]\n", "has no train, val or test"),
        ("- 1\n", "is not a data.yaml"),
        ("x: 2020-99-99\n", "is not YAML"),
        ("a: " * 10 + "#" * (1 << 20), "more than 1,048,576 bytes"),
        ("!!python/object/apply:os.system ['false']", "is not YAML"),
        ("[" * 5000, "more than 500 lists"),
        ("- " * 5000, "is not YAML"),
    ],
)
def test_a_yaml_that_cannot_be_used_is_an_error_of_one_line(tmp_path: Path, yaml: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_yolo.read(write(tmp_path, yaml=yaml))
    assert "\n" not in str(caught.value)
