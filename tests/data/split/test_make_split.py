"""The split of real files, and the file that keeps it."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from resnets.data.datasets.dataset import Dataset, Sample, build_dataset, remap_classes
from resnets.data.split.inherit_split import inherit_split
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split, write_split
from resnets.errors import JobError, UserError


def make_dataset(root: Path, splits: dict[str | None, dict[str, int]] | None = None, **more: object) -> Dataset:
    """A data set of files with any bytes; nothing of the split decodes them."""
    samples = []
    for split, classes in (splits or {None: {"ant": 20, "bee": 15, "wasp": 10}}).items():
        for label, count in classes.items():
            for number in range(count):
                path = root / (split or ".") / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(f"{split} {label} {number}".encode())
                samples.append(Sample(path=str(path), labels=(label,), split=split))
    return build_dataset(root, samples, class_folders=[str(sample.label) for sample in samples], **more)  # type: ignore[arg-type]


def counts(done: Dataset, split: str) -> dict[str, int]:
    return dict(Counter(str(sample.label) for sample in done.subset(split)))


def by_content(done: Dataset) -> dict[str, str]:
    return {str(sample.sha256): str(sample.split) for sample in done.samples}


def test_a_fifth_of_every_class_by_default(tmp_path: Path) -> None:
    done = make_split(make_dataset(tmp_path))
    assert done.splits == ("train", "val")
    assert counts(done, "val") == {"ant": 4, "bee": 3, "wasp": 2}
    assert counts(done, "train") == {"ant": 16, "bee": 12, "wasp": 8}
    first = done.samples[0]
    assert first.sha256 == hashlib.sha256(Path(first.path).read_bytes()).hexdigest()


def test_it_follows_the_content_and_not_the_names(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "one")
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "one", other)
    renamed = []
    for number, sample in enumerate(reversed(data.samples)):
        path = other / Path(sample.path).relative_to(tmp_path / "one")
        renamed.append(Sample(path=str(path.rename(path.with_name(f"z{number}.png"))), labels=sample.labels))
    assert by_content(make_split(build_dataset(other, renamed))) == by_content(make_split(data))


def test_existing_splits_stay(tmp_path: Path) -> None:
    data = make_dataset(tmp_path, {"train": {"ant": 9, "bee": 9}, "val": {"ant": 3}, "test": {"bee": 2}})
    done = make_split(data)
    assert [sample.split for sample in done.samples] == [sample.split for sample in data.samples]


def test_val_is_cut_from_train_where_only_a_test_is_there(tmp_path: Path) -> None:
    done = make_split(make_dataset(tmp_path, {"train": {"ant": 20, "bee": 20}, "test": {"ant": 5, "bee": 5}}))
    assert counts(done, "test") == {"ant": 5, "bee": 5}
    assert counts(done, "val") == {"ant": 4, "bee": 4}
    assert all("test" in sample.path for sample in done.subset("test"))


def test_undecided_images_are_cut_and_marked_ones_stay(tmp_path: Path) -> None:
    done = make_split(make_dataset(tmp_path, {None: {"ant": 10, "bee": 10}, "test": {"ant": 2, "bee": 2}}))
    assert counts(done, "val") == {"ant": 2, "bee": 2}
    with pytest.raises(UserError, match="Give each image one"):
        make_split(make_dataset(tmp_path, {None: {"ant": 10, "bee": 10}, "val": {"ant": 2, "bee": 2}}))


def test_duplicates_stay_in_one_split_and_two_labels_are_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_dataset(tmp_path)
    for label in ("ant", "bee", "wasp"):
        for number in range(6):
            shutil.copy(tmp_path / "ant" / f"{number}.png", tmp_path / label / f"copy{number}.png")
    copies = [Sample(str(path), (path.parent.name,)) for path in sorted(tmp_path.glob("*/copy*.png"))]
    done = make_split(build_dataset(tmp_path, [*data.samples, *copies]), val_fraction=0.4)
    sides: dict[str, set[str]] = {}
    for sample in done.samples:
        sides.setdefault(str(sample.sha256), set()).add(str(sample.split))
    assert {len(side) for side in sides.values()} == {1}
    said = capsys.readouterr().err
    assert "6 images under two labels" in said
    assert "copy" in said


def test_duplicates_in_two_existing_splits_are_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_dataset(tmp_path, {"train": {"ant": 5, "bee": 5}, "val": {"ant": 2, "bee": 2}})
    shutil.copy(tmp_path / "train" / "ant" / "0.png", tmp_path / "val" / "ant" / "0.png")
    make_split(data)
    assert "1 image in two splits" in capsys.readouterr().err


def test_groups_from_any_column_stay_together(tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    samples = [
        Sample(sample.path, sample.labels, columns={"patient": str(number % 9)})
        for number, sample in enumerate(data.samples)
    ]
    done = make_split(build_dataset(tmp_path, samples), group_by="patient")
    sides: dict[str | None, set[str]] = {}
    for sample in done.samples:
        sides.setdefault(sample.group, set()).add(str(sample.split))
    assert len(sides) == 9
    assert all(len(side) == 1 for side in sides.values())
    with pytest.raises(UserError, match="no column 'patent' to group by"):
        make_split(build_dataset(tmp_path, samples), group_by="patent")
    with pytest.raises(UserError, match="has no groups"):
        make_split(build_dataset(tmp_path, samples), group_by=True)


def test_a_group_column_counts_without_being_asked_for(tmp_path: Path) -> None:
    samples = [Sample(each.path, each.labels, group=Path(each.path).stem) for each in make_dataset(tmp_path).samples]
    done = make_split(build_dataset(tmp_path, samples))
    val = {sample.group for sample in done.subset("val")}
    assert val
    assert not val & {sample.group for sample in done.subset("train")}


@pytest.mark.parametrize(("new", "to_train"), [(0, 0), (1, 1), (2, 1)])
def test_a_split_is_inherited_with_few_new_images_or_none(
    tmp_path: Path, new: int, to_train: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = make_split(make_dataset(tmp_path))
    capsys.readouterr()
    now = inherit_split(make_dataset(tmp_path, {None: {"ant": 20 + new, "bee": 15, "wasp": 10}}), by_content(before))
    assert now is not None
    assert by_content(before).items() <= by_content(now).items()
    assert len(now.subset("train")) == len(before.subset("train")) + to_train
    said = capsys.readouterr().err
    assert ("1 new image to train, too few to divide" in said) == (new == 1)
    assert ("2 new images split" in said) == (new == 2)


def test_new_images_of_which_none_can_be_spared_are_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = make_split(make_dataset(tmp_path))
    now = inherit_split(make_dataset(tmp_path, {None: {"ant": 21, "bee": 16, "wasp": 10}}), by_content(before))
    assert now is not None
    assert len(now.subset("train")) == len(before.subset("train")) + 2
    assert "2 new images to train" in capsys.readouterr().err


def test_an_inherited_split_leaves_the_users_own_test_images_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_dataset(tmp_path)
    first, second, third = (data.samples[number].path for number in (0, 1, 2))
    samples = [
        replace(
            each,
            split="test" if each.path == first else None,
            group="one" if each.path in (first, second) else "two" if each.path == third else None,
        )
        for each in data.samples
    ]
    known = {hashlib.sha256(Path(each.path).read_bytes()).hexdigest(): "train" for each in samples[1:40]}
    known |= {hashlib.sha256(Path(each.path).read_bytes()).hexdigest(): "val" for each in samples[40:]}
    now = inherit_split(build_dataset(tmp_path, samples), known)
    assert now is not None
    assert {each.path: each.split for each in now.samples[:3]} == {first: "test", second: "train", third: "train"}
    assert "warning: 1 group with images in more than one split ('one')" in capsys.readouterr().err


def test_new_images_of_an_inherited_split_are_grouped_by_the_column(tmp_path: Path) -> None:
    before = make_split(make_dataset(tmp_path))
    data = make_dataset(tmp_path, {None: {"ant": 40, "bee": 35, "wasp": 10}})
    known = by_content(before)
    samples = [
        replace(each, columns={"patient": Path(each.path).stem if int(Path(each.path).stem) >= 20 else each.path})
        for each in data.samples
    ]
    now = inherit_split(build_dataset(tmp_path, samples), known, group_by="patient")
    assert now is not None
    sides: dict[str | None, set[str]] = {}
    for sample in now.samples:
        sides.setdefault(sample.group, set()).add(str(sample.split))
    assert all(len(side) == 1 for side in sides.values())
    assert len(now.subset("val")) > len(before.subset("val"))


def test_what_was_hashed_before_is_not_read_again(tmp_path: Path) -> None:
    before = make_split(make_dataset(tmp_path))
    for sample in before.samples:
        Path(sample.path).unlink()
    undivided = replace(before, samples=tuple(replace(each, split=None) for each in before.samples))
    now = inherit_split(undivided, by_content(before))
    assert now is not None
    assert by_content(now) == by_content(before)


def test_every_image_is_in_val_of_one_fold(tmp_path: Path) -> None:
    data = make_dataset(tmp_path, {"train": {"ant": 20, "bee": 14}, "test": {"ant": 3, "bee": 3}})
    seen: Counter[str] = Counter()
    for fold in (1, 2, 3):
        done = make_split(data, folds=3, fold=fold)
        seen.update(sample.path for sample in done.subset("val"))
        assert counts(done, "test") == {"ant": 3, "bee": 3}
    assert seen == Counter(sample.path for sample in data.subset("train"))


def test_a_class_of_one_image_is_in_train_and_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = make_split(make_dataset(tmp_path, {None: {"ant": 10, "bee": 10, "wasp": 1}}))
    assert counts(done, "train")["wasp"] == 1
    assert "val has no image of 'wasp'" in capsys.readouterr().err


OWN_VAL: dict[str | None, dict[str, int]] = {"train": {"ant": 9, "bee": 9}, "val": {"ant": 1}}


@pytest.mark.parametrize(
    ("splits", "settings", "message"),
    [
        (None, {"val_fraction": 1.5}, "`val_fraction` is 1.5"),
        (None, {"val_fraction": -0.2}, "`val_fraction` is -0.2"),
        (None, {"val_fraction": float("nan")}, "`val_fraction` is nan"),
        (None, {"val_fraction": 0.6, "test_fraction": 0.4}, "leave nothing"),
        (None, {"folds": 3}, "choose which of the 3 folds"),
        (None, {"folds": 3, "fold": 4}, "`fold` is 4"),
        (None, {"fold": 1}, "at least 2 folds"),
        (None, {"folds": 1, "fold": 1}, "`folds` is 1"),
        ({None: {"ant": 10}}, {}, "a single class, 'ant'"),
        ({None: {"ant": 1, "bee": 1}}, {}, "too few images for 'val'"),
        (
            {"train": {"ant": 5, "bee": 5}, "val": {"ant": 1, "wasp": 1}},
            {},
            "val split of .* that train does not have: 'wasp'",
        ),
        (
            {"train": {"ant": 9, "bee": 9}, "test": {"wasp": 1}},
            {},
            r"test split of .* that train does not have: 'wasp', in '.*0\.png'\. Add images of it to train, or correct",
        ),
        ({"val": {"ant": 5, "bee": 5}}, {}, "no train split, only 'val'"),
        ({"train": {"ant": 9, "bee": 9}, "val": {"ant": 1}}, {"folds": 2, "fold": 1}, "would mix it with train"),
        (OWN_VAL, {"val_fraction": 0.5}, "`val_fraction=0.5` has no effect: .* a val split of its own"),
        (OWN_VAL, {"val_fraction": 0.0}, "`val_fraction=0` has no effect"),
        (OWN_VAL, {"seed": 1}, "`seed=1` has no effect"),
        ({"train": {"ant": 9, "bee": 9}, "test": {"ant": 1}}, {"test_fraction": 0.1}, "a test split of its own"),
        (None, {"folds": 3, "fold": 1, "val_fraction": 0.3}, "`folds=3` and `val_fraction=0.3` exclude each other"),
    ],
)
def test_what_cannot_be_split_is_an_error(
    tmp_path: Path, splits: dict[str | None, dict[str, int]] | None, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_split(make_dataset(tmp_path, splits), **settings)  # type: ignore[arg-type]


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    with pytest.raises(UserError, match="a class folder without images: 'hornet'"):
        make_split(build_dataset(tmp_path, data.samples, class_folders=["ant", "hornet"]))


def test_a_single_class_with_folders_in_it_hints_at_them(tmp_path: Path) -> None:
    samples = [Sample(str(tmp_path / "x"), ("photos",), columns={"folder": name}) for name in ("ant", "bee/big")]
    with pytest.raises(UserError, match=r"'ant', 'bee': if those are the classes, give '.*photos'"):
        make_split(build_dataset(tmp_path, samples))


def test_a_class_missing_from_val_is_fine(tmp_path: Path) -> None:
    done = make_split(make_dataset(tmp_path, {"train": {"ant": 5, "bee": 5}, "val": {"ant": 2}}))
    assert done.class_names == ("ant", "bee")


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    Path(data.samples[3].path).unlink()
    with pytest.raises(JobError, match=r"1 file cannot be read: '.*3\.png': No such file"):
        make_split(data)


def test_the_file_gives_the_split_back(tmp_path: Path) -> None:
    done = make_split(make_dataset(tmp_path / "data"), test_fraction=0.2)
    write_split(tmp_path / "split.csv", done)
    with (tmp_path / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "sha256", "label", "split", "group"]
    assert rows[0]["path"] == "ant/0.png"
    assert read_split(tmp_path / "split.csv", make_dataset(tmp_path / "data")) == done


def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    """It begins with a byte order mark, and its lines end as on Windows."""
    done = make_split(make_dataset(tmp_path / "data"))
    write_split(tmp_path / "split.csv", done)
    content = (tmp_path / "split.csv").read_bytes()
    (tmp_path / "split.csv").write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert read_split(tmp_path / "split.csv", make_dataset(tmp_path / "data")) == done


def test_the_file_holds_after_the_data_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_split(tmp_path / "split.csv", make_split(make_dataset(tmp_path / "data")))
    (tmp_path / "data").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    again = read_split("split.csv", make_dataset(Path("moved")))
    assert len(again.subset("val")) == 9


def test_images_outside_the_dataset_are_written_with_their_absolute_path(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "images")
    elsewhere = build_dataset(tmp_path / "lists", data.samples)
    done = make_split(elsewhere)
    write_split(tmp_path / "split.csv", done)
    assert str(tmp_path / "images" / "ant" / "0.png") in (tmp_path / "split.csv").read_text()
    assert read_split(tmp_path / "split.csv", elsewhere) == done


@pytest.mark.parametrize(
    "name", ["with,comma.png", 'with"quote.png', "with\nnewline.png", "žluťoučký.png", "\udcff.png"]
)
def test_any_file_name_comes_back(tmp_path: Path, name: str) -> None:
    data = make_dataset(tmp_path)
    path = tmp_path / "ant" / name
    path.write_bytes(b"odd")
    done = make_split(build_dataset(tmp_path, [*data.samples, Sample(str(path), ("ant",))]))
    write_split(tmp_path / "split.csv", done)
    assert read_split(tmp_path / "split.csv", done) == done


def test_what_changed_since_is_listed(tmp_path: Path) -> None:
    write_split(tmp_path / "split.csv", make_split(make_dataset(tmp_path / "data")))
    data = tmp_path / "data"
    (data / "ant" / "1.png").write_bytes(b"edited")
    (data / "bee" / "0.png").unlink()
    (data / "ant" / "unreadable.png").write_bytes(b"new")  # was there before, perhaps: it is no part of any split
    Image.new("L", (8, 8)).save(data / "ant" / "new.png")
    samples = [Sample(str(path), (path.parent.name,)) for path in sorted(data.glob("*/*.png"))]
    samples = [Sample(each.path, ("ant",)) if each.path.endswith("wasp/5.png") else each for each in samples]
    with pytest.raises(UserError) as caught:
        read_split(tmp_path / "split.csv", build_dataset(data, samples))
    message = str(caught.value)
    assert "1 changed ('ant/1.png')" in message
    assert "1 missing ('bee/0.png')" in message
    assert "1 added ('ant/new.png')" in message
    assert "1 of another class ('wasp/5.png')" in message
    assert "\n" not in message


def test_another_file_is_not_a_split_file(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data")
    (tmp_path / "other.csv").write_text("path,label\na,b\n")
    (tmp_path / "words.csv").write_text("path,sha256,label,split,group\na.png,00,ant,training,\n")
    for name in ("other.csv", "words.csv"):
        with pytest.raises(UserError, match="is not a split file"):
            read_split(tmp_path / name, data)
    with pytest.raises(UserError, match=r"Cannot read the split file '.*gone.csv': No such file"):
        read_split(tmp_path / "gone.csv", data)
    write_split(tmp_path / "split.csv", make_split(data))
    with pytest.raises(UserError, match="Is it of other data"):
        read_split(tmp_path / "split.csv", make_dataset(tmp_path / "unlike", {None: {"fir": 3, "oak": 3}}))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_path_is_a_job_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JobError, match="Cannot write"):
        write_split(tmp_path / "split.csv", Dataset(tmp_path, (), ()))


def test_several_labels_and_none_are_split_kept_in_the_file_and_bound_by_name(tmp_path: Path) -> None:
    single = make_dataset(tmp_path / "data", {None: {"ant": 60}})
    sets: list[tuple[str, ...]] = [("bee", "ant"), (), ("wasp",), ("ant", "ant", "wasp")]
    samples = [replace(sample, labels=sets[index % 4]) for index, sample in enumerate(single.samples)]
    dataset = build_dataset(tmp_path / "data", samples)
    assert dataset.class_names == ("ant", "bee", "wasp")
    assert samples[0].label is None
    done = make_split(dataset)
    assert len(done.subset("val")) == pytest.approx(12, abs=2)
    write_split(tmp_path / "split.csv", done)
    with (tmp_path / "split.csv").open() as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"ant|bee", "", "wasp", "ant|wasp"}
    assert read_split(tmp_path / "split.csv", dataset) == done
    with pytest.raises(UserError, match="1 of another class"):
        read_split(tmp_path / "split.csv", replace(dataset, samples=(replace(samples[0], labels=()), *samples[1:])))
    assert remap_classes(dataset, ("wasp", "bee", "ant")).samples[0].labels == ("bee", "ant")
    with pytest.raises(UserError, match="has images of 'wasp', unknown"):
        remap_classes(dataset, ("bee", "ant"))


def test_one_class_can_be_learned_where_images_lack_it_or_have_a_target(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, {None: {"ant": 20}})
    with pytest.raises(UserError, match="a single class, 'ant'"):
        make_split(dataset)
    half = [replace(sample, labels=() if index % 2 else ("ant",)) for index, sample in enumerate(dataset.samples)]
    assert make_split(replace(dataset, samples=half)).splits == ("train", "val")
    boxes = [replace(sample, target=((0, 0, 9, 9),)) for sample in dataset.samples]
    assert make_split(replace(dataset, samples=boxes)).splits == ("train", "val")


def test_objects_of_every_class_are_divided_with_their_images(tmp_path: Path) -> None:
    generator = random.Random(0)
    samples = []
    for number in range(300):
        path = tmp_path / f"{number}.png"
        path.write_bytes(str(number).encode())
        cats, dogs = generator.randint(0, 6), generator.randint(0, 30) * (number % 4 == 0)
        labels = ("cat",) * cats + ("dog",) * dogs
        samples.append(Sample(str(path), labels, group=f"video {number // 3}", target="objects"))
    done = make_split(build_dataset(tmp_path, samples), test_fraction=0.1)
    assert len({(sample.group, sample.split) for sample in done.samples}) == 100
    for split, fraction in (("val", 0.2), ("test", 0.1)):
        images = done.subset(split)
        assert len(images) / 300 == pytest.approx(fraction, abs=0.04)
        for name in ("cat", "dog"):
            total = sum(sample.labels.count(name) for sample in samples if sample.labels)
            assert sum(sample.labels.count(name) for sample in images if sample.labels) / total == pytest.approx(
                fraction, abs=0.02
            )
