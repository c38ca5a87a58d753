"""Photographs of 12 megapixels to tensors of 224 with Pillow and torchvision, decoded whole; on one core."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

torch.set_num_threads(1)
paths = sorted(Path(sys.argv[1]).rglob("*.jpg"))
transform = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
transform(Image.open(paths[0]).convert("RGB"))
start = time.perf_counter()
for path in paths:
    transform(Image.open(path).convert("RGB"))
report(len(paths), time.perf_counter() - start)
