"""`gradients`: the norm of the gradient of each layer of new networks (He et al. 2015, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets.models import initialization, shortcuts, zoo
from resnets.models.blocks import PlainBlock
from resnets.models.resnet import ResNet
from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies.measurements.edit_blocks import with_shortcut
from resnets.studies.study import SEED, Control, Measurement, Setup, Study, mean_and_range
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What the settings are named, whether there is batch norm, and the initialization; `kaiming` is He's.
SETTINGS: dict[str, tuple[bool, Callable[[nn.Module], None]]] = {
    "batch norm, He": (True, initialization.kaiming_),
    "no norm, He": (False, initialization.kaiming_),
    "no norm, Glorot": (False, initialization.xavier_),
    "no norm, N(0, 0.01)": (False, initialization.small_normal_),
}
PLAIN, SHORTCUTS, PREACTIVATION = "plain", "residual", "pre-activation"
LIMIT = math.log10(50)  # of the control


def network(kind: str, depth: int, setting: str, num_classes: int, seed: int) -> ResNet:
    """A plain network, the same with shortcuts (option A), or that of He et al. 2016; float64: fp32 ends at 1e-45."""
    has_norm, initialize = SETTINGS[setting]
    torch.manual_seed(seed)
    name = "cifar_preresnet110" if kind == PREACTIVATION else "cifar_plain20"
    net = zoo.build(name, num_classes=num_classes, num_blocks=((depth - 2) // 6,) * 3)
    initialize(net)
    if kind == SHORTCUTS:
        _add_shortcuts(net)
    if not has_norm:
        _remove_norms(net)
    return net.double().train()


def _add_shortcuts(net: ResNet) -> None:
    channels = net.stem.channels
    for stage in net.stages.values():
        for name, block in list(stage.named_children()):
            assert isinstance(block, PlainBlock)
            same = block.stride == 1 and block.channels == channels
            shortcut = nn.Identity() if same else shortcuts.ZeroPad(channels, block.channels, block.stride)
            stage._modules[name] = with_shortcut(block, shortcut)
            channels = block.channels


def _remove_norms(net: nn.Module) -> None:
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                module._modules[name] = nn.Identity()
            elif isinstance(child, nn.ReLU):
                # In place, it would change the input of a pre-activation block, which the shortcut reads.
                child.inplace = False


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
    rows: list[dict[str, Any]] = []
    first: dict[tuple[str, int, str, int], float] = {}
    for case in progress_bar(cases, description="gradients", unit="networks"):
        setting, seed, kind, depth = case
        norms = gradient_norms(network(kind, depth, setting, len(setup.images.class_names), seed), images, labels)
        first[case] = math.log10(norms[0])
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
    control = Control("shortcuts added to the plain networks", f"change of {lowest:.3g} at least", lowest > -LIMIT)
    notes = [f"{setting}, {depth} layers with shortcuts: {mean_and_range(changes(setting, SHORTCUTS, depth))}"
             for setting in SETTINGS for depth in depths[1:]]  # fmt: skip
    return Measurement(rows, effects, [control], notes=notes)


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
    control="shortcuts added to the same plain networks: the norm falls by less than a factor of 50",
    protocols={
        "paper": {"images": 64, "depth1": 8, "depth2": 20, "depth3": 56, "depth4": 110},
        "short": {"images": 64, "depth1": 8, "depth2": 20, "depth3": 56},
        "minutes": {"images": 4, "depth1": 8, "depth2": 44},
    },
    cost={"paper": "20 min", "short": "8 min", "minutes": "20 s"},
    data="digits",
    measure=measure,
    draw=draw,
)
