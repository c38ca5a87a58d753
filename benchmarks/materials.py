"""Pictures and weights for the benchmarks: made from seeds, so that everyone measures the same files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import nn


def photographs(folder: Path, count: int, *, width: int = 640, height: int = 480, classes: int = 5) -> Path:
    """Write `count` JPEGs, as large in bytes as photographs of their size, into `folder/CLASS/`; kept if they are there."""
    done = folder / ".complete"
    if done.exists():
        return folder
    random = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class_{number % classes}"
        place.mkdir(parents=True, exist_ok=True)
        _photograph(random, width, height, tint=number % classes).save(place / f"{number:05}.jpg", quality=90)
    done.touch()
    return folder


def small(folder: Path, count: int, *, side: int = 32, classes: int = 10) -> Path:
    """Write `count` PNGs of `side` pixels into `folder/{train,val}/CLASS/`, a tenth of them in val; kept if there."""
    done = folder / ".complete"
    if done.exists():
        return folder
    random = np.random.default_rng(1)
    for number in range(count):
        place = folder / ("val" if number % 10 == 0 else "train") / f"class_{number // 10 % classes}"
        place.mkdir(parents=True, exist_ok=True)
        _photograph(random, side, side, tint=number // 10 % classes).save(place / f"{number:05}.png")
    done.touch()
    return folder


def checkpoint(path: Path, name: str, *, classes: int, settled: Path | None = None) -> Path:
    """Write random weights of a network of the zoo, fitted to the pictures of the folder `settled` if it is given."""
    import torch

    from resnets.data.preprocess import Preprocess
    from resnets.models import zoo
    from resnets.weights.checkpoint import Checkpoint, save

    if not path.exists():
        torch.manual_seed(0)
        spec = zoo.spec(name, classes=classes)
        net = zoo.create(name, classes=classes)
        if settled:
            _settle(net, settled)
        names = tuple(f"class_{number}" for number in range(classes))
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, Checkpoint(spec, Preprocess.imagenet(224), names, net.state_dict()))
    return path


def _settle(net: nn.Module, folder: Path) -> None:
    """Give the batch norms the statistics of 64 raw pictures: without, random features are too wild to learn from."""
    import torch

    paths = sorted(folder.rglob("*.jpg"))
    chosen = [Image.open(path).convert("RGB").resize((180, 180)) for path in paths[:: max(1, len(paths) // 64)][:64]]
    pictures = torch.from_numpy(np.stack([np.asarray(picture) for picture in chosen])).permute(0, 3, 1, 2).float()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what it sees
    net.train()
    with torch.no_grad():
        net(pictures)


def _photograph(random: np.random.Generator, width: int, height: int, *, tint: int) -> Image.Image:
    """Soft shapes, edges and grain: noise at several scales, which a JPEG packs about as well as a photograph."""
    total = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64):
        grid = random.normal(0, 60 / cells**0.35, (cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(grid[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
            total[..., channel] += np.asarray(layer)
    total += random.normal(0, 4, total.shape).astype(np.float32)
    total[..., tint % 3] += 25 * (tint // 3 + 1)
    return Image.fromarray((total + 120).clip(0, 255).astype(np.uint8))
