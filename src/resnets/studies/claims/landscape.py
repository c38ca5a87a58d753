"""`landscape`: the loss around trained weights, in two random directions (Li et al. 2018, Visualizing the Loss Landscape)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from resnets.models.blocks import PlainBlock
from resnets.models.resnet import ResNet
from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies.lesions import named_blocks
from resnets.studies.study import SEED, Control, Measurement, Setup, Study, not_learned
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STORED, OF_BATCH = "stored statistics", "statistics of the batch"  # of batch norm
BATCH = 100  # images
RADIUS = 1.0  # of the square, in units of the directions


def direction(net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """A random direction: each filter has the norm of the network's filter; biases and norms (1-D tensors) do not move."""
    found = {}
    for name, weight in net.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        moves = weight.ndim > 1
        scale = (
            weight.detach().flatten(1).norm(dim=1) / random.flatten(1).norm(dim=1)
            if moves
            else torch.zeros(len(weight))
        )
        found[name] = random * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return found


def with_norms(net: ResNet, statistics: str) -> ResNet:
    """A copy whose norms use the stored statistics, or those of each batch, without changing the stored ones."""
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and statistics == OF_BATCH:
            module.train()
            module.momentum = 0.0
    return net


@torch.inference_mode()
def loss(net: ResNet, parameters: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> float:
    """The mean cross-entropy of the network with other parameters."""
    batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
    sums = [float(cross_entropy(functional_call(net, dict(parameters), (x,)), y, reduction="sum")) for x, y in batches]
    return sum(sums) / len(labels)


def surface(net: ResNet, seed: int, side: int, images: Tensor, labels: Tensor) -> np.ndarray:
    """float64 (side, side): the loss at the points of a square grid around the weights; the middle are the weights themselves."""
    generator = torch.Generator().manual_seed(seed)
    first, second = direction(net, generator), direction(net, generator)
    grid = np.linspace(-RADIUS, RADIUS, side) if side > 1 else np.zeros(1)
    weights = {name: weight.detach() for name, weight in net.named_parameters()}
    return np.array([
        [loss(net, {name: weight + a * first[name] + b * second[name] for name, weight in weights.items()}, images, labels)
         for b in grid.tolist()]
        for a in progress_bar(grid.tolist(), description="landscape", unit="rows")
    ])  # fmt: skip


def not_convex(losses: np.ndarray) -> float:
    """The share of inner points, in percent, at which the second differences are not those of a convex function."""
    middle = losses[1:-1, 1:-1]
    xx, yy = losses[2:, 1:-1] - 2 * middle + losses[:-2, 1:-1], losses[1:-1, 2:] - 2 * middle + losses[1:-1, :-2]
    xy = (losses[2:, 2:] - losses[2:, :-2] - losses[:-2, 2:] + losses[:-2, :-2]) / 4
    return 100 * float(np.mean((xx <= 0) | (yy <= 0) | (xx * yy - xy**2 <= 0)))


def measure(setup: Setup) -> Measurement:
    """The surfaces of all networks; plain ones are compared with residual ones."""
    assert setup.images is not None
    rows: list[dict[str, Any]] = []
    shares: dict[tuple[str, str], list[float]] = {}
    controls, errors = [], []
    for network in setup.networks:
        images, labels = setup.images.stacked(network.checkpoint.preprocess), setup.images.labels
        with torch.inference_mode():
            logits = torch.cat([network.net(batch) for batch in images.split(BATCH)])
        errors.append(100 * float((logits.argmax(dim=1) != labels).double().mean()))
        itself = float(cross_entropy(logits, labels))
        apart = abs(float(surface(with_norms(network.net, STORED), 0, 1, images, labels)[0, 0]) - itself)
        found = f"{apart:.2g} from the loss"
        controls.append(Control(f"{network.name}: a grid of one point", found, apart < 1e-5 * max(itself, 1)))
        for statistics in (STORED, OF_BATCH):
            net = with_norms(network.net, statistics)
            surfaces = [surface(net, seed, setup.numbers["side"], images, labels) for seed in setup.seeds]
            shares[network.name, statistics] = [not_convex(losses) for losses in surfaces]
            rows += [{"network": network.name, "statistics": statistics, "seed": seed, "row": i, "column": j, "loss": value}
                     for seed, losses in enumerate(surfaces) for (i, j), value in np.ndenumerate(losses)]  # fmt: skip
    kinds = {each.name: isinstance(next(iter(named_blocks(each.net).values())), PlainBlock) for each in setup.networks}
    effects = {f"{a} - {b}, {statistics}": np.array(shares[a, statistics]) - np.array(shares[b, statistics])
               for a in kinds for b in kinds if kinds[a] and not kinds[b] for statistics in (STORED, OF_BATCH)}  # fmt: skip
    obstacle = not_learned(max(errors), len(setup.images.class_names))
    return Measurement(rows, effects, controls, dict.fromkeys(effects, obstacle))


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """Contours of the loss with one scale for all networks: of the first directions as areas, of the others as lines."""
    networks, kinds = (list(dict.fromkeys(row[key] for row in rows)) for key in ("network", "statistics"))
    side = max(row["row"] for row in rows) + 1
    logs = np.log10([row["loss"] for row in rows])
    levels = np.linspace(logs.min(), logs.max(), 16)
    for line, network in zip(page.subplots(len(networks), len(kinds), squeeze=False), networks, strict=True):
        for axes, statistics in zip(line, kinds, strict=True):
            own = [row for row in rows if (row["network"], row["statistics"]) == (network, statistics)]
            grid = np.linspace(-RADIUS, RADIUS, side)
            for seed in sorted({row["seed"] for row in own}):
                losses = np.log10([row["loss"] for row in own if row["seed"] == seed]).reshape(side, side)
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
    rule=Rule("greater", 0.0, 5.0, least_count=3),
    control="a grid of one point: the loss of the network itself",
    protocols={name: {"images": images, "side": side} for name, (images, side) in _SIDES.items()},
    cost={"paper": "days", "short": "2 h for 56 layers", "minutes": "2 min"},
    num_networks=2,
    data=None,
    measure=measure,
    draw=draw,
    seeds=3,
)
