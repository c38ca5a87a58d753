"""Faster R-CNN on Penn-Fudan with the settings of torchvision's detection tutorial, from random weights, until AP50 reaches 0.50.

    torch_penn_fudan.py FOLDER SPLIT_FILE SECONDS_FILE LIMIT

Batches of two, SGD with a learning rate of 0.005, momentum 0.9 and weight decay 0.0005, mirrored images, a validation after each
epoch. The tutorial divides the learning rate by 10 after three epochs, which are enough from pretrained weights; here it
stays. It is stopped at LIMIT times the seconds in SECONDS_FILE; the ratio is then a lower bound, and `reached` false.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import torch
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image
from torchvision.io import ImageReadMode, read_image
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import masks_to_boxes
from torchvision.transforms.functional import hflip, pil_to_tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

GOAL = 0.50
start = time.perf_counter()
folder, split_file, seconds_file = map(Path, sys.argv[1:4])
limit = float(sys.argv[4]) * json.loads(seconds_file.read_text())
with split_file.open(newline="") as file:
    parts = {Path(row["path"]).name: row["split"] for row in csv.DictReader(file)}


class Pedestrians(torch.utils.data.Dataset):
    def __init__(self, split: str) -> None:
        self.paths = [path for path in sorted((folder / "PNGImages").iterdir()) if parts.get(path.name) == split]
        self.is_train = split == "train"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        path = self.paths[index]
        pixels = read_image(str(path), ImageReadMode.RGB).float() / 255
        mask = pil_to_tensor(Image.open(folder / "PedMasks" / f"{path.stem}_mask.png"))
        numbers = mask.unique()[1:]
        boxes = masks_to_boxes(mask == numbers[:, None, None])
        if self.is_train and torch.rand(()) < 0.5:
            pixels = hflip(pixels)
            boxes[:, [0, 2]] = pixels.shape[-1] - boxes[:, [2, 0]]
        return pixels, {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64)}


def batches(split: str, size: int) -> torch.utils.data.DataLoader:
    chosen = Pedestrians(split)
    return torch.utils.data.DataLoader(
        chosen,
        batch_size=size,
        shuffle=chosen.is_train,
        num_workers=2,
        collate_fn=lambda batch: list(zip(*batch, strict=True)),
    )


def corner_and_size(boxes: torch.Tensor) -> list[list[float]]:
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()


@torch.inference_mode()
def ap50(model: torch.nn.Module) -> float:
    model.eval()
    images, objects, found = [], [], []
    for number, (pixels, targets) in enumerate(batches("val", 1)):
        images.append({"id": number})
        for box in corner_and_size(targets[0]["boxes"]):
            row = {"bbox": box, "area": box[2] * box[3], "category_id": 1, "iscrowd": 0}
            objects.append({"id": len(objects) + 1, "image_id": number, **row})
        answer = model(pixels)[0]
        rows = zip(corner_and_size(answer["boxes"]), answer["scores"].tolist(), strict=True)
        found += [{"image_id": number, "category_id": 1, "bbox": box, "score": score} for box, score in rows]
    if not found:
        return 0.0
    truth = COCO({"images": images, "annotations": objects, "categories": [{"id": 1, "name": "person"}]})
    evaluation = COCOeval_faster(truth, truth.loadRes(found), iouType="bbox")
    evaluation.run()
    return float(evaluation.stats[1])


model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9, weight_decay=0.0005)
reached: list[float] = []
while max(reached, default=0) < GOAL and time.perf_counter() - start < limit:
    model.train()
    for images, targets in batches("train", 2):
        loss = sum(model(list(images), list(targets)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not torch.isfinite(loss) or time.perf_counter() - start > limit:
            break
    else:
        reached.append(ap50(model))
seconds = time.perf_counter() - start
report(1, seconds, box_ap50=reached, reached=max(reached, default=0) >= GOAL, stopped_at_seconds=limit)
