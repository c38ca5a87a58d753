"""Parts that several processes compute, also killed ones: each image is there once, as in `predict --csv`."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image
from tests import tiny_checkpoint
from tests.forked_processes import TIMEOUT_SECONDS, start

import resnets
from resnets.atomic_write import TEMPORARY_PREFIX
from resnets.errors import JobError, UserError
from resnets.hashing import sha256
from resnets.tasks import predict_files
from resnets.tasks.predict_parts import image_list, job_settings, manifest
from resnets.tasks.predict_parts.predict_parts import PartsResult

PER_PART = 6
COUNT = 100  # images, in 17 parts


class World:
    """A checkpoint, images of which two cannot be read, and the job that nobody interrupts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.logs = folder, list[Path]()
        self.checkpoint = str(folder / "net.safetensors")
        tiny_checkpoint.write(Path(self.checkpoint))
        self.images = str(folder / "images")
        originals = tiny_checkpoint.colored_images(7)
        for number in range(COUNT):
            path = folder / "images" / f"group {number % 3}" / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if number in (20, 50):
                path.write_bytes(b"" if number == 20 else b"no image")
            else:
                Image.fromarray(originals[number % 7]).rotate(number).save(path)
        self.whole = str(folder / "whole")
        self.result = self.predict(self.whole)

    def predict(self, folder: str, **options: Any) -> PartsResult:
        return resnets.predict_to_parquet(
            self.checkpoint, self.images, folder, **{"images_per_part": PER_PART, "batch": PER_PART} | options
        )

    def started(self, folder: Path, shard: str | None = None) -> BaseProcess:
        """A process that goes on with the job in a folder."""
        self.logs.append(self.folder / f"log-{len(self.logs)}")
        return start(self.logs[-1], go_on, self.checkpoint, self.images, str(folder), shard)


def go_on(checkpoint: str, images: str, folder: str, shard: str | None) -> None:
    """In a process of its own."""
    resnets.predict_to_parquet(
        checkpoint, images, folder, resume=True, shard=shard, images_per_part=PER_PART, batch=PER_PART
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("parts"))


def contents(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def rows_of(folder: str | Path) -> list[dict[str, Any]]:
    """The rows in the order of the names of the parts."""
    paths = sorted(Path(folder).glob("part-*.parquet"))
    return [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]


def parts_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("part-*.parquet"))


def ended(processes: Iterable[BaseProcess]) -> list[int | None]:
    for process in processes:
        process.join(TIMEOUT_SECONDS)
        process.kill()
    return [process.exitcode for process in processes]


def test_rows_are_those_of_the_table(world: World, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="2 of 100 images could not be read"):
        predict_files.predict_files(world.checkpoint, [world.images], csv=str(tmp_path / "a.csv"), precision="fp32")
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    rows = rows_of(world.whole)
    assert [row["path"] for row in rows] == [row["path"] for row in table]
    for row, expected in zip(rows, table, strict=True):
        assert (row["label"] or "", row["error"] or "") == (expected["label"], expected["error"])
        assert row["sha256"] == sha256(row["path"])
        assert row["model_sha256"] == sha256(world.checkpoint)
        for rank, each in enumerate(row["top"], start=1):
            suffix = "" if rank == 1 else f"_{rank}"
            assert each["label"] == expected[f"label{suffix}"]
            assert each["probability"] == pytest.approx(float(expected[f"probability{suffix}"]), abs=1e-5)
        assert len(row["top"]) == (0 if row["error"] else len(tiny_checkpoint.NAMES))


def test_the_result_and_the_manifest_count_everything(world: World) -> None:
    found = world.result
    assert (found.images, found.parts, found.computed, found.unreadable) == (COUNT, 17, 17, 2)
    assert found.manifest == json.loads((Path(world.whole) / manifest.FILE).read_text())
    assert sum(found.manifest["errors"].values()) == found.manifest["unreadable"] == 2
    assert json.loads(json.dumps(found.to_dict()))["parts"] == 17
    with pytest.raises(JobError, match="2 of 100 images could not be read: the column 'error'"):
        found.check_all_read()


def test_a_killed_process_is_resumed_to_the_same_bytes(world: World, tmp_path: Path) -> None:
    for attempt in range(5):  # the process may have been faster
        folder = tmp_path / str(attempt)
        process = world.started(folder)
        while process.is_alive() and len(parts_in(folder)) < 3:
            process.join(0.001)
        process.kill()
        process.join()
        if not (folder / manifest.FILE).exists():
            break
    assert process.exitcode == -9
    before = {name: (folder / name).stat().st_ino for name in parts_in(folder)}
    assert 3 <= len(before) < 17
    (folder / f"{TEMPORARY_PREFIX}abc.parquet").write_bytes(b"half of a part")
    (folder / f"{TEMPORARY_PREFIX}def").mkdir()
    found = world.predict(str(folder), resume=True)
    assert found.computed == 17 - len(before)
    assert {name: (folder / name).stat().st_ino for name in before} == before  # they were not written again
    assert contents(folder) == contents(world.whole)


def test_several_processes_and_shards_fill_one_folder(world: World, tmp_path: Path) -> None:
    twice, shards = tmp_path / "twice", tmp_path / "shards"
    assert ended([world.started(twice) for _ in range(3)]) == [0, 0, 0], [log.read_text() for log in world.logs[-3:]]
    assert contents(twice) == contents(world.whole)
    done = [world.predict(str(shards), shard=f"{index}/3") for index in (2, 3, 1)]
    assert [each.computed for each in done] == [6, 5, 6]
    assert [each.manifest is not None for each in done] == [False, False, True]
    assert contents(shards) == contents(world.whole)
    with pytest.raises(UserError, match=r"6 of 6 parts are in .*: compute the others with `resume=True`"):
        world.predict(str(shards), shard="2/3")
    assert world.predict(str(shards), shard="2/3", resume=True).computed == 0


def test_a_lost_manifest_and_a_lost_part_are_replaced(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    shutil.copytree(world.whole, folder)
    (folder / manifest.FILE).unlink()
    (folder / parts_in(folder)[4]).unlink()
    found = world.predict(str(folder), resume=True)
    assert (found.computed, found.unreadable) == (1, 2)
    assert contents(folder) == contents(world.whole)


def test_a_damaged_part_is_named(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    shutil.copytree(world.whole, folder)
    first, second = parts_in(folder)[:2]
    shutil.copy(folder / first, folder / second)
    with pytest.raises(JobError, match=f"{second}' has other rows than its images: remove it"):
        world.predict(str(folder), resume=True)
    (folder / second).write_bytes(b"PAR1")
    with pytest.raises(JobError, match=f"{second}' is damaged: remove it"):
        world.predict(str(folder), resume=True)


def test_another_job_does_not_go_on_in_the_folder(world: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was begun: go on with it by `resume=True`"):
        world.predict(world.whole)
    for options, said in (
        ({"top_k": 2}, "`top_k` is 2, and was null"),
        ({"batch": 3}, "`batch` is 3, and was 6"),
        ({"precision": "bf16"}, "`precision` is bf16, and was fp32"),
        ({"images_per_part": 7}, "`images_per_part` is 7, and was 6"),
    ):
        with pytest.raises(UserError, match="has the parts of another job") as caught:
            world.predict(world.whole, resume=True, **options)
        assert said in str(caught.value)
    with pytest.raises(UserError, match="the number of images is 1, and was 100"):
        resnets.predict_to_parquet(
            world.checkpoint, f"{world.images}/group 0/000.png", world.whole, resume=True, batch=PER_PART,
            images_per_part=PER_PART,
        )  # fmt: skip
    other = tmp_path / "net.safetensors"
    tiny_checkpoint.write(other, note="other bytes")
    with pytest.raises(UserError, match="the SHA-256 of the model is"):
        resnets.predict_to_parquet(
            other, world.images, world.whole, resume=True, batch=PER_PART, images_per_part=PER_PART
        )


def test_a_folder_with_other_files_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    for resume in (False, True):
        with pytest.raises(UserError, match=r"has other files, such as 'thesis\.txt'"):
            world.predict(str(tmp_path), resume=resume)
    with pytest.raises(UserError, match="among the images that are read"):
        world.predict(f"{world.images}/parts")
    with pytest.raises(UserError, match="There are no images in"):
        resnets.predict_to_parquet(world.checkpoint, tmp_path, tmp_path.parent / "parts")
    assert not Path(f"{world.images}/parts").exists()
    assert not (tmp_path.parent / "parts").exists()
    assert contents(tmp_path) == {"thesis.txt": b""}


def test_a_job_that_was_killed_while_it_listed_images_begins_again(world: World, tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}abc").write_bytes(b"half a li")
    found = world.predict(str(tmp_path), shard="17/17")
    assert (found.computed, found.manifest) == (1, None)


def test_of_two_jobs_that_begin_at_once_the_refused_one_leaves_no_list(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = f"{world.images}/group 0/000.png"
    begin, refused = job_settings.begin, list[str]()

    def begin_after_another(folder: Path, settings: Any) -> Any:
        """Another job lists its images and begins between the moment when this one found the folder empty, and now."""
        monkeypatch.setattr(job_settings, "begin", begin)
        world.predict(str(folder), shard="1/17")
        try:
            return begin(folder, settings)
        finally:
            refused.append("asked")

    monkeypatch.setattr(job_settings, "begin", begin_after_another)
    with pytest.raises(UserError, match="the number of images is 1, and was 100"):
        resnets.predict_to_parquet(world.checkpoint, one, tmp_path, images_per_part=PER_PART, batch=PER_PART)
    assert refused
    assert world.predict(str(tmp_path), resume=True).computed == 16
    assert contents(tmp_path) == contents(world.whole)


@pytest.mark.parametrize("damaged", [None, b"half a li"])
def test_a_lost_or_damaged_list_is_written_anew(damaged: bytes | None, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    shutil.copytree(world.whole, folder)
    (folder / parts_in(folder)[4]).unlink()
    if damaged is None:
        (folder / image_list.FILE).unlink()
    else:
        (folder / image_list.FILE).write_bytes(damaged)
    assert world.predict(str(folder), resume=True).computed == 1
    assert contents(folder) == contents(world.whole)


def test_parts_of_another_version_are_not_mixed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.predict(str(tmp_path), shard="1/17")
    monkeypatch.setattr(job_settings, "version", lambda name: "1.2.3")
    with pytest.raises(UserError, match=r"the version of Pillow is 1\.2\.3, and was"):
        world.predict(str(tmp_path), resume=True)


def test_a_path_that_is_listed_twice_has_two_rows(world: World, tmp_path: Path) -> None:
    one = f"{world.images}/group 0/000.png"
    resnets.predict_to_parquet(world.checkpoint, [one, one], tmp_path)
    assert [row["path"] for row in rows_of(tmp_path)] == [one, one]


def test_relative_paths_mean_other_files_elsewhere(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.link(f"{world.images}/group 0/000.png", tmp_path / name / "1.png")
    monkeypatch.chdir(tmp_path / "a")
    first = resnets.predict_to_parquet(world.checkpoint, "1.png", tmp_path / "parts")
    assert rows_of(tmp_path / "parts")[0]["path"] == "1.png"
    assert first.unreadable == 0
    monkeypatch.chdir(tmp_path / "b")
    with pytest.raises(UserError, match="the working directory, where relative paths begin, is"):
        resnets.predict_to_parquet(world.checkpoint, "1.png", tmp_path / "parts", resume=True)


def test_the_file_says_what_made_it(world: World) -> None:
    schema = pyarrow.parquet.read_schema(next(Path(world.whole).glob("part-*.parquet")))
    found = json.loads(schema.metadata[b"resnets"])
    assert found["settings"] == job_settings.read(Path(world.whole))
    assert found["preprocess"] == resnets.load(world.checkpoint).preprocess.to_dict()
    assert found["class_names"] == list(tiny_checkpoint.NAMES)
    assert set(found["versions"]) == {"resnets", "torch", "pillow", "pyarrow"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"resume": True}, "`resume` has no effect without `parquet`"),
        ({"shard": "1/2"}, "`shard` has no effect without `parquet`"),
        ({"ray": "auto"}, "`ray` has no effect without `parquet`"),
        ({"parquet": "parts", "csv": "a.csv"}, "`csv=a.csv` cannot be written beside `parquet=parts`"),
        ({"parquet": "parts", "heatmap": "maps"}, "`heatmap=maps` cannot be written beside `parquet=parts`"),
        ({"parquet": "parts", "shard": "0/2"}, "`shard` is i/n"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        predict_files.predict_files("x", ["y"], **arguments)
