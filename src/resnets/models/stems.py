"""Stems: the first layers, from an image (N, in_channels, H, W) to the input of the first stage.

With `preact`, a stem has no norm and no activation after its last convolution: the pre-activation block that follows has
its own.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.layers import Activation, Convolution, Norm, SameMaxPool2d, same_conv


class Stem(nn.Sequential):
    """Named layers in order.

    Attributes:
        channels: of the output.
        stride: of all layers together.
        min_size: the least height and width of an image.
        has_pool: whether the last layer is a pooling of stride 2, called "pool"; its padding may be a layer before it.
    """

    def __init__(self, layers: OrderedDict[str, nn.Module], channels: int, stride: int, min_size: int = 1) -> None:
        super().__init__(layers)
        self.channels = channels
        self.stride = stride
        self.min_size = min_size
        self.has_pool = "pool" in layers


def _norm_act(channels: int, norm: Norm, act: Activation, preact: bool) -> OrderedDict[str, nn.Module]:
    return OrderedDict() if preact else OrderedDict(norm=norm(channels), act=act())


def imagenet(
    in_channels: int, channels: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool, preact: bool
) -> Stem:
    """7x7 at stride 2 padded by 3, norm, act, 3x3 max pool at stride 2 padded by 1 (He et al. 2015, table 1)."""
    layers = OrderedDict[str, nn.Module](conv=conv(in_channels, channels, 7, 2, bias=bias))
    layers |= _norm_act(channels, norm, act, preact)
    layers["pool"] = nn.MaxPool2d(3, 2, padding=1)
    return Stem(layers, channels, stride=4)


def deep(
    in_channels: int, channels: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool, preact: bool
) -> Stem:
    """Three 3x3 in place of the 7x7, of half, half and all the channels (He et al. 2018, Bag of Tricks, "ResNet-C")."""
    half = channels // 2
    layers = OrderedDict[str, nn.Module](
        conv1=conv(in_channels, half, 3, 2, bias=bias), norm1=norm(half), act1=act(),
        conv2=conv(half, half, 3, bias=bias), norm2=norm(half), act2=act(),
        conv3=conv(half, channels, 3, bias=bias),
    )  # fmt: skip
    layers |= _norm_act(channels, norm, act, preact)
    layers["pool"] = nn.MaxPool2d(3, 2, padding=1)
    return Stem(layers, channels, stride=4)


def cifar(
    in_channels: int, channels: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool, preact: bool
) -> Stem:
    """One 3x3 at stride 1, norm, act, for images of some 32 pixels (He et al. 2015, section 4.2)."""
    layers = OrderedDict[str, nn.Module](conv=conv(in_channels, channels, 3, bias=bias))
    layers |= _norm_act(channels, norm, act, preact)
    return Stem(layers, channels, stride=1)


def keras(
    in_channels: int, channels: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool, preact: bool
) -> Stem:
    """As `imagenet`, but padded with zeros by layers of their own (keras/src/applications/resnet.py).

    Max pooling over padded zeros differs from torch's padding where the pooled values can be negative, as they are when
    `preact` is set.
    """
    layers = OrderedDict[str, nn.Module](pad=nn.ZeroPad2d(3), conv=nn.Conv2d(in_channels, channels, 7, 2, bias=bias))
    layers |= _norm_act(channels, norm, act, preact)
    layers |= OrderedDict(pool_pad=nn.ZeroPad2d(1), pool=nn.MaxPool2d(3, 2))
    return Stem(layers, channels, stride=4)


def same(
    in_channels: int, channels: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool, preact: bool
) -> Stem:
    """7x7 at stride 2 and 3x3 max pool at stride 2, both with TensorFlow's `padding="same"` (`zoo.NOTES_CODE`)."""
    layers = OrderedDict[str, nn.Module](conv=same_conv(in_channels, channels, 7, 2, bias=bias))
    layers |= _norm_act(channels, norm, act, preact)
    layers["pool"] = SameMaxPool2d(3, 2)
    return Stem(layers, channels, stride=4)


def valid(
    in_channels: int, channels: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool, preact: bool
) -> Stem:
    """7x7 at stride 2 and 3x3 max pool at stride 2, neither padded (`zoo.TUTORIAL`): 224 -> 109 -> 54."""
    layers = OrderedDict[str, nn.Module](conv=nn.Conv2d(in_channels, channels, 7, 2, bias=bias))
    layers |= _norm_act(channels, norm, act, preact)
    layers["pool"] = nn.MaxPool2d(3, 2)
    return Stem(layers, channels, stride=4, min_size=11)  # (11 - 7) // 2 + 1 = 3, the window of the pool


def notes(
    in_channels: int, channels: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool, preact: bool
) -> Stem:
    """A zero-pad of 3, 7x7 at stride 2, and a 3x3 max pool at stride 2 that is not padded (`zoo.NOTES`)."""
    layers = OrderedDict[str, nn.Module](pad=nn.ZeroPad2d(3), conv=nn.Conv2d(in_channels, channels, 7, 2, bias=bias))
    layers |= _norm_act(channels, norm, act, preact)
    layers["pool"] = nn.MaxPool2d(3, 2)
    return Stem(layers, channels, stride=4, min_size=5)  # (5 + 6 - 7) // 2 + 1 = 3


class WhiteningConv2d(nn.Conv2d):
    """A convolution whose kernels are computed from images and not trained: `weight` is a buffer. The bias is trained.

    With the eigenvectors e_i and eigenvalues v_i of the second moments of all patches of the images, the kernels are
    e_i / sqrt(v_i + EPS) and their negatives, so that the responses have second moments of about one and are not correlated
    (Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, section 3.2).
    """

    EPS = 5e-4  # the paper's
    LEAST_PART = 1e-9  # of the largest eigenvalue; the smallest of CIFAR-10 is 6e-5 of it, and 1e-16 of gray copies

    def __init__(self, in_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, 2 * in_channels * kernel_size**2, kernel_size)
        kernels = self.weight.detach()
        del self.weight
        self.register_buffer("weight", kernels)

    @torch.no_grad()
    def whiten_(self, images: Tensor) -> None:
        """Compute the kernels from normalized images (N, in_channels, H, W).

        Raises:
            UserError: some kernel would answer nothing on these images, as those of colors do on gray images: batch norm would
                divide by its epsilon, and the gradients would overflow.
        """
        moments = torch.zeros(2 * (self.out_channels // 2,), dtype=torch.float64)
        for part in images.split(500):
            patches = F.unfold(part.float().cpu(), self.kernel_size).transpose(0, 1).flatten(1).double()
            moments += patches @ patches.T / (patches.shape[1] // len(part) * len(images))
        values, vectors = torch.linalg.eigh(moments)
        dimensions = int((values > self.LEAST_PART * values[-1]).sum())
        if dimensions < len(values):
            raise UserError(
                f"patches of the training images have {dimensions} of {len(values)} dimensions, as those of gray images; a "
                "whitening stem needs images in color. Choose a network with another stem, such as `cifar_resnet20`"
            )
        kernels = (vectors / (values + self.EPS).sqrt()).T.unflatten(1, self.weight.shape[1:])
        self.weight.copy_(torch.cat([kernels, -kernels]))


def whiten(
    in_channels: int, channels: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool, preact: bool
) -> Stem:
    """A whitening 2x2 at stride 1 that is not padded, and act; it has 8 * in_channels channels (see `WhiteningConv2d`)."""
    layers = OrderedDict[str, nn.Module](conv=WhiteningConv2d(in_channels, 2), act=act())
    return Stem(layers, 8 * in_channels, stride=1, min_size=2)
