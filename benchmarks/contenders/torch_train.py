"""Training as users of torchvision and timm write it: resnet50 at 224, SGD, a DataLoader with two workers.

    torch_train.py FOLDER BATCH STEPS LIBRARY [--device cuda] [--amp] [--workers 2]

Without `--amp` it is fp32, of which a GPU makes TF32 in convolutions; with it bf16 and the channels last.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import timm
import torch
import torchvision
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("batch", type=int)
parser.add_argument("steps", type=int)
parser.add_argument("library", choices=("torchvision", "timm"))
parser.add_argument("--device", default="cpu")
parser.add_argument("--amp", action="store_true")
parser.add_argument("--workers", type=int, default=2)
options = parser.parse_args()
transform = transforms.Compose(
    [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
dataset = torchvision.datasets.ImageFolder(options.folder, transform)
loader = torch.utils.data.DataLoader(
    dataset,
    batch_size=options.batch,
    shuffle=True,
    num_workers=options.workers,
    drop_last=True,
    persistent_workers=True,
    pin_memory=options.device != "cpu",
)
create = timm.create_model if options.library == "timm" else torchvision.models.get_model
layout = torch.channels_last if options.amp else torch.contiguous_format
model = create("resnet50", num_classes=5).to(options.device, memory_format=layout)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
criterion = torch.nn.CrossEntropyLoss()
start, done = 0.0, 0
for epoch in range(2):
    for number, (images, labels) in enumerate(loader):
        if number == options.steps:
            break
        if epoch == 1 and number == 0:
            start = time.perf_counter()
        images = images.to(options.device, memory_format=layout, non_blocking=True)
        labels = labels.to(options.device, non_blocking=True)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.amp):
            loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # scripts print it
        done += len(labels) if epoch == 1 else 0
report(done, time.perf_counter() - start)
