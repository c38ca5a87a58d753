"""`resnets predict`: images in; lines, tables or folders out."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import sys
from pathlib import Path

import pytest
from tests import forked_processes

from resnets.cli import main
from resnets.inference import backends, choose_backend, hardware
from resnets.tasks.load_model import load

NET = "one.safetensors"


def answers(folder: Path) -> dict[str, str]:
    """What the classifier itself says about each image, by path."""
    paths = sorted(str(path.relative_to(folder)) for path in (folder / "data").rglob("*.png"))
    return {answer.path: str(answer.label) for answer in load(folder / NET).predict(paths)}


def predict(*words: str) -> int:
    return main.main(["predict", NET, *words])


def test_a_line_per_image(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("data") == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    wanted = answers(trained)
    assert [line.split("  ")[0] for line in lines] == list(wanted)
    for line, label in zip(lines, wanted.values(), strict=True):
        assert line.split("  ")[1].startswith(f"{label} ")
        assert line.endswith(" %)")
    assert shown.err.startswith("15 images in ")


def test_a_run_directory_files_patterns_and_a_list(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (trained / "run" / "weights").mkdir(parents=True)
    (trained / NET).rename(trained / "run" / "weights" / "best.safetensors")
    monkeypatch.setattr("sys.stdin", io.StringIO("data/bee/1.png\n"))
    assert main.main(["predict", "run", "data/ant/0.png", "data/*/3.png", "-"]) == 0
    paths = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert paths == ["data/ant/0.png", "data/ant/3.png", "data/bee/3.png", "data/größe/3.png", "data/bee/1.png"]


def test_csv_in_a_file(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("data", "--csv", "out/answers.csv", "--top-k", "2") == 0
    rows = list(csv.DictReader((trained / "out" / "answers.csv").open(encoding="utf-8")))
    assert {row["path"]: row["label"] for row in rows} == answers(trained)
    assert all(float(row["probability"]) >= float(row["probability_2"]) for row in rows)
    assert list(rows[0]) == ["path", "label", "probability", "error", "label_2", "probability_2"]
    assert capsys.readouterr().out == ""


def test_json_lines_on_stdout(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("data", "--jsonl", "-", "--csv", "answers.csv") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["path"]: row["label"] for row in rows} == answers(trained)
    assert len((trained / "answers.csv").read_text().splitlines()) == 16


def test_images_that_cannot_be_read(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "data" / "ant" / "empty.jpg").touch()
    (trained / "data" / "bee" / "text.png").write_text("no image")
    assert predict("data", "missing.jpg", "--csv", "-") == 1
    shown = capsys.readouterr()
    rows = list(csv.DictReader(shown.out.splitlines()))
    bad = [row["path"] for row in rows if row["error"]]
    assert bad == ["data/ant/empty.jpg", "data/bee/text.png", "missing.jpg"]
    assert len(rows) == 18
    assert (
        "error: 3 of 18 images could not be read: 'data/ant/empty.jpg', 'data/bee/text.png', 'missing.jpg'."
        in shown.err
    )
    assert predict("data/ant/empty.jpg") == 1
    assert capsys.readouterr().out.startswith("data/ant/empty.jpg  error: is empty (0 bytes)")


def test_a_file_that_begins_with_a_dash_is_no_option(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(next((trained / "data").rglob("*.png")), trained / "-x.png")
    assert predict("-x.png") == 2
    assert "'resnets predict' has no option '-x'" in capsys.readouterr().err
    assert predict("./-x.png") == 0


def test_unused_files_are_reported(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        (trained / "data" / "ant" / f"{number}.mov").touch()
    assert predict("data", "--csv", "out.csv") == 0
    assert "not used: 3 .mov\n" in capsys.readouterr().err
    for words in (["evaluate", NET, "data", "--out", "judged"], ["data", "split", "data"]):
        assert main.main(words) == 0
        assert "not used: 3 .mov\n" in capsys.readouterr().err
    assert json.loads((trained / "judged" / "metrics.json").read_text())["not_used"] == "not used: 3 .mov"


def test_nothing_found_is_a_wrong_command(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "empty").mkdir()
    assert predict("empty", "*.gif") == 2
    assert capsys.readouterr().err == "error: There are no images in 'empty', '*.gif'.\n"


def test_sorted_into_folders(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "data" / "ant" / "empty.png").touch()
    assert predict("data", "--sort-into", "sorted") == 1
    found = sorted(path for path in (trained / "sorted").rglob("*") if path.is_file())
    assert len(found) == 15
    contents = {(path.parent.name, path.read_bytes()) for path in found}
    assert contents == {
        (label, (trained / path).read_bytes()) for path, label in answers(trained).items() if "empty" not in path
    }
    shown = capsys.readouterr()
    assert "not sorted: 'data/ant/empty.png' is empty (0 bytes)" in shown.err
    assert "sorted into 'sorted': " in shown.err
    assert "; 1 image not sorted, listed above\n" in shown.err
    assert shown.out == ""


def test_both_tables_cannot_go_to_stdout(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("data", "--csv", "-", "--jsonl", "-") == 2
    assert "give one of them a file" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_leaves_nothing(trained: Path) -> None:
    (trained / "a_file").write_text("")
    assert predict("data", "--csv", "a_file/x.csv") == 2
    assert predict("data", "--sort-into", "a_file") == 2
    assert (trained / "a_file").read_text() == ""


def _predict_into(stdout: str, stderr: str, *words: str) -> int:
    for descriptor, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdout, sys.stderr = (open(each, "w", closefd=False) for each in (1, 2))  # noqa: SIM115
    return predict(*words)


def test_a_reader_that_goes_away_ends_the_command_quietly(trained: Path) -> None:
    """As in `resnets predict net data | head -1`."""
    os.mkfifo("pipe")
    job = forked_processes.start(Path("log"), _predict_into, "pipe", "said", *["data"] * 60)
    with open("pipe") as reader:
        line = reader.readline()
    job.join(forked_processes.TIMEOUT_SECONDS)
    said = Path("said").read_text() + Path("log").read_text()
    assert line.startswith("data/ant/0.png  "), said
    assert job.exitcode == 141
    assert "Traceback" not in said
    assert "rror" not in said


def test_rows_are_not_lost_when_only_stderr_is_a_terminal(trained: Path) -> None:
    """A progress bar on the terminal must not draw what belongs into the redirected stdout."""
    master, terminal = pty.openpty()
    job = forked_processes.start(Path("log"), _predict_into, "rows.csv", os.ttyname(terminal), "data", "--csv", "-")
    job.join(forked_processes.TIMEOUT_SECONDS)
    os.close(terminal)
    os.close(master)
    assert job.exitcode == 0
    assert len(Path("rows.csv").read_text().splitlines()) == 16


@pytest.mark.parametrize(("pixels", "message"), [(10**12, ""), (1, "backend: torch bf16; on ")])
def test_the_same_command_gives_the_same_bytes_in_a_short_and_in_a_long_job(
    pixels: int, message: str, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr(backends, "available", lambda device: ("torch",))
    monkeypatch.setattr(choose_backend, "LONG_PIXELS", pixels)
    found = []
    for name in ("first.csv", "second.csv"):
        assert predict("data", "--csv", name) == 0
        found.append((trained / name).read_bytes())
        assert message in capsys.readouterr().err
    assert found[0] == found[1]
