from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.image.placement import Placement
from resnets.data.loading import augmentation, ram_cache
from resnets.data.loading.eval_loader import EvalLoader
from resnets.errors import JobError


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    paths = [str(tmp_path / f"{number:02d}.png") for number in range(13)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    return paths


def _pixels(path: str) -> torch.Tensor:
    return augmentation.as_tensor(ram_cache.decode_resized(path, min_side=1000)).float()


def _loaded(path: str) -> tuple[torch.Tensor, Placement]:
    return _pixels(path), Placement((20, 24), (20, 24), (1.0, 1.0))


@pytest.mark.parametrize("workers", [0, 1, None])
@pytest.mark.parametrize("memory", [0, 10**9])
def test_evaluation_gives_every_image_once_and_in_order(paths, workers, memory):
    evaluation = EvalLoader(paths, _loaded, batch_size=4, workers=workers, max_cache_bytes=memory)
    for _ in range(2):
        made = list(evaluation)
        assert [batch.first for batch in made] == [0, 4, 8, 12]
        assert [len(batch.placements) for batch in made] == [4, 4, 4, 1]
        assert torch.equal(torch.cat([batch.images for batch in made]), torch.stack(list(map(_pixels, paths))))


def test_evaluation_decodes_once_when_the_images_fit(paths):
    evaluation = EvalLoader(paths, _loaded, batch_size=4, workers=0, max_cache_bytes=10**9)
    list(evaluation)
    for path in paths:
        Path(path).unlink()
    assert len(list(evaluation)) == len(evaluation) == 4


def test_evaluation_that_happens_once_keeps_nothing(paths):
    evaluation = EvalLoader(paths, _loaded, batch_size=4, workers=1, max_cache_bytes=10**9)
    assert [batch.first for batch in evaluation.iter_uncached()] == [0, 4, 8, 12]
    Path(paths[6]).unlink()
    with pytest.raises(JobError, match=r"06\.png"):
        list(evaluation)


def test_the_random_state_of_the_run_is_left_alone(paths):
    before = torch.get_rng_state()
    list(EvalLoader(paths, _loaded, batch_size=4, workers=0, max_cache_bytes=0))
    assert torch.equal(before, torch.get_rng_state())
