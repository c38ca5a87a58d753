"""Adapt weights to another number of classes (a new head) or of image channels, and load what fits another model."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.message_format import format_list
from resnets.models.build_network import build
from resnets.models.spec import ResNetSpec
from resnets.progress import log
from resnets.weights.checkpoint import UNTRAINED, Checkpoint, check_fit

FIRST = ("stem.conv.weight", "stem.conv1.weight")  # the convolution that reads the image


def adapt_checkpoint(
    checkpoint: Checkpoint, *, num_classes: int | None, in_channels: int | None
) -> tuple[Checkpoint, list[str]]:
    """The checkpoint with a new head and another first convolution if requested, and notes on what was done."""
    notes = []
    if in_channels is not None and in_channels != checkpoint.spec.in_channels:
        checkpoint, note = with_in_channels(checkpoint, in_channels)
        notes.append(note)
    if num_classes is not None:
        spec = replace(checkpoint.spec, num_classes=num_classes)
        backbone = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith("head.")}
        # Temperature and metrics of the old head do not apply to the new one, which has no class names.
        provenance = {**checkpoint.provenance, "head": UNTRAINED}
        tensors = backbone | new_head(spec)
        new: dict[str, Any] = {"class_names": (), "fitted": {}, "metrics": {}, "provenance": provenance}
        checkpoint = replace(checkpoint, spec=spec, tensors=tensors, **new)
        notes.append(f"a new, untrained head of {num_classes} classes replaces the old one")
    return checkpoint, notes


def new_head(spec: ResNetSpec) -> dict[str, Tensor]:
    """The tensors of a newly initialized head, always the same for a specification; torch's random state is not changed."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        state = build(spec).state_dict()
    return {name: tensor for name, tensor in state.items() if name.startswith("head.")}


def with_in_channels(checkpoint: Checkpoint, channels: int) -> tuple[Checkpoint, str]:
    """The checkpoint for images of 1 channel or of more than 3, and a note on what was done.

    One channel: the kernels of red, green and blue are added, so that a gray image gives the same logits as with three equal
    channels. More: the kernels of the new channels are zero, so that the logits are those of RGB until they are trained.

    Raises:
        UserError: the network does not take 3 channels, or 2 are requested.
    """
    spec = checkpoint.spec
    if spec.in_channels != 3 or channels in (2, 3) or channels < 1:
        raise UserError(f"Weights for 3 channels can be adapted to 1 or to 4 and more; received {spec.in_channels} channels "
                        f"and `in_channels={channels}`.")  # fmt: skip
    name = next(name for name in checkpoint.tensors if name.removeprefix("backbone.") in FIRST)
    kernel = checkpoint.tensors[name]  # (out, 3, k, k)
    preprocess = checkpoint.preprocess
    if channels == 1:
        kernel = kernel.sum(1, keepdim=True)
        preprocess, note = gray(preprocess), "the kernels of red, green and blue were added into one"
    else:
        zeros = kernel.new_zeros(kernel.shape[0], channels - 3, *kernel.shape[2:])
        kernel = torch.cat((kernel, zeros), 1)
        one = "the kernel of channel 4 starts at zero"
        note = f"the kernels of channels 4 to {channels} start at zero" if channels > 4 else one
    tensors = {**checkpoint.tensors, name: kernel}
    spec = replace(spec, in_channels=channels)
    return replace(checkpoint, spec=spec, tensors=tensors, preprocess=preprocess), f"{channels} channel(s): {note}"


def gray(preprocess: Preprocess) -> Preprocess:
    """The preprocessing for gray images, with the averages of the means and of the standard deviations."""
    if preprocess.color == "gray" or len(preprocess.mean) != 3:
        return preprocess
    mean, std = sum(preprocess.mean) / 3, sum(preprocess.std) / 3
    return replace(preprocess, color="gray", mean=(mean,), std=(std,))


def load_backbone(model: Any, parent: Checkpoint, new: str) -> None:
    """The network of a checkpoint of another task as the backbone of a new model; `new` names its other layers in a message.

    Raises:
        UserError: the network is another one.
    """
    expected = model.backbone.state_dict()
    tensors = {key: each for key, each in parent.tensors.items() if not key.startswith("head.")}
    check_fit(expected, tensors, "The backbone of the checkpoint does not fit the network")
    model.backbone.load_state_dict(tensors)
    log(f"new, untrained {new}; the weights are those of the backbone")


def load_all_but_classes(model: nn.Module, parent: Checkpoint, num_classes: int) -> nn.Module:
    """The model, built for `num_classes`, in eval mode, with new layers where the checkpoint's have a row for each class."""
    own = model.state_dict()
    kept = {key: each for key, each in parent.tensors.items() if key in own and each.shape == own[key].shape}
    model.load_state_dict(kept, strict=False)
    new = dict.fromkeys(key.rpartition(".")[0] for key in own if key not in kept)
    log(f"new, untrained layers for {num_classes} classes: {format_list(list(new), 6, quote=False)}")
    return model.eval()
