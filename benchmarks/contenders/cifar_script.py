"""A CIFAR ResNet-20 as scripts on the web train it: its own module, transforms of torchvision, a DataLoader, fp32.

cifar_script.py FOLDER [--device cuda] [--workers 2]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report


class Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.stride, self.more = stride, width - before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        around = x[:, :, :: self.stride, :: self.stride]
        around = nn.functional.pad(around, (0, 0, 0, 0, 0, self.more))
        return torch.relu(self.body(x) + around)


def resnet20() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for number in range(3):
            layers.append(Block(before, width, stride if number == 0 else 1))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


transform = transforms.Compose(
    [
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
    ]
)
parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("--device", default="cpu")
parser.add_argument("--workers", type=int, default=2)
options = parser.parse_args()
files = torchvision.datasets.ImageFolder(options.folder)
# torchvision's CIFAR10 holds its images decoded in memory, too.
dataset = [(image.copy(), label) for image, label in files]


class Varied(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return len(dataset)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        image, label = dataset[number]
        return transform(image), label


loader = torch.utils.data.DataLoader(
    Varied(), batch_size=128, shuffle=True, num_workers=options.workers, drop_last=True, persistent_workers=True
)
model = resnet20().to(options.device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
start, done = 0.0, 0
for epoch in range(2):
    for number, (images, labels) in enumerate(loader):
        if epoch == 1 and number == 0:  # its workers have begun
            start = time.perf_counter()
        images, labels = images.to(options.device), labels.to(options.device)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # scripts print it
        done += len(labels) if epoch == 1 else 0
report(done, time.perf_counter() - start)
