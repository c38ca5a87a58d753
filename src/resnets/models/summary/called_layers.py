"""The layers of a detector or a segmenter, in the order in which they are called for one image, on the meta device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from resnets.models.detection.rcnn.detector import RegionDetector
from resnets.models.segmentation.segmenter import Segmenter
from resnets.models.summary.graph import Layer, computes_nothing, module_type, on_meta_device


def layers(model: nn.Module, imgsz: tuple[int, int]) -> list[Layer]:
    """The modules that compute something, without their inputs, for an image of `imgsz` (height, width).

    torch.fx cannot follow boxes or sizes, so the modules are called: those of the heads of Faster and Mask R-CNN on as many
    regions as an image can have, which are `proposals` and `max_objects` of `DetectorSettings`.
    """
    copied: Any = on_meta_device(model).eval()
    calls: Counter[str] = Counter()
    found: list[Layer] = []

    def record(name: str, module: nn.Module, output: object) -> None:
        if isinstance(output, Tensor):
            path = f"{name}_{calls[name]}" if calls[name] else name
            shape, repeated = tuple(output.shape[1:]), calls[name] > 0
            found.append(Layer(path, module_type(module), shape, module, repeated=repeated, regions=len(output)))
            calls[name] += 1

    for name, module in copied.named_modules():
        if not any(module.children()) and not computes_nothing(module_type(module)):
            module.register_forward_hook(lambda module, _, output, name=name: record(name, module, output))
    channels = next(module.in_channels for module in copied.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        image = torch.empty(1, channels, *imgsz, device="meta")
        if isinstance(copied, Segmenter) and copied.aux_head is not None:
            copied.dense_of_both_heads(image)
            return found
        first = copied.dense(image)[0]
        if isinstance(copied, RegionDetector):
            _call_heads(copied, first)
    return found


def _call_heads(detector: RegionDetector, feature_map: Tensor) -> None:
    heads, channels = detector.roi_heads, feature_map.shape[1]
    size = heads.box_roi_pool.size
    detector.classify(feature_map.new_empty(detector.rpn.post_nms_top_n(), channels, size, size))
    if heads.has_mask():
        size = heads.mask_roi_pool.size
        masks = heads.mask_head(feature_map.new_empty(heads.detections_per_img, channels, size, size))
        heads.mask_predictor(masks)
