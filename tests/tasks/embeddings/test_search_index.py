"""The nearest images of an index."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

import resnets
from resnets.errors import UserError
from resnets.tasks.embeddings import search_index


@pytest.fixture(scope="module")
def index(world: Any) -> resnets.Index:
    return resnets.embed(world.checkpoint, world.data).index


@pytest.mark.parametrize(
    "options", [{}, {"l2": True}, {"pca": 5}, {"pca": 5, "l2": True}, {"layer": "stage1"}], ids=str
)
def test_the_nearest_are_those_of_the_greatest_cosine(options: dict[str, Any], world: Any) -> None:
    found = resnets.embed(world.checkpoint, world.data, **options).index
    hits = resnets.search(found, world.paths[7], top_k=5)
    cosines = cosine_similarity(found.vectors)[found.paths.index(world.paths[7])]
    order = np.argsort(-cosines)[:5]
    assert [hit.path for hit in hits] == [found.paths[row] for row in order]
    np.testing.assert_allclose([hit.similarity for hit in hits], cosines[order], atol=1e-5)
    assert hits[0].path == world.paths[7]
    assert hits[0].similarity == pytest.approx(1, abs=1e-5)


def test_all_are_found_where_more_are_asked_for(index: resnets.Index, world: Any) -> None:
    assert len(resnets.search(index, world.paths[0], top_k=100)) == 18


def test_other_weights_are_refused(index: resnets.Index, world: Any, know: Any, tmp_path: Any) -> None:
    other = tmp_path / "other.safetensors"
    know(other, world.samples, seed=1)
    with pytest.raises(UserError, match=f"The weights '{other}' are not those that the index was made with"):
        resnets.search(index, world.paths[0], checkpoint=other)
    copied = tmp_path / "copied.safetensors"
    shutil.copy(world.checkpoint, copied)
    moved = dataclasses.replace(index, checkpoint=str(tmp_path / "gone.safetensors"))
    with pytest.raises(
        UserError, match=r"'.*gone\.safetensors', is not there any more; name its place now as `checkpoint`"
    ):
        resnets.search(moved, world.paths[0])
    assert resnets.search(moved, world.paths[0], checkpoint=copied) == resnets.search(index, world.paths[0])


def test_arguments_that_are_refused(index: resnets.Index, world: Any, tmp_path: Any) -> None:
    with pytest.raises(UserError, match="`top_k` must be 1 or more; received 0"):
        resnets.search(index, world.paths[0], top_k=0)
    with pytest.raises(UserError, match="`sheet` is a file that ends in"):
        resnets.search(index, world.paths[0], sheet=tmp_path / "a.txt")
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(UserError, match=r"bad\.png'"):
        resnets.search(index, tmp_path / "bad.png")


def test_the_sheet_shows_the_query_and_what_was_found(index: resnets.Index, world: Any, tmp_path: Any) -> None:
    relative = dataclasses.replace(
        index, paths=tuple(path.removeprefix(f"{world.root}/") for path in index.paths), folder=str(world.root)
    )
    sheet = tmp_path / "sheet.png"
    resnets.search(relative, world.paths[0], top_k=3, sheet=sheet)
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    tiles = [pixels[100:180, 30 + 240 * column + 60 : 30 + 240 * column + 160] for column in range(4)]
    assert np.abs(tiles[0] - tiles[1]).max() == 0  # the query is the nearest
    assert all(np.abs(tiles[0] - tile).mean() > 5 for tile in tiles[2:])
    assert all(tile.std() > 10 for tile in tiles)


def test_a_sheet_of_very_many_images_shows_the_nearest(
    index: resnets.Index, world: Any, tmp_path: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(search_index, "SHEET_LIMIT", 5)
    found = resnets.search(index, world.paths[0], top_k=10, sheet=tmp_path / "many.png")
    assert len(found) == 10
    assert "many.png' shows the nearest 5 of the 10 images" in capsys.readouterr().err
    resnets.search(index, world.paths[0], top_k=5, sheet=tmp_path / "few.png")
    assert (tmp_path / "many.png").read_bytes() == (tmp_path / "few.png").read_bytes()
