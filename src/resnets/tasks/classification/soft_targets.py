"""The targets of the cross-entropy loss: label smoothing, and weights that balance the classes."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def soft_targets(labels: Tensor, weights: Tensor, num_classes: int, label_smoothing: float) -> Tensor:
    """Return the targets (B, K) of `labels` (B) with label smoothing (Szegedy et al. 2016), times the `weights` (B)."""
    targets = one_hot(labels, num_classes).float() * (1 - label_smoothing) + label_smoothing / num_classes
    return targets * weights[:, None]


def balance_weights(
    labels: Tensor, dataset_weights: Tensor, num_classes: int, balance: str
) -> tuple[Tensor, Tensor | None]:
    """Return the weight of each image in the loss (mean 1), and its sampling weight (None: each image once per epoch).

    Args:
        labels: class indices (N).
        dataset_weights: the weights (N) that the dataset gives to its images.
        balance: "none"; "loss" or "sampler" give each class the same total weight in the loss or in sampling.
    """
    counts = torch.bincount(labels, minlength=num_classes).clamp(min=1)
    balanced = dataset_weights / counts[labels]
    if balance == "sampler":
        return torch.ones(len(labels)), balanced
    loss_weights = balanced if balance == "loss" else dataset_weights
    return (loss_weights / loss_weights.mean()).float(), None
