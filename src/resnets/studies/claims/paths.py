"""`paths`: which paths through a trained residual network carry the gradient (Veit et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies.inputs import ImageSet, StudyNetwork
from resnets.studies.measurements import edit_blocks, gradient_paths
from resnets.studies.measurements.gradient_paths import input_gradient, norms, number_of_paths, path_gradient
from resnets.studies.measurements.top1_error import error_percent
from resnets.studies.study import IMAGE, NOT_LEARNED, Control, Measurement, Setup, Study, not_learned
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARE = 0.9  # of the gradient, in the range of lengths that is reported
TOLERANCE = 1e-3  # of the control, in fp32


def check(networks: Sequence[StudyNetwork]) -> None:
    """Raise UserError for a network with a block that has no shortcut."""
    for network in networks:
        if not gradient_paths.has_paths(network.net):
            raise UserError(
                f"The paths are those of blocks with a shortcut, which '{network.file}' does not have in each."
            )


def measure(setup: Setup) -> Measurement:
    """The gradients of all lengths and networks."""
    assert setup.images is not None
    rows: list[dict[str, Any]] = []
    effects, obstacles, controls, notes = {}, {}, [], []
    for network in setup.networks:
        images, labels = setup.images.stacked(network.checkpoint.preprocess), setup.images.labels
        error = error_percent(network.net, images, labels)
        obstacles[network.name] = not_learned(error, len(setup.images.class_names))
        by_length = gradients_by_length(network, setup.images, setup.numbers["draws"])
        count = len(by_length) - 1
        lengths, paths = np.arange(count + 1), number_of_paths(count)
        total = by_length * paths[:, None]
        effects[network.name] = (lengths @ total) / total.sum(axis=0) / count - 0.5
        shares, growth = total.mean(axis=1) / total.mean(axis=1).sum(), growth_by_branch(by_length.mean(axis=1))
        low, high = central_range(shares)
        for length in lengths.tolist():
            rows.append({"network": network.name, "length": length, "paths": paths[length],
                         "gradient_of_a_path": float(by_length[length].mean()), "share_of_gradient": float(shares[length]),
                         "in_range": low <= length <= high, "factor_of_a_branch": growth})  # fmt: skip
        notes.append(
            f"{network.name}: {100 * SHARE:.0f} % of the gradient on paths through {low} to {high} of {count} branches; the "
            f"gradient of a path changes by a factor of {growth:.3g} with each branch"
        )
        controls.append(_control(network, images, labels))
    return Measurement(rows, effects, controls, obstacles, notes)


def gradients_by_length(network: StudyNetwork, images: ImageSet, draws: int) -> np.ndarray:
    """float64 (blocks + 1, N): by the number of branches on the path, each image's norm, mean over its paths."""
    # In fp32 the gradient of an image that the network is sure of is rounding.
    net = gradient_paths.without_gradients(network.net).double()
    count = len(edit_blocks.named_blocks(net))
    pixels, labels = images.stacked(network.checkpoint.preprocess).double(), images.labels
    random = np.random.default_rng(0)
    found = []
    for length in progress_bar(range(count + 1), description=network.name, unit="lengths"):
        paths = gradient_paths.draw_paths(length, count, len(labels), draws, random)
        found.append(torch.stack([norms(path_gradient(net, pixels, labels, each)) for each in paths]).mean(dim=0))
    return torch.stack(found).numpy()


def central_range(shares: np.ndarray) -> tuple[int, int]:
    """The lengths between which `SHARE` of the gradient is, with as much above as below."""
    cumulated = np.cumsum(shares)
    low, high = np.searchsorted(cumulated, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return int(low), int(high)


def growth_by_branch(gradients: np.ndarray) -> float:
    """The factor by which the gradient of a path grows with each branch on it: a fit of the logarithms of those above 0."""
    (lengths,) = np.nonzero(gradients)
    return float(np.exp(np.polyfit(lengths, np.log(gradients[lengths]), 1)[0]))


def _control(network: StudyNetwork, images: Tensor, labels: Tensor) -> Control:
    """The gradient through the branch of a block, and that through its shortcut, must add up to the gradient."""
    few = images[:8], labels[:8]
    whole, worst = input_gradient(network.net, *few), 0.0
    for name in edit_blocks.named_blocks(network.net):
        parts = [
            input_gradient(network.net, *few, {name: torch.full_like(few[1], through_branch, dtype=torch.bool)})
            for through_branch in (True, False)
        ]
        worst = max(worst, float((sum(parts) - whole).norm() / whole.norm()))
    return Control(f"{network.name}: branch and shortcut of each block add up", f"to {worst:.2g}", worst < TOLERANCE)


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The three panels of figure 6 of the paper: paths of each length, the gradient of one, and that of all."""
    titles = ("number of paths, log10", "gradient of one path, log10 of its norm", "share of the gradient of all paths")
    panels = page.subplots(3, 1)
    for number, name in enumerate(dict.fromkeys(row["network"] for row in rows)):
        own, color = [row for row in rows if row["network"] == name], f"C{number}"
        lengths, chosen = [row["length"] for row in own], [row["length"] for row in own if row["in_range"]]
        mean = sum(row["length"] * row["share_of_gradient"] for row in own)
        label = f"{name}: {100 * SHARE:.0f} % on {chosen[0]} to {chosen[-1]}, mean {mean:.1f}"
        panels[0].plot(lengths, np.log10([row["paths"] for row in own]), color=color)
        panels[1].plot(lengths, np.log10([row["gradient_of_a_path"] for row in own]), color=color)
        panels[2].plot(lengths, [row["share_of_gradient"] for row in own], color=color, label=label)
        panels[2].axvspan(chosen[0] - 0.5, chosen[-1] + 0.5, color=color, alpha=0.08)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, color=canvas.MUTED, fontweight="normal")
    panels[2].set_xlabel("number of branches on the path")
    panels[2].legend(fontsize=8)


STUDY = Study(
    name="paths",
    claim="The gradient of a trained residual network comes from paths that are shorter than most of its paths.",
    paper="Veit et al. 2016, figure 6",
    published="ResNet-110: most of the gradient on paths through 5 to 17 of 54 branches, which are 0.45 % of the paths",
    statistic="mean length of the paths, weighted with their gradient at the pixels, as a share of the blocks, minus 0.5",
    unit=IMAGE,
    rule=Rule("less", 0.0, 0.05, least_count=16, undecided_if=NOT_LEARNED),
    control="the gradient through a block's branch and that through its shortcut add up to the gradient",
    protocols={
        "paper": {"images": 64, "draws": 20},
        "short": {"images": 64, "draws": 5},
        "minutes": {"images": 16, "draws": 2},
    },
    cost={"paper": "ResNet-20: 80 s, ResNet-110: 2 h", "short": "20 s, 30 min", "minutes": "4 s, 4 min"},
    num_networks=1,
    data=None,
    measure=measure,
    draw=draw,
    check=check,
)
