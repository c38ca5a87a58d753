"""ONNX Runtime by itself at fp32, on tensors that lie ready in memory: what the processor can do without any image."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

count, batch, file = int(sys.argv[1]), 16, Path(sys.argv[2])
file.parent.mkdir(parents=True, exist_ok=True)
model = torchvision.models.resnet50(num_classes=5).eval()
program = torch.onnx.export(model, (torch.zeros(batch, 3, 224, 224),), dynamo=True, verbose=False)
program.save(str(file))
session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
images = np.random.default_rng(0).normal(size=(batch, 3, 224, 224)).astype(np.float32)
for _ in range(2):
    session.run(None, {name: images})
start = time.perf_counter()
for _ in range(count // batch):
    session.run(None, {name: images})
report(count // batch * batch, time.perf_counter() - start)
