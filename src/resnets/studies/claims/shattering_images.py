"""`shattering-images`: how the gradient of a new convolutional network changes between two images (Balduzzi et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from resnets.models.resnet import ResNet
from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies.claims.shattering import LAGS, LINEAR_FLOOR, autocorrelation
from resnets.studies.measurements import edit_blocks
from resnets.studies.measurements.new_networks import PLAIN, SHORTCUTS, network
from resnets.studies.shortcut_control import pass_on_control
from resnets.studies.study import SEED, Control, Measurement, Setup, Study
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NORM, NO_NORM = "batch norm, He", "no norm, He"
LINEAR, REMOVED = "plain without ReLU and norm", "residual, shortcuts removed"
KINDS = {PLAIN: (PLAIN, NORM), SHORTCUTS: (SHORTCUTS, NORM), REMOVED: (SHORTCUTS, NORM), LINEAR: (PLAIN, NO_NORM)}


def build(kind: str, depth: int, num_classes: int, seed: int) -> ResNet:
    """A network of CIFAR-10's form in float64, in train mode; those of one seed have the same weights."""
    net = network(KINDS[kind][0], depth, KINDS[kind][1], num_classes, seed)
    if kind == REMOVED:
        edit_blocks.remove_shortcuts(net)
    if kind == LINEAR:
        for module in list(net.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.ReLU):
                    module._modules[name] = nn.Identity()
    return net


def gradient_between(net: ResNet, images: Tensor, points: int) -> np.ndarray:
    """float64 (points,): the derivative of the first logit along the line from one image to the other, images (2, C, H, W).

    Batch norm takes its statistics over all points.
    """
    place = torch.linspace(0, 1, points, dtype=torch.float64)[:, None, None, None].requires_grad_()
    first, second = images.double()
    logits = net(first + place * (second - first))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), place)
    return gradient.flatten().numpy()


def measure(setup: Setup) -> Measurement:
    """The autocorrelations of all kinds of networks."""
    assert setup.images is not None
    depth, points = setup.numbers["depth"], setup.numbers["points"]
    images, num_classes = setup.images.stacked(), len(setup.images.class_names)
    rows: list[dict[str, Any]] = []
    first: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in progress_bar(setup.seeds, description="shattering-images", unit="seeds"):
        for kind in KINDS:
            correlations = autocorrelation(gradient_between(build(kind, depth, num_classes, seed), images, points))
            first[kind].append(float(correlations[1]))
            rows += [
                {"kind": kind, "seed": seed, "lag": lag, "autocorrelation": float(r)}
                for lag, r in enumerate(correlations)
            ]
    lag1 = {kind: np.array(values) for kind, values in first.items()}
    left, lowest = float(np.abs(lag1[REMOVED] - lag1[PLAIN]).max()), float(lag1[LINEAR].min())
    pairs = (
        (build(PLAIN, depth, num_classes, seed), build(SHORTCUTS, depth, num_classes, seed)) for seed in setup.seeds
    )
    controls = [
        pass_on_control("plain, and with shortcuts", pairs),
        Control("shortcuts removed from the residual networks", f"difference of {left:g}", left == 0),
        Control("networks without ReLU and norm, which are linear", f"at least {lowest:.3f}", lowest >= LINEAR_FLOOR),
    ]
    plain, residual = (f"{lag1[kind].mean():.2f}" for kind in (PLAIN, SHORTCUTS))
    note = f"at lag 1, mean of the seeds: plain {plain}; residual {residual}"
    return Measurement(rows, {f"{depth} layers with batch norm": lag1[SHORTCUTS] - lag1[PLAIN]}, controls, notes=[note])


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The autocorrelation by lag: mean and range of the seeds."""
    axes = page.subplots()
    for number, kind in enumerate((PLAIN, SHORTCUTS, LINEAR)):
        values = [
            [row["autocorrelation"] for row in rows if (row["kind"], row["lag"]) == (kind, lag)] for lag in range(LAGS)
        ]
        axes.plot(range(LAGS), [np.mean(each) for each in values], color=f"C{number}", label=kind)
        low, high = [min(each) for each in values], [max(each) for each in values]
        axes.fill_between(range(LAGS), low, high, color=f"C{number}", alpha=0.15, lw=0)
    axes.set_xlabel("lag in points of the line between two images")
    axes.set_title("autocorrelation of the gradient", color=canvas.MUTED, fontweight="normal")
    canvas.legend(axes)


STUDY = Study(
    name="shattering-images",
    claim="Shortcuts keep the gradient of a deep convolutional network similar at neighboring images.",
    paper="Balduzzi et al. 2017, section 2",
    published="no numbers for convolutional networks with shortcuts at full strength",
    statistic="autocorrelation of the gradient at lag 1 of the points between two images: residual minus plain",
    unit=SEED,
    rule=Rule("greater", 0.0, 0.1, least_count=3),
    control="without its shortcuts the residual network is the plain one, with them its blocks pass on their input; a linear "
    "network has a correlation of 1",
    protocols={
        "paper": {"images": 2, "depth": 56, "points": 128},
        "short": {"images": 2, "depth": 56, "points": 128},
        "minutes": {"images": 2, "depth": 20, "points": 64},
    },
    cost={"paper": "50 s", "short": "50 s", "minutes": "8 s"},
    data="digits",
    least_images=2,
    measure=measure,
    draw=draw,
)
