"""The vectors of an index by the paths of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resnets.tasks.embeddings.embedding_index import Index, unit_length


def test_vectors_are_found_by_any_path_of_their_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "link.png").symlink_to("b.png")
    vectors = np.array([[3, 4], [0, 2]], np.float32)
    index = Index(vectors, ("a.png", "b.png"), str(tmp_path), "net", "", "pooled", {})
    monkeypatch.chdir("/")
    found = index.vectors_of([str(tmp_path / "link.png"), "a.png", str(tmp_path / "a.png")])
    np.testing.assert_allclose(found, [[0, 1], [np.nan, np.nan], [0.6, 0.8]])


def test_vectors_of_zeros_have_no_direction() -> None:
    assert unit_length(np.array([[0, 0], [0, 5]], np.float32)).tolist() == [[0, 0], [0, 1]]
