"""Images and weights for the benchmarks: made from seeds, so that everyone measures the same files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image


def photographs(folder: Path, count: int, *, width: int = 640, height: int = 480, classes: int = 5) -> Path:
    """Write `count` JPEGs, as large in bytes as photographs of their size, into `folder/CLASS/`, unless they exist."""
    done = folder / ".complete"
    if done.exists():
        return folder
    random = np.random.default_rng(0)
    for number in range(count):
        class_folder = folder / f"class_{number % classes}"
        class_folder.mkdir(parents=True, exist_ok=True)
        _photograph(random, width, height, tint=number % classes).save(class_folder / f"{number:05}.jpg", quality=90)
    done.touch()
    return folder


def small(folder: Path, count: int, *, side: int = 32, classes: int = 10) -> Path:
    """Write `count` PNGs of `side` pixels into `folder/{train,val}/CLASS/`, a tenth of them in val, unless they exist."""
    done = folder / ".complete"
    if done.exists():
        return folder
    random = np.random.default_rng(1)
    for number in range(count):
        class_folder = folder / ("val" if number % 10 == 0 else "train") / f"class_{number // 10 % classes}"
        class_folder.mkdir(parents=True, exist_ok=True)
        _photograph(random, side, side, tint=number // 10 % classes).save(class_folder / f"{number:05}.png")
    done.touch()
    return folder


def checkpoint(path: Path, name: str, *, num_classes: int) -> Path:
    """Write random weights of a network of the zoo, unless they exist."""
    import torch

    from resnets.data.image.preprocess import Preprocess
    from resnets.models import zoo
    from resnets.weights.checkpoint import Checkpoint, save

    if not path.exists():
        torch.manual_seed(0)
        spec, net = zoo.get_spec(name, num_classes=num_classes), zoo.build(name, num_classes=num_classes)
        names = tuple(f"class_{number}" for number in range(num_classes))
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, Checkpoint(spec, Preprocess.imagenet(224), names, net.state_dict()))
    return path


def trained(path: Path, name: str, images: Path, *, epochs: int) -> Path:
    """Write weights of a network of the zoo, trained on small raw images (0 to 255), unless they exist.

    Random weights do not do where the precision of a backend is checked: the pooled features of different images differ so
    little that the rounding of bf16 hides the difference, and the backend is rejected.
    """
    import resnets
    from resnets.weights.checkpoint import read, save

    if not path.exists():
        settings = ("data.normalize=raw", "data.resize=stretch")
        with tempfile.TemporaryDirectory() as folder:
            run = resnets.train(images, model=name, imgsz=64, epochs=epochs, out=folder, name="run", overrides=settings)
            save(path, read(run.run / "weights" / "last.safetensors"))
    return path


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
