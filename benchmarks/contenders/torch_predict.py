"""A folder through the resnet50 of torchvision or timm, as their users write it: a Dataset, a DataLoader, and a loop.

torch_predict.py FOLDER LIBRARY [--device cuda] [--workers 2]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import timm
import torch
import torchvision
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("library", choices=("torchvision", "timm"))
parser.add_argument("--device", default="cpu")
parser.add_argument("--workers", type=int, default=2)
options = parser.parse_args()
transform = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
dataset = torchvision.datasets.ImageFolder(options.folder, transform)
loader = torch.utils.data.DataLoader(dataset, batch_size=32, num_workers=options.workers)
create = timm.create_model if options.library == "timm" else torchvision.models.get_model
model = create("resnet50", num_classes=5).eval().to(options.device)
answers = []
with torch.no_grad():
    for images, _ in loader:
        answers += model(images.to(options.device)).softmax(1).argmax(1).tolist()
report(len(answers), None)
