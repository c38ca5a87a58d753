"""A decoder of your own for semantic segmentation, as in segmentation_models_pytorch, on any network of resnets.

    python examples/segmentation_decoder.py [--model resnet18]

The decoder joins each map with the next coarser one, from the last to the first (U-Net). Here it learns to find bright
discs in noise, so that the script needs no data.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import resnets


class UNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, num_classes, H, W)."""

    def __init__(self, name: str, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.encoder = resnets.create_model(name, features_only=True)
        channels = self.encoder.feature_info.channels()
        self.reduce = nn.ModuleList(nn.Conv2d(each, width, 1) for each in channels)
        self.merge = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU()) for _ in channels[:-1]
        )
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        *finer, last = [reduce(maps) for reduce, maps in zip(self.reduce, self.encoder(images), strict=True)]
        x = last
        for maps, merge in zip(reversed(finer), reversed(self.merge), strict=True):
            x = F.interpolate(x, size=maps.shape[-2:], mode="bilinear")
            x = merge(torch.cat([x, maps], 1))
        return F.interpolate(self.head(x), size=images.shape[-2:], mode="bilinear")


def make_batch(generator: torch.Generator, batch: int = 4, side: int = 64) -> tuple[Tensor, Tensor]:
    """Images, float (N, 3, side, side), each with a bright disc, and the class of each pixel: 1 on the disc."""
    images = 0.3 * torch.rand(batch, 3, side, side, generator=generator)
    centers = side * torch.rand(2, batch, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    masks = (rows - centers[0]) ** 2 + (columns - centers[1]) ** 2 < (side / 5) ** 2
    return images + 0.5 * masks[:, None], masks.long()


def train(model: UNet, *, steps: int) -> float:
    """The intersection over union of the discs on new images after training."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(steps):
        images, masks = make_batch(generator)
        loss = F.cross_entropy(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, masks = make_batch(generator, batch=16)
    with torch.inference_mode():
        found = model(images).argmax(1)
    return float((found & masks).sum() / (found | masks).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"IoU {train(UNet(arguments.model, num_classes=2), steps=arguments.steps):.3f}")


if __name__ == "__main__":
    main()
