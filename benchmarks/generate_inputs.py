"""Images and weights for the benchmarks: made from seeds, so that everyone measures the same files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

# In the order of the alphabet, as resnets numbers classes, and by which torchvision's scripts know a category.
COLORS = {
    "ball": (200, 40, 40),
    "box": (40, 170, 60),
    "coin": (220, 190, 40),
    "door": (150, 50, 170),
    "roof": (50, 70, 210),
}


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


def scenes(
    folder: Path, split: str, count: int, *, width: int = 640, height: int = 480, most: int = 12, seed: int = 2
) -> Path:
    """Write `count` JPEGs with 1 to `most` objects of 24 to 72 pixels, in the layout of COCO, unless they exist.

    They go to `folder/SPLIT2017`, their boxes to `folder/annotations/instances_SPLIT2017.json`. The objects have five kinds,
    each of its own shape and color.
    """
    file = folder / "annotations" / f"instances_{split}2017.json"
    if file.exists():
        return folder
    random = np.random.default_rng(seed)
    (folder / f"{split}2017").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        name = f"{number:012}.jpg"
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        picture = _photograph(random, width, height, tint=number % 3)
        for kind, (x1, y1, x2, y2) in _objects(random, picture, int(random.integers(1, most + 1))):
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            ids = {"id": len(annotations) + 1, "image_id": number, "category_id": kind + 1}
            annotations.append({**ids, **box, "iscrowd": 0})
        picture.save(folder / f"{split}2017" / name, quality=90)
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(COLORS)]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return folder


def label_masks(folder: Path, split: str, count: int, *, width: int = 480, height: int = 360, seed: int = 6) -> Path:
    """Write `count` scenes to `folder/SPLIT/images` and their label masks to `folder/SPLIT/masks`, unless they exist.

    In a mask 0 is the background, and 1 to 5 are the kinds of objects.
    """
    images, masks = folder / split / "images", folder / split / "masks"
    if masks.exists():
        return folder
    images.mkdir(parents=True, exist_ok=True)
    written = masks.with_suffix(".writing")
    written.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        picture, mask = _photograph(random, width, height, tint=number % 3), Image.new("L", (width, height))
        _objects(random, picture, int(random.integers(1, 13)), mask)
        picture.save(images / f"{number:05}.jpg", quality=90)
        mask.save(written / f"{number:05}.png")
    written.rename(masks)
    return folder


def _objects(
    random: np.random.Generator, picture: Image.Image, count: int, mask: Image.Image | None = None
) -> list[tuple[int, tuple[int, ...]]]:
    """Draw at most `count` objects that do not overlap; return the kind and the box of each.

    They are drawn into a mask, too, with the number of their kind, from 1.
    """
    drawn: list[tuple[int, tuple[int, ...]]] = []
    pens = [ImageDraw.Draw(each) for each in (picture, mask) if each is not None]
    for _ in range(count):
        kind = int(random.integers(len(COLORS)))
        wide, high = (int(side) for side in random.integers(24, 73, 2))
        x, y = int(random.integers(picture.width - wide + 1)), int(random.integers(picture.height - high + 1))
        box = (x, y, x + wide, y + high)
        if any(x < b[2] and b[0] < box[2] and y < b[3] and b[1] < box[3] for _, b in drawn):
            continue
        color = tuple(
            int(value) for value in np.clip(np.array([*COLORS.values()][kind]) + random.normal(0, 20, 3), 0, 255)
        )
        corners = (x, y, box[2] - 1, box[3] - 1)  # Pillow draws the last pixel
        for pen, fill in zip(pens, (color, kind + 1), strict=False):
            if kind in (0, 2):
                pen.ellipse(corners, fill=fill)
            elif kind in (1, 3):
                pen.rectangle(corners, fill=fill)
            else:
                pen.polygon([(corners[0], corners[3]), (corners[2], corners[3]), (x + wide // 2, y)], fill=fill)
        drawn.append((kind, box))
    return drawn


def detector(path: Path, name: str, images: Path, *, epochs: int, overrides: Sequence[str] = ()) -> Path:
    """Write weights of a detector for images of 800 pixels, trained on small scenes, unless they exist.

    The small scenes have 96 pixels, enlarged to 160: their objects are as large as those of scenes of 640x480 pixels at 800.
    With random weights no box would have a score, and AP would be 0 on both sides whatever they compute.
    """
    from dataclasses import replace

    import resnets
    from resnets.weights.checkpoint import read, save

    if not path.exists():
        settings = (
            "model.weights=none", "data.batch=4", "task.zoom_out=0", "task.object_crop=0", "task.scale_jitter=[1,1]",
            "task.train_proposals=300", "task.proposal_samples=64", *overrides,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            run = resnets.train(
                images, model=name, imgsz=160, epochs=epochs, out=folder, name="run", overrides=settings
            )
            trained = read(run.run / "weights" / "last.safetensors", task=None)
        large = replace(trained.preprocess, size=(1333, 1333), resize_to=800)
        usual = {"shorter_side": 800, "train_proposals": 2000, "proposal_samples": 512}
        save(path, replace(trained, preprocess=large, config={**trained.config, **usual}))
    return path


def segmenter(path: Path, name: str, *, num_classes: int) -> Path:
    """Write random weights of a segmenter, unless they exist."""
    import torch

    from resnets.data.image.preprocess import Preprocess
    from resnets.models.segmentation import zoo
    from resnets.models.segmentation.build import build_segmenter
    from resnets.weights.checkpoint import SEGMENTATION, Checkpoint, save

    if not path.exists():
        torch.manual_seed(0)
        settings, backbone = zoo.get(name)
        tensors = build_segmenter(settings, backbone, num_classes).state_dict()
        names = tuple(f"class_{number}" for number in range(num_classes))
        preprocess = Preprocess(resize="none", crop="none")
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, Checkpoint(backbone, preprocess, names, tensors, task=SEGMENTATION, config=dict(vars(settings))))
    return path


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


def int8(folder: Path, name: str, images: Path, *, num_classes: int) -> Path:
    """Write random weights of a network, whose norms fit the images, in int8 for OpenVINO, unless they exist.

    Nothing proves such a file: random weights have no accuracy to lose.
    """
    import torch

    from resnets.data.image.preprocess import Preprocess
    from resnets.export.quantization import calibration_images, quantize, to_int8
    from resnets.export.traced_graph import write_contents
    from resnets.inference.benchmark import calibrate_batch_norms_
    from resnets.models import zoo
    from resnets.tasks import load_model
    from resnets.tasks.exported.exported_model import input_preprocess
    from resnets.weights.checkpoint import Checkpoint, save

    if not folder.exists():
        preprocess, files = Preprocess.imagenet(224), sorted(images.rglob("*.jpg"))[:64]
        torch.manual_seed(0)
        net = zoo.build(name, num_classes=num_classes)
        calibrate_batch_norms_(net, torch.stack([preprocess.load(file) for file in files[:16]]))
        names = tuple(f"class_{number}" for number in range(num_classes))
        weights = folder.with_suffix(".safetensors")
        save(weights, Checkpoint(zoo.get_spec(name, num_classes=num_classes), preprocess, names, net.state_dict()))
        traced = quantize.graph_to_quantize(weights, load_model.load(weights, "cpu", precision="fp32"))
        pixels = calibration_images.load(files, input_preprocess(preprocess, traced.input_kind), traced.input_kind)
        write_contents(folder, to_int8.contents(traced, "openvino", pixels))
    return folder


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
