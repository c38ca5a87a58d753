"""Training as users of segmentation_models_pytorch write it: a U-Net on ResNet-18, random crops, Adam, two workers.

    smp_train.py FOLDER BATCH STEPS CROP

FOLDER has `train/images` and `train/masks`. It is fp32, with cross-entropy; its speed is that of the second epoch.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

WORKERS = 2


class Masks(torch.utils.data.Dataset):
    """Images and label masks."""

    def __init__(self, folder: Path, crop: int) -> None:
        self.images = sorted((folder / "train" / "images").iterdir())
        self.masks = folder / "train" / "masks"
        self.transform = v2.Compose(
            [
                v2.RandomCrop(crop),
                v2.RandomHorizontalFlip(),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        path = self.images[index]
        image = tv_tensors.Image(Image.open(path).convert("RGB"))
        mask = tv_tensors.Mask(Image.open(self.masks / f"{path.stem}.png"))
        image, mask = self.transform(image, mask)
        return image, mask[0].long()


parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("batch", type=int)
parser.add_argument("steps", type=int)
parser.add_argument("crop", type=int)
options = parser.parse_args()
loader = torch.utils.data.DataLoader(
    Masks(options.folder, options.crop),
    batch_size=options.batch,
    shuffle=True,
    num_workers=WORKERS,
    drop_last=True,
    persistent_workers=True,
)
model = smp.Unet("resnet18", encoder_weights=None, classes=6)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
criterion = torch.nn.CrossEntropyLoss(ignore_index=255)
start, done = 0.0, 0
for epoch in range(2):
    for number, (images, masks) in enumerate(loader):
        if number == options.steps:
            break
        if epoch == 1 and number == 0:
            start = time.perf_counter()
        loss = criterion(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # scripts print it
        done += len(images) if epoch == 1 else 0
report(done, time.perf_counter() - start)
