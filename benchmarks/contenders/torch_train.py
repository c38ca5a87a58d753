"""Training as users of torchvision and timm write it: resnet50 at 224, SGD, fp32, a DataLoader with two workers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import timm
import torch
import torchvision
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

folder, batch, steps, library = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
transform = transforms.Compose(
    [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
dataset = torchvision.datasets.ImageFolder(folder, transform)
loader = torch.utils.data.DataLoader(
    dataset, batch_size=batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
)
create = timm.create_model if library == "timm" else torchvision.models.get_model
model = create("resnet50", num_classes=5)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
criterion = torch.nn.CrossEntropyLoss()
start, done = 0.0, 0
for epoch in range(2):
    for number, (images, labels) in enumerate(loader):
        if number == steps:
            break
        if epoch == 1 and number == 0:
            start = time.perf_counter()
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += len(labels) if epoch == 1 else 0
report(done, time.perf_counter() - start)
