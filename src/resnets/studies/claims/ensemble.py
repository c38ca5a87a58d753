"""`ensemble`: the mean of the probabilities of several networks against the networks alone (He et al. 2015, table 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.report.figures import canvas
from resnets.studies.inputs import ImageSet, StudyNetwork, as_tensor
from resnets.studies.study import IMAGE, NOT_LEARNED, Control, Measurement, Setup, Study, not_learned
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NETWORKS = 8  # all subsets are evaluated
LEAST_CHANGED = 10  # images, without which the t interval of a difference of proportions is too narrow
FEW_CHANGED = (
    f"fewer than {LEAST_CHANGED} images are classified better or worse by all networks together than by the best"
)


@torch.inference_mode()
def probabilities(network: StudyNetwork, images: ImageSet) -> Tensor:
    """float64 (N, K); logits are divided by the temperature of the checkpoint."""
    temperature = network.checkpoint.temperature
    logits = [network.net(as_tensor(each.images)).double() for each in images.batches(network.checkpoint.preprocess)]
    return (torch.cat(logits) / temperature).softmax(dim=1)


def wrong(members: Sequence[Tensor], labels: Tensor) -> np.ndarray:
    """For each image, 100 where the mean of the members' probabilities has its largest value at another class, else 0."""
    mean = members[0] if len(members) == 1 else torch.stack(list(members)).mean(dim=0)
    return 100.0 * (mean.argmax(dim=1) != labels).double().numpy()


def check(networks: Sequence[StudyNetwork]) -> None:
    """Raise UserError for too many networks, and for one that is given twice."""
    if len(networks) > MAX_NETWORKS:
        raise UserError(
            f"All subsets are evaluated, so give at most {MAX_NETWORKS} `weights`; received {len(networks)}."
        )
    for number, network in enumerate(networks):
        for other in networks[:number]:
            if network.sha256 == other.sha256:
                raise UserError(f"'{other.file}' and '{network.file}' are the same file; give different `weights`.")


def measure(setup: Setup) -> Measurement:
    """The errors of all subsets of the networks."""
    assert setup.images is not None
    labels = setup.images.labels
    names = [network.name for network in setup.networks]
    members = [probabilities(network, setup.images) for network in setup.networks]
    rows: list[dict[str, Any]] = []
    for size in range(1, len(members) + 1):
        for chosen in combinations(range(len(members)), size):
            error = float(wrong([members[index] for index in chosen], labels).mean())
            rows.append({"members": size, "networks": " + ".join(names[index] for index in chosen), "error": error})
    alone = sorted((wrong([each], labels) for each in members), key=np.mean)
    gain = alone[0] - wrong(members, labels)
    # Twice, since the mean of two equal numbers is exact.
    copies = max(float(np.abs(wrong([each], labels) - wrong([each, each], labels)).max()) for each in members)
    controls = [Control("each network with a copy of itself", f"{copies:g} points gained by an image", copies == 0)]
    subject = f"{len(names)} networks"
    changed = int(np.count_nonzero(gain))
    few = f"{changed} images are classified better or worse together, and an interval needs {LEAST_CHANGED}: give more images"
    obstacle = not_learned(float(alone[-1].mean()), len(setup.images.class_names))
    obstacle = obstacle or (few if changed < LEAST_CHANGED else "")
    notes = [f"error of {row['networks']}: {row['error']:.2f} %" for row in rows if row["members"] in (1, len(names))]
    return Measurement(rows, {subject: gain}, controls, {subject: obstacle}, notes)


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The error of every subset over its size."""
    axes = page.subplots()
    sizes = sorted({row["members"] for row in rows})
    for row in rows:
        axes.plot(row["members"], row["error"], "o", color=canvas.MUTED, alpha=0.6)
    means = [float(np.mean([row["error"] for row in rows if row["members"] == size])) for size in sizes]
    axes.plot(sizes, means, color=canvas.VALIDATION, label="mean of the subsets of this size")
    axes.set_xlabel("number of networks")
    axes.set_xticks(sizes)
    axes.set_title("error in percent", color=canvas.MUTED, fontweight="normal")
    canvas.legend(axes)


STUDY = Study(
    name="ensemble",
    claim="Several residual networks together make fewer errors than each of them.",
    paper="He et al. 2015, table 5",
    published="six networks of different depth on ImageNet: 3.57 % top-5 error, the best one alone 4.49 %",
    statistic="error of the network that is best on these images, minus that of the mean of all probabilities, in points",
    unit=IMAGE,
    rule=Rule("greater", 0.0, 0.5, least_count=100, undecided_if=f"{NOT_LEARNED}; {FEW_CHANGED}"),
    control="a network with a copy of itself: the gain of each image is exactly 0",
    protocols={"paper": {"images": 10_000}, "short": {"images": 2_000}, "minutes": {"images": 500}},
    cost={"paper": "12 s a network", "short": "3 s a network", "minutes": "1 s a network"},
    num_networks=2,
    data=None,
    measure=measure,
    draw=draw,
    check=check,
)
