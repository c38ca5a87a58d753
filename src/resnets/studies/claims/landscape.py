"""`landscape`: the loss around trained weights, in two random directions (Li et al. 2018, Visualizing the Loss Landscape)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from resnets.errors import UserError
from resnets.report.figures import canvas
from resnets.studies.inputs import StudyNetwork
from resnets.studies.measurements.edit_blocks import is_plain, is_residual
from resnets.studies.measurements.loss_surface import BATCH, OF_BATCH, RADIUS, STORED, not_convex, surface, with_norms
from resnets.studies.shortcut_control import pass_on_control
from resnets.studies.study import NOT_LEARNED, SEED, Control, Measurement, Setup, Study, not_learned
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pairs_of(networks: Sequence[StudyNetwork]) -> list[tuple[StudyNetwork, StudyNetwork]]:
    """Each plain network with each residual one of its depth."""
    plain, residual = ([each for each in networks if kind(each.net)] for kind in (is_plain, is_residual))
    return [(a, b) for a in plain for b in residual if a.checkpoint.spec.num_blocks == b.checkpoint.spec.num_blocks]


def check(networks: Sequence[StudyNetwork]) -> None:
    """Raise UserError if there is no such pair."""
    if not pairs_of(networks):
        names = ", ".join(each.name for each in networks)
        problem = "The claim compares a plain with a residual network of one depth"
        raise UserError(f"{problem}; the `weights` are of {names}.")


def measure(setup: Setup) -> Measurement:
    """The surfaces of all networks; plain ones are compared with residual ones."""
    assert setup.images is not None
    rows: list[dict[str, Any]] = []
    shares: dict[tuple[str, str], list[float]] = {}
    controls, obstacles = [], {}
    for network in setup.networks:
        images, labels = setup.images.stacked(network.checkpoint.preprocess), setup.images.labels
        with torch.inference_mode():
            logits = torch.cat([network.net(batch) for batch in images.split(BATCH)])
        error = 100 * float((logits.argmax(dim=1) != labels).double().mean())
        obstacles[network.name] = not_learned(error, len(setup.images.class_names))
        itself = float(cross_entropy(logits, labels))
        one_point = surface(with_norms(network.net, STORED), 0, 1, images, labels)
        apart = abs(float(one_point[0, 0]) - itself)
        found = f"{apart:.2g} from the loss"
        controls.append(Control(f"{network.name}: a grid of one point", found, apart < 1e-5 * max(itself, 1)))
        for statistics in (STORED, OF_BATCH):
            net = with_norms(network.net, statistics)
            surfaces = [surface(net, seed, setup.numbers["side"], images, labels) for seed in setup.seeds]
            shares[network.name, statistics] = [not_convex(losses) for losses in surfaces]
            rows += [{"network": network.name, "statistics": statistics, "seed": seed, "row": i, "column": j, "loss": value}
                     for seed, losses in enumerate(surfaces) for (i, j), value in np.ndenumerate(losses)]  # fmt: skip
    effects = {f"{a.name} - {b.name}, {statistics}": np.array(shares[a.name, statistics]) - np.array(shares[b.name, statistics])
               for a, b in pairs_of(setup.networks) for statistics in (STORED, OF_BATCH)}  # fmt: skip
    controls += [pass_on_control(f"{a.name} and {b.name}", [(a.net, b.net)]) for a, b in pairs_of(setup.networks)]
    of_pairs = {f"{a.name} - {b.name}, {statistics}": obstacles[a.name] or obstacles[b.name]
                for a, b in pairs_of(setup.networks) for statistics in (STORED, OF_BATCH)}  # fmt: skip
    return Measurement(rows, effects, controls, of_pairs)


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """Contours of the loss with one scale for all networks: of the first directions as areas, of the others as lines."""
    networks, kinds = (list(dict.fromkeys(row[key] for row in rows)) for key in ("network", "statistics"))
    side = max(row["row"] for row in rows) + 1
    finite = np.array([row["loss"] for row in rows if 0 < row["loss"] < np.inf])
    low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 1.0)
    levels = np.linspace(np.log10(low), np.log10(high) + 1e-6, 16)
    for line, network in zip(page.subplots(len(networks), len(kinds), squeeze=False), networks, strict=True):
        for axes, statistics in zip(line, kinds, strict=True):
            own = [row for row in rows if (row["network"], row["statistics"]) == (network, statistics)]
            grid = np.linspace(-RADIUS, RADIUS, side)
            for seed in sorted({row["seed"] for row in own}):
                losses = np.nan_to_num([row["loss"] for row in own if row["seed"] == seed], nan=high, posinf=high)
                losses = np.log10(losses.clip(low, high)).reshape(side, side)
                if seed:
                    axes.contour(grid, grid, losses.T, levels, colors=canvas.TEXT, linewidths=0.4, alpha=0.5)
                else:
                    areas = axes.contourf(grid, grid, losses.T, levels, cmap="viridis")
            axes.set_title(f"{network}, {statistics}: log10 of the loss", color=canvas.MUTED, fontweight="normal")
    page.colorbar(areas, ax=page.axes)


_SIDES = {"paper": (10_000, 51), "short": (1_000, 21), "minutes": (100, 7)}
STUDY = Study(
    name="landscape",
    claim="Around its trained weights the loss of a plain network is less convex than that of a residual one.",
    paper="Li et al. 2018, Visualizing the Loss Landscape of Neural Nets, figures 1 and 5",
    published="ResNet-56 on CIFAR-10: contours nearly convex; without shortcuts chaotic",
    statistic="share of points where the loss is not convex, in percent: of the plain network minus the residual one",
    unit=SEED,
    rule=Rule("greater", 0.0, 5.0, least_count=3, undecided_if=NOT_LEARNED),
    control="a grid of one point: the loss of the network itself; the blocks of the residual network pass on their input, those "
    "of the plain one do not",
    protocols={name: {"images": images, "side": side} for name, (images, side) in _SIDES.items()},
    cost={"paper": "days", "short": "2 h for 56 layers", "minutes": "2 min"},
    num_networks=2,
    data=None,
    measure=measure,
    draw=draw,
    check=check,
    seeds=3,
    trained_on=True,
)
