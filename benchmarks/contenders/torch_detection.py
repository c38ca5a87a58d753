"""torchvision's Faster R-CNN as its reference script for detection runs it: predict a folder, evaluate, or train.

    torch_detection.py predict FOLDER WEIGHTS OUT
    torch_detection.py evaluate FOLDER WEIGHTS
    torch_detection.py train FOLDER STEPS

FOLDER has COCO's layout. As in the reference script, the images of a training come in batches of two, those of an evaluation
one by one and on one thread of torch, read by worker processes. A training begins with random weights, so nothing is
frozen, and takes SGD steps, with each loss read. The network has `BatchNorm2d`, which is faster than the
`FrozenBatchNorm2d` that torchvision uses with its published weights. Detections are matched once at the end in place of
after each image, which is faster, too.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from pycocotools.cocoeval import COCOeval
from torchvision.datasets import CocoDetection
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.transforms.functional import hflip, pil_to_tensor

BATCH, WORKERS = 2, 2


class Scenes(CocoDetection):
    """Images in [0, 1] with their boxes; in a training half of them mirrored."""

    def __init__(self, folder: Path, split: str) -> None:
        super().__init__(folder / f"{split}2017", folder / "annotations" / f"instances_{split}2017.json")
        self.is_train = split == "train"

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, Any]]:
        image, objects = super().__getitem__(index)
        pixels = pil_to_tensor(image).float() / 255
        boxes = torch.tensor([each["bbox"] for each in objects], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        if self.is_train and torch.rand(()) < 0.5:
            pixels = hflip(pixels)
            boxes[:, [0, 2]] = image.width - boxes[:, [2, 0]]
        labels = torch.tensor([each["category_id"] for each in objects], dtype=torch.int64)
        return pixels, {"boxes": boxes, "labels": labels, "image_id": self.ids[index]}


def network(dataset: Scenes, weights: Path | None = None) -> torch.nn.Module:
    made = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=len(dataset.coco.cats) + 1)
    if weights is not None:
        made.load_state_dict(torch.load(weights, weights_only=True))
    return made


def batches(dataset: Scenes, size: int) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=size,
        shuffle=dataset.is_train,
        num_workers=WORKERS,
        collate_fn=lambda batch: list(zip(*batch, strict=True)),
    )


@torch.inference_mode()
def detections(model: torch.nn.Module, dataset: Scenes) -> list[dict[str, Any]]:
    """All boxes of the network, in COCO's format."""
    model.eval()
    found = []
    for images, targets in batches(dataset, 1):
        for target, objects in zip(targets, model(images), strict=True):
            boxes = objects["boxes"].clone()
            boxes[:, 2:] -= boxes[:, :2]
            rows = zip(boxes.tolist(), objects["labels"].tolist(), objects["scores"].tolist(), strict=True)
            found += [
                {"image_id": target["image_id"], "bbox": box, "category_id": label, "score": score}
                for box, label, score in rows
            ]
    return found


def evaluate(model: torch.nn.Module, dataset: Scenes) -> float:
    torch.set_num_threads(1)  # as the reference script does
    evaluation = COCOeval(dataset.coco, dataset.coco.loadRes(detections(model, dataset)), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def train(model: torch.nn.Module, dataset: Scenes, steps: int) -> None:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02 / 8, momentum=0.9, weight_decay=1e-4)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 1000, total_iters=1000)
    taken = 0
    while taken < steps:
        for images, targets in batches(dataset, BATCH):
            losses = model(list(images), [{key: each[key] for key in ("boxes", "labels")} for each in targets])
            total = sum(losses.values())
            if not math.isfinite(total.item()):
                raise SystemExit(f"the loss is {total.item()}")
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            warmup.step()
            taken += 1
            if taken == steps:
                break


parser = argparse.ArgumentParser()
parser.add_argument("job", choices=("predict", "evaluate", "train"))
parser.add_argument("folder", type=Path)
parser.add_argument("rest", nargs="+")
options = parser.parse_args()
scenes = Scenes(options.folder, "train" if options.job == "train" else "val")
if options.job == "predict":
    weights, out = options.rest
    Path(out).write_text(json.dumps(detections(network(scenes, Path(weights)), scenes)))
elif options.job == "evaluate":
    print(json.dumps({"box_ap": evaluate(network(scenes, Path(options.rest[0])), scenes)}))
else:
    train(network(scenes), scenes, int(options.rest[0]))
