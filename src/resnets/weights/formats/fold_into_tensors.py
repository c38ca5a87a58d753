"""Fold into the tensors what a file of another library cannot hold, without changing the probabilities.

softmax(z / T) of the logits z = W x + b is the softmax of (W / T) x + b / T, so the fitted temperature T can be folded into the
last layer. A network for BGR images takes RGB images if the input channels of its first convolution are reversed.
"""

from dataclasses import replace

from resnets.errors import UserError
from resnets.weights.adapt import FIRST
from resnets.weights.checkpoint import Checkpoint

LAST = ("head.fc.weight", "head.fc.bias")
SCALE = 255.0  # what other libraries divide 8-bit values by


def with_temperature(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its temperature folded into the last layer, and a temperature of 1.

    Computed in float64 and rounded once to the type of the tensors.

    Raises:
        UserError: the divided weights exceed the range of their type.
    """
    if checkpoint.temperature == 1:
        return checkpoint
    divided = {}
    for name in LAST:
        tensor = checkpoint.tensors[name]
        divided[name] = (tensor.double() / checkpoint.temperature).to(tensor.dtype)
        if not divided[name].isfinite().all() and tensor.isfinite().all():
            raise UserError(
                f"The temperature {checkpoint.temperature:g} cannot be folded into the last layer: the weights divided by it "
                f"do not fit into {str(tensor.dtype).removeprefix('torch.')}. Calibrate the checkpoint again."
            )
    return replace(checkpoint, tensors={**checkpoint.tensors, **divided}, fitted={})


def in_rgb(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint for RGB images divided by 255, if its own are BGR or divided by another number.

    The input channels of the first convolution are reversed, and mean and standard deviation scaled: the outputs do not change.
    A checkpoint for gray images keeps its single channel.
    """
    preprocess = checkpoint.preprocess
    unit = preprocess.scale / SCALE
    mean, std = preprocess.mean, preprocess.std
    if unit != 1:
        mean, std = tuple(value * unit for value in mean), tuple(value * unit for value in std)
    if preprocess.color != "bgr" or len(mean) != 3:
        return replace(checkpoint, preprocess=replace(preprocess, scale=SCALE, mean=mean, std=std))
    name = next(name for name in FIRST if name in checkpoint.tensors)
    kernel = checkpoint.tensors[name]  # (out, 3 or more, k, k): inputs after the third are not colors
    tensors = {**checkpoint.tensors, name: kernel[:, [2, 1, 0, *range(3, kernel.shape[1])]].contiguous()}
    preprocess = replace(preprocess, color="rgb", scale=SCALE, mean=mean[::-1], std=std[::-1])
    return replace(checkpoint, tensors=tensors, preprocess=preprocess)


def metadata(checkpoint: Checkpoint, *, top: bool = True) -> dict[str, str]:
    """The metadata of a safetensors file for another library: torch's format mark, and the temperature that was folded."""
    metadata = {"format": "pt"}
    if top and checkpoint.temperature != 1:
        metadata["temperature_folded"] = repr(float(checkpoint.temperature))
    return metadata


def notes(checkpoint: Checkpoint, layer: str, *, images: bool = True) -> list[str]:
    """What `with_temperature` and, with `images`, `in_rgb` change in this checkpoint, in sentences.

    Args:
        layer: the other library's name of the last layer; "" if it is left out.
    """
    sentences = []
    if checkpoint.temperature != 1:
        folded = f"folded into {layer}: the softmax gives the calibrated probabilities"
        what = folded if layer else "left out with the last layer"
        sentences.append(f"temperature {checkpoint.temperature:.6g} {what}")
    if images and checkpoint.preprocess.color == "bgr":
        sentences.append("inputs of the first convolution reordered: it takes RGB images instead of BGR")
    return sentences
