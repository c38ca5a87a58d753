from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from resnets.tasks.classification import soft_targets

LABELS = torch.tensor([0, 0, 0, 1])


def test_soft_targets_give_the_label_smoothing_of_torch() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    targets = soft_targets.soft_targets(LABELS, torch.ones(4), num_classes=3, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(logits, targets), cross_entropy(logits, LABELS, label_smoothing=0.1))


def test_each_class_has_the_same_total_weight() -> None:
    ones = torch.ones(4, dtype=torch.float64)
    weights, sampling_weights = soft_targets.balance_weights(LABELS, ones, 3, "loss")
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0]))
    assert sampling_weights is None
    weights, sampling_weights = soft_targets.balance_weights(LABELS, ones, 3, "sampler")
    assert sampling_weights is not None
    assert weights.tolist() == [1, 1, 1, 1]
    torch.testing.assert_close(sampling_weights, torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0], dtype=torch.float64))
    weights, sampling_weights = soft_targets.balance_weights(LABELS, ones, 3, "none")
    assert (weights.tolist(), sampling_weights) == ([1, 1, 1, 1], None)
