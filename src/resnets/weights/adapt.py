"""Weights for another task than theirs, on purpose: other classes, other channels of the image."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import torch
from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.spec import ResNetSpec, build
from resnets.weights.checkpoint import UNTRAINED, Checkpoint
from resnets.weights.formats.fold_temperature import FIRST


def adapted(
    checkpoint: Checkpoint, *, num_classes: int | None, in_channels: int | None
) -> tuple[Checkpoint, list[str]]:
    """The checkpoint with a new head and another first convolution where they are asked for, and what was done in words."""
    notes = []
    if in_channels is not None and in_channels != checkpoint.spec.in_channels:
        checkpoint, note = with_channels(checkpoint, in_channels)
        notes.append(note)
    if num_classes is not None:
        spec = replace(checkpoint.spec, num_classes=num_classes)
        body = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith("head.")}
        # Neither the temperature nor the figures of the old head hold for the new one, which has no names.
        provenance = {**checkpoint.provenance, "head": UNTRAINED}
        checkpoint = replace(
            checkpoint,
            spec=spec,
            tensors=body | new_head(spec),
            classes=(),
            temperature=1.0,
            metrics={},
            provenance=provenance,
        )
        notes.append(f"a new, untrained head of {num_classes} classes in place of the old one")
    return checkpoint, notes


def new_head(spec: ResNetSpec) -> dict[str, Tensor]:
    """The tensors of a freshly initialized head, always the same for one specification; torch's random state stays."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        state = build(spec).state_dict()
    return {name: tensor for name, tensor in state.items() if name.startswith("head.")}


def with_channels(checkpoint: Checkpoint, channels: int) -> tuple[Checkpoint, str]:
    """The checkpoint for images of 1 channel or of more than 3, and what was done in words.

    One channel: the three kernels of red, green and blue are added, so that a gray image gives what it gave as three equal
    channels. More: the kernels of the new channels are zero, so that the logits stay those of RGB until they are trained.

    Raises:
        UserError: the network does not take 3 channels, or 2 are asked for.
    """
    spec = checkpoint.spec
    if spec.in_channels != 3 or channels in (2, 3) or channels < 1:
        raise UserError(f"Weights for 3 channels become such for 1 or for 4 and more; received {spec.in_channels} channels "
                        f"and `in_channels={channels}`.")  # fmt: skip
    name = next(name for name in FIRST if name in checkpoint.tensors)
    kernel = checkpoint.tensors[name]  # (out, 3, k, k)
    preprocess = checkpoint.preprocess
    if channels == 1:
        kernel = kernel.sum(1, keepdim=True)
        preprocess, note = gray(preprocess), "the kernels of red, green and blue were added into one"
    else:
        zeros = kernel.new_zeros(kernel.shape[0], channels - 3, *kernel.shape[2:])
        kernel = torch.cat((kernel, zeros), 1)
        note = f"channels 4 to {channels} begin with kernels of zero" if channels > 4 else "channel 4 begins as zero"
    tensors = {**checkpoint.tensors, name: kernel}
    spec = replace(spec, in_channels=channels)
    return replace(checkpoint, spec=spec, tensors=tensors, preprocess=preprocess), f"{channels} channel(s): {note}"


def gray(preprocess: Preprocess) -> Preprocess:
    """The same for gray images, with the mean of the three means and of the three standard deviations."""
    if preprocess.color == "gray" or len(preprocess.mean) != 3:
        return preprocess
    mean, std = sum(preprocess.mean) / 3, sum(preprocess.std) / 3
    return dataclasses.replace(preprocess, color="gray", mean=(mean,), std=(std,))
