"""OpenVINO by itself at bf16, on tensors that lie ready in memory: what the processor can do without any image."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ["CI"] = "true"  # else it reports this run to its makers

import openvino
import torch
import torchvision

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

count, batch = int(sys.argv[1]), 16
model = torchvision.models.resnet50(num_classes=5).eval()
converted = openvino.convert_model(model, example_input=torch.zeros(batch, 3, 224, 224), input=[(batch, 3, 224, 224)])
compiled = openvino.compile_model(
    converted, "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "THROUGHPUT"}
)
queue = openvino.AsyncInferQueue(compiled)
images = np.random.default_rng(0).normal(size=(batch, 3, 224, 224)).astype(np.float32)
for _ in range(4):
    queue.start_async({0: images})
queue.wait_all()
start = time.perf_counter()
for _ in range(count // batch):
    queue.start_async({0: images})
queue.wait_all()
report(count // batch * batch, time.perf_counter() - start)
