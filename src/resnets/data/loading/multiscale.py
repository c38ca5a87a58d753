"""Image sizes that change during training (Redmon and Farhadi 2017, section 2, "Multi-Scale Training")."""

import random

from resnets.data.loading.augmentation import derive_seed

INTERVAL = 32  # pixels between two sizes
SMALLEST, LARGEST = 10 / 13, 19 / 13  # darknet trains a network for 416 pixels on 320 to 608
STEPS_PER_SIZE = 10


def training_size(imgsz: int, *, seed: int, epoch: int, step: int) -> int:
    """The height and width in pixels of all images of a step: a multiple of 32, drawn anew every ten steps of an epoch.

    It is a pure function of its arguments, so that all ranks, and a run that was resumed, use the same sizes.
    """
    low = max(round(imgsz * SMALLEST / INTERVAL), 1)
    high = max(round(imgsz * LARGEST / INTERVAL), low)
    return INTERVAL * random.Random(derive_seed(seed, epoch, step // STEPS_PER_SIZE, "size")).randint(low, high)
