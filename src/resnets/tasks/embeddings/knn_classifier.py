"""The k-nearest-neighbor classifier: each of the nearest images votes for its class, the more the nearer it is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from resnets.tasks.embeddings.nearest import nearest

# Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, section 3.4: a vote of
# exp(cosine / 0.07).
TEMPERATURE = 0.07
FLOOR = 1e-6  # of a class without a vote, as a fraction of the largest vote, so that its logit is finite


def vote_logits(vectors: np.ndarray, classes: np.ndarray, queries: np.ndarray, *, k: int, num_classes: int) -> Tensor:
    """The logarithms of the sums of votes for each class, float32 (Q, num_classes): logits of a classifier.

    Args:
        vectors: of the known images, float32 (N, D) of unit length.
        classes: theirs, int64 (N,).
        queries: float32 (Q, D) of unit length.
        k: number of nearest images that vote.
    """
    similarities, rows = nearest(vectors, queries, k)
    relative = torch.from_numpy(similarities - similarities[:, :1]).double()  # the nearest votes with 1
    votes = torch.full((len(queries), num_classes), FLOOR, dtype=torch.float64)
    votes.scatter_add_(1, torch.from_numpy(classes[rows]), (relative / TEMPERATURE).exp())
    return votes.log().float()
