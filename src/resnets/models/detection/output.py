"""DetectorOutput: what every detector returns."""

from typing import NamedTuple

from torch import Tensor


class DetectorOutput(NamedTuple):
    """The losses of a batch and the objects that were found in it.

    Attributes:
        losses: each term by name, float32 (B,): one number for each image, so that parts of a batch add up. Every term has
            a gradient for every image, also for one without objects. Empty without targets.
        objects: empty in train mode; in eval mode one dict for each image with "boxes" (k, 4), x1 y1 x2 y2 in pixels of the
            image that was given, "scores" (k,) descending, "labels" int64 (k,) from 0, and for Mask R-CNN "masks"
            (k, m, m), probabilities within the box, where m is 4 times `pool_size`: 28 if that is 7.
    """

    losses: dict[str, Tensor]
    objects: list[dict[str, Tensor]]
