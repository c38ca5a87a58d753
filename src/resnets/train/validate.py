"""How good the weights are on the validation pictures, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from resnets.train import speed
from resnets.train.state import Parts


def validate(parts: Parts) -> dict[str, float | None]:
    """Mean loss and accuracies on all validation pictures, at the precision of the training."""
    if parts.val is None:
        return {"val/loss": None, "val/accuracy_top1": None, "val/accuracy_top5": None}
    logits = predict(parts.judged, parts.val, parts.device, parts.precision)
    labels = parts.val_labels
    best_five = logits.topk(min(5, logits.shape[1]), dim=1).indices
    return {
        "val/loss": float(cross_entropy(logits, labels)),
        "val/accuracy_top1": float((logits.argmax(1) == labels).double().mean()),
        "val/accuracy_top5": float((best_five == labels[:, None]).any(1).double().mean()),
    }


@torch.no_grad()
def predict(net: torch.nn.Module, pictures: Iterable[tuple[int, Tensor]], device: str, precision: str) -> Tensor:
    """Logits (N, K) in float32 on the CPU; the net is left in eval mode."""
    net.eval()
    made: list[Tensor] = []
    for _, batch in pictures:
        with speed.autocast(precision, device):
            made.append(net(batch.to(device, memory_format=torch.channels_last)).float().cpu())
    return torch.cat(made)
