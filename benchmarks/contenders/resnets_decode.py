"""Photographs of 12 megapixels to tensors of 224 by the value that every checkpoint carries; on one core."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from resnets.data.image.preprocess import Preprocess

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

torch.set_num_threads(1)
paths = sorted(Path(sys.argv[1]).rglob("*.jpg"))
preprocess = Preprocess.imagenet(224)
preprocess.load(paths[0])
start = time.perf_counter()
for path in paths:
    preprocess.load(path)
report(len(paths), time.perf_counter() - start)
