"""A detector of torchvision on any network of resnets.

    python examples/torchvision_detection.py [--model resnet18]

`features_only=True` gives the feature maps, and `feature_info` their channels, which torchvision's feature pyramid asks
for. Here it learns to find bright squares in noise, so that the script needs no data.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

import resnets


class Pyramid(nn.Module):
    """The maps of all stages as torchvision's detectors take them: a dictionary of maps with equal channels."""

    def __init__(self, name: str, out_channels: int = 64) -> None:
        super().__init__()
        stages = len(resnets.get_spec(name).num_blocks)
        self.body = resnets.create_model(name, features_only=True, out_indices=range(1, stages + 1))
        self.fpn = FeaturePyramidNetwork(self.body.feature_info.channels(), out_channels)
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(OrderedDict((str(level), maps) for level, maps in enumerate(self.body(x))))


def make_detector(name: str) -> FasterRCNN:
    pyramid = Pyramid(name)
    levels = len(pyramid.body.feature_info)
    anchors = AnchorGenerator(tuple((64 // 2 ** (levels - 1 - level),) for level in range(levels)), ((1.0,),) * levels)
    regions = MultiScaleRoIAlign([str(level) for level in range(levels)], output_size=5, sampling_ratio=2)
    return FasterRCNN(
        pyramid, num_classes=2, rpn_anchor_generator=anchors, box_roi_pool=regions, min_size=96, max_size=96,
        rpn_post_nms_top_n_train=100, box_batch_size_per_image=32,
    )  # fmt: skip


def make_scene(generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """An image, float (3, 96, 96), with one bright square, and its target."""
    image = 0.3 * torch.rand(3, 96, 96, generator=generator)
    left, top = (int(torch.randint(0, 64, (), generator=generator)) for _ in range(2))
    side = int(torch.randint(16, 32, (), generator=generator))
    image[:, top : top + side, left : left + side] += 0.7
    box = torch.tensor([[left, top, left + side, top + side]], dtype=torch.float32)
    return image, {"boxes": box, "labels": torch.ones(1, dtype=torch.int64)}


def train(detector: FasterRCNN, *, steps: int, batch: int = 4) -> list[float]:
    """The loss of each step."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    detector.train()
    losses = []
    for _ in range(steps):
        images, targets = zip(*(make_scene(generator) for _ in range(batch)), strict=True)
        loss = sum(detector(list(images), list(targets)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    losses = train(make_detector(arguments.model), steps=arguments.steps)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
