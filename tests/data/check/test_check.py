"""The data check finds every kind of problem that was planted, and nothing else."""

from __future__ import annotations

import html.parser
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from resnets.data.check import html_page, terminal_text
from resnets.data.check.check import CheckReport, check, verify_images
from resnets.data.check.problem_kinds import KINDS
from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Dataset, Sample, build_dataset
from resnets.data.image.decode import DecodeError
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample

CLASSES = ("ant", "bee", "wasp")
ORIENTATION = 0x0112  # the EXIF tag


def noise(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    """An image of soft random colors that is like no other."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def images(root: Path, classes: tuple[str, ...] = CLASSES, count: int = 12, first: int = 0) -> None:
    for number, label in enumerate(classes):
        (root / label).mkdir(parents=True)
        for index in range(count):
            noise(first + 100 * number + index, 96, 80).save(root / label / f"{index:02}.jpg", quality=95)


def bomb(path: Path) -> None:
    """A PNG whose header promises 40,000 x 40,000 pixels."""
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = PngImagePlugin._crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)


def plant(root: Path) -> dict[str, set[str]]:
    """Plant a fault of every kind in `root/CLASS/*.jpg`, three classes of at least 12 images.

    Returns kind -> the file that must be named by one of its findings, or the whole note.
    """
    one, two, three = (folder for folder in sorted(root.iterdir())[:3])
    whole = [sorted(folder.glob("*.jpg")) for folder in (one, two, three)]

    (one / "empty.jpg").write_bytes(b"")
    (one / "text.jpg").write_text("this is no image")
    content = whole[0][0].read_bytes()
    (two / "cut.jpg").write_bytes(content[: len(content) // 2])
    noise(7001).save(two / "damaged.png")
    damaged = bytearray((two / "damaged.png").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (two / "damaged.png").write_bytes(damaged)
    (two / "link.jpg").symlink_to(root / "nowhere.jpg")
    bomb(three / "bomb.png")
    Image.fromarray(np.ones((40, 40), dtype=np.int32)).save(three / "numbers.tiff")

    shutil.copy(whole[0][2], one / "copy.jpg")
    shutil.copy(whole[0][3], two / "copied.jpg")
    with Image.open(whole[2][4]) as image:
        image.resize((image.width * 2 // 3, image.height * 2 // 3)).save(three / "smaller.jpg", quality=60)
    with Image.open(whole[2][5]) as image:
        image.point(lambda value: value * 3 // 4).save(one / "darker.jpg", quality=80)

    Image.new("RGB", (90, 80), (40, 90, 10)).save(one / "green.png")
    noise(7002, 24, 40).save(one / "small.png")
    noise(7003, 400, 60).save(one / "panorama.png")
    noise(7004).save(two / "png.jpg", "PNG")
    noise(7005).save(two / "moving.gif", save_all=True, append_images=[noise(7006), noise(7007)])
    noise(7008).convert("CMYK").save(three / "printed.jpg")
    deep = np.random.default_rng(9).integers(0, 65536, (60, 60), dtype=np.uint16)
    Image.fromarray(deep).save(three / "deep.png")
    noise(7010).convert("RGBA").save(three / "glass.png")
    noise(7011).quantize(16).save(three / "sixteen.png")
    noise(7012).convert("L").save(three / "ash.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    noise(7013, 80, 60).save(two / "turned.jpg", exif=exif)
    (one / "notes.txt").write_text(
        "not used"
    )  # "inaccessible" and "ambiguous-layout": tests/data/datasets/test_class_folders.py

    (root / "nothing here").mkdir()
    twin = f"{one.name.capitalize()} "
    for index, (name, count) in enumerate({twin: 12, "caf\u00e9": 6, "cafe\u0301": 6, "few": 2}.items()):
        (root / name).mkdir()
        for number in range(count):
            noise(8000 + 20 * index + number).save(root / name / f"{number}.png")
    return {
        "empty": {"empty.jpg"},
        "not-an-image": {"text.jpg"},
        "truncated": {"cut.jpg", "damaged.png"},
        "missing": {"link.jpg"},
        "bomb": {"bomb.png"},
        "unsupported": {"numbers.tiff"},
        "duplicates": {"copy.jpg"},
        "duplicates-under-two-labels": {"copied.jpg"},
        "near-duplicates": {"smaller.jpg"},
        "near-duplicates-under-two-labels": {"darker.jpg"},
        "blank": {"green.png"},
        "tiny": {"small.png"},
        "long": {"panorama.png"},
        "wrong-suffix": {"png.jpg"},
        "animated": {"moving.gif"},
        "cmyk": {"printed.jpg"},
        "16-bit": {"deep.png"},
        "alpha": {"glass.png"},
        "palette": {"moving.gif", "sixteen.png"},
        "gray": {"deep.png", "ash.png"},
        "rotated": {"turned.jpg"},
        "unused": {"notes.txt"},
        "empty-class": {"nothing here"},
        "similar-class-names": {f"'{twin}' = '{one.name}'"},
        "unicode-forms": {"'cafe\\u0301' = 'caf\\xe9'"},
        "few-images": {"few: 2"},
    }


def found(report: CheckReport) -> dict[str, set[str]]:
    """kind -> for each finding the name of its last file, or its note where it is about no file."""
    return {
        problem.kind: {Path(case.paths[-1]).name if case.paths else case.note for case in problem.findings}
        for problem in report.problems
    }


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[CheckReport, dict[str, set[str]], Path]:
    root = tmp_path_factory.mktemp("faulty") / "images"
    images(root)
    planted = plant(root)
    return check(open_dataset.read(root), workers=2), planted, root


def test_every_planted_fault_is_found_and_no_other(faulty: tuple[CheckReport, dict[str, set[str]], Path]) -> None:
    report, planted, _ = faulty
    # The order of two paths decides which of a pair comes last.
    paired = {"near-duplicates-under-two-labels": {"05.jpg"}, "imbalance": {"wasp: 20, but few: 2"}}
    assert found(report) == planted | paired
    assert len(planted) >= 12
    pair = next(each for each in report.problems if each.kind == "near-duplicates-under-two-labels").findings[0]
    assert {Path(path).name for path in pair.paths} == {"darker.jpg", "05.jpg"}
    assert pair.note == "1 ant, 1 wasp"


def test_the_same_in_a_copy_of_real_flowers(tmp_path: Path, shared: Callable[[str], Path]) -> None:
    root = tmp_path / "flower_photos"
    with tarfile.open(shared("data/flower_photos.tar")) as archive:
        taken: dict[str, int] = {}
        for member in archive:
            label = Path(member.name).parent.name
            if member.isfile() and taken.get(label, 0) < 30:
                taken[label] = taken.get(label, 0) + 1
                archive.extract(member, tmp_path, filter="data")
    planted = plant(root)
    reported = found(check(open_dataset.read(root), workers=1))
    for kind, names in planted.items():
        if not kind.startswith("near-"):  # these two are checked next, since either of a pair may come last
            assert names <= reported[kind], kind
    near = [*reported["near-duplicates"], *reported["near-duplicates-under-two-labels"]]
    assert len(near) >= 2


def test_problems_across_splits_are_found(tmp_path: Path) -> None:
    images(tmp_path / "train")
    images(tmp_path / "val", ("ant", "bee", "hornet"), first=1000)
    shutil.copy(tmp_path / "train" / "ant" / "03.jpg", tmp_path / "val" / "ant" / "same.jpg")
    with Image.open(tmp_path / "train" / "bee" / "04.jpg") as image:
        image.resize((80, 70)).save(tmp_path / "val" / "bee" / "alike.jpg", quality=70)
    report = check(open_dataset.read(tmp_path), workers=1)
    assert found(report) == {
        "unknown-class": {f"hornet (12 images in val, such as '{Path('val/hornet/00.jpg')}')"},
        "duplicates-across-splits": {"same.jpg"},
        "near-duplicates-across-splits": {"alike.jpg"},
        "absent-class": {"wasp (not in val)"},
    }
    assert report.class_counts["ant"] == {"train": 12, "val": 13}
    assert report.class_counts["hornet"] == {"train": 0, "val": 12}


def test_groups_in_two_splits_are_found(tmp_path: Path) -> None:
    images(tmp_path, count=10)
    rows = ["path,label,split,group"]
    for path in sorted(tmp_path.glob("*/*.jpg")):
        split = "val" if path.stem > "07" else "train"
        rows.append(f"{path.relative_to(tmp_path)},{path.parent.name},{split},{path.parent.name}{int(path.stem) % 8}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    problems = check(open_dataset.read(tmp_path / "list.csv"), workers=1).problems
    assert [problem.kind for problem in problems] == ["group-across-splits", "few-images"]
    assert "ant0: 1 train, 1 val" in {case.note for case in problems[0].findings}


def test_a_single_class_and_unequal_ones_are_found(tmp_path: Path) -> None:
    images(tmp_path / "one", ("ant",))
    assert found(check(open_dataset.read(tmp_path / "one"), workers=1)) == {"single-class": {"ant"}}
    sample = Sample(str(tmp_path / "one" / "ant" / "00.jpg"))
    counts = {"ant": 200, "bee": 20}
    samples = [Sample(sample.path, (label,)) for label, count in counts.items() for _ in range(count)]
    report = check(build_dataset(tmp_path, samples), workers=1)
    assert found(report)["imbalance"] == {"ant: 200, but bee: 20"}


def test_good_images_are_fit_for_training(tmp_path: Path) -> None:
    images(tmp_path)
    report = check(open_dataset.read(tmp_path))
    assert (report.problems, report.has_errors, report.summary) == ((), False, "No errors and no warnings.")
    assert report.images == 36
    assert report.modes == {"RGB": 36}
    assert report.formats == {"JPEG": 36}
    assert report.sides["64 to 127"] == 36
    assert report.sizes == dict.fromkeys(("smallest", "median", "largest"), (96, 80))
    assert report.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*"))


def test_a_rotated_image_has_its_displayed_size(tmp_path: Path) -> None:
    images(tmp_path, ("ant", "bee"), count=10)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    noise(1, 300, 40).save(tmp_path / "ant" / "turned.jpg", exif=exif)
    assert check(open_dataset.read(tmp_path), workers=1).sizes["largest"] == (96, 300)


def test_warnings_are_not_errors(faulty: tuple[CheckReport, dict[str, set[str]], Path], tmp_path: Path) -> None:
    report, _, _ = faulty
    assert report.has_errors
    assert [problem.level for problem in report.problems] == sorted(
        (problem.level for problem in report.problems), key=["error", "warning", "note"].index
    )
    images(tmp_path)
    noise(999, 20, 20).save(tmp_path / "ant" / "tiny.png")
    mild = check(open_dataset.read(tmp_path), workers=1)
    assert found(mild) == {"tiny": {"tiny.png"}}
    assert not mild.has_errors
    assert mild.summary == "No errors; check the warnings before you train."


def test_the_result_is_the_same_with_any_number_of_processes(
    faulty: tuple[CheckReport, dict[str, set[str]], Path],
) -> None:
    report, _, root = faulty
    assert check(open_dataset.read(root), workers=1).to_dict() == report.to_dict()


def test_training_verifies_images_as_the_check_does(faulty: tuple[CheckReport, dict[str, set[str]], Path]) -> None:
    report, _, root = faulty
    kinds = {"empty", "not-an-image", "truncated", "missing", "bomb", "unsupported"}
    named = {case.paths[0] for problem in report.problems if problem.kind in kinds for case in problem.findings}
    assert {error.path for error in quick(open_dataset.read(root))} == named
    assert {"damaged.png", "numbers.tiff", "cut.jpg"} <= {Path(path).name for path in named}


def late(folder: Path) -> None:
    """Files whose header is sound and whose pixels are not."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, options in {
        "gif": {}, "png": {}, "jpg": {"quality": 95}, "webp": {"lossless": True}, "tif": {"compression": "tiff_lzw"}, "avif": {},
    }.items():  # fmt: skip
        file = io.BytesIO()
        noise(3, 90, 80).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix), **options)
        (folder / f"cut.{suffix}").write_bytes(file.getvalue()[: len(file.getvalue()) * 2 // 3])
    moving = io.BytesIO()
    noise(4).save(moving, "WEBP", save_all=True, append_images=[noise(5), noise(6)])
    (folder / "moving.webp").write_bytes(moving.getvalue()[: len(moving.getvalue()) // 4])
    file = io.BytesIO()
    noise(3, 90, 80).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[len(content) // 2] ^= 0xFF
    (folder / "checksum.png").write_bytes(content)
    Image.fromarray(np.random.default_rng(0).random((64, 64), dtype=np.float32)).save(folder / "floats.tif")
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "empty.png").touch()


def test_what_fails_when_it_is_decoded_is_found_before(tmp_path: Path) -> None:
    images(tmp_path, ("ant", "bee"), count=2)
    late(tmp_path / "ant")
    expected = {path.name for path in (tmp_path / "ant").iterdir() if not path.name.startswith("0")}
    assert {Path(error.path).name for error in quick(open_dataset.read(tmp_path))} == expected


def quick(dataset: Dataset) -> list[DecodeError]:
    return [error for _, error in verify_images(dataset.samples) if error]


def test_an_image_with_bytes_after_its_end_is_accepted(tmp_path: Path) -> None:
    """Phones put a film behind the image, and some programs leave out the last two bytes of a JPEG."""
    images(tmp_path, ("ant", "bee"), count=2)
    path = tmp_path / "ant" / "00.jpg"
    path.write_bytes(path.read_bytes() + bytes(100_000))
    assert quick(open_dataset.read(tmp_path)) == []


def test_json_holds_everything(faulty: tuple[CheckReport, dict[str, set[str]], Path]) -> None:
    report, planted, root = faulty
    read = json.loads(report.to_json())
    assert read["has_errors"] is True
    assert {problem["kind"] for problem in read["problems"]} == {*planted, "imbalance"}
    assert set(read["problems"][0]) == {"kind", "level", "title", "advice", "findings"}
    assert read["class_counts"]["nothing here"] == {"": 0}
    assert read["root"] == str(root)


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.others: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "src":
                self.images.append(value or "")
            elif name in ("href", "srcset", "action"):
                self.others.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_shows_the_images_and_loads_nothing(
    faulty: tuple[CheckReport, dict[str, set[str]], Path], tmp_path: Path
) -> None:
    report, _, _ = faulty
    html_page.write(tmp_path / "check.html", report)
    page = _Links()
    page.feed((tmp_path / "check.html").read_text())
    shown = " ".join(page.text)
    for problem in report.problems:
        assert problem.title in shown
    assert "ant/text.jpg" in shown
    assert all(link.startswith("#") for link in page.others)
    assert len(page.images) >= 20
    assert all(image.startswith("data:image/jpeg;base64,") for image in page.images)


def test_names_cannot_write_into_the_page(tmp_path: Path) -> None:
    images(tmp_path, ("ant", "<script>alert(1)<", "bee\u202egpj"), count=9)
    odd = tmp_path / "ant" / "\udcff<b>.jpg"
    odd.write_bytes(b"")
    html_page.write(tmp_path / "check.html", check(open_dataset.read(tmp_path), workers=1))
    page = (tmp_path / "check.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert "\\udcff&lt;b&gt;.jpg" in page


def test_the_lines_name_problems_cases_and_summary(faulty: tuple[CheckReport, dict[str, set[str]], Path]) -> None:
    report, _, root = faulty
    file = io.StringIO()
    terminal_text.show(report, file)
    text = file.getvalue()
    assert text.splitlines()[0].startswith(f"{root}: {report.images} images in 7 classes, ")
    for problem in report.problems:
        assert problem.title in text
    assert "ant/03.jpg = bee/copied.jpg: 1 ant, 1 bee" in text
    assert text.rstrip().endswith(report.summary)
    assert "\x1b" not in text


def test_names_of_files_and_classes_cannot_steer_the_terminal(tmp_path: Path) -> None:
    images(tmp_path, ("ant\x1b[31m", "bee"), count=2)
    (tmp_path / "bee" / "a\x1b]0;b\x07.jpg").write_bytes(b"text")
    file = io.StringIO()
    terminal_text.show(check(open_dataset.read(tmp_path), workers=1), file)
    assert not {"\x1b", "\x07"} & set(file.getvalue())
    assert r"bee/a\x1b]0;b\x07.jpg" in file.getvalue()
    assert r"ant\x1b[31m" in file.getvalue()


def test_of_a_thousand_classes_the_largest_and_smallest_are_shown(tmp_path: Path) -> None:
    images(tmp_path, ("ant",), count=1)
    path = str(tmp_path / "ant" / "00.jpg")
    samples = [Sample(path, (f"class {number:04}",)) for number in range(1000) for _ in range(1 + (number == 7))]
    file = io.StringIO()
    terminal_text.show(check(build_dataset(tmp_path, samples), workers=1), file)
    assert "class 0007        2" in file.getvalue()
    assert "… 980 more …" in file.getvalue()


@pytest.mark.parametrize("more", [1, 2])
def test_findings_that_are_not_shown_are_counted(tmp_path: Path, more: int) -> None:
    images(tmp_path, ("ant",), count=1)
    for number in range(terminal_text.SHOWN_CASES + more):
        (tmp_path / "ant" / f"text{number}.jpg").write_text(f"this is not image {number}")
    file = io.StringIO()
    terminal_text.show(check(open_dataset.read(tmp_path), workers=1), file)
    shown = file.getvalue().count("ant/text")
    if more == 1:  # a single one is shown instead of "and 1 more"
        assert (shown, "more:" in file.getvalue()) == (terminal_text.SHOWN_CASES + 1, False)
    else:
        assert shown == terminal_text.SHOWN_CASES
        assert "and 2 more: `html` and `json` have all" in file.getvalue()


def test_numbers_that_are_sorted_as_text_are_a_note(tmp_path: Path) -> None:
    images(tmp_path, ("1", "2", "10"), count=1)
    problems = {problem.kind: problem for problem in check(open_dataset.read(tmp_path), workers=1).problems}
    assert (problems["text-order"].level, problems["text-order"].findings[0].note) == (
        "note",
        "classes are sorted as text: '10' comes before '2'",
    )


def test_every_kind_of_fault_is_planted_somewhere() -> None:
    folders = (Path(__file__).parents[1] / name for name in ("check", "object_datasets", "mask_datasets"))
    files = (file for folder in folders for file in folder.glob("test_*.py"))
    text = "".join(file.read_text() for file in files)
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


def test_a_folder_in_a_manifest_is_not_an_image(tmp_path: Path) -> None:
    images(tmp_path, ("ant", "bee"), count=10)
    samples = [*open_dataset.read(tmp_path).samples, Sample(str(tmp_path / "ant"), ("ant",))]
    report = check(build_dataset(tmp_path, samples), workers=1)
    assert found(report) == {"directory": {"ant"}}
    assert [error.kind for error in quick(build_dataset(tmp_path, samples))] == ["directory"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    images(tmp_path, ("ant", "bee"), count=10)
    os.mkfifo(tmp_path / "ant" / "pipe.jpg")
    assert found(check(open_dataset.read(tmp_path), workers=1)) == {"unsupported": {"pipe.jpg"}}


def test_images_without_objects_are_counted(tmp_path: Path) -> None:
    splits = ("train", "train", "val", "train")
    samples = []
    for number, split in enumerate(splits):
        noise(number).save(path := tmp_path / f"{number}.png")
        target = ImageObjects((Object("ant", (4.0, 4.0, 20.0, 20.0)),) * (number == 3), (64, 64))
        samples.append(make_sample(str(path), target, split=split))
    problems = {problem.kind: problem for problem in check(build_dataset(tmp_path, samples), workers=1).problems}
    assert problems["no-object"].level == "note"
    assert [case.note for case in problems["no-object"].findings] == ["3 of 4: 2 train, 1 val"]
    assert "no-label" not in problems


def test_what_is_odd_in_sets_of_labels_is_found(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(30)]
    for number, name in enumerate(names):
        noise = np.random.default_rng(0 if number == 1 else number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    rows = [
        f"{name},{'train' if number < 20 else 'val'},1,{number % 2},{number % 2},0" for number, name in enumerate(names)
    ]
    rows[5] = "5.png,train,0,0,0,0"
    (tmp_path / "list.csv").write_text("path,split,sky,tree,leaf,never\n" + "\n".join(rows))
    found = {problem.kind: problem for problem in check(open_dataset.read(tmp_path / "list.csv")).problems}
    assert [case.note for case in found["classes-together"].findings] == ["leaf, tree: 14 images"]
    assert [case.note for case in found["no-label"].findings] == ["1 of 30"]
    assert [case.note for case in found["unused-class"].findings] == ["never"]
    assert found["duplicates-under-two-labels"].findings[0].note == "1 leaf|sky|tree, 1 sky"
    assert not {"single-class", "empty-class"} & set(found)
