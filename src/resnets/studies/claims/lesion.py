"""`lesion`: delete single blocks of a trained network (Veit et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from resnets.models.blocks import Block, PlainBlock
from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies import lesions
from resnets.studies.inputs import ImageSet, StudyNetwork, as_tensor
from resnets.studies.study import IMAGE, Control, Measurement, Setup, Study, not_learned
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOUND = 5.0  # points of error


def measure(setup: Setup) -> Measurement:
    """The errors without each block, of all networks on the same images."""
    assert setup.images is not None
    rows: list[dict[str, Any]] = []
    effects, obstacles, controls = {}, {}, []
    for network in setup.networks:
        blocks = lesions.deletable(network.net)
        wrong = _wrong(network, setup.images, list(blocks))
        base = float(wrong[""].mean())
        for name, (_, keeps_shape) in blocks.items():
            added = float((wrong[name] - wrong[""]).mean())
            rows.append(
                {
                    "network": network.name,
                    "block": name,
                    "keeps_shape": keeps_shape,
                    "base_error": base,
                    "added_error": added,
                }
            )
        kept = [wrong[name] for name, (_, keeps_shape) in blocks.items() if keeps_shape]
        if kept:
            effects[network.name] = (torch.stack(kept).mean(dim=0) - wrong[""]).numpy()
        obstacles[network.name] = not_learned(base, len(setup.images.class_names))
        controls += _controls(network, setup.images, next(iter(blocks)))
    return Measurement(rows, effects, controls, obstacles)


@torch.inference_mode()
def _wrong(network: StudyNetwork, images: ImageSet, names: Sequence[str]) -> dict[str, Tensor]:
    """By deleted block, for each image: 100 where it is classified wrongly, else 0; float64 (N,)."""
    parts: dict[str, list[Tensor]] = {name: [] for name in (*names, "")}
    labels, loader = images.labels, images.batches(network.checkpoint.preprocess)
    for batch in progress_bar(loader, description=network.name, total=len(loader), unit="batches"):
        inputs = as_tensor(batch.images)
        true = labels[batch.first : batch.first + len(inputs)]
        for name, logits in lesions.logits_without(network.net, inputs, names):
            parts[name].append(100.0 * (logits.argmax(dim=1) != true).double())
    return {name: torch.cat(each) for name, each in parts.items()}


@torch.inference_mode()
def _controls(network: StudyNetwork, images: ImageSet, name: str) -> list[Control]:
    """A branch that gives zero by its weights must be deleted without a trace, and one that does not with a trace."""
    few = as_tensor(next(iter(images.batches(network.checkpoint.preprocess))).images)[:8]
    block = lesions.named_blocks(network.net)[name]
    before = dict(lesions.logits_without(network.net, few, [name]))
    changed = float((before[name] - before[""]).abs().max())
    found = [Control(f"{network.name}: deleting {name} changes logits", f"by {changed:.3g}", changed > 0)]
    if not isinstance(block, PlainBlock) and (last := _last_parameters(block)):
        saved = [parameter.clone() for parameter in last]
        for parameter in last:
            parameter.zero_()
        zeroed = dict(lesions.logits_without(network.net, few, [name]))
        for parameter, values in zip(last, saved, strict=True):
            parameter.copy_(values)
        largest = float((zeroed[name] - zeroed[""]).abs().max())
        found.append(
            Control(f"{network.name}: deleting {name} with a branch of weight 0", f"{largest:g}", largest == 0)
        )
    return found


def _last_parameters(block: Block) -> list[nn.Parameter]:
    """The weight and bias of the last layer of the branch that has some; at zero the branch gives zero."""
    layers = [each for each in block.branch.modules() if isinstance(each, nn.Conv2d | nn.BatchNorm2d)]  # type: ignore[union-attr]
    return list(layers[-1].parameters()) if layers else []


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The error without each block, as figure 3 of the paper; hollow where the block changes the shape."""
    from matplotlib.ticker import MaxNLocator  # matplotlib is imported by what draws

    axes = page.subplots()
    for number, name in enumerate(dict.fromkeys(row["network"] for row in rows)):
        own = [row for row in rows if row["network"] == name]
        color = f"C{number}"
        errors = [row["base_error"] + row["added_error"] for row in own]
        axes.plot(range(1, len(own) + 1), errors, color=color, linewidth=0.8, label=name)
        for index, (row, error) in enumerate(zip(own, errors, strict=True), start=1):
            axes.plot(index, error, "o", color=color, markerfacecolor=color if row["keeps_shape"] else "white")
        axes.axhline(own[0]["base_error"], color=color, linestyle="--", linewidth=0.8)
    axes.set_xlabel("deleted block (hollow: changes the shape; dashed: nothing deleted)")
    axes.set_title("error in percent", color=canvas.MUTED, fontweight="normal")
    axes.set_ylim(0, 100)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    canvas.legend(axes)


STUDY = Study(
    name="lesion",
    claim="A block of a trained residual network can be deleted with almost no loss, except where the shape changes.",
    paper="Veit et al. 2016, figure 3",
    published="ResNet-110: almost every deletion leaves the error as it is; VGG: each deletion brings it to chance",
    statistic="mean over the blocks that keep the shape of the error without that block, minus the error, in points",
    unit=IMAGE,
    rule=Rule("less", BOUND, 1.0, least_count=100),
    control="a block whose branch has weight 0 is deleted: no logit changes",
    protocols={"paper": {"images": 10_000}, "short": {"images": 2_000}, "minutes": {"images": 500}},
    cost={"paper": "ResNet-20: 2 min, ResNet-110: 1 h", "short": "24 s, 12 min", "minutes": "6 s, 3 min"},
    num_networks=1,
    data=None,
    measure=measure,
    draw=draw,
)
