"""`resnets data`, as it is typed."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import forked_processes

from resnets.cli import main


@pytest.fixture
def insects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good folder of two classes of ten images, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for seed in range(20):
        place = tmp_path / "insects" / ("ant" if seed % 2 else "bee")
        place.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((48, 48), Image.Resampling.BICUBIC).save(place / f"{seed}.png")
    return tmp_path / "insects"


def test_get_writes_images_that_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "data",
        "get",
        "shapes",
        str(tmp_path / "s"),
        "--count",
        "60",
        "--size",
        "32",
        "--seed",
        "1",
        "--objects",
        "2",
    ]
    assert main.main(words) == 0
    assert capsys.readouterr().out == f"{tmp_path / 's'}: 60 images in 6 classes (train 36, val 12, test 12)\n"
    assert main.main(["data", "check", str(tmp_path / "s")]) == 0


def test_get_leaves_a_folder_alone_that_is_not_empty(insects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["data", "get", "digits", "insects"]) == 2
    assert (
        capsys.readouterr().err == "error: 'insects' is not an empty folder. Choose a new one; nothing was written.\n"
    )


def test_check_of_good_images(insects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["data", "check", "insects"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("insects: 20 images in 2 classes, ")
    assert lines[-1] == "No errors and no warnings."


def test_check_of_bad_images_ends_with_1(insects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (insects / "ant" / "text.jpg").write_text("this is text")
    words = ["data", "check", "insects", "--html", "out/check.html", "--workers", "2"]
    assert main.main(words) == 1
    shown = capsys.readouterr()
    assert "ant/text.jpg: is text, not an image" in shown.out
    assert shown.out.splitlines()[-1] == "1 kind of error: training would fail, or its result would be wrong."
    assert "error:" not in shown.err
    assert "wrote out/check.html" in shown.err
    assert "ant/text.jpg" in Path("out/check.html").read_text()


def test_check_as_json_on_stdout_is_json_only(insects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["data", "check", "insects", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 20
    (insects / "ant" / "text.jpg").write_text("this is text")
    assert main.main(["data", "check", "insects", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["kind"] == "not-an-image"


def test_check_in_a_pipe(insects: Path) -> None:
    """Without a terminal no line is cut, colored or drawn over."""
    shutil.copy(insects / "ant" / "1.png", insects / "ant" / f"{'long' * 50}.png")
    command = [sys.executable, "-m", "resnets", "data", "check", "insects"]
    done = subprocess.run(command, cwd=insects.parent, capture_output=True, text=True)
    assert done.returncode == 0
    assert f"ant/1.png = ant/{'long' * 50}.png" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_split_writes_the_file(insects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "data",
        "split",
        "insects",
        "--out",
        "s.csv",
        "--val-fraction",
        "0.3",
        "--test-fraction",
        "0.2",
        "--seed",
        "7",
    ]
    assert main.main(words) == 0
    assert capsys.readouterr().out == "s.csv: train 10, val 6, test 4\n"
    with open("s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    first = Path("s.csv").read_bytes()
    assert main.main(words) == 0
    assert Path("s.csv").read_bytes() == first


def test_split_by_groups_and_in_folds(insects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(insects.glob("*/*.png")):
        day = path.parent / f"day {int(path.stem) % 5}"
        day.mkdir(exist_ok=True)
        path.rename(day / path.name)
    val: list[str] = []
    for fold in range(1, 6):
        words = [
            "data",
            "split",
            "insects",
            "--group-by",
            "folder",
            "--folds",
            "5",
            "--fold",
            str(fold),
            "--out",
            "f.csv",
        ]
        assert main.main(words) == 0
        with open("f.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        held_out = {row["group"] for row in rows if row["split"] == "val"}
        assert not held_out & {row["group"] for row in rows if row["split"] == "train"}
        val += [row["path"] for row in rows if row["split"] == "val"]
    assert len(val) == len(set(val)) == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "nowhere"], "No data at 'nowhere'"),
        (["check", "insects", "--workers", "0"], "'--workers 0'"),
        (["check", "insects", "--html", "insects"], "Cannot write 'insects'"),
        (["get", "digts", "d"], "Did you mean 'digits'?"),
        (
            ["get", "digits", "d", "--count", "3"],
            "--count has no meaning for digits; it is for digit-scenes and shapes",
        ),
        (["split", "insects", "--val-fraction", "2"], "--val-fraction is 2"),
        (["split", "insects", "--folds", "3"], "choose which of the 3 folds"),
        (["split", "insects", "--group-by", "patient"], "no column 'patient'"),
        (["split", "divided", "--val-fraction", "0.5"], "--val-fraction 0.5 has no effect"),
        (["shard", "divided", "out", "--val-fraction", "0.5"], "--val-fraction 0.5 has no effect"),
        (["shard", "insects", "out", "--val-fraction", "0.5", "--split-file", "x"], "exclude each other"),
    ],
)
def test_wrong_words_end_in_one_line(
    insects: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "val"):
        shutil.copytree(insects, insects.parent / "divided" / part)
    assert main.main(["data", *words]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1].startswith("error: ")
    assert message in shown[-1]
    assert not Path("split.csv").exists()


def test_shards_are_written_trained_on_killed_resumed_and_evaluated(
    insects: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (insects / "ant" / "text.jpg").write_text("this is text")
    words = ["data", "shard", "insects", "shards", "--size-mb", "0.03", "--val-fraction", "0.4"]
    assert main.main(words) == 2
    assert "insects/ant/text.jpg" in capsys.readouterr().err
    assert main.main([*words, "--on-bad", "skip"]) == 0
    assert capsys.readouterr().out == "shards: train 12 in 3 tars, val 8 in 2 tars\n"

    how = ["--model", "tiny", "--imgsz", "32", "--batch", "4", "--epochs", "3", "--precision", "fp32", "--cache", "off"]
    train = ["train", "shards", *how, "--device", "cpu", "--workers", "1", "--set", "speed.threads=1", "--name", "run"]
    assert main.main([*train, "--out", "whole"]) == 0
    log = Path("log").absolute()
    process = forked_processes.start(log, main.main, [*train, "--out", "killed"])
    while not (log.exists() and "\nepoch 2:" in log.read_text()):
        assert process.is_alive(), log.read_text()
        time.sleep(0.001)
    process.kill()
    process.join()
    assert main.main(["train", "--resume", "killed/run"]) == 0
    for name in ("weights/best.safetensors", "weights/last.safetensors", "predictions.csv", "shards.json"):
        assert Path("killed/run", name).read_bytes() == Path("whole/run", name).read_bytes(), name
    assert not Path("whole/run/split.csv").exists()

    capsys.readouterr()
    assert main.main(["evaluate", "whole/run", "shards", "--json"]) == 0
    metrics = json.loads(Path("whole/run/metrics.json").read_text())
    assert json.loads(capsys.readouterr().out)["metrics"]["top1"] == metrics["selected"]["top1"]
    assert metrics["count"] == 8

    assert main.main(["data", "shard", "shards", "again", "--val-fraction", "0.4"]) == 2
    assert "--val-fraction 0.4 has no effect: shards were split" in capsys.readouterr().err
    assert main.main([*train, "--set", "data.group_by=folder"]) == 2
    assert "split when they were written" in capsys.readouterr().err
    shutil.rmtree("shards")
    (insects / "ant" / "1.png").unlink()
    assert main.main([*words, "--on-bad", "skip"]) == 0
    assert main.main(["train", "--resume", "killed/run"]) == 2
    stderr = capsys.readouterr().err
    assert "was changed since the run began: " in stderr
    assert "'train-000000.tar' has another content" in stderr


def test_shards_without_their_library(
    insects: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "webdataset", None)
    assert main.main(["data", "shard", "insects", "shards"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("pip install 'resnets[shards]'.")
    assert not Path("shards").exists()


def test_objects_are_converted_checked_and_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes, boxes = str(tmp_path / "scenes"), tmp_path / "boxes"
    assert main.main(["data", "get", "digit-scenes", scenes, "--count", "50"]) == 0
    capsys.readouterr()
    assert main.main(["data", "convert", scenes, str(boxes), "--to", "coco"]) == 0
    assert capsys.readouterr().out == f"{boxes}: train 30, val 10, test 10\n"
    assert main.main(["data", "convert", scenes, str(boxes), "--to", "coco"]) == 2
    assert main.main(["data", "convert", scenes, str(tmp_path / "b"), "--to", "yol"]) == 2
    assert "Did you mean 'yolo'?" in capsys.readouterr().err

    file = boxes / "train" / "_annotations.coco.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2] = 0
    content["annotations"][1]["bbox"][2] = 500
    file.write_text(json.dumps(content))
    table = tmp_path / "annotations.csv"
    assert main.main(["data", "check", str(boxes), "--csv", str(table)]) == 1
    printed = capsys.readouterr().out
    assert "Boxes without a size" in printed
    assert "Boxes over the edge of their image" in printed
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [(row["level"], row["object"]) for row in rows if row["fault"] == "Boxes without a size"] == [("error", "1")]
    assert [row["path"] for row in rows if row["fault"] == "Boxes over the edge of their image"] != [""]

    split = ["data", "split", str(boxes), "--out", str(tmp_path / "split.csv")]
    assert main.main(split) == 2
    assert "Boxes" not in capsys.readouterr().out
    content["annotations"] = content["annotations"][2:]
    file.write_text(json.dumps(content))
    assert main.main(split) == 0
    assert "train 30, val 10, test 10" in capsys.readouterr().out
