"""`responses`: the standard deviation of what each 3x3 layer gives (He et al. 2015, figure 7)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.resnet import ResNet
from resnets.report.figures import canvas
from resnets.studies.inputs import StudyNetwork
from resnets.studies.lesions import is_plain, named_blocks
from resnets.studies.study import LAYER, Control, Measurement, Setup, Study, not_learned
from resnets.studies.top1_error import error_percent
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 0.01  # of the control; batch norm divides by sqrt(variance + eps)


def norms_after_3x3(net: ResNet) -> list[nn.BatchNorm2d]:
    """The norm after each 3x3 convolution, in order: the layers of the figure.

    Raises:
        UserError: there are none, as in pre-activation networks, whose norms precede the convolutions.
    """
    found: list[nn.BatchNorm2d] = []
    last: nn.Conv2d | None = None
    for module in [*net.stem.modules(), *(each for block in named_blocks(net).values() for each in block.modules())]:
        if isinstance(module, nn.Conv2d):
            last = module
        elif isinstance(module, nn.BatchNorm2d):
            if last is not None and last.kernel_size == (3, 3) and last.out_channels == module.num_features:
                found.append(module)
            last = None
    if len(found) < 2:
        raise UserError(
            "The responses are those of norms that follow 3x3 convolutions, which this network does not have."
        )
    return found


@torch.inference_mode()
def deviations(net: ResNet, images: Tensor) -> np.ndarray:
    """float64 (layers,): the standard deviation of all values that each norm gives for these images."""
    values: list[float] = []
    hooks = [
        # The ReLU that follows works in place, so the number is taken at once.
        norm.register_forward_hook(lambda _module, _inputs, output: values.append(float(output.double().std())))
        for norm in norms_after_3x3(net)
    ]
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()
    return np.array(values)


def with_unit_norms(net: ResNet) -> ResNet:
    """A copy whose norms have a scale of 1 and a bias of 0, and use the statistics of the batch."""
    net = copy.deepcopy(net).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return net


@torch.no_grad()
def measure(setup: Setup) -> Measurement:
    """The responses of all networks; the claim compares plain with residual ones of one depth, and depths."""
    assert setup.images is not None
    rows: list[dict[str, Any]] = []
    found, controls, obstacles = {}, [], {}
    for network in setup.networks:
        images = setup.images.stacked(network.checkpoint.preprocess)
        found[network.name] = deviations(network.net, images)
        stds = found[network.name].tolist()
        rows += [{"network": network.name, "layer": layer, "std": std} for layer, std in enumerate(stds, start=1)]
        error = error_percent(network.net, images, setup.images.labels)
        obstacles[network.name] = not_learned(error, len(setup.images.class_names))
        unit = deviations(with_unit_norms(network.net), images)
        farthest = float(unit[np.abs(unit - 1).argmax()])
        found_there = f"std {farthest:.4f} in the farthest layer"
        controls.append(Control(f"{network.name}: norms with scale 1", found_there, abs(farthest - 1) < TOLERANCE))
    pairs = pairs_of(setup.networks)
    effects = {f"{large.name} - {small.name}": (found[large.name], found[small.name]) for large, small in pairs}
    of_pairs = {f"{a.name} - {b.name}": obstacles[a.name] or obstacles[b.name] for a, b in pairs}
    return Measurement(rows, effects, controls, of_pairs)


def check(networks: Sequence[StudyNetwork]) -> None:
    """Raise UserError for networks without norms after 3x3 convolutions, and where the claim compares no two of them."""
    for network in networks:
        norms_after_3x3(network.net)
    if not pairs_of(networks):
        raise UserError(f"The claim compares residual networks of two depths, or a plain and a residual one of one depth; "
                        f"the `weights` are of {', '.join(each.name for each in networks)}.")  # fmt: skip


def pairs_of(networks: Sequence[StudyNetwork]) -> list[tuple[StudyNetwork, StudyNetwork]]:
    """Those that the claim compares; the first of each pair should have the larger responses."""
    pairs = []
    by_depth = sorted(networks, key=lambda each: sum(each.checkpoint.spec.num_blocks))
    for index, small in enumerate(by_depth):
        for large in by_depth[index + 1 :]:
            plain = [is_plain(each.net) for each in (small, large)]
            same_depth = small.checkpoint.spec.num_blocks == large.checkpoint.spec.num_blocks
            if same_depth and plain[0] != plain[1]:
                pairs.append((small, large) if plain[0] else (large, small))
            elif not same_depth and not any(plain):
                pairs.append((small, large))
    return pairs


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """Both panels of the figure: in the order of the layers, and in the order of the values."""
    for axes, ordered in zip(page.subplots(2, 1), (False, True), strict=True):
        for name in dict.fromkeys(row["network"] for row in rows):
            values = [row["std"] for row in rows if row["network"] == name]
            values = sorted(values, reverse=True) if ordered else values
            axes.plot(range(1, len(values) + 1), values, label=name)
        axes.set_xlabel("layer, by magnitude" if ordered else "layer, in the order of the network")
        axes.set_title("standard deviation", color=canvas.MUTED, fontweight="normal")
    canvas.legend(page.axes[0])


STUDY = Study(
    name="responses",
    claim="Layers of residual networks respond less than those of plain ones, and less the deeper the network is.",
    paper="He et al. 2015, figure 7",
    published="CIFAR-10: plain-20 and -56 above ResNet-20, -56 and -110, in this order",
    statistic="standard deviation after batch norm of a 3x3 layer: mean over one network's layers, minus the other's",
    unit=LAYER,
    rule=Rule("greater", 0.0, 0.1, least_count=7),
    control="all norms with scale 1, bias 0 and the statistics of the batch: each layer has a standard deviation of 1",
    protocols={"paper": {"images": 500}, "short": {"images": 500}, "minutes": {"images": 100}},
    cost={"paper": "5 s a network", "short": "5 s a network", "minutes": "1 s a network"},
    num_networks=2,
    data=None,
    measure=measure,
    draw=draw,
    check=check,
)
