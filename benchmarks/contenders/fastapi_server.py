"""A resnet18 behind FastAPI, as its users write it: the network is computed in the handler.

fastapi_server.py PORT
"""

from __future__ import annotations

import base64
import io
import sys

import torch
import torchvision
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image
from torchvision import transforms

app = FastAPI()
model = torchvision.models.resnet18(num_classes=5).eval()
transform = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


@app.post("/predict")
async def predict(request: Request) -> dict[str, int]:
    content = base64.b64decode((await request.json())["image"])
    image = Image.open(io.BytesIO(content)).convert("RGB")
    with torch.inference_mode():
        return {"output": int(model(transform(image)[None]).argmax(1))}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
