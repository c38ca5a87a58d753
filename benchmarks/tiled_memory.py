"""The peak memory of `resnets predict` on one large image, of a process of its own: a detector in tiles, a segmenter in windows.

    python benchmarks/tiled_memory.py
    python benchmarks/tiled_memory.py --side 4000 --model maskrcnn_light_resnet18 --tile 320
    python benchmarks/tiled_memory.py --side 20000 --model light_tiny --format npy

The weights are random, since they change the time and the answers, and not the memory of the network.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def prepare(image: Path, weights: Path, side: int, model: str, imgsz: int) -> None:
    """Write an image, noise with squares, and the weights of a detector or a segmenter."""
    import numpy as np
    import torch

    from resnets.data.image.preprocess import Preprocess
    from resnets.models import model_names
    from resnets.models.detection import build as detectors
    from resnets.models.detection import zoo as detector_zoo
    from resnets.models.segmentation import build as segmenters
    from resnets.models.segmentation import zoo as segmenter_zoo
    from resnets.weights.checkpoint import Checkpoint, save

    random = np.random.default_rng(0)
    shape = (side, side, 3)
    pixels = (
        np.lib.format.open_memmap(image, "w+", np.uint8, shape) if image.suffix == ".npy" else np.empty(shape, np.uint8)
    )
    for row in range(side):
        pixels[row] = random.integers(0, 120, (side, 3), np.uint8)
    for x, y in random.integers(0, side - 12, (side // 10, 2)):
        pixels[y : y + 12, x : x + 12] = 255
    write(image, pixels)
    torch.manual_seed(0)
    if model_names.kind(model) == "detector":
        task, preprocess = "detection", Preprocess(size=(imgsz, imgsz), resize="fit", resize_to=None)
        settings, backbone = detector_zoo.get(model)
        network = detectors.build_detector(settings, backbone, 2)
    else:
        task, preprocess = "segmentation", Preprocess(resize="none", crop="none")
        settings, backbone = segmenter_zoo.get(model)
        network = segmenters.build_segmenter(settings, backbone, 2)
    config = dict(vars(settings))
    save(weights, Checkpoint(backbone, preprocess, ("a", "b"), network.state_dict(), task=task, config=config))


def write(image: Path, pixels: Any) -> None:
    """Write the pixels of a JPEG image or a tiled TIFF; those of an `.npy` file are there."""
    if image.suffix == ".jpg":
        from PIL import Image

        Image.fromarray(pixels).save(image, quality=90)
    elif image.suffix == ".tif":
        import tifffile

        tifffile.imwrite(image, pixels, tile=(256, 256), compression="zlib", photometric="rgb")


def main() -> None:
    """Print the peak memory and the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8000, help="of the image, in pixels")
    parser.add_argument("--tile", type=int, default=640, help="of a detector; 0 for none")
    parser.add_argument("--imgsz", type=int, default=640, help="of a detector")
    parser.add_argument("--model", default="fasterrcnn_light_resnet18")
    parser.add_argument("--format", choices=("jpg", "npy", "tif"), default="jpg")
    parser.add_argument("--out", choices=("jsonl", "masks"), default="jsonl", help="what is written")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # This process imports nothing large: what it uses would count for its children, too.
    with tempfile.TemporaryDirectory() as folder:
        root = options.prepare or Path(folder)
        weights, image = root / "weights.safetensors", root / f"image.{options.format}"
        if options.prepare:
            prepare(image, weights, options.side, options.model, options.imgsz)
            return
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--prepare", folder], check=True)
        command = [sys.executable, "-m", "resnets", "predict", weights, image, f"--{options.out}", root / "found"]
        if "rcnn" in options.model or "yolo" in options.model:
            command += ["--score", "0.05"]
            command += ["--tile", str(options.tile)] if options.tile else []
        start = time.monotonic()
        process = subprocess.Popen([str(word) for word in command])
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, f"exit code {os.waitstatus_to_exitcode(status)}"
        how = " ".join(sys.argv[1:]) or "a detector on an image of 8000 pixels"
        print(f"{how}: peak {usage.ru_maxrss * 1024 / 1e6:,.0f} MB, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
