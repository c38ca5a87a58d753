"""Prediction as users of segmentation_models_pytorch write it: one image after the other, padded to 32; its mask is written.

    smp_predict.py FOLDER WEIGHTS OUT

WEIGHTS is a state dict of `smp.Unet("resnet18")`. It is fp32, on all threads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("weights", type=Path)
parser.add_argument("out", type=Path)
options = parser.parse_args()
model = smp.Unet("resnet18", encoder_weights=None, classes=6)
model.load_state_dict(torch.load(options.weights, weights_only=True))
model.eval()
options.out.mkdir(parents=True, exist_ok=True)
paths = sorted(options.folder.iterdir())
for path in paths:
    pixels = functional.pil_to_tensor(Image.open(path).convert("RGB")).float() / 255
    image = functional.normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    height, width = image.shape[1:]
    padded = functional.pad(image, [0, 0, -width % 32, -height % 32])
    with torch.inference_mode():
        labels = model(padded[None])[0, :, :height, :width].argmax(0)
    Image.fromarray(labels.byte().numpy()).save(options.out / f"{path.stem}.png")
report(len(paths), None)
