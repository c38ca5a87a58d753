"""The outputs of the checkpoint itself: the unchanged network in torch, in float32, with its `Preprocess`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import PIL
import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.export.certificate.compare_outputs import Outputs
from resnets.inference import tf32
from resnets.inference.exported.metadata import FEATURES, LOGITS, MAPS, PROBABILITIES
from resnets.models.resnet import ResNet
from resnets.tasks.base import Task

MIN_BIAS_CHANGE, BIAS_CHANGE = 0.05, 1e-3  # the second is a fraction of the largest output of an ordinary class
POSITION_BIAS_CHANGE = 0.5  # of the last layer of a detector, whose first output is the position of a box within a cell

_Layer = nn.Linear | nn.Conv2d


class Reference:
    """A model whose outputs have the names of those of its exported graph.

    Args:
        model: in eval mode, on the CPU.
        output_names: of the graph, in order.
    """

    def __init__(self, task: Task, model: nn.Module, preprocess: Preprocess, output_names: tuple[str, ...]) -> None:
        self.task, self.model, self.preprocess, self.output_names = task, model, preprocess, output_names
        self.dtype = next(model.parameters()).dtype

    def in_float64(self) -> Reference:
        """The same network with another rounding: what differs says how far float32 can be trusted."""
        return Reference(self.task, copy.deepcopy(self.model).double(), self.preprocess, self.output_names)

    def describe(self) -> dict[str, str]:
        """`network`: what computes the outputs; `resizing`: what resizes the images, in other code than that of the graph."""
        torch_version = f"torch {torch.__version__}"
        resizing = f"Pillow {PIL.__version__}" if self.preprocess.antialias else f"{torch_version} without antialiasing"
        return {"network": f"{torch_version} in float32", "resizing": resizing}

    def normalize(self, frames: np.ndarray) -> Tensor:
        """The input of the network, (N, C, H, W), for RGB frames (N, H, W, 3) of its size, of 0 to 255."""
        return self.preprocess.normalize(torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2))

    @torch.inference_mode()
    def outputs(self, frames: np.ndarray) -> Outputs:
        """The outputs for RGB frames (N, H, W, 3) of 0 to 255, each computed alone."""
        with tf32.disabled(torch.device("cpu")):
            rows = [self._outputs(image[None]) for image in self.normalize(frames).to(self.dtype)]
        return {name: torch.cat([row[name] for row in rows]).numpy() for name in self.output_names}

    def _outputs(self, images: Tensor) -> dict[str, Tensor]:
        if not isinstance(self.model, ResNet):
            found = self.task.static_graph(self.model).static(images)
            return dict(zip(self.output_names, (found,) if isinstance(found, Tensor) else found, strict=True))
        received: list[Tensor] = []
        hook = self.model.head.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
        try:
            logits = self.model(images)
        finally:
            hook.remove()
        outputs = {LOGITS: logits, FEATURES: received[0]}
        if MAPS in self.output_names:
            weight = self.model.head.fc.weight
            outputs[MAPS] = torch.einsum("kc,nchw->nkhw", weight, self.model.forward_features(images))
        probabilities = self.task.probabilities(logits)
        return outputs if probabilities is None else {PROBABILITIES: probabilities, **outputs}

    def with_faults(self, frames: Sequence[np.ndarray]) -> dict[str, list[Outputs]]:
        """The outputs with three faults that a comparison has to notice, by their names, for batches of frames."""
        of_256 = replace(self.preprocess, scale=self.preprocess.scale * 256 / 255)
        faulty = {
            "/ 256": Reference(self.task, self.model, of_256, self.output_names),
            "a moved bias": self._with_moved_bias(frames),
        }
        bgr = {"BGR": [self.outputs(each[..., ::-1]) for each in frames]}
        return bgr | {name: [other.outputs(each) for each in frames] for name, other in faulty.items()}

    def _with_moved_bias(self, frames: Sequence[np.ndarray]) -> Reference:
        """Another bias of one output of the last layer, in a copy of the model.

        It is that of a class whose largest output is the median of all classes, so not that of a class that is masked; without
        logits, it is the first one.
        """
        moved = Reference(self.task, copy.deepcopy(self.model), self.preprocess, self.output_names)
        seen: list[tuple[_Layer, Tensor]] = []
        layers = [each for each in moved.model.modules() if isinstance(each, _Layer)]
        hooks = [each.register_forward_hook(lambda layer, _, output: seen.append((layer, output))) for each in layers]
        largest = []
        try:
            for each in frames:
                moved.outputs(each)
                layer, output = seen[-1]
                axis = 1 if isinstance(layer, nn.Conv2d) else -1
                largest.append(output.abs().movedim(axis, 0).flatten(1).amax(1))
                seen.clear()
        finally:
            for hook in hooks:
                hook.remove()
        median, index = torch.stack(largest).amax(0).median(0)
        bias = torch.zeros(len(largest[0])) if layer.bias is None else layer.bias.detach().clone()
        if LOGITS in self.output_names:
            bias[index] += max(MIN_BIAS_CHANGE, BIAS_CHANGE * float(median))
        else:
            bias[0] += POSITION_BIAS_CHANGE
        layer.bias = nn.Parameter(bias)
        return moved
