from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.object_datasets.object_images import save_image

from resnets.data.object_datasets import open_object_dataset, read_voc
from resnets.errors import UserError

SIZE = "<size><width>40</width><height>24</height><depth>3</depth></size>"


def box(
    xmin: object = 11, ymin: object = 3, xmax: object = 20, ymax: object = 12, more: str = "", name: str = "cat"
) -> str:
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


def write(file: Path, *objects: str, filename: str = "a.png", size: str = SIZE) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"<annotation><filename>{filename}</filename>{size}{''.join(objects)}</annotation>")
    return file


def boxes(root: Path) -> list[tuple]:
    return [each.box for each in open_object_dataset.read(root).samples[0].target.objects]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_image(tmp_path / "JPEGImages" / "a.png")
    return tmp_path


@pytest.mark.parametrize(
    "more",
    [
        "",
        "<difficult/>",
        "<difficult>0</difficult>",
        "<difficult></difficult>",
        "<pose>Left</pose><truncated>1</truncated>",
    ],
)
def test_pixels_are_counted_from_1_and_the_last_one_belongs_to_the_box(root: Path, more: str) -> None:
    write(root / "Annotations" / "a.xml", box(more=more), box(1, 1, 40, 24))
    assert boxes(root) == [(10, 2, 20, 12), (0, 0, 40, 24)]


def test_coordinates_may_be_fractional(root: Path) -> None:
    write(root / "Annotations" / "a.xml", box("11.5", " 3.25 ", "20.0", "12"))
    assert boxes(root) == [(10.5, 2.25, 20, 12)]


def test_a_box_that_begins_at_0_says_that_pixels_are_counted_from_0(root: Path) -> None:
    write(root / "Annotations" / "a.xml", box(), box(0, 5, 8, 9))
    assert boxes(root) == [(11, 3, 20, 12), (0, 5, 8, 9)]
    assert (
        read_voc.read(root).layout_warnings[0].startswith("of 2 boxes 1 begin at 0: pixels are taken as counted from 0")
    )


def test_counting_from_1_as_in_pascal_voc_needs_no_warning(root: Path) -> None:
    write(root / "Annotations" / "a.xml", box())
    assert read_voc.read(root).layout_warnings == ()


def test_difficult_objects_are_crowds(root: Path) -> None:
    write(root / "Annotations" / "a.xml", box(more="<difficult>1</difficult>"), box(name="dog", xmin=5))
    assert open_object_dataset.read(root).class_names == ("dog",)
    assert [each.crowd for each in read_voc.read(root).samples[0].target.objects] == [True, False]


def test_a_file_without_an_object_says_that_there_is_none(root: Path) -> None:
    write(root / "Annotations" / "a.xml", box())
    save_image(root / "JPEGImages" / "b.png")
    save_image(root / "JPEGImages" / "c.png")
    write(root / "Annotations" / "b.xml", filename="b.png")
    assert [sample.labels for sample in read_voc.read(root).samples] == [("cat",), (), None]


@pytest.mark.parametrize(
    ("image", "xml", "filename"),
    [
        ("a.png", "a.xml", "a.png"),
        ("a.png", "a.xml", "a.jpg"),  # images were converted
        ("a.png", "a.xml", "C:\\photos\\a.png"),
        ("a.png", "a.xml", ""),
        ("images/a.png", "annotations/a.xml", "a.png"),
        ("other.png", "a.xml", "other.png"),
    ],
)
def test_the_image_of_a_file_is_found(tmp_path: Path, image: str, xml: str, filename: str) -> None:
    save_image(tmp_path / image)
    write(tmp_path / xml, box(), filename=filename)
    assert open_object_dataset.recognizes(tmp_path)
    found = {sample.path for sample in read_voc.read(tmp_path).samples if sample.target}
    assert found == {str(tmp_path / image)}


def test_splits_are_folders_or_lists(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        save_image(tmp_path / "roboflow" / split / "a.png")
        write(tmp_path / "roboflow" / split / "a.xml", box())
        stem = {"train": "a", "valid": "b"}[split]
        save_image(tmp_path / "voc" / "JPEGImages" / f"{stem}.png")
        write(tmp_path / "voc" / "Annotations" / f"{stem}.xml", box(), filename=f"{stem}.jpg")
    lists = tmp_path / "voc" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("b  1\n")
    for name in ("roboflow", "voc"):
        assert open_object_dataset.recognizes(tmp_path / name)
        dataset = open_object_dataset.read(tmp_path / name)
        assert [sample.split for sample in dataset.samples] == ["train", "val"]


@pytest.mark.parametrize(
    ("element", "fault"),
    [
        (box(name=""), "no-class"),
        (box(xmin=""), "bad-box"),
        (box(xmin="x"), "bad-box"),
        (box(xmax="nan"), "bad-box"),
        ("<object><name>cat</name></object>", "bad-box"),
    ],
)
def test_objects_that_cannot_be_read_are_faults(root: Path, element: str, fault: str) -> None:
    write(root / "Annotations" / "a.xml", box(), element)
    assert [(each.number, each.kind) for each in read_voc.read(root).samples[0].target.faults] == [(2, fault)]


BOMB = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(20))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "is not read as XML"),
        (f'<!DOCTYPE x [<!ENTITY a0 "ha">{BOMB}]><annotation>&a20;</annotation>', "DOCTYPE"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotation/>', "DOCTYPE"),
        ('<?xml version="1.0" encoding="rot13"?><annotation/>', "is not read as XML"),
        ("<annotation>" + "<a>" * 100_000, "is not read as XML"),
    ],
)
def test_what_is_not_plain_xml_is_an_error_of_one_line(root: Path, text: str, message: str) -> None:
    (root / "Annotations").mkdir()
    (root / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_voc.read(root)
    assert "\n" not in str(caught.value)


def test_a_doctype_is_found_in_every_encoding(root: Path) -> None:
    (root / "Annotations").mkdir()
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "b">]><annotation/>'
    (root / "Annotations" / "a.xml").write_bytes(text.encode("utf-16"))
    (root / "Annotations" / "0.xml").write_text("<annotation/>")
    with pytest.raises(UserError, match="DOCTYPE"):
        read_voc.read(root)
