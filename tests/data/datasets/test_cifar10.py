"""CIFAR-10 from a small archive that a server on this machine has, and archives that must be refused."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import file_server
from tests.file_server import act

from resnets.data.datasets import builtin, cifar10, open_dataset
from resnets.errors import JobError, UserError

FOLDER, FILE, BATCH = "cifar-10-batches-bin", "/kriz/cifar-10-binary.tar.gz", 11
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6 * BATCH, 32, 32, 3), dtype=np.uint8)
LABELS = RANDOM.integers(0, 10, 6 * BATCH, dtype=np.uint8)
Member = tuple[tarfile.TarInfo, bytes]


def batch(number: int) -> bytes:
    """As the page of the dataset describes it: for each image the label, 1,024 bytes of red, of green and of blue."""
    content = b""
    for index in range(number * BATCH, (number + 1) * BATCH):
        planes = [PIXELS[index, :, :, channel].tobytes() for channel in range(3)]
        content += bytes([LABELS[index]]) + b"".join(planes)
    return content


def members() -> dict[str, Member]:
    contents = {f"data_batch_{number + 1}.bin": batch(number) for number in range(5)}
    contents |= {
        "test_batch.bin": batch(5),
        "batches.meta.txt": "\n".join(cifar10.CLASSES).encode(),
        "readme.html": b"x",
    }
    return {name: (information(name, len(content)), content) for name, content in contents.items()}


def information(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(f"{FOLDER}/{name}")
    found.size = size
    return found


def archive(chosen: dict[str, Member]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for info, content in chosen.values():
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


CONTENT = archive(members())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    file_server.clean_environment(monkeypatch)
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    with file_server.serve({FILE: CONTENT}) as found:
        digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
        small = cifar10.Archive(found.url + FILE, digest, len(CONTENT), BATCH)
        monkeypatch.setattr(cifar10, "ARCHIVE", small)
        yield found


def test_every_image_has_its_number_class_and_pixels(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.plan = [act(cut=len(CONTENT) // 2)]  # and resumed
    out = builtin.write("cifar10", tmp_path / "cifar10")
    announced, downloading, *_ = capsys.readouterr().err.splitlines()
    assert announced.startswith("cifar10: 0 MiB will be downloaded once, to '")
    assert downloading.startswith("downloading cifar10:")
    assert len(server.asked) == 2
    dataset = open_dataset.read(out)
    assert dataset.class_names == cifar10.CLASSES
    assert {split: len(dataset.subset(split)) for split in dataset.splits} == {"train": 5 * BATCH, "test": BATCH}
    for index in range(6 * BATCH):
        split, number = ("test", index - 5 * BATCH) if index >= 5 * BATCH else ("train", index)
        with Image.open(out / split / cifar10.CLASSES[LABELS[index]] / f"{number:05}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), PIXELS[index])
    builtin.write("cifar10", tmp_path / "again")
    assert len(server.asked) == 2  # downloaded once


def test_the_published_archive_is_the_one_that_others_name() -> None:
    published = cifar10.ARCHIVE
    assert (published.num_bytes, published.batch_size) == (170_052_171, 10_000)
    assert published.url == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert list(cifar10.CLASSES) == sorted(cifar10.CLASSES)


def test_nothing_is_downloaded_while_offline(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    with pytest.raises(
        UserError, match=r"RESNETS_OFFLINE is set and cifar10 is not here\. Put http.* at '.*home/data/"
    ):
        builtin.write("cifar10", tmp_path / "out")
    assert server.asked == []
    assert not (tmp_path / "out").exists()
    monkeypatch.delenv("RESNETS_OFFLINE")
    cifar10.download()
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    assert len(open_dataset.read(builtin.write("cifar10", tmp_path / "out")).samples) == 6 * BATCH


def test_another_file_is_removed(server: Any, tmp_path: Path) -> None:
    server.files[FILE] = gzip.compress(b"another")
    with pytest.raises(JobError, match=r"it is another gzip file\), and was removed"):
        builtin.write("cifar10", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "home" / "data").iterdir() if not path.name.endswith(".lock")] == []


def test_a_name_of_the_data_downloads_nothing(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="No data at 'cifar10'"):
        open_dataset.read("cifar10")
    assert server.asked == []
    with pytest.raises(UserError, match="`size` has no meaning for cifar10; it is for digits, digit-scenes and shapes"):
        builtin.write("cifar10", tmp_path / "out", size=64)


def replaced(name: str, **changes: Any) -> Callable[[dict[str, Member]], None]:
    """Change the header of a member; its content is cut, or followed by zeros, to the size there."""

    def change(found: dict[str, Member]) -> None:
        info, content = found[name]
        for key, value in changes.items():
            setattr(info, key, value)
        found[name] = info, content[: info.size] + bytes(max(0, info.size - len(content)))

    return change


def wrong_label(found: dict[str, Member]) -> None:
    info, content = found["data_batch_2.bin"]
    found["data_batch_2.bin"] = info, bytes([10]) + content[1:]


def outside(found: dict[str, Member], absolute: Path) -> None:
    for name in ("../../outside.bin", str(absolute)):
        info = information(name, 3)
        info.name = name
        found[name] = info, b"bad"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("data_batch_3.bin"), "has no 'data_batch_3.bin'"),
        (
            replaced("data_batch_1.bin", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0),
            "is no file of 33,803 bytes",
        ),
        (
            replaced("test_batch.bin", type=tarfile.LNKTYPE, linkname="/etc/passwd", size=0),
            "is no file of 33,803 bytes",
        ),
        (replaced("data_batch_5.bin", type=tarfile.FIFOTYPE, size=0), "is no file of 33,803 bytes"),
        (replaced("data_batch_5.bin", size=33_802), "is no file of 33,803 bytes"),
        (replaced("readme.html", size=50_000_000), "more bytes than published"),
        (replaced("readme.html", pax_headers={"comment": "x" * 5_000_000}), "more bytes than published"),
        (wrong_label, "'data_batch_2.bin' in it has a label of 10"),
    ],
)
def test_a_hostile_archive_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    chosen = members()
    change(chosen)
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(archive(chosen))
    assert path.stat().st_size < 500_000
    with pytest.raises(JobError, match=f"archive.tar.gz'.*{message}"):
        list(cifar10.read(path, BATCH))


def test_a_member_outside_is_never_written(tmp_path: Path) -> None:
    chosen = members()
    absolute = tmp_path / "absolute.bin"
    outside(chosen, absolute)
    path = tmp_path / "a" / "b" / "archive.tar.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(archive(chosen))
    assert len(list(cifar10.read(path, BATCH))) == 6 * BATCH
    assert not (tmp_path / "outside.bin").exists()
    assert not absolute.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", CONTENT[:-5_000], gzip.compress(b"no tar" * 1000)],
    ids=["empty", "no gzip", "cut", "no tar"],
)
def test_a_damaged_archive_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    with pytest.raises(JobError, match=r"archive\.tar\.gz'"):
        list(cifar10.read(path, BATCH))


def test_a_damaged_archive_leaves_no_folder(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = members()
    chosen.pop("test_batch.bin")
    content = archive(chosen)
    server.files[FILE] = content
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    monkeypatch.setattr(cifar10, "ARCHIVE", dataclasses.replace(cifar10.ARCHIVE, digest=digest))
    with pytest.raises(JobError, match=r"has no 'test_batch\.bin'"):
        builtin.write("cifar10", tmp_path / "out")
    assert not (tmp_path / "out").exists()
