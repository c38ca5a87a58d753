"""Features are evaluated by the classes of the nearest images, with the results of any evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnets
from resnets.errors import JobError, UserError
from resnets.hashing import sha256
from resnets.tasks.embeddings.embedding_index import unit_length


def split_file(world: Any, folder: Path) -> Path:
    """The first four images of each class are in train, the others in val."""
    rows = []
    for path in map(Path, world.paths):
        split = "train" if int(path.stem) < 4 else "val"
        rows.append(f"{path.relative_to(world.data)},{sha256(path)},{path.parent.name},{split},")
    (folder / "split.csv").write_text("path,sha256,label,split,group\n" + "\n".join(rows) + "\n")
    return folder / "split.csv"


def test_the_nearest_image_decides(world: Any, tmp_path: Path) -> None:
    file = split_file(world, tmp_path)
    results = resnets.evaluate_knn(world.checkpoint, world.data, k=1, split_file=file, out=tmp_path / "out")
    found = resnets.load(world.checkpoint).embed(world.paths)
    vectors = unit_length(found.vectors)
    labels = np.array([Path(path).parent.name for path in world.paths])
    known = np.array([int(Path(path).stem) < 4 for path in world.paths])
    nearest = (vectors[~known] @ vectors[known].T).argmax(1)
    assert results.metrics["top1"] == pytest.approx((labels[known][nearest] == labels[~known]).mean())
    assert results.metrics["count"] == 6
    saved = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert saved["top1"] == results.metrics["top1"]
    assert saved["protocol"] == "one view of 32x32, 1 nearest neighbors"
    assert "nearest neighbors" in (tmp_path / "out" / "report.html").read_text()


def test_images_that_the_model_was_trained_on_are_told(world: Any, tmp_path: Path) -> None:
    run = resnets.train(
        world.data, model="tiny", weights="none", epochs=1, batch=4, out=tmp_path, name="run", workers=0
    )
    assert run is not None
    by_its_split = resnets.evaluate_knn(run.run, world.data, k=1, split_file=run.run / "split.csv")
    assert by_its_split.notices == ()
    [notice] = resnets.evaluate_knn(run.run, world.data, k=1, split_file=split_file(world, tmp_path)).notices
    assert "were used to train" in notice


def test_classes_of_the_model_do_not_matter(world: Any) -> None:
    results = resnets.evaluate_knn("fasterrcnn_light_tiny.digit_scenes", world.data, k=3)
    assert results.split.reason == "split as a training splits them by default"
    assert results.metrics["count"] == len(results.split.samples) > 0


def test_data_and_numbers_that_do_not_fit(world: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`k` must be 1 or more; received 0"):
        resnets.evaluate_knn(world.checkpoint, world.data, k=0)
    for split in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            (tmp_path / split / label / "x.png").write_bytes(Path(world.paths[0]).read_bytes())
    (tmp_path / "val" / "a" / "x.png").write_text("no image")
    with pytest.raises(JobError, match="1 of 2 images cannot be read"):
        resnets.evaluate_knn(world.checkpoint, tmp_path)
