"""The check of the targets that a detector is given for its losses."""

from collections.abc import Sequence

from torch import Tensor


def check_targets(targets: Sequence[dict[str, Tensor]] | None, num_classes: int, *, training: bool) -> None:
    """Raise ValueError for targets from which no loss, or a wrong one, would be computed; it names the index of the image.

    Without targets a detector has nothing to compute in train mode. The values of targets on another device than the CPU are not
    looked at: that would wait for the device in each step.
    """
    if targets is None:
        if training:
            raise ValueError(
                "In train mode a detector computes losses, which need `targets`: for each image a dict with boxes (n, 4) and "
                "labels (n,); received None. To find objects, call `eval()` first."
            )
        return
    for index, target in enumerate(targets):
        boxes, labels = target["boxes"], target["labels"]
        if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
            shapes = f"{tuple(boxes.shape)} and {tuple(labels.shape)}"
            raise ValueError(f"targets[{index}]: boxes (n, 4) and labels (n,) are needed; received {shapes}.")
        if boxes.device.type != "cpu" or labels.device.type != "cpu":
            continue
        filled = boxes.isfinite().all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        if not filled.all():
            box = boxes[~filled][0].tolist()
            raise ValueError(f"targets[{index}]: a box is x1, y1, x2, y2 with x1 < x2 and y1 < y2; received {box}.")
        wrong = (labels < 0) | (labels >= num_classes)
        if wrong.any():
            received = int(labels[wrong][0])
            raise ValueError(f"targets[{index}]: labels are from 0 to {num_classes - 1}; received {received}.")
