"""Losses of a segmentation: one number for each image, in which ignored pixels have no part.

Each is a mean over the labeled pixels of an image, or over the classes that it has, so that a class that is absent changes
nothing; an image without a labeled pixel has a loss of 0.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from resnets.data.mask_datasets.mask_classes import IGNORE
from resnets.errors import UserError
from resnets.message_format import suggestion

OHEM_PROBABILITY = 0.7  # of the true class; pixels below it are hard
OHEM_SHARE = 1 / 16  # of the labeled pixels are kept at least
FOCAL_GAMMA = 2.0


@dataclass(frozen=True)
class Pixels:
    """The pixels of a batch of images, M of each image.

    Attributes:
        logs: (B, K, M), logarithms of the probabilities of the classes.
        labels: int64 (B, M), any class where a pixel is ignored.
        labeled: bool (B, M), whether it is not.
        weights: (K,), of the classes; None: all alike.
    """

    logs: Tensor
    labels: Tensor
    labeled: Tensor
    weights: Tensor | None

    @cached_property
    def cross_entropy(self) -> Tensor:
        """(B, M), not weighted; 0 where a pixel is ignored."""
        truth = self.labels.masked_fill(~self.labeled, IGNORE)
        return functional.nll_loss(self.logs, truth, ignore_index=IGNORE, reduction="none")

    def mean(self, values: Tensor, chosen: Tensor) -> Tensor:
        """(B,): the mean over the `chosen` pixels of (B, M), each times the weight of its class."""
        weighted = values if self.weights is None else values * self.weights[self.labels]
        return (weighted * chosen).sum(1) / chosen.sum(1).clamp(min=1)


def ce(pixels: Pixels) -> Tensor:
    """The mean cross-entropy of the pixels."""
    return pixels.mean(pixels.cross_entropy, pixels.labeled)


def ohem(pixels: Pixels) -> Tensor:
    """The mean cross-entropy of the hard pixels: those whose true class has a probability below 0.7, and at least the
    hardest sixteenth of all (Shrivastava et al. 2016).
    """
    losses = pixels.cross_entropy.detach()
    least = (pixels.labeled.sum(1, keepdim=True) * OHEM_SHARE).ceil()
    order = losses.masked_fill(~pixels.labeled, -1).argsort(dim=1, descending=True)
    # Without a branch, for which the device would have to be waited for.
    is_among_hardest = torch.arange(losses.shape[1], device=losses.device) < least
    hardest = torch.zeros_like(pixels.labeled).scatter(1, order, is_among_hardest)
    return pixels.mean(pixels.cross_entropy, pixels.labeled & (hardest | (losses > -math.log(OHEM_PROBABILITY))))


def focal(pixels: Pixels) -> Tensor:
    """The mean cross-entropy times (1 - p)^2, with the probability p of the true class (Lin et al. 2017)."""
    probability = (-pixels.cross_entropy).exp()
    return pixels.mean((1 - probability) ** FOCAL_GAMMA * pixels.cross_entropy, pixels.labeled)


def dice(pixels: Pixels) -> Tensor:
    """1 - 2 |P T| / (|P| + |T|) with probabilities P, the mean over the classes that the image has (Milletari et al. 2016)."""
    probabilities = (pixels.logs.exp() * pixels.labeled[:, None]).sum(2)
    true = (-pixels.cross_entropy).exp() * pixels.labeled
    zeros = torch.zeros_like(probabilities)
    shared = zeros.scatter_add(1, pixels.labels, true)
    count = zeros.scatter_add(1, pixels.labels, pixels.labeled.to(zeros))
    present = count > 0
    losses = (1 - 2 * shared / (probabilities + count).clamp(min=1e-12)) * present
    return losses.sum(1) / present.sum(1).clamp(min=1)


def lovasz(pixels: Pixels) -> Tensor:
    """Lovász-Softmax, the mean over the classes that the image has (Berman et al. 2018).

    It waits for the device, since only the classes that an image has are sorted.
    """
    return torch.stack([
        _lovasz(logs[:, labeled].exp(), labels[labeled])
        for logs, labels, labeled in zip(pixels.logs, pixels.labels, pixels.labeled, strict=True)
    ])  # fmt: skip


def _lovasz(probabilities: Tensor, labels: Tensor) -> Tensor:
    """That of one image, from (K, M) and (M,)."""
    present = torch.bincount(labels, minlength=len(probabilities)).nonzero()[:, 0]
    truth = (labels[None] == present[:, None]).to(probabilities)
    errors, order = (truth - probabilities[present]).abs().sort(dim=1, descending=True)
    truth = truth.gather(1, order)
    total = truth.sum(1, keepdim=True)
    jaccard = 1 - (total - truth.cumsum(1)) / (total + (1 - truth).cumsum(1))
    steps = torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], dim=1)
    return (errors * steps).sum() / max(len(present), 1)


LOSSES: dict[str, Callable[[Pixels], Tensor]] = {
    "ce": ce,
    "ohem": ohem,
    "focal": focal,
    "dice": dice,
    "lovasz": lovasz,
}


def parse(name: str) -> list[str]:
    """The terms of a loss such as "ce+dice".

    Raises:
        UserError: a term is unknown, or comes twice.
    """
    terms = name.split("+")
    for term in terms:
        if term not in LOSSES:
            known = ", ".join(LOSSES)
            raise UserError(
                f"`task.loss` is one of {known}, or a sum such as ce+dice; received '{name}'.{suggestion(term, LOSSES)}"
            )
    if len(set(terms)) < len(terms):
        raise UserError(f"`task.loss={name}` has a term twice.")
    return terms


def losses(logits: Tensor, masks: Tensor, terms: Sequence[str], weights: Tensor | None = None) -> dict[str, Tensor]:
    """The terms of the loss of each image, (B,), in at least float32.

    Args:
        logits: (B, K, H, W).
        masks: (B, H, W) of whole numbers: the class of each pixel, or `IGNORE`.
        weights: (K,), of the classes; dice and lovasz, which are means over the classes, do not use them.
    """
    values = logits.flatten(2).to(torch.promote_types(logits.dtype, torch.float32))
    labels = masks.flatten(1).long()
    labeled = labels != IGNORE
    pixels = Pixels(functional.log_softmax(values, dim=1), labels.masked_fill(~labeled, 0), labeled, weights)
    return {term: LOSSES[term](pixels) for term in terms}
