"""Where the answers of `resnets predict` go."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import pytest

from resnets.data.datasets import builtin
from resnets.errors import UserError
from resnets.tasks import predict_files


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_a_pipe_gets_each_line_as_it_comes() -> None:
    read, into = os.pipe()
    os.set_blocking(read, False)
    with predict_files._opened(f"/dev/fd/{into}", sys.stdout) as file:
        for line in (b"first\r\n", b"second\r\n"):
            file.write(line.decode())
            assert os.read(read, 100) == line
    os.close(read)
    os.close(into)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    with predict_files._opened(str(tmp_path / "a.csv"), sys.stdout) as file:
        file.write("first\r\n")
        assert not (tmp_path / "a.csv").exists()
    assert (tmp_path / "a.csv").read_bytes() == b"first\r\n"


def test_classes_that_nothing_shows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`top_k=3` has no effect with `sort_into` alone"):
        predict_files.predict_files("x", ["y"], sort_into=str(tmp_path / "sorted"), top_k=3)


DETECTOR = "fasterrcnn_light_tiny.digit_scenes"  # comes with the package


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = builtin.write("digit-scenes", tmp_path_factory.mktemp("data") / "scenes", size=96, count=50)
    return sorted(map(str, root.glob("test/*.png")))[:3]


def test_the_objects_are_counted_and_every_output_is_named(
    scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("csv", "jsonl", "draw", "coco_json", "yolo_labels", "object_crops")
    outputs = {name: str(tmp_path / f"{name}{'.txt' if 'json' in name or name == 'csv' else ''}") for name in names}
    predict_files.predict_files(DETECTOR, scenes, **outputs)  # type: ignore[arg-type]
    last = capsys.readouterr().err.strip().splitlines()[-1]
    with open(outputs["csv"], newline="") as table:
        count = sum(int(row["count"]) for row in csv.DictReader(table))
    assert count > 1
    assert last.startswith(f"3 images, {count} objects in ")
    assert last.endswith("; written: " + ", ".join(f"'{path}'" for path in outputs.values()))
    assert all(Path(path).exists() for path in outputs.values())
    assert len(list(Path(outputs["object_crops"]).glob("*/*.jpg"))) == count


def test_an_output_that_the_model_does_not_have_names_the_others(scenes: list[str], tmp_path: Path) -> None:
    known = "`draw`, `coco_json`, `yolo_labels`, `object_crops`"
    with pytest.raises(UserError, match=rf"gives nothing for `masks`. Leave it out; it writes {known}\."):
        predict_files.predict_files(DETECTOR, scenes, masks=str(tmp_path / "masks"))
    assert not (tmp_path / "masks").exists()
    with pytest.raises(UserError, match=r"`draw=-`: only `csv` and `jsonl` are written to stdout"):
        predict_files.predict_files(DETECTOR, scenes, draw="-")


@pytest.mark.parametrize("options", [{"flip": True}, {"tile": 48}, {"scales": [80, 96]}, {"nms": "soft"}])
def test_the_score_threshold_of_other_views_is_told(
    options: dict, scenes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = "the score threshold was fitted to one view"
    predict_files.predict_files(DETECTOR, scenes[:1], **options)
    assert said in capsys.readouterr().err
    predict_files.predict_files(DETECTOR, scenes[:1], score=0.5, **options)
    assert said not in capsys.readouterr().err
