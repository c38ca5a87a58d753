"""What a file of another library has no place for, put into the tensors: the answers stay the same.

softmax(z / T) of the logits z = W x + b is the softmax of (W / T) x + b / T, so the fitted temperature T goes into the last
layer. A network that sees BGR images sees RGB ones when the inputs of its first convolution are put into the other order.
"""

from __future__ import annotations

from dataclasses import replace

from resnets.errors import UserError
from resnets.weights.checkpoint import Checkpoint

FIRST = ("stem.conv.weight", "stem.conv1.weight")  # the convolution that sees the image
LAST = ("head.fc.weight", "head.fc.bias")
SCALE = 255.0  # what other libraries divide 8-bit values by


def with_temperature(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its temperature in the last layer, and a temperature of 1.

    Computed in float64 and rounded once to the type of the tensors: exact for the softmax and for the best class.

    Raises:
        UserError: the divided weights leave the range of their type.
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
    return replace(checkpoint, tensors={**checkpoint.tensors, **divided}, temperature=1.0)


def in_rgb(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint for images of RGB divided by 255, when its own are BGR or divided by another number.

    The first convolution gets its inputs in the other order, and mean and standard deviation another unit: the tensor that
    the network sees holds the same numbers. A checkpoint for gray images keeps its single channel.
    """
    preprocess = checkpoint.preprocess
    unit = preprocess.scale / SCALE
    mean, std = preprocess.mean, preprocess.std
    if unit != 1:
        mean, std = tuple(value * unit for value in mean), tuple(value * unit for value in std)
    if preprocess.color != "bgr" or len(mean) != 3:
        return replace(checkpoint, preprocess=replace(preprocess, scale=SCALE, mean=mean, std=std))
    name = next(name for name in FIRST if name in checkpoint.tensors)
    kernel = checkpoint.tensors[name]  # (out, 3 or more, k, k): what follows the third input is no color
    tensors = {**checkpoint.tensors, name: kernel[:, [2, 1, 0, *range(3, kernel.shape[1])]].contiguous()}
    preprocess = replace(preprocess, color="rgb", scale=SCALE, mean=mean[::-1], std=std[::-1])
    return replace(checkpoint, tensors=tensors, preprocess=preprocess)


def metadata(checkpoint: Checkpoint, *, top: bool = True) -> dict[str, str]:
    """What a safetensors file of another library says of itself: torch's mark, and a temperature that was folded."""
    said = {"format": "pt"}
    if top and checkpoint.temperature != 1:
        said["temperature_folded"] = repr(float(checkpoint.temperature))
    return said


def notes(checkpoint: Checkpoint, layer: str, *, images: bool = True) -> list[str]:
    """What `with_temperature` and, for `images`, `in_rgb` change in this checkpoint, a sentence each.

    Args:
        layer: the other library's name of the last layer; "" where it is left out.
    """
    said = []
    if layer and checkpoint.temperature != 1:
        said.append(
            f"temperature {checkpoint.temperature:.6g} folded into {layer}: the softmax gives the calibrated probabilities"
        )
    elif checkpoint.temperature != 1:
        said.append(f"temperature {checkpoint.temperature:.6g} left out with the last layer")
    if images and checkpoint.preprocess.color == "bgr":
        said.append("inputs of the first convolution reordered: it takes RGB images in place of BGR")
    return said
