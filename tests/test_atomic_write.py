"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image

from resnets import atomic_write
from resnets.errors import JobError, UserError


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    atomic_write.write_text(tmp_path / "a" / "b" / "c.txt", "żółw\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "żółw\n".encode()


def test_the_temporary_name_ends_as_the_final_one(tmp_path: Path) -> None:
    with atomic_write.replace_file(tmp_path / "curve.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write.replace_file(path) as temporary:
            temporary.write_text("half of the new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        atomic_write.write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_file_where_a_folder_should_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match=r"Cannot write '.*file/x.txt': .*Choose another path") as caught:
        atomic_write.write_text(tmp_path / "file" / "x.txt", "")
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(JobError, match=r"Cannot write '.*x.txt'"):
        atomic_write.write_text(tmp_path / "x.txt", "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: to the program it is the same failed write."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(JobError, match="The earlier file is unchanged"):
            atomic_write.write_bytes(path, b"n" * 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    path.write_bytes(b"old")
    code = f"""
import os, signal
from resnets import atomic_write
with atomic_write.replace_file({str(path)!r}) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_link_takes_no_space_and_survives_the_removal_of_the_original(tmp_path: Path) -> None:
    last, best = tmp_path / "last", tmp_path / "best"
    best.write_text("older")
    atomic_write.write_text(last, "epoch 1")
    for _ in range(2):  # renaming a file to another name of itself does nothing, and says nothing
        atomic_write.link_or_copy(last, best)
        assert best.samefile(last)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]
    atomic_write.write_text(last, "epoch 2")
    assert best.read_text() == "epoch 1"


def test_where_there_are_no_links_a_duplicate_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    atomic_write.write_text(tmp_path / "last", "epoch 1")
    atomic_write.link_or_copy(tmp_path / "last", tmp_path / "best")
    assert (tmp_path / "best").read_text() == "epoch 1"
    assert not (tmp_path / "best").samefile(tmp_path / "last")


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a.csv"
    target.write_text("old")
    (tmp_path / "near").symlink_to("real/a.csv")
    (tmp_path / "link").symlink_to("near")
    (tmp_path / "dangling").symlink_to("real/new/b.csv")
    held = target.open()
    atomic_write.write_text(tmp_path / "link", "new")
    atomic_write.write_text(tmp_path / "dangling", "made")
    assert (tmp_path / "link").readlink() == Path("near")
    assert target.read_text() == "new"
    assert held.read() == "old"  # replaced, not written into
    assert (tmp_path / "real" / "new" / "b.csv").read_text() == "made"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(JobError, match=r"Cannot write '.*round': Too many levels"):
        atomic_write.write_text(tmp_path / "round", "")


@pytest.mark.parametrize(
    "write", [atomic_write.write_text, lambda path, text: _saved(path, text), lambda path, text: _lines(path, text)]
)
def test_a_pipe_is_written_through(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
            write(tmp_path / name, "through\n")
            assert reader.communicate(timeout=60)[0] == b"through\n"
    assert pipe.is_fifo()
    assert (tmp_path / "link").is_symlink()


def _saved(path: Path, text: str) -> None:
    with atomic_write.replace_file(path) as temporary:
        temporary.write_text(text)


def _lines(path: Path, text: str) -> None:
    with atomic_write.open_text(path) as file:
        file.write(text)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_descriptors_and_devices_are_written_through(tmp_path: Path) -> None:
    for write in (atomic_write.write_text, _saved, _lines):
        read, into = os.pipe()
        write(Path(f"/dev/fd/{into}"), "x")
        os.close(into)
        with open(read, "rb") as reader:
            assert reader.read() == b"x"
        write(Path("/dev/null"), "x")
        assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
        with pytest.raises(JobError, match="Cannot write '/dev/full': No space left on device"):
            write(Path("/dev/full"), "x")
        # Behind what stands in the file, as a shell's `>>` does.
        with (tmp_path / "file").open("wb") as file:
            file.write(b"before ")
            file.flush()
            write(Path(f"/dev/fd/{file.fileno()}"), "x")
        assert (tmp_path / "file").read_bytes() == b"before x"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_reader_that_goes_away_is_told_apart(tmp_path: Path) -> None:
    read, into = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        atomic_write.write_text(f"/dev/fd/{into}", "x")
    os.close(into)


def test_permissions_of_a_file_stay(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    (tmp_path / "x").chmod(0o604)
    atomic_write.write_bytes(tmp_path / "x", b"")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o604


@pytest.mark.parametrize("name", ["file/x.csv", "file/deeper/x.csv", ".", "round"])
def test_a_path_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(UserError, match="Cannot write"):
        atomic_write.check_file_writable(tmp_path / name)
    with pytest.raises(UserError, match="Cannot write"):
        atomic_write.check_folder_writable(tmp_path / "file" / name)
    atomic_write.check_file_writable(tmp_path / "new" / "x.csv")
    atomic_write.check_folder_writable(tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "round"]


def test_a_folder_may_hold_anything_already(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    atomic_write.check_folder_writable(tmp_path)
    atomic_write.check_folder_writable(tmp_path / "new" / "deeper")
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"Cannot write '.*dangling'"):
        atomic_write.check_folder_writable(tmp_path / "dangling")


@pytest.mark.parametrize("library", ["safetensors", "torch", "numpy", "pillow", "h5py", "zip"])
def test_a_full_disk_is_one_line_whichever_library_writes(library: str, tmp_path: Path) -> None:
    """As in the test of a full disk above."""
    path = tmp_path / "big"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    write = _writer(library)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(JobError, match=r"^Cannot write '.*big': (File too large|the disk may be full)") as caught:
            _with(path, write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def _with(path: Path, write: Callable[[Path], object]) -> None:
    with atomic_write.replace_file(path) as temporary:
        write(temporary)


def _writer(library: str) -> Callable[[Path], object]:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    if library == "safetensors":
        return lambda path: safetensors.numpy.save_file({"a": noise}, path)
    if library == "torch":
        return lambda path: torch.save(torch.from_numpy(noise), path)
    if library == "numpy":
        return lambda path: np.save(path.open("wb"), noise)
    if library == "pillow":
        return lambda path: Image.fromarray(noise).save(path, "PNG")
    if library == "zip":
        return lambda path: zipfile.ZipFile(path, "w").writestr("a", noise.tobytes())

    def hdf5(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["a"] = noise

    return hdf5


def test_a_folder_is_replaced_as_a_whole_or_stays(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with atomic_write.replace_folder(folder) as temporary:
        (temporary / "a").write_text("first")
    assert [path.name for path in folder.iterdir()] == ["a"]
    with pytest.raises(JobError, match="No such file"), atomic_write.replace_folder(folder) as temporary:
        (temporary / "b").write_text((temporary / "gone").read_text())
    assert (folder / "a").read_text() == "first"
    with atomic_write.replace_folder(folder) as temporary:
        (temporary / "b").write_text("second")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    with pytest.raises(JobError, match="Cannot write"), atomic_write.replace_folder(folder / "b" / "c"):
        pass


def test_a_file_that_is_there_is_not_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atomic_write.create_text(tmp_path / "a", "größe")
    atomic_write.create_text(tmp_path / "a", "other")
    monkeypatch.setattr(Path, "hardlink_to", no_links)
    atomic_write.create_text(tmp_path / "b", "größe")
    atomic_write.create_text(tmp_path / "b", "other")
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {"a": "größe", "b": "größe"}
    with pytest.raises(JobError, match="Cannot write"):
        atomic_write.create_text(tmp_path / "gone" / "a", "b")


def no_links(path: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")
