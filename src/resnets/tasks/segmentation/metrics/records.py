"""What an evaluation keeps of each image, as rows of `Measurements`:

* "confusion": a list of `image_cells`, int64 (m, 2).
* "boundary": int64 (n, 3, K), of `boundary_iou.boundary_counts`.
* "unit": int64 (n,), the same number for copies and images of one group.
* "preview": a list of uint8 (m,), the predicted classes as `pack` makes them of a smaller mask, for figures.
* in a training, "loss_NAME": float32 (n,), the terms of the loss.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from resnets.data.datasets.dataset import Sample
from resnets.tasks import bootstrap
from resnets.tasks.measurements import Measurements
from resnets.tasks.segmentation.metrics import boundary_iou, confusion

PREVIEW_SIDE = 300  # pixels of the longer side of a mask in a figure
COUNTS = ("confusion", "boundary", "unit")  # the rows of which metrics are computed
LOSS = "loss_"  # beginning of the names of the terms, in rows and in `metrics.jsonl`


def measure(
    truths: Sequence[np.ndarray], predicted: Sequence[np.ndarray], samples: Sequence[Sample], num_classes: int
) -> Measurements:
    """The rows of images with their true and predicted classes, uint8 (H, W) each."""
    pairs = list(zip(truths, predicted, strict=True))
    return Measurements({
        "confusion": [confusion.image_cells(*pair, num_classes) for pair in pairs],
        "boundary": torch.stack([boundary_iou.boundary_counts(*pair, num_classes) for pair in pairs]),
        "unit": torch.tensor([bootstrap.unit_of(sample) for sample in samples], dtype=torch.int64),
        "preview": [pack(shrink(each, PREVIEW_SIDE)) for each in predicted],
    })  # fmt: skip


def shrink(mask: np.ndarray, side: int) -> np.ndarray:
    """A mask (H, W) whose longer side is `side` pixels at most, by the nearest pixels."""
    longest = max(mask.shape)
    if longest <= side:
        return mask
    # The centers of each row and column of the result. Rounding makes their distance differ between the two.
    counts = [max(round(each * side / longest), 1) for each in mask.shape]
    rows, columns = ((2 * np.arange(n) + 1) * each // (2 * n) for n, each in zip(counts, mask.shape, strict=True))
    return mask[rows][:, columns]


def pack(mask: np.ndarray) -> Tensor:
    """uint8 (m,): the compressed values of a mask, uint8 (H, W), after its height and width."""
    head = np.array(mask.shape, np.uint16).tobytes()
    return torch.frombuffer(bytearray(head + zlib.compress(mask.tobytes(), 1)), dtype=torch.uint8)


def unpack(packed: Tensor) -> np.ndarray:
    """The inverse of `pack`."""
    content = packed.numpy().tobytes()
    values: np.ndarray = np.frombuffer(zlib.decompress(content[4:]), np.uint8)
    return values.reshape(np.frombuffer(content[:4], np.uint16).tolist())


@dataclass(frozen=True, eq=False)
class Records:
    """The counts of N images.

    Attributes:
        cells: of `image_cells`, for each image.
        boundary: int64 (N, 3, K), of `boundary_iou.boundary_counts`.
        unit: int64 (N,), the same number for copies and images of one group.
    """

    cells: Sequence[Tensor]
    boundary: np.ndarray
    unit: np.ndarray

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def num_classes(self) -> int:
        return int(self.boundary.shape[2])

    @cached_property
    def counts(self) -> np.ndarray:
        """int64 (N, 3, K): `confusion.class_counts`."""
        return confusion.class_counts(self.cells, self.num_classes)

    @cached_property
    def matrix(self) -> np.ndarray:
        """int64 (K, K): the confusion matrix of all images."""
        return confusion.matrix(self.cells, self.num_classes)

    def select(self, indices: np.ndarray) -> "Records":
        """The images at `indices`, int64 (n,)."""
        return Records([self.cells[index] for index in indices.tolist()], self.boundary[indices], self.unit[indices])


def of(measurements: Measurements) -> Records:
    """The records that the rows hold."""
    return Records(measurements["confusion"], measurements["boundary"].numpy(), measurements["unit"].numpy())


def losses(measurements: Measurements) -> dict[str, Tensor]:
    """The rows of the losses by name, float32 (n,); none outside of a training."""
    rows = measurements.rows
    return {name: each for name, each in rows.items() if name.startswith(LOSS) and isinstance(each, Tensor)}
