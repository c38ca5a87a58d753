"""Finetune a network in a training loop of your own, with smaller learning rates for earlier layers.

    python examples/pytorch_loop.py photos --weights cifar_resnet20.cifar10

`photos` has a folder of images for each class. Only PyTorch and torchvision are used beside the network and its preprocessing.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import resnets


def layer_groups(net: nn.Module, lr: float, decay: float) -> list[dict[str, object]]:
    """Parameter groups for an optimizer: `lr` for the head, `decay` times as much for the last stage, and so on to the stem."""
    order = ["stem", *net.stages, "head"]
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in order}
    for name, parameter in net.named_parameters():
        part = re.split(r"\.", name)[0]
        groups["head" if part == "final" else part].append(parameter)
    return [{"params": groups[name], "lr": lr * decay ** (len(order) - 1 - depth)} for depth, name in enumerate(order)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="cifar_resnet20")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    preprocess = resnets.Preprocess.imagenet(32)
    if arguments.weights != "none":
        preprocess = resnets.load(arguments.weights).preprocess
    data = ImageFolder(str(arguments.folder), loader=preprocess.load)  # a tensor (3, h, w), as in a prediction
    net = resnets.create_model(arguments.model, weights=arguments.weights, num_classes=len(data.classes)).train()
    net.set_grad_checkpointing()  # less memory, more time; leave it out where memory is no problem
    optimizer = torch.optim.AdamW(layer_groups(net, lr=3e-3, decay=0.5), weight_decay=0.01)
    for epoch in range(arguments.epochs):
        right = 0
        for images, labels in DataLoader(data, batch_size=16, shuffle=True):
            logits = net(images)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right += int((logits.argmax(1) == labels).sum())
        print(f"epoch {epoch + 1}: accuracy {right / len(data):.3f}")


if __name__ == "__main__":
    main()
