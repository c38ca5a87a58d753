"""`gradients`: the norm of the gradient of each layer of new networks (He et al. 2015, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets.models.resnet import ResNet
from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies.measurements.new_networks import PLAIN, PREACTIVATION, SETTINGS, SHORTCUTS, network
from resnets.studies.shortcut_control import pass_on_control
from resnets.studies.study import SEED, Control, Measurement, Setup, Study, mean_and_range
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT = math.log10(50)  # of the control


def gradient_norms(net: ResNet, images: Tensor, labels: Tensor) -> np.ndarray:
    """float64 (layers,): the norm of the gradient of the mean cross-entropy for the weights of each 3x3, from the first on."""
    weights = [
        module.weight for module in net.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    ]
    gradients = torch.autograd.grad(cross_entropy(net(images.to(weights[0].dtype)), labels), weights)
    return np.array([float(gradient.norm()) for gradient in gradients])


def measure(setup: Setup) -> Measurement:
    """The gradients of all depths and settings."""
    assert setup.images is not None
    images, labels = setup.images.stacked(), setup.images.labels
    depths = sorted(depth for key, depth in setup.numbers.items() if key.startswith("depth"))
    cases = [(setting, seed, kind, depth) for setting in SETTINGS for seed in setup.seeds
             for kind in (PLAIN, SHORTCUTS, PREACTIVATION) for depth in depths]  # fmt: skip
    num_classes = len(setup.images.class_names)
    rows: list[dict[str, Any]] = []
    first: dict[tuple[str, int, str, int], float] = {}  # log10 of the norm of the first layer's gradient
    ratio: dict[tuple[str, int, str, int], float] = {}  # of the first layer's to the last layer's
    for case in progress_bar(cases, description="gradients", unit="networks"):
        setting, seed, kind, depth = case
        norms = gradient_norms(network(kind, depth, setting, num_classes, seed), images, labels)
        first[case], ratio[case] = math.log10(norms[0]), float(norms[0] / norms[-1])
        rows += [
            {"setting": setting, "seed": seed, "kind": kind, "depth": depth, "layer": layer, "norm": float(norm)}
            for layer, norm in enumerate(norms, start=1)
        ]

    def changes(setting: str, kind: str, depth: int) -> np.ndarray:
        """By seed, from the shallowest to this network."""
        return np.array(
            [first[setting, seed, kind, depth] - first[setting, seed, kind, depths[0]] for seed in setup.seeds]
        )

    effects = {
        f"{setting}, {depth} layers": changes(setting, PLAIN, depth) for setting in SETTINGS for depth in depths[1:]
    }
    lowest = min(float(changes(setting, SHORTCUTS, depth).min()) for setting in SETTINGS for depth in depths[1:])
    controls = [Control("shortcuts added to the plain networks", f"change of {lowest:.3g} at least", lowest > -LIMIT)]
    for setting in SETTINGS:
        pairs = (
            (network(PLAIN, depth, setting, num_classes, 0), network(SHORTCUTS, depth, setting, num_classes, 0))
            for depth in depths
        )
        controls.append(pass_on_control(f"{setting}, plain and with shortcuts", pairs))
    notes = [f"{setting}, {depth} layers with shortcuts: {mean_and_range(changes(setting, SHORTCUTS, depth))}"
             for setting in SETTINGS for depth in depths[1:]]  # fmt: skip
    for setting, kind, depth in product(SETTINGS, (PLAIN, SHORTCUTS), depths[1:]):
        values = np.array([ratio[setting, seed, kind, depth] for seed in setup.seeds])
        notes.append(f"{setting}, {kind}, {depth} layers: gradient of the first layer / last: {mean_and_range(values)}")
    return Measurement(rows, effects, controls, notes=notes)


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The norms by layer, one panel for each setting, the median of the seeds."""
    panels = page.subplots(2, 2).flat
    for axes, setting in zip(panels, SETTINGS, strict=True):
        own = [row for row in rows if row["setting"] == setting]
        for kind, color in ((PLAIN, canvas.TRAINING), (SHORTCUTS, canvas.VALIDATION), (PREACTIVATION, canvas.MUTED)):
            for number, depth in enumerate(sorted({row["depth"] for row in own})):
                line = [row for row in own if (row["kind"], row["depth"]) == (kind, depth)]
                layers = sorted({row["layer"] for row in line})
                norms = [np.median([row["norm"] for row in line if row["layer"] == layer]) for layer in layers]
                style = ("-", "--", ":")[number % 3]
                axes.plot(layers, np.log10(norms), style, color=color, label=f"{kind}-{depth}")
        axes.set_xlabel("3x3 layer")
        axes.set_title(f"{setting}: log10 of the norm of the gradient", color=canvas.MUTED, fontweight="normal")
    page.axes[0].legend(fontsize=7)


STUDY = Study(
    name="gradients",
    claim="The gradient of the first layers of a plain network vanishes with its depth.",
    paper="an explanation of many tutorials; He et al. 2015, section 4.1",
    published='with batch norm "unlikely to be caused by vanishing gradients": "healthy norms"',
    statistic="log10 of the norm of the first layer's gradient in a new plain network, minus that with 8 layers",
    unit=SEED,
    rule=Rule("less", 0.0, 1.0, least_count=3),
    control="shortcuts added to the same plain networks: the norm falls by less than a factor of 50, and each block passes on "
    "its input, while none of a plain network does",
    protocols={
        "paper": {"images": 64, "depth1": 8, "depth2": 20, "depth3": 56, "depth4": 110},
        "short": {"images": 64, "depth1": 8, "depth2": 20, "depth3": 56},
        "minutes": {"images": 4, "depth1": 8, "depth2": 44},
    },
    cost={"paper": "13 min", "short": "5 min", "minutes": "20 s"},
    data="digits",
    measure=measure,
    draw=draw,
)
