"""`responses`: the standard deviation of what each 3x3 layer gives (He et al. 2015, figure 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from resnets.errors import UserError
from resnets.report.figures import canvas
from resnets.studies.inputs import StudyNetwork
from resnets.studies.measurements.edit_blocks import is_plain, is_residual
from resnets.studies.measurements.layer_deviations import deviations, norms_after_3x3, with_unit_norms
from resnets.studies.measurements.top1_error import error_percent
from resnets.studies.shortcut_control import pass_on_control
from resnets.studies.study import LAYER, NOT_LEARNED, Control, Measurement, Setup, Study, not_learned
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 0.01  # of the control; batch norm divides by sqrt(variance + eps)
NOTE = "the layers of a network are no sample, so no probability belongs to these verdicts: they describe the networks"


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
        worst = float(unit[np.abs(unit - 1).argmax()])
        name, words = f"{network.name}: norms with scale 1", f"std {worst:.4f} in the farthest layer"
        controls.append(Control(name, words, abs(worst - 1) < TOLERANCE))
    effects, of_pairs = {}, {}
    for large, small in pairs_of(setup.networks):
        effects[f"{large.name} - {small.name}"] = found[large.name], found[small.name]
        of_pairs[f"{large.name} - {small.name}"] = obstacles[large.name] or obstacles[small.name]
        if is_plain(large.net):
            controls.append(pass_on_control(f"{large.name} and {small.name}", [(large.net, small.net)]))
    means = [f"{name}: {stds.mean():.3f}, mean of {len(stds)} layers" for name, stds in found.items()]
    return Measurement(rows, effects, controls, of_pairs, [NOTE, *means])


def check(networks: Sequence[StudyNetwork]) -> None:
    """Raise UserError for networks without norms after 3x3 convolutions, and where the claim compares no two of them."""
    for network in networks:
        norms_after_3x3(network.net)
        if not is_plain(network.net) and not is_residual(network.net):
            raise UserError(f"It compares plain with residual networks; '{network.file}' is neither.")
    if not pairs_of(networks):
        needed = "residual networks of two depths, or a plain and a residual one of one depth"
        raise UserError(f"It compares {needed}; the `weights` are of {', '.join(each.name for each in networks)}.")


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
            axes.plot(range(1, len(values) + 1), sorted(values, reverse=True) if ordered else values, label=name)
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
    rule=Rule("greater", 0.0, 0.1, least_count=7, undecided_if=NOT_LEARNED),
    control="all norms with scale 1, bias 0 and the statistics of the batch: each layer has a standard deviation of 1; the "
    "blocks of the residual networks pass on their input, those of the plain ones do not",
    protocols={"paper": {"images": 500}, "short": {"images": 500}, "minutes": {"images": 100}},
    cost={"paper": "2 s a network", "short": "2 s a network", "minutes": "1 s a network"},
    num_networks=2,
    data=None,
    measure=measure,
    draw=draw,
    check=check,
)
