from __future__ import annotations

from functools import partial

import numpy as np

from resnets.data.datasets.dataset import Sample
from resnets.recipes.recipe import Data, Recipe
from resnets.training import train_data


def test_the_command_that_writes_smaller_images_quotes_the_folder(capsys):
    def prepare(path: str, min_side: int) -> np.ndarray:
        return np.broadcast_to(np.uint8(0), (1 << 20, 1 << 20, 3))  # 3 TiB that take no memory

    samples = [Sample("my photos/cat/1.jpg", ("cat",), "train")]
    train_data._cache_images(Recipe(data=Data(location="my photos")), samples, partial(prepare, min_side=8), None)
    assert "resnets data shard 'my photos' SHARDS --resize 8" in capsys.readouterr().err
