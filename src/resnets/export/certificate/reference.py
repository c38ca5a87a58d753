"""The outputs of the checkpoint itself: the unchanged network in torch, in float32, with its `Preprocess`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.export.certificate.compare_outputs import Outputs
from resnets.inference import tf32
from resnets.inference.exported.metadata import FEATURES, LOGITS, MAPS, PROBABILITIES
from resnets.models.resnet import ResNet
from resnets.tasks.base import Task

MIN_BIAS_CHANGE, BIAS_CHANGE = 0.05, 1e-3  # the second is a fraction of the largest logit


class Reference:
    """A model whose outputs have the names of those of its exported graph.

    Args:
        model: in eval mode, on the CPU.
        output_names: of the graph, in order.
    """

    def __init__(self, task: Task, model: nn.Module, preprocess: Preprocess, output_names: tuple[str, ...]) -> None:
        self.task, self.model, self.preprocess, self.output_names = task, model, preprocess, output_names

    def normalize(self, frames: np.ndarray) -> Tensor:
        """The input of the network, (N, C, H, W), for uint8 RGB frames (N, H, W, 3) of its size."""
        return self.preprocess.normalize(torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2))

    @torch.inference_mode()
    def outputs(self, frames: np.ndarray) -> Outputs:
        """The outputs for uint8 RGB frames (N, H, W, 3), each computed alone."""
        with tf32.disabled(torch.device("cpu")):
            rows = [self._outputs(image[None]) for image in self.normalize(frames)]
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

    def sabotaged(self, frames: np.ndarray) -> dict[str, Outputs]:
        """The outputs with three faults that a comparison has to notice, by their names."""
        of_256 = replace(self.preprocess, scale=self.preprocess.scale * 256 / 255)
        return {
            "BGR": self.outputs(frames[..., ::-1]),
            "/ 256": Reference(self.task, self.model, of_256, self.output_names).outputs(frames),
            "a moved bias": self._with_moved_bias(self.outputs(frames)),
        }

    def _with_moved_bias(self, outputs: Outputs) -> Outputs:
        """As if a bias of the last layer were another."""
        name = LOGITS if LOGITS in outputs else self.output_names[0]
        moved = outputs[name].copy()
        moved[:, 0] += max(MIN_BIAS_CHANGE, BIAS_CHANGE * float(np.abs(moved).max(initial=0)))
        return {**outputs, name: moved}
