"""Reading a run directory whatever its state."""

from __future__ import annotations

import pytest

from resnets.report.html import run_files
from resnets.report.html.run_files import Setting


def test_everything_is_read(finished):
    run, predictions = finished()
    files = run_files.read(run)
    assert [row["epoch"] for row in files.rows] == [1, 2, 3]
    assert files.metrics["count"] == 40
    assert [row["class"] for row in files.per_class] == list(predictions.class_names)
    assert len(files.predictions) == 40
    assert len(files.split) == 200
    assert Setting("optim.lr", "0.125", "--lr") in files.recipe
    assert Setting("name", '"scratch"', "recipe scratch") in files.recipe
    assert files.setting("data.location") == "flowers & <b>bees</b>"
    assert files.setting("no.such") == ""
    assert files.environment["versions"]["torch"] == "2.15.0+test"
    assert set(files.problems) == set(run_files.IMAGES)
    assert not files.is_evaluation


def test_nothing_is_there(tmp_path):
    files = run_files.read(tmp_path)
    assert (files.rows, files.metrics, files.recipe, files.images) == ([], {}, [], {})
    assert len(files.problems) == 7 + len(run_files.IMAGES)
    assert set(files.problems.values()) == {"is not in the run directory"}
    assert not files.is_evaluation


def test_a_folder_of_an_evaluation(tmp_path):
    (tmp_path / "metrics.json").write_text('{"count": 3}')
    assert run_files.read(tmp_path).is_evaluation


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", b"{"),
        ("metrics.json", b"[1]"),
        ("environment.json", b"\xff\xfe"),
        ("metrics.jsonl", b'{"epoch": 1}\nbroken\n{"epoch": 2}\n'),
        ("metrics.jsonl", b"[1]\n"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_read(finished, name, content):
    run, _ = finished()
    (run / name).write_bytes(content)
    files = run_files.read(run)
    assert files.problems[name].startswith("is damaged")
    assert len(files.predictions) == 40


def test_a_folder_in_place_of_a_file(finished):
    run, _ = finished()
    (run / "results.png").mkdir()
    assert run_files.read(run).problems["results.png"].startswith("cannot be read")


def test_an_incomplete_last_line_and_a_repeated_epoch(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"epoch": 1, "lr": 1}\n{"epoch": 2, "lr": 2}\n{"epoch": 2, "lr": 3}\n{"epo'
    )
    assert run_files.read(tmp_path).rows == [{"epoch": 1, "lr": 1}, {"epoch": 2, "lr": 3}]


def test_settings_with_signs_of_toml_in_their_texts(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        '# a remark\n[data]\nlocation = "a # b = \\"c\\""  # given # twice\n# batch is not set\n'
    )
    assert run_files.read(tmp_path).recipe == [Setting("data.location", '"a # b = \\"c\\""', "given # twice")]
    assert run_files.read(tmp_path).setting("data.location") == 'a # b = "c"'


def test_settings_whose_texts_hold_comments_and_whose_lists_go_on_in_the_next_line(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        'name = "a=b"\n[augment]\nx = ["#1", "b"]  # user\ny = [1, # one\n  2]  # given: a # b\nz.w = 3\n[a.b]\nc = []\n'
    )
    assert run_files.read(tmp_path).recipe == [
        Setting("name", '"a=b"', ""),
        Setting("augment.x", '["#1", "b"]', "user"),
        Setting("augment.y", "[1, 2]", "given: a # b"),
        Setting("augment.z.w", "3", ""),
        Setting("a.b.c", "[]", ""),
    ]
    (tmp_path / "recipe.toml").write_text("x = [1\n")
    assert run_files.read(tmp_path).problems["recipe.toml"].startswith("is damaged")


def test_names_with_line_breaks_and_bytes_that_are_no_text(tmp_path):
    (tmp_path / "predictions.csv").write_bytes(b'path,true\n"a\nb.jpg",x\ncaf\xe9.jpg,"y\xe2\x80\xa8z"\n')
    rows = run_files.read(tmp_path).predictions
    assert [row["path"] for row in rows] == ["a\nb.jpg", "caf\udce9.jpg"]
    assert rows[1]["true"] == "y\u2028z"
