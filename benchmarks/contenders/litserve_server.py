"""A resnet18 behind LitServe, as its documentation does it: two workers of one thread each, batches of 8.

litserve_server.py PORT
"""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

import litserve
import torch
import torchvision
from PIL import Image
from torchvision import transforms


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        torch.set_num_threads(1)
        self.model = torchvision.models.resnet18(num_classes=5).eval()
        self.transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def decode_request(self, request: dict[str, str]) -> Any:
        image = Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB")
        return self.transform(image)

    def batch(self, inputs: list[Any]) -> Any:
        return torch.stack(inputs)

    def predict(self, images: Any) -> Any:
        with torch.inference_mode():
            return self.model(images).argmax(1)

    def encode_response(self, output: Any) -> dict[str, int]:
        return {"output": int(output)}


if __name__ == "__main__":
    api = Classifier(max_batch_size=8, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
