"""ResNet and Backbone: a stem, stages of blocks, pooling and a head, built from modules that are passed in."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.fx
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.blocks import Block
from resnets.models.stems import Stem


class Stage(nn.Sequential):
    """Blocks named block1, block2, …; its `channels` and its `stride` are those of its blocks."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__(OrderedDict((f"block{i}", block) for i, block in enumerate(blocks, start=1)))
        self.channels = blocks[-1].channels
        self.stride = 1
        for block in blocks:
            self.stride *= block.stride


class Head(nn.Module):
    """The classifier: pooled features (N, in_features) -> logits (N, num_classes).

    Args:
        in_features: length of the pooled vector, which is the number of channels for global pooling.
        num_classes: number of outputs.
        hidden_dim: units of a fully connected layer with ReLU before the last one; 0 for none.
    """

    def __init__(self, in_features: int, num_classes: int, hidden_dim: int = 0) -> None:
        super().__init__()
        self.in_features = in_features
        if hidden_dim:
            self.hidden = nn.Linear(in_features, hidden_dim)
            self.act = nn.ReLU()
        self.fc = nn.Linear(hidden_dim or in_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "hidden"):
            x = self.act(self.hidden(x))
        return self.fc(x)


class Backbone(nn.Sequential):
    """y = pool(final(stage_n(… stage_1(stem(x))))): a network without its classification head.

    Its children are its layers in the order in which they are called, so that
    `torchvision.models._utils.IntermediateLayerGetter` and `nn.Sequential(*list(net.children())[:-1])` read it as they
    read torchvision's networks.

    Args:
        stem: (N, in_channels, H, W) -> (N, stem.channels, H / stem.stride, W / stem.stride).
        stages: by name, "stage1", …
        final: norm and activation after the last block, which pre-activation networks need (He et al. 2016, appendix).
        pool: from the last feature maps to (N, C, 1, 1), which is returned as (N, C); None returns the feature maps.

    Attributes:
        feature_channels: the number of channels of each feature map that `features` returns, by name.
        feature_strides: of the same feature maps, in pixels of the image, by name.
        min_size: the least height and width of an image.
        fixed_size: the only height and width that fit, for a head with a fixed pooling window; None for all others.
        frozen_norms: the paths of the BN layers that stay in eval mode, so that their statistics do not move.
    """

    if TYPE_CHECKING:  # TorchScript would ask for such annotations of layers to be types of its own
        stem: Stem
        pool: nn.Module
    fixed_size: int | None
    if TYPE_CHECKING:
        frozen_norms: tuple[str, ...]
    # Read by torch.jit.script, which has no type for an empty tuple and no use for these.
    __jit_unused_properties__ = ["stages"]  # noqa: RUF012
    __jit_ignored_attributes__ = ["frozen_norms"]  # noqa: RUF012

    def __init__(
        self, stem: Stem, stages: Mapping[str, Stage], final: nn.Module | None = None, pool: nn.Module | None = None
    ) -> None:
        after = {name: module for name, module in (("final", final), ("pool", pool)) if module is not None}
        super().__init__(OrderedDict([("stem", stem), *stages.items(), *after.items()]))
        self.pooled = pool is not None
        self.fixed_size = None
        self.feature_channels = {"stem": stem.channels} | {name: stage.channels for name, stage in stages.items()}
        self.feature_strides = {"stem": stem.stride}
        stride = stem.stride
        for name, stage in stages.items():
            stride *= stage.stride
            self.feature_strides[name] = stride
        if stem.has_pool:
            self.feature_channels = {"stem_conv": stem.channels} | self.feature_channels
            self.feature_strides = {"stem_conv": stem.stride // 2} | self.feature_strides
        self.min_size = stem.min_size
        self.frozen_norms = ()

    def __setattr__(self, name: str, value: Any) -> None:
        # A Sequential calls all its children: a layer with a new name would be appended to the network.
        if isinstance(value, nn.Module) and name not in self._modules:
            raise AttributeError(f"This network has no layer '{name}'; {self._advice()}")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            raise AttributeError(str(error) if name.startswith("_") else f"{error}; {self._advice()}") from None

    def __getitem__(self, index: Any) -> Any:
        """A layer, or for a slice an nn.Sequential of layers."""
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `nn.Module.load_state_dict`; names of another library are an error of their own."""
        if strict and not state_dict.keys() & self.state_dict().keys() and state_dict:
            raise RuntimeError(
                f"These tensors have the names of another library, such as '{next(iter(state_dict))}'. Save them with "
                "torch.save, rename them with 'resnets weights convert FILE --to resnets --out NEW.safetensors', and give the "
                "new file as `weights`."
            )
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for path in self.frozen_norms:
            self.get_submodule(path).eval()
        return self

    def _advice(self) -> str:
        return f"its layers are {', '.join(self._modules)}."

    @property
    def stages(self) -> nn.ModuleDict:
        """The stages by name, in order."""
        return nn.ModuleDict({name: stage for name, stage in self.named_children() if isinstance(stage, Stage)})

    def features(self, x: Tensor, until: str | None = None) -> dict[str, Tensor]:
        """The feature maps of all levels, by name, for detection and segmentation; timm calls this `forward_intermediates`.

        The names are "stem_conv" (before the stem's pooling, where it has one), "stem", then each stage. The shapes are
        (N, feature_channels[name], ceil(H / feature_strides[name]), ceil(W / feature_strides[name])). The last map is the
        result of `forward_features`.

        Args:
            x: images, (N, in_channels, H, W).
            until: the layer before which to stop; None for all maps.

        Raises:
            ValueError: the image is smaller than `min_size`.
        """
        check_size(x, self.min_size, self.fixed_size)
        maps: dict[str, Tensor] = {}
        for name, layer in self.stem.named_children():
            if name.startswith("pool") and not maps:
                maps["stem_conv"] = x
            x = layer(x)
        maps["stem"] = x
        for name, layer in self._middle():
            if name == until:
                break
            x = layer(x)
            maps[name if name != "final" else next(reversed(maps))] = x
        return maps

    def _middle(self) -> Iterator[tuple[str, nn.Module]]:
        """The layers between the stem and the pooling."""
        return ((name, layer) for name, layer in self.named_children() if name not in ("stem", "pool", "head"))

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map only, before the pooling, (N, C, h, w); timm's method has the same name.

        `features` returns the maps of all levels, and raises the same error.
        """
        check_size(x, self.min_size, self.fixed_size)
        x = self.stem(x)  # (N, C, H / 4, W / 4) for ImageNet's stems
        for _, layer in self._middle():
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """The last feature map, (N, C, h, w), or with a `pool` (N, C); raises as `features` does."""
        if not torch.jit.is_scripting():
            check_size(x, self.min_size, self.fixed_size)
        for layer in self:
            x = layer(x)
        return torch.flatten(x, 1) if self.pooled else x


class ResNet(Backbone):
    """y = head(pool(final(stage_n(… stage_1(stem(x)))))): a `Backbone` with a classification head."""

    if TYPE_CHECKING:
        head: Head

    def __init__(
        self, stem: Stem, stages: Mapping[str, Stage], pool: nn.Module, head: Head, final: nn.Module | None = None,
        fixed_size: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(stem, stages, final, pool)
        self.add_module("head", head)
        self._last = len(self) - 1  # TorchScript cannot compute len(self)
        self.fixed_size = fixed_size
        self.min_size = fixed_size or self.min_size

    def _advice(self) -> str:
        return f"{super()._advice()} For other classes replace `net.fc`, which gives the logits, or `net.head`."

    # torchvision's name of the last layer, which users read and replace: `net.fc = nn.Linear(net.fc.in_features, 5)`.
    def __getattr__(self, name: str) -> Any:
        if name == "fc":
            return self.head.fc if isinstance(self.head, Head) else self.head
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "fc":
            super().__setattr__(name, value)
        elif isinstance(self.head, Head):
            self.head.fc = value
        else:
            self.head = value

    def forward_pooled(self, x: Tensor) -> Tensor:
        """The pooled features, (N, head.in_features); raises as `features` does."""
        return torch.flatten(self.pool(self.forward_features(x)), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, num_classes); raises as `features` does."""
        if not torch.jit.is_scripting():
            check_size(x, self.min_size, self.fixed_size)
        for i, layer in enumerate(self):
            x = layer(torch.flatten(x, 1) if i == self._last else x)
        return x

    def backbone(self, pooling: str | None = None) -> Backbone:
        """The network without its head, with the same parameters.

        Args:
            pooling: None for feature maps (N, C, h, w), "avg" or "max" for pooled features (N, C).

        Returns:
            A backbone that shares the modules of this network.
        """
        pools = {None: None, "avg": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)}
        if pooling not in pools:
            raise UserError(f"pooling is None, 'avg' or 'max'; received {pooling!r}.")
        return Backbone(self.stem, dict(self.stages.items()), self._modules.get("final"), pools[pooling])  # type: ignore[arg-type]


class PooledBackbone(nn.Module):
    """`net.forward_pooled` as a module that shares the modules of `net`: images (N, C, H, W) -> (N, head.in_features)."""

    def __init__(self, net: ResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.forward_pooled(x)


def check_size(x: Tensor, min_size: int, fixed_size: int | None) -> None:
    """Raise ValueError for images of a size that the network cannot take; a symbolic trace is not checked."""
    if isinstance(x, torch.fx.Proxy):
        return
    height, width = x.shape[-2:]
    if fixed_size and (height, width) != (fixed_size, fixed_size):
        raise ValueError(
            f"This network's fully connected layer was built for images of {fixed_size}x{fixed_size}; received "
            f"{height}x{width}. Build it with imgsz={height} for square images of that size."
        )
    if min(height, width) < min_size:
        raise ValueError(
            f"Images of {height}x{width} are too small for this network; the least height and width are {min_size}. "
            'Use larger images, or a network for small ones, such as one with stem="cifar".'
        )


def find_backbone(model: nn.Module) -> Backbone:
    """The residual network in a model: the model itself, if it is one, else its attribute `backbone`."""
    backbone = model if isinstance(model, Backbone) else model.backbone
    assert isinstance(backbone, Backbone), type(backbone)
    return backbone


def head_modules(model: nn.Module) -> list[nn.Module]:
    """The children of a model that are not its backbone: the head of a `ResNet`; neck, head and so on of another model."""
    if isinstance(model, Backbone):
        return [model.head] if isinstance(model, ResNet) else []
    return [child for child in model.children() if child is not find_backbone(model)]


def head_tensor_names(model: nn.Module) -> list[str]:
    """The names, in the `state_dict()` of a model, of the parameters and buffers that are not its backbone's."""
    in_head = {id(tensor) for module in head_modules(model) for tensor in module.state_dict(keep_vars=True).values()}
    return [name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in in_head]
