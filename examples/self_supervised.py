"""Train a network without labels, on two augmented views of each image (SimSiam), and keep it as a checkpoint.

    python examples/self_supervised.py photos --out backbone.safetensors
    resnets embed backbone.safetensors photos --out photos.npz

The parts are those of lightly's examples: a backbone without its head, a projection head, a prediction head and the
negative cosine similarity (Chen and He 2021, Exploring Simple Siamese Representation Learning). `photos` is a folder of
images; labels are not read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import resnets
from resnets.data.image.preprocess import Preprocess
from resnets.weights import checkpoint

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")


class Views(Dataset):
    """Two random views of each image of a folder, float (3, side, side)."""

    def __init__(self, folder: Path, side: int) -> None:
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        self.transform = v2.Compose([
            v2.RandomResizedCrop(side, scale=(0.3, 1)), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
            v2.RandomGrayscale(0.2), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.paths[index]) as image:
            pixels = image.convert("RGB")
        return self.transform(pixels), self.transform(pixels)


class SimSiam(nn.Module):
    """The backbone with the two heads that only the training needs."""

    def __init__(self, network: nn.Module, width: int = 128) -> None:
        super().__init__()
        self.network, size = network, network.num_features
        self.projection = nn.Sequential(
            nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.BatchNorm1d(width)
        )
        self.prediction = nn.Sequential(
            nn.Linear(width, width // 4), nn.BatchNorm1d(width // 4), nn.ReLU(), nn.Linear(width // 4, width)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The prediction, and the projection that that of the other view should predict."""
        maps = self.network.forward_features(x)
        projected = self.projection(self.network.forward_head(maps, pre_logits=True))
        return self.prediction(projected), projected.detach()


def loss_of(model: SimSiam, one: Tensor, other: Tensor) -> Tensor:
    """Between -1, where each view predicts the other, and 1."""
    (p1, z1), (p2, z2) = model(one), model(other)
    return -(F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean()) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", default="backbone.safetensors")
    parser.add_argument("--model", default="cifar_resnet20")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    spec = resnets.get_spec(arguments.model, num_classes=1)
    model = SimSiam(resnets.create_model(arguments.model, num_classes=1)).train()
    views = Views(arguments.folder, arguments.side)
    loader = DataLoader(views, arguments.batch, shuffle=True, drop_last=len(views) > arguments.batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 * arguments.batch / 256, momentum=0.9, weight_decay=1e-4)
    for epoch in range(arguments.epochs):
        losses = []
        for one, other in loader:
            loss = loss_of(model, one, other)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}")
    # As the images were normalized above. The one class is a placeholder: `--weights` puts a new last layer in its place.
    preprocess = Preprocess(size=(arguments.side,) * 2, resize_to=arguments.side, mean=(0.5,) * 3, std=(0.5,) * 3)
    saved = checkpoint.Checkpoint(spec, preprocess, ("image",), model.network.state_dict())
    checkpoint.save(arguments.out, saved)


if __name__ == "__main__":
    main()
