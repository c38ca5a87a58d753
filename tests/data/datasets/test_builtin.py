"""The sets that are built in are written whole, always the same, and safely."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import forked_processes

from resnets.data.datasets import builtin, digits, open_dataset
from resnets.errors import JobError, UserError


def digest(root: Path) -> str:
    """Of all names and bytes under a folder."""
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        whole.update(path.relative_to(root).as_posix().encode())
        whole.update(path.read_bytes() if path.is_file() else b"/")
    return whole.hexdigest()


@pytest.fixture(scope="module")
def written_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builtin.write("digits", tmp_path_factory.mktemp("digits") / "digits")


def test_digits_are_scikit_learns(written_digits: Path) -> None:
    from sklearn.datasets import load_digits

    dataset = open_dataset.read(written_digits)
    assert len(dataset.samples) == 1797
    assert {split: len(dataset.subset(split)) for split in dataset.splits} == {"train": 1078, "val": 360, "test": 359}
    images, labels = load_digits(return_X_y=True)
    assert sorted(int(Path(sample.path).stem) for sample in dataset.samples) == list(range(1797))
    for sample in dataset.samples[::97]:
        index = int(Path(sample.path).stem)
        assert sample.label == str(labels[index])
        with Image.open(sample.path) as image:
            assert (image.size, image.mode) == ((32, 32), "L")
            back = np.asarray(image.resize((8, 8), Image.Resampling.BOX), dtype=float) * 16 / 255
        assert np.corrcoef(back.ravel(), images[index])[0, 1] > 0.97


def test_every_split_has_its_fraction_of_every_digit_and_no_duplicates(written_digits: Path) -> None:
    dataset = open_dataset.read(written_digits)
    totals = Counter(sample.label for sample in dataset.samples)
    for split, fraction in digits.FRACTIONS.items():
        counts = Counter(sample.label for sample in dataset.subset(split))
        assert all(abs(counts[label] - fraction * total) <= 1 for label, total in totals.items())
    assert len({Path(sample.path).read_bytes() for sample in dataset.samples}) == 1797


def test_digits_of_another_size(tmp_path: Path) -> None:
    builtin.write("digits", tmp_path, size=8)
    with Image.open(next(tmp_path.glob("train/0/*.png"))) as image:
        assert image.size == (8, 8)
        assert set(np.asarray(image).ravel()) <= {round(value * 255 / 16) for value in range(17)}


def test_the_same_bytes_every_time(written_digits: Path, tmp_path: Path) -> None:
    assert digest(written_digits) == digest(builtin.write("digits", tmp_path / "digits"))
    for name in set(builtin.NAMES) - {"digits"}:
        one, other = (builtin.write(name, tmp_path / f"{name}{number}", count=50) for number in range(2))
        assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("digts", {}, "No built-in data 'digts'. Did you mean 'digits'?"),
        ("digits", {"size": 7}, "size of the digits is 7"),
        ("digits", {"count": 10}, "`count` has no meaning for digits; it is for digit-scenes and shapes"),
        ("digits", {"seed": 0}, "`seed` has no meaning for digits; it is for digit-scenes and shapes"),
        ("digit-scenes", {"size": 31}, "`size` is 31; digit-scenes can be written with 32 to 1,024"),
        ("digit-scenes", {"objects": 3}, "`objects` has no meaning for digit-scenes; it is for shapes"),
        ("shapes", {"size": 8}, "`size` is 8"),
        ("shapes", {"count": 5}, "`count` is 5"),
        ("shapes", {"objects": 0}, "`objects` is 0"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        builtin.write(name, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_unchanged(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UserError, match="is not an empty folder"):
            builtin.write("digits", out)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(JobError, match=r"Cannot write to '.*out': No space left on device"):
        builtin.write("shapes", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write '.*file/out'"):
        builtin.write("shapes", tmp_path / "file" / "out")


def test_the_cache_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    first = builtin.cached_folder("digits")
    before = first.stat().st_mtime_ns
    assert builtin.cached_folder("digits") == first
    assert first.stat().st_mtime_ns == before
    assert first.is_relative_to(tmp_path / "home")
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def _count_shapes() -> None:
    print(len(open_dataset.read("shapes").samples))


def test_several_processes_may_write_the_cache_at_once(tmp_path: Path) -> None:
    logs = [tmp_path / f"log{number}" for number in range(2)]
    jobs = [forked_processes.start(log, _count_shapes, RESNETS_HOME=str(tmp_path)) for log in logs]
    for job in jobs:
        job.join(forked_processes.TIMEOUT_SECONDS)
    assert [log.read_text().splitlines()[-1] for log in logs] == ["600"] * 2  # after progress on a slow machine
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "file"))
    with pytest.raises(JobError, match="Set RESNETS_HOME to a folder that can be written"):
        builtin.cached_folder("digits")
