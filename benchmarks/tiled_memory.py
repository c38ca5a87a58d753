"""The peak memory of `resnets predict --tile` on one large JPEG image, of a process of its own.

    python benchmarks/tiled_memory.py
    python benchmarks/tiled_memory.py --side 4000 --model maskrcnn_light_resnet18 --tile 320

The weights are random, since they change the time and the objects, and not the memory of the network.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def prepare(folder: Path, side: int, model: str, imgsz: int) -> None:
    """Write `image.jpg`, noise with squares, and `detector.safetensors`."""
    import numpy as np
    import torch
    from PIL import Image

    from resnets.data.image.preprocess import Preprocess
    from resnets.models.detection import zoo
    from resnets.models.detection.build import build_detector
    from resnets.weights.checkpoint import Checkpoint, save

    random = np.random.default_rng(0)
    pixels = random.integers(0, 120, (side, side, 3), np.uint8)
    for x, y in random.integers(0, side - 12, (side // 10, 2)):
        pixels[y : y + 12, x : x + 12] = 255
    Image.fromarray(pixels).save(folder / "image.jpg", quality=90)
    torch.manual_seed(0)
    settings, backbone = zoo.get(model)
    tensors = build_detector(settings, backbone, 2).state_dict()
    preprocess = Preprocess(size=(imgsz, imgsz), resize="fit", resize_to=None)
    config = {**vars(settings)}
    save(
        folder / "detector.safetensors",
        Checkpoint(backbone, preprocess, ("a", "b"), tensors, task="detection", config=config),
    )


def main() -> None:
    """Print the peak memory and the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8000, help="of the image, in pixels")
    parser.add_argument("--tile", type=int, default=640, help="0 for none")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--model", default="fasterrcnn_light_resnet18")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare, options.side, options.model, options.imgsz)
        return
    # This process imports nothing large: what it uses would count for its children, too.
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--prepare", folder], check=True)
        files = [f"{folder}/{name}" for name in ("detector.safetensors", "image.jpg", "found.jsonl")]
        command = [sys.executable, "-m", "resnets", "predict", *files[:2], "--jsonl", files[2], "--score", "0.05"]
        command += ["--tile", str(options.tile)] if options.tile else []
        start = time.monotonic()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, f"exit code {os.waitstatus_to_exitcode(status)}"
        how = f"{options.model}, {options.side}x{options.side}, tile {options.tile}, imgsz {options.imgsz}"
        print(f"{how}: peak {usage.ru_maxrss * 1024 / 1e6:,.0f} MB, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
