"""Images with masks, and a small segmenter."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.datasets.dataset import Dataset
from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.segmentation import zoo as segmenters
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.task import Segmentation
from resnets.tasks.trained_model import TrainedModel

NAMES = ("road", "car", "sky")
VALUES = (7, 26, 23)


def write_pair(folder: Path, stem: str, size: tuple[int, int], seed: int) -> None:
    """An image and a mask of areas of 8 pixels, with a band that is ignored."""
    random = np.random.default_rng(seed)
    coarse = random.integers(3, size=(size[0] // 8 + 1, size[1] // 8 + 1))
    classes = np.kron(coarse, np.ones((8, 8), int))[: size[0], : size[1]]
    mask = np.array(VALUES, np.uint8)[classes]
    mask[:3] = 255
    image = (classes[..., None] * 90 + random.integers(0, 60, (*size, 3))).astype(np.uint8)
    for part, pixels in (("images", image), ("masks", mask)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / part / f"{stem}.png")


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[[Sequence[tuple[int, int]]], Path]:
    """A function of the sizes of images, which writes them and returns their folder."""

    def write(sizes: Sequence[tuple[int, int]]) -> Path:
        folder = tmp_path / "data"
        for number, size in enumerate(sizes):
            write_pair(folder, f"{number:02}", size, number)
        rows = "".join(f"{value},{name}\n" for value, name in zip((*VALUES, 255), (*NAMES, "ignore"), strict=True))
        (folder / "classes.csv").write_text(f"value,name\n{rows}")
        return folder

    return write


@pytest.fixture
def read_data(write_data: Callable[..., Path]) -> Callable[[Sequence[tuple[int, int]]], Dataset]:
    return lambda sizes: Segmentation.read(write_data(sizes))


def make_task(**changes: Any) -> Segmentation:
    settings = vars(segmenters.get("light_tiny")[0]) | {
        "crop": (64, 64),
        "decoder_channels": 16,
        "output_values": VALUES,
    }
    return Segmentation(NAMES, SegmentationConfig(**(settings | changes)))


@pytest.fixture
def task() -> Segmentation:
    return make_task()


@pytest.fixture
def model(task: Segmentation) -> TrainedModel:
    """With random weights, which tell classes apart somehow."""
    torch.manual_seed(0)
    network = task.build(zoo.get_spec("tiny")).eval()
    preprocess = Preprocess(size=(64, 64), resize="none", crop="none")
    return TrainedModel(task, network, preprocess, precision="fp32")
