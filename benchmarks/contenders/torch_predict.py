"""A folder through the resnet50 of torchvision or timm, as their users write it: a Dataset, a DataLoader, and a loop."""

from __future__ import annotations

import sys
from pathlib import Path

import timm
import torch
import torchvision
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

folder, library = Path(sys.argv[1]), sys.argv[2]
transform = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
dataset = torchvision.datasets.ImageFolder(folder, transform)
loader = torch.utils.data.DataLoader(dataset, batch_size=32, num_workers=2)
create = timm.create_model if library == "timm" else torchvision.models.get_model
model = create("resnet50", num_classes=5).eval()
answers = []
with torch.no_grad():
    for images, _ in loader:
        answers += model(images).softmax(1).argmax(1).tolist()
report(len(answers), None)
