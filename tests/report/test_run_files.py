"""Reading a run directory whatever its state."""

from __future__ import annotations

import pytest

from resnets.report.run_files import RunFiles, Setting, leaves


def test_everything_is_read(run):
    files = RunFiles(run)
    assert [row["epoch"] for row in files.rows] == [1, 2, 3]
    assert files.splits == {"training": {"ant": 2, "bee": 1}, "validation": {"ant": 1}}
    assert files.recipe == [Setting("name", "scratch", "recipe scratch"), Setting("optim.lr", 0.125, "--lr")]
    assert files.setting("optim.lr") == "0.125"
    assert files.setting("no.such") == ""
    assert files.environment["versions"]["torch"] == "2.15.0+test"
    assert set(files.problems) == {"metrics.json"}
    assert not files.is_evaluation


def test_nothing_is_there(tmp_path):
    files = RunFiles(tmp_path)
    assert (files.rows, files.metrics, files.recipe, files.splits) == ([], {}, [], {})
    assert files.image("results.png") == b""
    assert len(files.problems) == 6
    assert set(files.problems.values()) == {"is not in the run directory"}
    assert not files.is_evaluation


def test_a_folder_of_an_evaluation(tmp_path):
    (tmp_path / "metrics.json").write_text('{"count": 3}')
    assert RunFiles(tmp_path).is_evaluation


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", b"{"),
        ("metrics.json", b"[1]"),
        ("environment.json", b"\xff\xfe"),
        ("metrics.jsonl", b'{"epoch": 1}\nbroken\n{"epoch": 2}\n'),
        ("metrics.jsonl", b"[1]\n"),
        ("recipe.toml", b"x = [1\n"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_read(run, name, content):
    (run / name).write_bytes(content)
    files = RunFiles(run)
    assert files.problems[name].startswith("is damaged")
    assert files.splits


def test_a_folder_in_place_of_a_file(run):
    (run / "split.csv").unlink()
    (run / "split.csv").mkdir()
    assert RunFiles(run).problems["split.csv"].startswith("cannot be read")


def test_settings_with_signs_of_toml_in_their_texts(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        '# a remark\nname = "a=b"\n[data]\nlocation = "a  # b = \\"c\\""  # given # twice\n# batch is not set\n'
        'x = ["#1", "b"]  # user\nepochs = 1_000  # by hand\n'
    )
    assert RunFiles(tmp_path).recipe == [
        Setting("name", "a=b", ""),
        Setting("data.location", 'a  # b = "c"', "given # twice"),
        Setting("data.x", ["#1", "b"], "user"),
        Setting("data.epochs", 1000, "by hand"),
    ]


def test_labels_with_line_breaks_and_bytes_that_are_no_text(tmp_path):
    (tmp_path / "split.csv").write_bytes(b'path,label,split\n"a\nb.jpg",caf\xe9,val\nc.jpg,"y\xe2\x80\xa8\nz",test\n')
    assert RunFiles(tmp_path).splits == {"validation": {"caf\udce9": 1}, "test": {"y\u2028\nz": 1}}


def test_leaves():
    value = {"versions": {"torch": "2"}, "gpu": None, "sizes": [1, 2]}
    assert dict(leaves(value)) == {"versions.torch": "2", "gpu": None, "sizes": [1, 2]}
