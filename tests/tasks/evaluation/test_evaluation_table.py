"""What `resnets evaluate` prints, apart from the numbers of a task."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.tasks.evaluation import evaluate, evaluation_table
from resnets.tasks.evaluation.results import Evaluation


def shown(capsys: pytest.CaptureFixture[str], evaluation: Evaluation) -> str:
    capsys.readouterr()
    evaluation_table.show(evaluation)
    return " ".join(capsys.readouterr().out.split())


def test_the_heading_says_what_was_not_counted(world, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.png"
    bad.touch()
    lines = ["path,label", f"{bad},red", *[f"{sample.path},{sample.label}" for sample in world.samples[:12]]]
    table = tmp_path / "images.csv"
    table.write_text("\n".join(lines))
    found = evaluate.evaluate_checkpoints([world.checkpoint], table, device="cpu", on_bad="skip")
    text = shown(capsys, found)
    assert text.startswith(
        "12 images of 2 classes, one view of 32x32; not counted: 1 that cannot be read; 95 % intervals"
    )
    assert (found.metrics["count"], found.metrics["unlabeled"], found.metrics["skipped"]) == (12, 0, 1)
    assert "computed in fp32 by the backend reference" in text
    assert "Class by class" in text


def test_models_of_a_comparison_with_equal_names_are_called_by_their_paths(
    world, know, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other" / world.checkpoint.name
    other.parent.mkdir()
    know(other, world.samples, seed=1)
    found = evaluate.evaluate_checkpoints([world.checkpoint, other], world.data, device="cpu", pairwise=True)
    text = shown(capsys, found)
    assert found.comparison is not None
    assert " ".join(found.comparison.in_words(str(world.checkpoint), str(other)).split()) in text
    assert "Class by class" not in text
