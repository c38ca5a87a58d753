"""Put the preprocessing of many models into graphs, and compare every runtime with Pillow.

    python tests/soak/preprocess_graphs.py
    python tests/soak/preprocess_graphs.py --images DIR --count 500

ONNX Runtime, and OpenVINO in f32 from ONNX and from torch, compute noise of odd sizes, or files. The exit code is 1 if a value is
more than two gray levels off, too many values are one off, or the same graph gives other bytes the second time.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from resnets.data.image.preprocess import Preprocess
from resnets.export import preprocess_graph, to_onnx, to_openvino
from resnets.export.graph import example_input
from resnets.export.trace import trace
from resnets.inference.exported.read_exported import OPENVINO, WEIGHTS, XML, ExportedFile
from resnets.inference.exported.runtimes import OnnxRuntime, OpenVino, Runtime, read_onnx

SIZES = [
    (131, 97),
    (97, 203),
    (203, 61),
    (331, 17),
    (45, 61),
    (640, 427),
    (1, 1),
    (3, 800),
    (1201, 901),
]  # height, width
LIMITS = {"bilinear": 0.06, "bicubic": 0.003, "lanczos": 0.003}  # shares of values that are a level off
BASE = Preprocess(size=(45, 61), resize_to=67, fast_jpeg=False)
RESIZES = {
    "shorter": BASE,
    "stretch": replace(BASE, resize="stretch", crop="none", color="bgr"),
    "pad": replace(BASE, resize="pad", background=(12, 130, 250)),
}


def preprocesses() -> Iterator[tuple[str, Preprocess]]:
    """Those to compare, by name."""
    for (name, preprocess), interpolation in itertools.product(RESIZES.items(), LIMITS):
        yield f"{name}, {interpolation}", replace(preprocess, interpolation=interpolation)
    yield "ImageNet", Preprocess.imagenet()
    yield "gray", replace(BASE, color="gray", mean=(0.4,), std=(0.2,))
    yield (
        "mean image",
        replace(BASE, resize="stretch", mean=tuple(np.linspace(0, 1, 3 * math.prod(BASE.size)).tolist())),
    )
    yield "no resize", replace(BASE, resize="none")
    yield "without antialiasing", replace(RESIZES["stretch"], antialias=False)


def exported(preprocess: Preprocess) -> tuple[bytes, dict[str, bytes]]:
    """The ONNX file, and the files of OpenVINO."""
    metadata = {"checkpoint": {"class_names": [], "preprocess": preprocess.to_dict()}, "size": None}
    program = trace(preprocess_graph.build(preprocess, "full"), example_input(None, 3, "full"), "full", None)
    model = to_openvino.convert(program, ["pixels"], (None, None, None, 3))
    onnx_bytes = to_onnx.to_bytes(to_onnx.convert(program, ["pixels"]), metadata)
    return onnx_bytes, to_openvino.to_bytes(model, metadata)


def runtimes(preprocess: Preprocess) -> dict[str, Runtime]:
    """What computes the graph of a preprocessing, by name."""
    content, files = exported(preprocess)
    folder = ExportedFile(Path(), OPENVINO, (files[XML], files[WEIGHTS]), {})
    return {
        "onnxruntime": OnnxRuntime(content),
        "openvino of ONNX": OpenVino(read_onnx(content)),
        "openvino": OpenVino(folder.openvino_model()),
    }


def images_of(folder: Path | None, count: int) -> list[np.ndarray]:
    """Noise, or files."""
    if folder is None:
        random = np.random.default_rng(0)
        return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return [BASE.read(path) for path in files[:: max(len(files) // count, 1)][:count]]


def compare(preprocess: Preprocess, runtime: Runtime, images: Sequence[np.ndarray]) -> tuple[float, float]:
    """The largest difference in gray levels, and the share of values that are more than half a level off."""
    largest, off, total = 0.0, 0, 0
    for image in images:
        (found,) = runtime.run(image[None], ["pixels"])
        std = np.reshape(preprocess.std, (-1, 1, 1)) * preprocess.scale
        differences = np.abs(found[0] - preprocess(image).numpy()) * std
        largest = max(largest, float(differences.max()))
        off, total = off + int((differences > 0.5).sum()), total + differences.size
    return largest, off / total


def run(names: Sequence[str], images: Sequence[np.ndarray]) -> int:
    """Compare the preprocessings of these names, or all, and return how many runtimes are wrong with one."""
    wrong = 0
    for name, preprocess in preprocesses():
        if names and name not in names:
            continue
        for runtime_name, runtime in runtimes(preprocess).items():
            largest, share = compare(preprocess, runtime, images)
            is_right = largest <= 2.001 and share <= LIMITS[preprocess.interpolation]
            wrong += not is_right
            verdict = "" if is_right else ": wrong"
            print(
                f"{name}, {runtime_name}: at most {largest:.3f} levels, {share:.4%} of the values{verdict}", flush=True
            )
    print(f"{len(images)} images: {wrong} wrong", flush=True)
    return wrong


def main() -> int:
    """Compare what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="*", default=[])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=500)
    asked = parser.parse_args()
    wrong = run(asked.names, images_of(asked.images, asked.count))
    if exported(BASE) != exported(BASE):
        wrong += 1
        print("the same graph gives other bytes the second time: wrong", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
