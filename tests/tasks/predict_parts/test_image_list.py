"""A list of images is divided into parts, whose paths are read back from its file."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnets.errors import JobError, UserError
from resnets.tasks.predict_parts import image_list
from resnets.tasks.predict_parts.shard import in_shard

PATHS = st.lists(st.text("ab /\n\r\u00e9\U0001f600", min_size=1, max_size=5), max_size=30)


@given(PATHS, st.integers(1, 7), st.integers(1, 5))
def test_each_path_is_in_one_part_of_one_shard(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], size: int, shards: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with (folder / image_list.FILE).open("wb") as file:
        images = image_list.scan(iter(paths), size, file)
    parts = [image_list.read_part(folder, images.part(number)) for number in range(len(images))]
    assert [path for part in parts for path in part] == paths
    assert all(len(part) == size for part in parts[:-1])
    assert images.count == len(paths)
    assert images == image_list.scan(paths, size)  # also without a file
    found = [number for index in range(shards) for number in in_shard(len(images), (index + 1, shards))]
    assert sorted(found) == list(range(len(images)))


def test_a_list_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    with (tmp_path / image_list.FILE).open("wb") as file:
        images = image_list.scan(["a", "b", "c"], 2, file)
    (tmp_path / image_list.FILE).write_bytes(b"a\0c\0b\0")
    with pytest.raises(JobError, match=r"was changed while .* `resume=True`, which writes it anew"):
        image_list.read_part(tmp_path, images.part(0))
    (tmp_path / image_list.FILE).unlink()
    with pytest.raises(JobError, match=r"cannot be read: No such file.* `resume=True`, which writes it anew"):
        image_list.read_part(tmp_path, images.part(0))


def test_other_lists_have_other_hashes_and_relative_paths_are_noticed() -> None:
    assert image_list.scan(["ab", "c"], 2).sha256 != image_list.scan(["a", "bc"], 2).sha256
    assert image_list.scan(["/a", "b"], 2).has_relative_paths
    assert not image_list.scan(["/a", "/b"], 2).has_relative_paths


@pytest.mark.parametrize("path", [os.fsdecode(b"caf\xe9.jpg"), "a\0b"])
def test_a_path_that_a_part_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(UserError, match=r"rename it|zero byte"):
        image_list.scan(["a", path], 2)


def test_memory_does_not_grow_with_the_list(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        with (tmp_path / image_list.FILE).open("wb") as file:
            images = image_list.scan((f"images/{number:09d}.jpg" for number in range(count)), 1000, file)
        assert images.count == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(20_000) < peak(2_000) + 20_000  # bytes; the further paths have 400,000
