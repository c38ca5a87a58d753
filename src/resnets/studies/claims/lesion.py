"""`lesion`: delete blocks of a trained network, one or several, or swap them (Veit et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnets.models.blocks import PlainBlock
from resnets.progress import progress_bar
from resnets.studies.inputs import ImageSet, StudyNetwork, as_tensor
from resnets.studies.measurements import edit_blocks, lesion_figure, lesion_variants
from resnets.studies.measurements.lesion_variants import DELETED, SINGLE, Variant
from resnets.studies.study import IMAGE, NOT_LEARNED, Control, Measurement, Setup, Study, not_learned
from resnets.studies.verdict import Rule

BOUND = 5.0  # points of error


def measure(setup: Setup) -> Measurement:
    """The errors without each block, without several, and in another order, of all networks on the same images."""
    assert setup.images is not None
    num_classes = len(setup.images.class_names)
    rows: list[dict[str, Any]] = []
    effects, obstacles, controls, notes = {}, {}, [], []
    for network in setup.networks:
        blocks = edit_blocks.deletable(network.net)
        is_plain = edit_blocks.is_plain(network.net)
        single = lesion_variants.single(network.net)
        several = [] if is_plain else lesion_variants.several(network.net)
        whole, wrong = _wrong(network, setup.images, single, several, setup.numbers["images_of_several"])
        base = float(whole.mean())
        for each, values in zip([*single, *several], wrong, strict=True):
            keeps_shape = each.kind != SINGLE or blocks[each.names][1]
            added = float((values - whole[: len(values)]).mean())
            rows.append({"network": network.name, "kind": each.kind, "blocks": each.names, "count": each.count,
                         "tau": each.tau, "keeps_shape": keeps_shape, "images": len(values), "base_error": base,
                         "added_error": added})  # fmt: skip
        kept = [values for each, values in zip(single, wrong, strict=False) if blocks[each.names][1]]
        obstacle = not_learned(base, num_classes)
        if is_plain:
            error = float(torch.stack(kept).mean())
            if obstacle:
                notes.append(f"{network.name} is no control: {obstacle}")
            else:
                holds = not_learned(error, num_classes) != ""
                controls.append(Control(f"{network.name}: without a block", f"an error of {error:.1f} %", holds))
        elif kept:
            effects[network.name] = (torch.stack(kept).mean(dim=0) - whole).numpy()
            obstacles[network.name] = obstacle
        notes += _notes([row for row in rows if row["network"] == network.name])
        controls += _controls(network, setup.images, next(iter(blocks)))
    return Measurement(rows, effects, controls, obstacles, notes)


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The points of error that a single block adds, by whether it changes the shape; and those of several, in the mean."""
    name = rows[0]["network"]
    single = {keeps: sorted(row["added_error"] for row in rows if row["kind"] == SINGLE and row["keeps_shape"] == keeps)
              for keeps in (True, False)}  # fmt: skip
    notes = [
        f"{name}: a block that {'keeps' if keeps else 'changes'} the shape adds {added[0]:.1f} to {added[-1]:.1f} points"
        for keeps, added in single.items()
        if added
    ]
    counts = sorted({row["count"] for row in rows if row["kind"] == DELETED})
    means = [
        np.mean([row["added_error"] for row in rows if (row["kind"], row["count"]) == (DELETED, count)])
        for count in counts
    ]
    if counts:
        several = ", ".join(f"{count}: {mean:.1f}" for count, mean in zip(counts, means, strict=True))
        notes.append(f"{name}: points added by several deleted blocks, mean of their draws: {several}")
    return notes


@torch.inference_mode()
def _wrong(
    network: StudyNetwork, images: ImageSet, single: Sequence[Variant], several: Sequence[Variant], count: int
) -> tuple[Tensor, list[Tensor]]:
    """For each image 100 where it is classified wrongly, else 0, float64 (N,): by the network, and by each variant.

    The variants `several` are measured with the first `count` images.
    """
    variants: dict[int, Sequence[nn.Module]] = {-1: edit_blocks.without(network.net, ())}
    variants |= {number: each.blocks for number, each in enumerate([*single, *several])}
    parts: dict[int, list[Tensor]] = {number: [] for number in variants}
    labels, loader = images.labels, images.batches(network.checkpoint.preprocess)
    for batch in progress_bar(loader, description=network.name, total=len(loader), unit="batches"):
        inputs = as_tensor(batch.images)
        true = labels[batch.first : batch.first + len(inputs)]
        used = len(variants) - 1 if batch.first < count else len(single)
        chosen = {number: blocks for number, blocks in variants.items() if number < used}
        for number, logits in edit_blocks.logits_of(network.net, inputs, chosen):
            parts[number].append(100.0 * (logits.argmax(dim=1) != true).double())
    whole, *wrong = (torch.cat(each) for each in parts.values())
    return whole, wrong


@torch.inference_mode()
def _controls(network: StudyNetwork, images: ImageSet, name: str) -> list[Control]:
    """A branch that is multiplied by 0 must be deleted without a trace, and one that is not with a trace."""
    few = as_tensor(next(iter(images.batches(network.checkpoint.preprocess))).images)[:8]
    block = edit_blocks.named_blocks(network.net)[name]
    zeroed = edit_blocks.with_branch_times_zero(block)
    variants = {
        "whole": edit_blocks.without(network.net, ()),
        "deleted": edit_blocks.without(network.net, [name]),
        "zeroed": [zeroed if each is block else each for each in edit_blocks.without(network.net, ())],
    }
    logits = dict(edit_blocks.logits_of(network.net, few, variants))
    changed = float((logits["deleted"] - logits["whole"]).abs().max())
    found = [Control(f"{network.name}: deleting {name} changes logits", f"by {changed:.3g}", changed > 0)]
    if not isinstance(block, PlainBlock):
        largest = float((logits["deleted"] - logits["zeroed"]).abs().max())
        found.append(Control(f"{network.name}: deleting {name} as multiplying it by 0", f"{largest:g}", largest == 0))
    return found


STUDY = Study(
    name="lesion",
    claim="A block of a trained residual network can be deleted with almost no loss, except where the shape changes.",
    paper="Veit et al. 2016, figures 3 and 5",
    published="ResNet-110: almost every deletion leaves the error as it is; VGG: each deletion brings it to chance",
    statistic="mean over the blocks that keep the shape of the error without that block, minus the error, in points",
    unit=IMAGE,
    rule=Rule("less", BOUND, 1.0, least_count=100, undecided_if=NOT_LEARNED),
    control="deleting a branch gives the same logits as multiplying it by 0; a plain network without a block loses the images",
    protocols={
        "paper": {"images": 10_000, "images_of_several": 2_000},
        "short": {"images": 2_000, "images_of_several": 500},
        "minutes": {"images": 500, "images_of_several": 100},
    },
    cost={"paper": "ResNet-20: 100 s, ResNet-110: 50 min", "short": "20 s, 8 min", "minutes": "5 s, 2 min"},
    num_networks=1,
    data=None,
    measure=measure,
    draw=lesion_figure.draw,
)
