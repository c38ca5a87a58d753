"""The network of a classifier in two parts for the backends, and how close its logits are to those of the reference."""

from functools import partial

from torch import Tensor

from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.message_format import pluralize
from resnets.models.resnet import PooledBackbone, ResNet

TOLERANCE = {"fp32": 0.002, "bf16": 0.01}  # largest accepted difference of a probability; bf16 has 8 bits


def classifier_graph(net: ResNet, temperature: float = 1.0) -> StaticGraph:
    """The network up to the pooled features, and its head, about a thousandth of the work, beside it.

    Args:
        net: in eval mode, on its device.
        temperature: of the probabilities that are compared with the reference's.
    """
    # `net.head` is read at each call, since it can be replaced.
    compare = partial(agreement, temperature=temperature)
    return StaticGraph(net, PooledBackbone(net), lambda pooled: net.head(pooled), compare, TOLERANCE)


def agreement(logits: Tensor, reference: Tensor, *, temperature: float = 1.0) -> Agreement:
    """Compare logits (N, K) with the reference's (N, K), and the probabilities at `temperature`.

    `details` has the fraction of images with the same most probable class, "same", and the largest absolute difference of a
    logit and of a probability.
    """
    same = float((logits.argmax(1) == reference.argmax(1)).double().mean())
    one, other = ((values.double() / temperature).softmax(1) for values in (logits, reference))
    difference = float((one - other).abs().max())
    text = f"on {pluralize(len(logits), 'image')} {same:.2%} equal labels, probabilities within {difference:.4f}"
    details = {"same": same, "logit": float((logits - reference).abs().max()), "probability": difference}
    return Agreement(len(logits), difference, text, details, quantity="a probability")
